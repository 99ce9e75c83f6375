//! GitHub workflow commands: `::error title=…::…` lines that a job's log turns into annotations.

use super::display::{neutralise, truncate};
use super::schema::{NoteLevel, Outcome, Report, TaskRow};
use super::summary::{disagreements, row_summary, verdict_word};

/// Annotations of each kind that GitHub shows for one step.
const MOST_OF_A_KIND: usize = 10;

/// Lines of one message, and columns of each: an annotation is a remark, not the report.
const MESSAGE_LINES: usize = 8;
const MESSAGE_COLUMNS: usize = 500;

/// Columns of a title.
const TITLE_COLUMNS: usize = 120;

/// One annotation.
struct Annotation {
    title: String,
    message: String,
}

/// Errors for gates that failed or could not run, warnings, notices: at most ten of each.
pub(super) fn render(report: &Report) -> String {
    let (mut errors, mut warnings, mut notices) = (Vec::new(), Vec::new(), Vec::new());
    for row in report.tasks.iter().filter(|row| row.gates) {
        let annotation = verdict(row);
        match row.verdict {
            Outcome::Preserved => notices.push(annotation),
            Outcome::NotPreserved | Outcome::Error => errors.push(annotation),
        }
    }
    for (row, message) in disagreements(report) {
        warnings.push(Annotation { title: format!("{}: splits disagree", row.name()), message });
    }
    for row in report.tasks.iter().filter(|row| !row.gates && row.verdict == Outcome::Error) {
        warnings.push(verdict(row));
    }
    for row in &report.tasks {
        for note in &row.notes {
            let hint = note.hint.as_ref().map(|hint| format!("\nhint: {hint}"));
            let annotation = Annotation {
                title: format!("{}: {}", row.name(), note.code),
                message: format!("{}{}", note.message, hint.unwrap_or_default()),
            };
            match note.level {
                NoteLevel::Warning => warnings.push(annotation),
                NoteLevel::Note => notices.push(annotation),
            }
        }
    }
    let kinds = [("error", errors), ("warning", warnings), ("notice", notices)];
    let mut out: String = kinds.into_iter().map(|(kind, all)| commands(kind, all)).collect();
    if out.is_empty() {
        out.push_str("::error title=confidence audit::No task was audited.\n");
    }
    out
}

fn verdict(row: &TaskRow) -> Annotation {
    let hint = row.error.as_ref().and_then(|error| error.hint.as_ref());
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let word = verdict_word(row.verdict).to_lowercase();
    Annotation { title: format!("{}: {word}", row.name()), message: row_summary(row) + &hint }
}

/// A kind's lines; from the eleventh on, the tenth says how many are left out.
fn commands(kind: &str, mut all: Vec<Annotation>) -> String {
    if all.len() > MOST_OF_A_KIND {
        let left_out = all.len() - (MOST_OF_A_KIND - 1);
        all.truncate(MOST_OF_A_KIND - 1);
        all.push(Annotation {
            title: format!("and {left_out} more"),
            message: format!("{left_out} more of this kind stand in the full report."),
        });
    }
    all.iter()
        .map(|Annotation { title, message }| {
            let title = escape_property(&truncate(&neutralise(title), TITLE_COLUMNS));
            format!("::{kind} title={title}::{}\n", escape_data(message))
        })
        .collect()
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

    #[test]
    fn there_are_at_most_ten_of_each_kind() {
        let mut report = samples::preserved();
        let note = |code: usize| Note {
            code: format!("w{code}"),
            level: NoteLevel::Warning,
            message: "seen".into(),
            hint: None,
        };
        report.tasks[0].notes = (0..30).map(note).collect();
        let commands = parse(&render(&report));
        let warnings: Vec<_> = commands.iter().filter(|(kind, ..)| kind == "warning").collect();
        assert_eq!(warnings.len(), 10);
        // 30 and the splits that disagree, less the nine shown.
        assert_eq!(warnings[9].1, "and 22 more");
    }
}
