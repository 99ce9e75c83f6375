//! What GitHub Actions reads: workflow commands, `::error title=…::…` lines that a job's log turns
//! into annotations, and a step's outputs.

use super::display::{neutralise, truncate};
use super::findings::{findings, Finding, FindingKind};
use super::schema::{NoteLevel, Outcome, Report, TaskRow};

/// Annotations in all, of whatever kind: what is shown of one step is at least that.
const MOST: usize = 10;

/// Lines of one message, and columns of each: an annotation is a remark, not the report.
const MESSAGE_LINES: usize = 8;
const MESSAGE_COLUMNS: usize = 500;

/// Columns of a title.
const TITLE_COLUMNS: usize = 120;

/// One annotation.
struct Annotation {
    /// `error`, `warning` or `notice`.
    kind: &'static str,
    title: String,
    message: String,
}

/// Errors for gates that failed or could not run, then warnings, then notices: at most ten in all.
pub(super) fn render(report: &Report) -> String {
    let mut all: Vec<Annotation> = findings(report).iter().map(annotation).collect();
    if all.is_empty() {
        return "::error title=confidence audit::No task was audited.\n".to_owned();
    }
    let weight =
        |of: &Annotation| ["error", "warning", "notice"].iter().position(|k| *k == of.kind);
    all.sort_by_key(weight);
    shortened(all).iter().map(command).collect()
}

fn annotation(Finding { row, code, kind, text, hint }: &Finding) -> Annotation {
    let level = match (kind, row.verdict) {
        (FindingKind::Verdict, Outcome::Preserved) => "notice",
        (FindingKind::Verdict, _) if row.gates => "error",
        (FindingKind::Note(NoteLevel::Note), _) => "notice",
        _ => "warning",
    };
    let what = match kind {
        FindingKind::Note(_) => (*code).to_owned(),
        _ => code.replace('-', " "),
    };
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let title = format!("{}: {what}", row.name());
    Annotation { kind: level, title, message: format!("{text}{hint}") }
}

/// From the eleventh on, the tenth says how many are left out, as the gravest of them.
fn shortened(mut all: Vec<Annotation>) -> Vec<Annotation> {
    if all.len() > MOST {
        let left_out = all.split_off(MOST - 1);
        all.push(Annotation {
            kind: left_out[0].kind,
            title: format!("and {} more", left_out.len()),
            message: format!("{} more annotations stand in the full report.", left_out.len()),
        });
    }
    all
}

fn command(Annotation { kind, title, message }: &Annotation) -> String {
    let title = escape_property(&truncate(&neutralise(title), TITLE_COLUMNS));
    format!("::{kind} title={title}::{}\n", escape_data(message))
}

/// A step's outputs, as they are appended to the file that `$GITHUB_OUTPUT` names: the report's
/// `verdict`, and the `sigma` of the first row that gates, empty where it is not defined.
pub fn step_outputs(report: &Report) -> String {
    let verdict = match report.verdict {
        Outcome::Preserved => "preserved",
        Outcome::NotPreserved => "not_preserved",
        Outcome::Error => "error",
    };
    let gating = report.tasks.iter().find(|row| row.gates);
    let sigma = gating.and_then(TaskRow::gating_sigma).map(|sigma| sigma.to_string());
    format!("verdict={verdict}\nsigma={}\n", sigma.unwrap_or_default())
}

/// Lines are kept (as `%0A`), everything else that acts is neutralised.
fn escape_data(message: &str) -> String {
    let lines = message.lines().take(MESSAGE_LINES);
    let lines: Vec<String> =
        lines.map(|line| truncate(&neutralise(line), MESSAGE_COLUMNS)).collect();
    escape(&lines.join("\n"))
}

/// The order matters: `%` first, or the other escapes would be escaped again.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::super::schema::Note;
    use super::*;

    /// Kind, title and message of every line, unescaped the way the runner does it.
    fn parse(text: &str) -> Vec<(String, String, String)> {
        let unescape = |text: &str| {
            let text = text.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":");
            text.replace("%2C", ",").replace("%25", "%")
        };
        text.lines()
            .map(|line| {
                let (command, message) = line.strip_prefix("::").unwrap().split_once("::").unwrap();
                let (kind, properties) = command.split_once(' ').unwrap();
                assert!(!properties.contains(','), "{properties}");
                let title = properties.strip_prefix("title=").unwrap();
                (kind.to_owned(), unescape(title), unescape(message))
            })
            .collect()
    }

    #[test]
    fn a_failed_gate_is_an_error_and_a_preserved_one_a_notice() {
        let commands = parse(&render(&samples::suite()));
        let kinds: Vec<_> =
            commands.iter().map(|(kind, title, _)| (&kind[..], &title[..])).collect();
        assert_eq!(
            kinds,
            [
                ("error", "mrpc/train: not preserved"),
                ("error", "rte/train: could not run"),
                ("warning", "sst2/validation: splits disagree"),
                ("notice", "sst2/train: preserved"),
                ("notice", "sst2/train: implied-by-loss"),
            ]
        );
        assert!(commands[1]
            .2
            .ends_with("\nhint: these look like checkpoints of two tasks; pass --label-map"));
    }

    #[test]
    fn github_s_own_characters_are_escaped() {
        assert_eq!(escape_property("a:b,c%\r\n"), "a%3Ab%2Cc%25%0D%0A");
        assert_eq!(escape("100 %\n::error::"), "100 %25%0A::error::");
        let text = render(&samples::hostile());
        for (kind, title, message) in parse(&text) {
            assert!(["error", "warning", "notice"].contains(&&kind[..]));
            assert!(!title.is_empty() && !message.contains('\u{1b}'));
        }
        assert!(text.lines().all(|line| line.starts_with("::") && !line.starts_with("::set")));
    }

    fn notes_of(levels: impl IntoIterator<Item = NoteLevel>) -> Report {
        let mut report = samples::preserved();
        let note = |(code, level)| Note {
            code: format!("n{code}"),
            level,
            message: "seen".into(),
            hint: None,
        };
        report.tasks[0].notes = levels.into_iter().enumerate().map(note).collect();
        report
    }

    #[test]
    fn there_are_at_most_ten_in_all() {
        // The splits that disagree and the verdict are two more, and nine are shown.
        for (notes, tenth) in [
            (vec![NoteLevel::Warning; 30], ("warning", "and 23 more")),
            (vec![NoteLevel::Note; 8], ("notice", "sst2/train: n7")),
            (vec![NoteLevel::Note; 9], ("notice", "and 2 more")),
        ] {
            let commands = parse(&render(&notes_of(notes)));
            assert_eq!(commands.len(), 10);
            assert_eq!((&commands[9].0[..], &commands[9].1[..]), tenth);
        }
    }

    #[test]
    fn errors_come_before_warnings_before_notices() {
        let mut report = notes_of([NoteLevel::Note, NoteLevel::Warning].repeat(10));
        report.tasks.extend(samples::suite().tasks);
        let kinds = |report: &Report| -> Vec<String> {
            parse(&render(report)).into_iter().map(|(kind, ..)| kind).collect()
        };
        assert_eq!(kinds(&report), [&["error"; 2][..], &["warning"; 8]].concat());
        let mut errors = samples::could_not_run();
        errors.tasks = vec![errors.tasks[0].clone(); 12];
        assert_eq!(kinds(&errors), ["error"; 10]);
        assert_eq!(parse(&render(&errors))[9].1, "and 3 more");
    }

    #[test]
    fn a_step_s_outputs_are_the_verdict_and_the_first_gate_s_sigma() {
        assert_eq!(step_outputs(&samples::suite()), "verdict=error\nsigma=0.0446\n");
        assert_eq!(
            step_outputs(&samples::not_preserved()),
            "verdict=not_preserved\nsigma=0.0802\n"
        );
        assert_eq!(step_outputs(&samples::failed_fast()), "verdict=not_preserved\nsigma=\n");
        for (name, report) in samples::all() {
            assert_eq!(step_outputs(&report).lines().count(), 2, "{name}");
        }
    }
}
