use super::super::samples;
use super::super::schema::StudentBound;
use super::*;

const NARROW: RenderOptions = RenderOptions { color: false, width: 80 };
const WIDE: RenderOptions = RenderOptions { color: false, width: 200 };

#[test]
fn a_preserved_pair_in_80_columns() {
    assert_eq!(
        render(&samples::preserved(), &NARROW),
        "\
PRESERVED  sst2/train  σ 0.0446 ≤ κ 0.0500  67,349 examples
  teacher     models/sst2/teacher (bert, 66,955,010 weights)
  student     models/sst2/student (bert, 66,955,010 weights)

  σ 0.0446    ██████████████████████████████████████████████████░░░░░░│ κ 0.0500
  interval    0.0437 to 0.0455 (95 % bootstrap)
  budget      79.6 % spent: Σd² = 134.0 of 168.4
  bound       β 168.4 nats (0.0025 per example), α 0, γ 1; set by default
  accuracy    teacher 0.9540, student 0.9478
  agreement   66,003 of 67,349 (98.0 %); 673 negative flips
  confidence  teacher 0.9712, student 0.9530 on average; mean d +0.0182
  |d|         median 0.0120, 90 % 0.0612, 99 % 0.1711, largest 0.4512
  other σ     max centred 0.0401; teacher-class rms 0.0450, centred 0.0424
  published   0.0357; leaves out 4,040 examples, 3,367 that the student gets
              wrong
  from cache  teacher 67,349 and 0 computed, student 0 and 67,349 computed

  not gating  validation: NOT PRESERVED, σ 0.1010 > κ 0.0500, 872 examples
              accuracy teacher 0.9540, student 0.9478
              agreement 855 of 872 (98.1 %); 8 negative flips
              σ ≤ 0.1111 on unseen inputs (95 % limit, if these are unseen)
              from cache: teacher 872 and 0 computed, student 0 and 872 computed
              The two splits disagree: confidence is preserved on train, which
              gates, and not on validation. The bound on train does not carry
              over to inputs that the student has not seen.

  note: the verdict already follows from the measured loss: κ ≥ sqrt(mean KL /
    2) [implied-by-loss]
  more: `audit explain implied-by-loss`

  furthest apart (d = teacher's confidence − student's)
  index        d  teacher          student          label
  51007  +0.4512  positive 0.9812  positive 0.5300  positive
         “a gripping film that never lets its audience go, and never lets them…”
  25503  +0.4412  positive 0.9812  negative 0.5400  positive
         “hardly a masterpiece”
  17002  +0.4312  positive 0.9812  positive 0.5500  positive
         “it 's slow -- very , very slow”
  12751  +0.4212  positive 0.9812  positive 0.5600  positive
         “not the great american comedy , but if you liked the previous movies”
  10201  +0.4112  positive 0.9812  positive 0.5700  positive
         “the sort of film that makes me miss hitchcock”
"
    );
}

#[test]
fn a_pair_that_fails_in_80_columns_shows_its_excess_and_its_warning() {
    let mut report = samples::not_preserved();
    report.tasks[0].worst.truncate(1);
    assert_eq!(
        render(&report, &NARROW),
        "\
NOT PRESERVED  sst2/train  σ 0.0802 > κ 0.0500  67,349 examples
  teacher     models/sst2/teacher (bert, 66,955,010 weights)
  student     models/sst2/student (bert, 66,955,010 weights)

  σ 0.0802    █████████████████████████████████│████████████████████  │ κ 0.0500
  interval    0.0786 to 0.0818 (95 % bootstrap)
  budget      257.3 % spent: Σd² = 433.2 of 168.4
  bound       β 168.4 nats (0.0025 per example), α 0, γ 1; set by default
  rescaled    τ 1.123, fitted on validation, would make σ 0.0762 > κ 0.0500
  accuracy    teacher 0.9540, student 0.9478
  agreement   66,003 of 67,349 (98.0 %); 673 negative flips
  confidence  teacher 0.9712, student 0.9530 on average; mean d +0.0182
  |d|         median 0.0120, 90 % 0.0612, 99 % 0.1711, largest 0.4512
  other σ     max centred 0.0722; teacher-class rms 0.0810, centred 0.0762
  published   0.0642; leaves out 4,040 examples, 3,367 that the student gets
              wrong
  from cache  teacher 67,349 and 0 computed, student 0 and 67,349 computed

  not gating  validation: NOT PRESERVED, σ 0.1304 > κ 0.0500, 872 examples
              accuracy teacher 0.9540, student 0.9478
              agreement 855 of 872 (98.1 %); 8 negative flips
              σ ≤ 0.1434 on unseen inputs (95 % limit, if these are unseen)
              from cache: teacher 872 and 0 computed, student 0 and 872 computed

  warning: `--beta 0.1` is below ln 2 with 67,349 examples: it looks like a
    mean, and β is a sum [mean-for-sum]
    hint: pass the mean as `--beta-per-example 0.1`
  more: `audit explain mean-for-sum`

  furthest apart (d = teacher's confidence − student's)
  index        d  teacher          student          label
  51007  +0.4512  positive 0.9812  positive 0.5300  positive
         “a gripping film that never lets its audience go, and never lets them…”
"
    );
}

#[test]
fn a_suite_in_80_columns_begins_with_a_table_and_ends_with_a_count() {
    let mut report = samples::suite();
    for row in &mut report.tasks {
        row.worst.clear();
    }
    let alone = |task: &str| {
        let mut alone = report.clone();
        alone.tasks.retain(|row| row.task == task);
        render(&alone, &NARROW)
    };
    let (sst2, mrpc) = (alone("sst2"), alone("mrpc"));
    let expected = format!(
        "\
COULD NOT RUN  3 audits: 1 preserved, 1 not preserved, 1 could not run

task  verdict             σ       κ  acc. T  acc. S  agreement  examples
sst2  PRESERVED      0.0446  0.0500  0.9540  0.9478     98.0 %    67,349
mrpc  NOT PRESERVED  0.1460  0.0500  0.9540  0.9478     98.0 %     3,668
rte   COULD NOT RUN       –       –       –       –          –         –

{sst2}
{mrpc}
COULD NOT RUN  rte/train
  teacher     models/rte/teacher (bert, 66,955,010 weights)
  student     models/rte/student (bert, 66,955,010 weights)
  error: teacher `out/bert` and student `out/tiny` name different labels:
    [negative, positive] against [entailment, not_entailment]
    hint: these look like checkpoints of two tasks; pass --label-map

COULD NOT RUN  3 audits: 1 preserved, 1 not preserved, 1 could not run  exit 3
"
    );
    assert_eq!(render(&report, &NARROW), expected);
    assert!(mrpc.contains("  F1          teacher 0.9652, student 0.9147\n"), "{mrpc}");
    let disagree =
        "The two splits disagree: confidence is preserved on train, which gates, and not \
                    on validation. The bound on train does not carry over to inputs that the \
                    student has not seen.";
    assert!(sst2.split_whitespace().collect::<Vec<_>>().join(" ").contains(disagree), "{sst2}");
}

#[test]
fn in_200_columns_an_input_and_its_text_share_a_line() {
    let text = render(&samples::preserved(), &WIDE);
    assert!(text.contains(
        "51007  +0.4512  positive 0.9812  positive 0.5300  positive  “a gripping film that never \
         lets its audience go, and never lets them forget the price”\n"
    ));
}

#[test]
fn what_was_skipped_or_cut_is_counted_only_where_there_is_some() {
    let mut report = samples::preserved();
    assert!(!render(&report, &NARROW).contains("truncated"));
    report.tasks[0].skipped.count = 1_204;
    report.tasks[0].skipped.first = vec!["train.tsv:17: 3 columns, 6 expected".into()];
    report.tasks[0].figures.student.as_mut().unwrap().truncated = 3;
    let text = render(&report, &NARROW);
    assert!(text.contains("  truncated   examples cut at 128 tokens: teacher 0, student 3\n"));
    let skipped = "  skipped     1,204 rows of the data: train.tsv:17: 3 columns, 6 expected\n";
    assert!(text.contains(skipped), "{text}");
}

/// The words of the text of a report whose first row is changed, a space between two.
fn words_with(change: impl FnOnce(&mut TaskRow)) -> String {
    let mut report = samples::preserved();
    change(&mut report.tasks[0]);
    render(&report, &NARROW).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_row_says_what_is_not_as_usual() {
    let first = render(&samples::partial(), &NARROW).lines().next().unwrap().to_owned();
    assert_eq!(first, "PRESERVED  sst2/train  σ 0.0446 ≤ κ 0.0500  (partial: 500 of 67,349)");
    let unlabelled = render(&samples::unlabelled(), &NARROW);
    assert!(unlabelled.contains("  accuracy    – (no example of this split has a label)\n"));
    let other_reading = words_with(|row| {
        row.statistic = crate::confidence::Statistic::Centred;
        row.confidence = crate::confidence::ConfidenceKind::TeacherClass;
    });
    // 0.9 · 0.0446 = 0.04014
    assert!(other_reading.contains("σ 0.0401 ≤ κ 0.0500"), "{other_reading}");
    assert!(other_reading.contains("(centred, teacher-class)"), "{other_reading}");
    let disagreeing = words_with(|row| {
        (row.variants[2].sigma, row.variants[2].within_bound) = (Some(0.0512), Some(false));
    });
    assert!(disagreeing.contains("teacher-class rms 0.0512 (> κ), centred 0.0424"));
    let (kappa, beta, alpha, gamma) = (0.04, 107.7584, 0.0, 1.0);
    let within_bound = Some(false);
    let recorded = words_with(|row| {
        row.student_bound = Some(StudentBound { kappa, beta, alpha, gamma, within_bound });
    });
    assert!(recorded.contains(
        "own record κ 0.0400 (β 107.8 nats, α 0, γ 1) by the student's training: σ is above it"
    ));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for (name, report) in samples::all() {
        for width in [60, 72, 80, 100, 120, 200] {
            let text = render(&report, &RenderOptions { color: false, width });
            for line in text.lines() {
                assert!(columns(line) <= width, "{name} in {width} columns: {line}");
            }
        }
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    for (name, report) in samples::all() {
        let coloured = render(&report, &RenderOptions { color: true, width: 80 });
        assert!(coloured.contains('\u{1b}'), "{name}");
        let mut plain = String::new();
        let mut parts = coloured.split('\u{1b}');
        plain.push_str(parts.next().unwrap());
        for part in parts {
            plain.push_str(part.split_once('m').unwrap().1);
        }
        // Padding behind a painted header is kept; a plain line is trimmed.
        let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
        let expected = render(&report, &NARROW);
        assert_eq!(trimmed, expected.lines().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn hostile_text_neither_acts_on_the_terminal_nor_on_a_runner() {
    let text = render(&samples::hostile(), &NARROW);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    assert!(!text.contains('\u{202e}') && !text.contains("##["));
    assert!(text.lines().all(|line| !line.trim_start().starts_with("::")));
    assert!(text.contains("<script>"));
    let mut first = samples::hostile();
    first.tasks[0].worst.reverse();
    assert!(render(&first, &NARROW).contains("“<script>alert(1)</script>” + “"));
}

#[test]
fn a_report_without_rows_says_so() {
    let mut report = samples::could_not_run();
    report.tasks.clear();
    assert_eq!(render(&report, &NARROW), "COULD NOT RUN  no task was audited\n");
}

#[test]
fn only_rows_that_do_not_gate_are_still_shown() {
    let mut report = samples::preserved();
    report.tasks.remove(0);
    let text = render(&report, &NARROW);
    assert!(text.starts_with("NOT PRESERVED  sst2/validation  σ 0.1010 > κ 0.0500"), "{text}");
    assert!(text.contains("(does not gate)"));
}
