//! Every reader of files, on mutated inputs.
//!
//! An input may be read or refused. It must not panic, end the process, take more memory than its
//! size allows, or be read as something else than it holds. Each reader runs in a process of its own,
//! which reports each case before it starts: a crash and an endless loop have a number, too.
//!
//! A long run, for example of 2000 cases a reader (docs/security.md has the counts of one):
//!
//! ```sh
//! AUDIT_FUZZ_CASES=2000 AUDIT_FUZZ_SEED=1 cargo test --release --test fuzz -- --nocapture
//! ```
//!
//! `AUDIT_FUZZ_READER=NAME` runs one reader, `AUDIT_FUZZ_FIRST=N` begins with case N.

#[path = "../common/mod.rs"]
mod common;
mod memory;
mod mutate;
mod readers;
mod zip;

use std::io::{BufRead, BufReader, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::{Command, Stdio};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mutate::Mutator;
use readers::{FileReader, READERS};

#[global_allocator]
static MEMORY: memory::CountingAllocator = memory::CountingAllocator;

/// Cases of each reader in a run of all tests.
const SHORT_RUN: u64 = 60;
/// A case that takes longer is an endless loop; honest ones take milliseconds.
const ENDLESS: Duration = Duration::from_secs(120);
/// Names the reader of a child process.
const CHILD: &str = "AUDIT_FUZZ_CHILD";

fn variable(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
        Err(_) => default,
    }
}

#[test]
fn no_reader_panics_takes_too_much_memory_or_reads_what_is_not_there() {
    let only = std::env::var("AUDIT_FUZZ_READER").ok();
    let (seed, count) = (variable("AUDIT_FUZZ_SEED", 0), variable("AUDIT_FUZZ_CASES", SHORT_RUN));
    let first = variable("AUDIT_FUZZ_FIRST", 0);
    let chosen = READERS.iter().filter(|reader| only.as_deref().is_none_or(|o| o == reader.name));
    let outcomes: Vec<_> =
        chosen.map(|reader| (reader.name, run_child(reader.name, seed, first, count))).collect();
    assert!(!outcomes.is_empty(), "there is no reader {only:?}");
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|(name, outcome)| outcome.as_ref().err().map(|why| (name, why)))
        .map(|(name, why)| format!("{name}, AUDIT_FUZZ_SEED={seed}, {why}"))
        .collect();
    assert!(failed.is_empty(), "{} readers failed:\n{}", failed.len(), failed.join("\n"));
}

/// Runs the cases of one reader in a child; its counts, or the first failure.
fn run_child(name: &str, seed: u64, first: u64, count: u64) -> Result<(), String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cases_of_one_reader", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .env("AUDIT_FUZZ_SEED", seed.to_string())
        .env("AUDIT_FUZZ_FIRST", first.to_string())
        .env("AUDIT_FUZZ_CASES", count.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (lines, received) = channel();
    let output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    let (mut case, mut ended) = ("before the first case".to_owned(), None);
    let outcome = loop {
        match received.recv_timeout(ENDLESS) {
            Ok(line) if line.starts_with("case ") => case = line,
            Ok(line) if line.starts_with("failed ") => break Err(line),
            Ok(line) if line.starts_with("done ") => ended = Some(line),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                break Err(format!("{case}: no end after {} s", ENDLESS.as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => match ended.take() {
                Some(counts) => break Ok(counts),
                None => break Err(format!("{case}: the process ended")),
            },
        }
    };
    let _ = child.kill();
    let status = child.wait().unwrap();
    drop(received);
    reader.join().unwrap();
    match outcome {
        Ok(counts) => {
            println!("{name:<22} {}", counts.trim_start_matches("done "));
            Ok(())
        }
        Err(why) => {
            println!("{name:<22} {why} ({status})");
            Err(format!("{why} ({status})"))
        }
    }
}

/// What a child runs. On its own, a few cases of every reader in this process.
#[test]
#[ignore = "the test above runs it for each reader"]
fn cases_of_one_reader() {
    let name = std::env::var(CHILD).ok();
    let (seed, first) = (variable("AUDIT_FUZZ_SEED", 0), variable("AUDIT_FUZZ_FIRST", 0));
    let count = variable("AUDIT_FUZZ_CASES", 5);
    for reader in READERS.iter().filter(|r| name.as_deref().is_none_or(|name| name == r.name)) {
        let outcome = run(reader, seed, first..first + count);
        match outcome {
            Ok(counts) => say(&format!("done {counts}")),
            Err(failure) => {
                say(&format!("failed {failure}"));
                panic!("{}: {failure}", reader.name);
            }
        }
    }
}

/// A line of its own on stdout, at once.
fn say(line: &str) {
    println!("\n{}", line.replace('\n', " "));
    std::io::stdout().flush().unwrap();
}

fn run(reader: &FileReader, seed: u64, cases: std::ops::Range<u64>) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let target = (reader.prepare)(folder.path());
    for (i, input) in target.corpus.iter().enumerate() {
        let read = (target.read)(input);
        read.map_err(|error| format!("input {i}, unchanged, is refused: {error:#}"))?;
    }
    let panic = Arc::new(Mutex::new(String::new()));
    let kept = panic.clone();
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| *kept.lock().unwrap() = info.to_string()));
    let (mut accepted, mut refused, mut most) = (0, 0, 0);
    let mut outcome = Ok(());
    for case in cases {
        say(&format!("case {case}"));
        let input = Mutator::new(seed, reader.name, case).mutated(&target.corpus, target.syntax);
        memory::start();
        let read = catch_unwind(AssertUnwindSafe(|| (target.read)(&input).map_err(drop)));
        let peak = memory::peak();
        most = most.max(peak);
        let allowed = reader.base + reader.factor * input.len();
        match read {
            _ if peak > allowed => {
                outcome = Err(format!("case {case}: {peak} bytes of memory, allowed {allowed}"));
                break;
            }
            Ok(Ok(())) => accepted += 1,
            Ok(Err(())) => refused += 1,
            Err(_) => {
                outcome = Err(format!("case {case}: {}", panic.lock().unwrap()));
                break;
            }
        }
    }
    std::panic::set_hook(default);
    outcome?;
    let most = most >> 20;
    Ok(format!("{:>6} inputs: {accepted} read, {refused} refused, {most} MiB", accepted + refused))
}

type ReadFunction = fn(&[u8]) -> anyhow::Result<()>;

/// Runs cases of a reader with that `read`, which accepts its only input unchanged.
fn faulty(read: ReadFunction) -> Result<String, String> {
    static READ: Mutex<Option<ReadFunction>> = Mutex::new(None);
    *READ.lock().unwrap() = Some(read);
    let prepare = |_: &std::path::Path| readers::Target {
        corpus: vec![b"an input".to_vec()],
        syntax: mutate::Syntax::Text,
        read: Box::new(READ.lock().unwrap().unwrap()),
    };
    run(&FileReader { name: "faulty", base: 1 << 20, factor: 1, prepare }, 0, 0..50)
}

#[test]
fn a_panic_and_too_much_memory_are_failures_with_their_case() {
    assert!(faulty(|_| Ok(())).unwrap().contains("50 inputs: 50 read, 0 refused"));
    let refused = faulty(|bytes| match bytes {
        b"an input" => Ok(()),
        _ => anyhow::bail!("another input"),
    });
    assert!(refused.unwrap().contains("refused"));
    let panic = faulty(|bytes| {
        assert!(bytes.starts_with(b"an in"), "a wrong result");
        Ok(())
    });
    let panic = panic.unwrap_err();
    assert!(panic.starts_with("case ") && panic.contains("a wrong result"), "{panic}");
    let memory = faulty(|bytes| {
        let bytes = vec![0u8; if bytes == b"an input" { 0 } else { 2 << 20 }];
        anyhow::ensure!(std::hint::black_box(bytes).iter().all(|byte| *byte == 0));
        Ok(())
    });
    assert!(memory.unwrap_err().contains("bytes of memory, allowed 10485"));
    let whole = faulty(|_| anyhow::bail!("every input"));
    assert!(whole.unwrap_err().contains("input 0, unchanged, is refused: every input"));
}
