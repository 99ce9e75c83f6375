//! The pool with a fake model.

mod fake; // that model

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{bail, Result};
use proptest::prelude::*;

use fake::{row_of, sequence, sequences, Fake, BEYOND, FAILS, LABELS, NOT_FINITE, PANICS, STOPS};

use super::*;
use crate::cache::Row;
use crate::checkpoint::{Casing, Checkpoint};
use crate::error::Interrupted;
use crate::hub::Hub;

/// An entry with the rows `known`, with logits that no model gives.
fn entry_with(known: &[usize], examples: usize) -> CacheEntry {
    let mut entry = CacheEntry::in_memory(examples, LABELS);
    for &index in known {
        let logits = [-1e6 - index as f32; LABELS];
        let row = Row { index, logits: &logits, truncated: true };
        assert!(entry.append(&[row]).unwrap().is_none());
    }
    entry
}

/// Counts rows and tokens.
#[derive(Default)]
struct Counting {
    rows: AtomicUsize,
    tokens: AtomicUsize,
}

impl Observer for Counting {
    fn rows_done(&self, rows: usize, tokens: usize) {
        self.rows.fetch_add(rows, Ordering::SeqCst);
        self.tokens.fetch_add(tokens, Ordering::SeqCst);
    }
}

fn options() -> impl Strategy<Value = RunOptions> {
    (1usize..=6, 1usize..=6, 1usize..=9, 1usize..=20, 1usize..=40).prop_map(
        |(threads, batch_threads, first, more, token_budget)| RunOptions {
            threads,
            batch_threads: batch_threads.min(threads),
            token_budget,
            windows: Windows { first, largest: first + more },
            interrupt: Interrupt::default(),
        },
    )
}

/// The windows of `order`.
fn windows_of<'a>(mut order: &'a [u32], windows: &Windows) -> Vec<&'a [u32]> {
    let mut all = Vec::new();
    while !order.is_empty() {
        let (window, rest) = order.split_at(windows.size(all.len()).min(order.len()));
        all.push(window);
        order = rest;
    }
    all
}

/// One lane of a case: its tokens by their first ids, and the rows that are known beforehand.
#[derive(Debug, Clone)]
struct LaneCase {
    first: Vec<u32>,
    known: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Case {
    lanes: Vec<LaneCase>,
    /// Some of the examples, each once.
    order: Vec<u32>,
    /// The window with which `each` ends the run, if there are as many.
    last: usize,
    options: RunOptions,
}

fn lane_case(examples: usize) -> impl Strategy<Value = LaneCase> {
    let indices: Vec<usize> = (0..examples).collect();
    (prop::collection::vec(0u32..25, examples), prop::sample::subsequence(indices, 0..=examples))
        .prop_map(|(first, known)| LaneCase { first, known })
}

fn order(examples: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::sample::subsequence((0..examples as u32).collect::<Vec<_>>(), 0..=examples).prop_shuffle()
}

fn case() -> impl Strategy<Value = Case> {
    (0usize..70, 1usize..=2)
        .prop_flat_map(|(examples, lanes)| {
            let lanes = prop::collection::vec(lane_case(examples), lanes);
            (lanes, order(examples), 0usize..30, options())
        })
        .prop_map(|(lanes, order, last, options)| Case { lanes, order, last, options })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_window_is_delivered_once_in_order_with_every_row_right(case in case()) {
        let examples = case.lanes[0].first.len();
        let models: Vec<Fake> =
            (0..case.lanes.len()).map(|i| Fake::new(i as u32, &case.options)).collect();
        let tokens: Vec<_> = case.lanes.iter().map(|lane| sequences(&lane.first)).collect();
        let mut entries: Vec<CacheEntry> =
            case.lanes.iter().map(|lane| entry_with(&lane.known, examples)).collect();
        let mut lanes: Vec<Lane> = entries
            .iter_mut()
            .zip(&tokens)
            .zip(&models)
            .map(|((entry, tokens), model)| {
                Lane { what: "model", model: Some(model), input: Input::Tokens(tokens), entry }
            })
            .collect();
        let mut windows_run: Vec<Vec<u32>> = Vec::new();
        let observer = Counting::default();
        run(&mut lanes, &case.order, &case.options, &observer, |rows, entries| {
            for &row in rows {
                assert!(entries.iter().all(|entry| entry.row(row as usize).is_some()));
            }
            windows_run.push(rows.to_vec());
            Ok(if windows_run.len() > case.last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap();

        let windows = windows_of(&case.order, &case.options.windows);
        let expected: Vec<_> = windows.iter().take(case.last + 1).map(|w| w.to_vec()).collect();
        prop_assert_eq!(&windows_run, &expected);
        let delivered = windows_run.concat();
        let mut asked_for = 0;
        let mut sequences_run = 0;
        for (i, lane) in case.lanes.iter().enumerate() {
            let missing = |rows: &[u32]| -> Vec<usize> {
                let rows = rows.iter().map(|&row| row as usize);
                rows.filter(|row| !lane.known.contains(row)).collect()
            };
            for (row, tokens) in tokens[i].iter().enumerate() {
                let found = entries[i].row(row);
                if lane.known.contains(&row) {
                    prop_assert_eq!(found, Some((&[-1e6 - row as f32; LABELS][..], true)));
                } else if delivered.contains(&(row as u32)) {
                    let expected = row_of(i as u32, &tokens.input_ids);
                    prop_assert_eq!(found, Some((&expected[..], row % 5 == 0)));
                } else {
                    prop_assert_eq!(found, None, "row {}", row);
                }
            }
            let ran = models[i].ran(); // each once
            let mut needed: Vec<_> =
                missing(&case.order).iter().map(|&row| tokens[i][row].input_ids.clone()).collect();
            needed.sort();
            needed.dedup();
            if delivered.len() == case.order.len() {
                prop_assert_eq!(&ran, &needed);
            } else {
                prop_assert!(ran.iter().all(|sequence| needed.contains(sequence)));
            }
            asked_for += missing(&case.order).len();
            sequences_run += ran.iter().map(Vec::len).sum::<usize>();
            let at_once = models[i].most_at_once.load(Ordering::SeqCst);
            prop_assert!(at_once <= case.options.batch_threads);
        }
        if delivered.len() == case.order.len() {
            prop_assert_eq!(observer.rows.into_inner(), asked_for);
            prop_assert_eq!(observer.tokens.into_inner(), sequences_run);
        }
    }
}

/// A run of two lanes over all of `first`: its result, and the number of delivered examples.
fn run_both(first: [&[u32]; 2], order: &[u32], options: &RunOptions) -> (Result<()>, usize) {
    run_tokens_of_both(first.map(sequences), order, options)
}

fn run_tokens_of_both(
    tokens: [Vec<TokenizedExample>; 2],
    order: &[u32],
    options: &RunOptions,
) -> (Result<()>, usize) {
    let examples = tokens[0].len();
    let models = [0, 1].map(|name| Fake::new(name, options));
    let mut entries = [0, 1].map(|_| CacheEntry::in_memory(examples, LABELS));
    let whats = ["teacher on a/train", "student on a/train"];
    let mut lanes: Vec<Lane> = entries
        .iter_mut()
        .enumerate()
        .map(|(i, entry)| Lane {
            what: whats[i],
            model: Some(&models[i] as &dyn Model),
            input: Input::Tokens(&tokens[i]),
            entry,
        })
        .collect();
    let mut delivered = 0;
    let ended = run(&mut lanes, order, options, &Silent, |rows, entries| {
        assert!(entries.iter().all(|e| rows.iter().all(|&row| e.row(row as usize).is_some())));
        delivered += rows.len();
        Ok(ControlFlow::Continue(()))
    });
    (ended, delivered)
}

/// First ids of two lanes' sequences, an order of all examples, and places in it with their lane.
type BadCase = ([Vec<u32>; 2], Vec<u32>, Vec<(usize, usize)>);

fn with_bad_places() -> impl Strategy<Value = BadCase> {
    (1usize..60).prop_flat_map(|examples| {
        let first = || prop::collection::vec(0u32..25, examples);
        let order = Just((0..examples as u32).collect::<Vec<_>>()).prop_shuffle();
        let bad = prop::collection::vec((0..examples, 0usize..2), 1..6);
        ([first(), first()], order, bad)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn an_error_names_the_first_bad_example_of_the_order_and_the_first_lane(
        (mut first, order, bad) in with_bad_places(),
        kind in prop::sample::select(vec![NOT_FINITE, BEYOND]),
        options in options(),
    ) {
        for &(place, lane) in &bad {
            first[lane][order[place] as usize] = kind;
        }
        let (place, lane) = *bad.iter().min().unwrap();
        let (ended, delivered) = run_both([&first[0], &first[1]], &order, &options);
        let message = format!("{:#}", ended.unwrap_err());
        let role = ["teacher on a/train", "student on a/train"][lane];
        let expected = match kind {
            NOT_FINITE => format!("{role}: the logits of example {} hold NaN", order[place]),
            _ => format!("cannot tokenise for the {role}: example {}: ", order[place]),
        };
        prop_assert!(message.contains(&expected), "`{}` is not in: {}", expected, message);
        // Only the windows before it were delivered.
        let before = windows_of(&order, &options.windows).into_iter().scan(0, |end, window| {
            *end += window.len();
            Some(*end)
        });
        prop_assert_eq!(delivered, before.take_while(|end| *end <= place).last().unwrap_or(0));
    }

    #[test]
    fn a_failing_forward_is_the_error_whatever_the_threads(
        (mut first, order, bad) in with_bad_places(), options in options(),
    ) {
        for &(place, _) in &bad {
            first[1][order[place] as usize] = FAILS;
        }
        let (ended, _) = run_both([&first[0], &first[1]], &order, &options);
        let message = format!("{:#}", ended.unwrap_err());
        prop_assert_eq!(message, "cannot run the student on a/train: the device is gone");
    }

    #[test]
    fn an_interrupt_ends_the_run_with_its_progress(
        (mut first, order, bad) in with_bad_places(), options in options(),
    ) {
        for &(place, lane) in &bad {
            first[lane][order[place] as usize] = STOPS;
        }
        let (ended, delivered) = run_both([&first[0], &first[1]], &order, &options);
        let interrupted = ended.unwrap_err().downcast::<Interrupted>().unwrap();
        prop_assert_eq!((interrupted.done, interrupted.total), (delivered, order.len()));
        prop_assert_eq!(interrupted.what, "teacher on a/train, student on a/train");
    }
}

/// Options of a run with `threads` workers.
fn threads(threads: usize) -> RunOptions {
    RunOptions {
        threads,
        batch_threads: threads,
        token_budget: 16,
        windows: Windows { first: 4, largest: 8 },
        interrupt: Interrupt::default(),
    }
}

#[test]
fn the_first_example_that_is_not_finite_is_named_in_whichever_lane_it_is() {
    for (teacher, student, expected) in [
        (7, 2, "student on a/train: the logits of example 2 hold NaN"),
        (2, 7, "teacher on a/train: the logits of example 2 hold NaN"),
        (7, 7, "teacher on a/train: the logits of example 7 hold NaN"),
    ] {
        let bad = |place: usize| {
            let mut first: Vec<u32> = (0..8).collect();
            first[place] = NOT_FINITE;
            first
        };
        let options = RunOptions { windows: Windows { first: 8, largest: 8 }, ..threads(3) };
        let order: Vec<u32> = (0..8).collect();
        let (ended, _) = run_both([&bad(teacher), &bad(student)], &order, &options);
        says(&ended.unwrap_err(), expected);
    }
}

#[test]
fn the_first_of_two_failing_lanes_is_named_even_if_it_is_slower() {
    let long = |first| TokenizedExample {
        input_ids: vec![first; 200_000],
        token_type_ids: vec![0; 200_000],
        truncated: false,
    };
    let mut teacher: Vec<_> = (0..19).map(long).collect();
    let mut student = sequences(&(0..19).collect::<Vec<_>>());
    teacher.push(sequence(BEYOND, false));
    student.push(sequence(BEYOND, false));
    let order: Vec<u32> = (0..20).collect();
    for workers in [1, 4] {
        let options =
            RunOptions { windows: Windows { first: 20, largest: 20 }, ..threads(workers) };
        let tokens = [teacher.clone(), student.clone()];
        let (ended, _) = run_tokens_of_both(tokens, &order, &options);
        says(&ended.unwrap_err(), "cannot tokenise for the teacher on a/train: example 19: ");
    }
}

#[track_caller]
fn says(error: &anyhow::Error, words: &str) {
    let message = format!("{error:#}");
    assert!(message.contains(words), "`{words}` is not in: {message}");
}

#[test]
fn an_error_of_the_caller_ends_the_run_and_no_window_follows() {
    for workers in [1, 4] {
        let options = threads(workers);
        let first: Vec<u32> = (0..50).collect();
        let (model, tokens) = (Fake::new(0, &options), sequences(&first));
        let mut entry = CacheEntry::in_memory(50, LABELS);
        let input = Input::Tokens(&tokens);
        let lane = Lane { what: "model", model: Some(&model), input, entry: &mut entry };
        let mut calls = 0;
        let ended = run(&mut [lane], &first, &options, &Silent, |_, _| {
            calls += 1;
            if calls == 2 {
                bail!("enough")
            }
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!((ended.unwrap_err().to_string().as_str(), calls), ("enough", 2));
    }
}

#[test]
fn a_lane_without_a_model_must_know_its_rows() {
    let first: Vec<u32> = (0..9).collect();
    let tokens = sequences(&first);
    let options = threads(2);
    let run_with = |known: &[usize]| {
        let mut entry = entry_with(known, 9);
        let input = Input::Tokens(&tokens);
        let lane = Lane { what: "teacher", model: None, input, entry: &mut entry };
        run(&mut [lane], &first, &options, &Silent, |_, _| Ok(ControlFlow::Continue(())))
    };
    run_with(&[0, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let error = run_with(&[0, 1, 2, 3, 4, 6, 8]).unwrap_err();
    assert_eq!(error.to_string(), "teacher: row 5 is not known");
}

#[test]
fn a_panic_in_a_model_is_an_error_of_the_run_and_no_worker_waits_for_ever() {
    for workers in [1, 2, 5] {
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let mut first: Vec<u32> = (0..60).collect();
            first[30] = PANICS;
            let order: Vec<u32> = (0..60).collect();
            let run = || run_both([&first, &first], &order, &threads(workers));
            ended.send(crate::error::rendered(&run().0.unwrap_err())).unwrap();
        });
        let error = end.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(error.contains("the model cannot be used: a mistake in a kernel"), "{error}");
    }
}

#[test]
fn a_text_is_tokenised_once_for_all_lanes_of_one_key() {
    let fixture = |name: &str| {
        let folder = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        Checkpoint::open(&folder, Casing::Auto, &Hub::from_env()).unwrap().tokenizer
    };
    let tokenizer = fixture("architectures/distilbert");
    let mut cutting = fixture("architectures/distilbert");
    cutting.set_max_length(8).unwrap();
    let text = |text: &str| Example { text: text.to_owned(), pair: None, label: None };
    let examples = ["the film is good, and it is long and slow", "a movie", "the film"].map(text);
    let options = threads(3);
    // The second lane's tokenizer makes other tokens, so the rows show which was used.
    for (keys, cut) in [(["one", "one"], false), (["one", "two"], true)] {
        let models = [0, 1].map(|name| Fake::new(name, &options));
        let mut entries = [0, 1].map(|_| CacheEntry::in_memory(3, LABELS));
        let mut lanes = Vec::new();
        for (i, entry) in entries.iter_mut().enumerate() {
            let tokenizer = [&tokenizer, &cutting][i];
            let input = Input::Texts { examples: &examples, tokenizer, key: keys[i] };
            lanes.push(Lane { what: "model", model: Some(&models[i]), input, entry });
        }
        run(&mut lanes, &[2, 0, 1], &options, &Silent, |_, _| Ok(ControlFlow::Continue(())))
            .unwrap();
        drop(lanes);
        let encoded = |tokenizer: &TextTokenizer, row: usize| {
            tokenizer.encode(&examples[row].text, None).unwrap()
        };
        assert!(encoded(&cutting, 0).truncated && !encoded(&tokenizer, 0).truncated);
        for row in 0..3 {
            let (logits, truncated) = entries[0].row(row).unwrap();
            let tokens = encoded(&tokenizer, row);
            assert_eq!((logits, truncated), (&row_of(0, &tokens.input_ids)[..], false));
            let tokens = encoded(if cut { &cutting } else { &tokenizer }, row);
            let expected = row_of(1, &tokens.input_ids);
            assert_eq!(entries[1].row(row), Some((&expected[..], tokens.truncated)));
        }
    }
}

#[test]
fn windows_double_up_to_the_largest() {
    let windows = Windows { first: 3, largest: 20 };
    let sizes: Vec<_> = (0..5).map(|i| windows.size(i)).collect();
    assert_eq!(sizes, [3, 6, 12, 20, 20]);
    assert_eq!((windows.size(63), windows.size(64), windows.size(1 << 40)), (20, 20, 20));
}
