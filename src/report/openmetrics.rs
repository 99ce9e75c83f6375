//! OpenMetrics 1.0 text: a gauge per figure, for GitLab's metrics reports and for Prometheus.
//!
//! A value that is not defined is left out, so a row that could not run has its
//! `confidence_audit_error` alone. Every sample has the labels `task`, `split` and `gates`.

use std::collections::BTreeSet;

use super::display::neutralise;
use super::figures::{self, Figure, Of};
use super::schema::{Interval, Outcome, Report, TaskRow, UpperLimit};

/// One value of a row, with the labels that it has besides the row's.
struct MetricSample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// The figure that the certainty of sigma is written before.
const AFTER_CERTAINTY: &str = "sigma_recalibrated";

/// The whole exposition.
pub(super) fn render(report: &Report) -> String {
    let rows: Vec<_> = report.tasks.iter().zip(row_labels(report)).collect();
    let mut out = String::new();
    let mut family = |name: &str, unit: Option<&str>, help: &str, samples: &Samples| {
        let of_row = |(row, labels): &(&TaskRow, String)| -> String {
            samples(row).iter().map(|sample| line(name, labels, sample)).collect()
        };
        let lines: String = rows.iter().map(of_row).collect();
        if lines.is_empty() {
            return;
        }
        out.push_str(&format!("# TYPE confidence_audit_{name} gauge\n"));
        if let Some(unit) = unit {
            out.push_str(&format!("# UNIT confidence_audit_{name} {unit}\n"));
        }
        out.push_str(&format!("# HELP confidence_audit_{name} {help}\n{lines}"));
    };
    let help = "1 where the student preserves its teacher's confidence, else 0.";
    family("preserved", None, help, &|row| match row.verdict {
        Outcome::Error => Vec::new(),
        verdict => labelled(Vec::new(), flag(verdict == Outcome::Preserved)),
    });
    let help = "1 where the audit could not be carried out, else 0.";
    family("error", None, help, &|row| labelled(Vec::new(), flag(row.verdict == Outcome::Error)));
    for figure in figures::all().filter(|figure| figure.metric) {
        if figure.name == AFTER_CERTAINTY {
            let help = "The ends of an interval of sigma, and how it was made.";
            family("sigma_interval", None, help, &intervals);
            let help = "What sigma of unseen inputs is at most, at a level.";
            family("sigma_unseen_limit", None, help, &|row| {
                let limit = row.sigma_unseen.into_iter();
                let level = |limit: UpperLimit| vec![("level", limit.level.to_string())];
                limit.flat_map(|limit| labelled(level(limit), Some(limit.sigma))).collect()
            });
        }
        family(figure.name, figure.unit, figure.help, &|row| samples(figure, row));
    }
    out + "# EOF\n"
}

/// The samples of a metric in one row.
type Samples = dyn Fn(&TaskRow) -> Vec<MetricSample>;

fn samples(figure: &Figure, row: &TaskRow) -> Vec<MetricSample> {
    match figure.of {
        Of::Pair(_) => labelled(Vec::new(), figure.of_pair(row).value),
        Of::Model(_) => [("teacher", &row.figures.teacher), ("student", &row.figures.student)]
            .into_iter()
            .filter_map(|(role, model)| Some((role, figure.of_model(model.as_ref()?).value)))
            .flat_map(|(role, value)| labelled(vec![("model", role.to_owned())], value))
            .collect(),
    }
}

fn flag(is_set: bool) -> Option<f64> {
    Some(f64::from(u8::from(is_set)))
}

fn intervals(row: &TaskRow) -> Vec<MetricSample> {
    let bootstrap = row.sigma_interval.map(|interval| ends("bootstrap", interval));
    let draws = row.sequential.map(|draws| ends("sequential", draws.sigma_interval));
    bootstrap.into_iter().chain(draws).flatten().collect()
}

fn line(name: &str, row: &str, sample: &MetricSample) -> String {
    let more: String =
        sample.labels.iter().map(|(key, value)| format!(",{key}=\"{}\"", escape(value))).collect();
    format!("confidence_audit_{name}{{{row}{more}}} {}\n", sample.value)
}

/// Each row's labels; no two rows have the same, since a series may occur only once.
fn row_labels(report: &Report) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut unique = |row: &TaskRow| {
        let labels = |split: &str| {
            format!("task=\"{}\",split=\"{split}\",gates=\"{}\"", escape(&row.task), row.gates)
        };
        let split = escape(&row.split);
        let again = (2..).map(|time| labels(&format!("{split} ({time})")));
        let mut candidates = std::iter::once(labels(&split)).chain(again);
        candidates.find(|it| taken.insert(it.clone())).expect("unbounded range yields a free split")
    };
    report.tasks.iter().map(&mut unique).collect()
}

fn labelled(labels: Vec<(&'static str, String)>, value: Option<f64>) -> Vec<MetricSample> {
    let defined = value.filter(|value| value.is_finite());
    defined.map(|value| MetricSample { labels, value }).into_iter().collect()
}

fn ends(method: &str, Interval { low, high, level }: Interval) -> Vec<MetricSample> {
    [("low", low), ("high", high)]
        .into_iter()
        .flat_map(|(end, value)| {
            let labels = [("method", method), ("end", end), ("level", &level.to_string())];
            labelled(labels.map(|(key, value)| (key, value.to_owned())).into(), Some(value))
        })
        .collect()
}

/// A label's value between its quotes.
///
/// GitLab takes text after a `#` for a comment, inside quotes too, so it is replaced by its wide form.
fn escape(text: &str) -> String {
    let text = neutralise(text).replace('#', "＃");
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::super::samples;
    use super::*;

    type Labels = BTreeMap<String, String>;

    /// A sample as a reader has it: name, labels, value.
    pub struct Read {
        pub name: String,
        pub labels: Labels,
        pub value: f64,
    }

    /// Reads an exposition by the grammar of OpenMetrics 1.0, gauges alone; panics where it differs.
    pub fn parse(text: &str) -> Vec<Read> {
        let body = text.strip_suffix("# EOF\n").expect("the end is marked");
        let (mut samples, mut series) = (Vec::new(), BTreeSet::new());
        let mut families: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in body.split_terminator('\n') {
            let Some(descriptor) = line.strip_prefix("# ") else {
                let sample = parse_sample(line);
                assert_eq!(families.last().unwrap().0, sample.name, "{line}");
                assert!(
                    series.insert((sample.name.clone(), sample.labels.clone())),
                    "twice: {line}"
                );
                samples.push(sample);
                continue;
            };
            let [kind, name, rest] = descriptor.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            if families.last().is_none_or(|(family, _)| *family != name) {
                assert!(families.iter().all(|(family, _)| *family != name), "{name} is torn apart");
                families.push((name, Vec::new()));
            }
            families.last_mut().unwrap().1.push(kind);
            match kind {
                "TYPE" => assert_eq!(rest, "gauge"),
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                _ => assert!(!rest.contains(['\\', '"'])),
            }
        }
        for (name, kinds) in families {
            let known = [&["TYPE", "HELP"][..], &["TYPE", "UNIT", "HELP"]].contains(&&kinds[..]);
            assert!(known, "{name}: {kinds:?}");
        }
        samples
    }

    fn parse_sample(line: &str) -> Read {
        let (name, mut rest) = line.split_once('{').expect("every sample has labels");
        assert!(is_name(name), "{line}");
        let mut labels = Labels::new();
        loop {
            let (key, quoted) = rest.split_once("=\"").expect("a label");
            assert!(is_name(key), "{line}");
            let (value, after) = unquote(quoted);
            assert!(labels.insert(key.to_owned(), value).is_none(), "{key} twice: {line}");
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    let value = after.strip_prefix("} ").expect("a value");
                    let number = |c: char| c.is_ascii_digit() || "+-.e".contains(c);
                    assert!(value.chars().all(number), "{line}");
                    let value = value.parse().unwrap();
                    return Read { name: name.to_owned(), labels, value };
                }
            }
        }
    }

    fn is_name(name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// A label's value, and what stands behind its closing quote.
    fn unquote(text: &str) -> (String, &str) {
        let mut value = String::new();
        let mut rest = text.char_indices();
        while let Some((at, c)) = rest.next() {
            match c {
                '"' => return (value, &text[at + 1..]),
                '\\' => value.push(match rest.next().expect("an escaped character").1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("\\{c}"),
                }),
                c => value.push(c),
            }
        }
        panic!("no closing quote: {text}");
    }

    fn value(read: &[Read], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |read: &Read| {
            let equal =
                |(key, value): &(&str, &str)| read.labels.get(*key).is_some_and(|v| v == value);
            read.name == format!("confidence_audit_{name}") && labels.iter().all(equal)
        };
        let found: Vec<f64> = read.iter().filter(|it| has(it)).map(|it| it.value).collect();
        assert!(found.len() <= 1, "{name}");
        found.first().copied()
    }

    #[test]
    fn the_figures_stand_under_their_names() {
        let read = parse(&render(&samples::suite()));
        let train = [("task", "sst2"), ("split", "train"), ("gates", "true")];
        let of = |name: &str, more: &[(&str, &str)]| value(&read, name, &[&train, more].concat());
        assert_eq!(of("sigma", &[]), Some(0.0446));
        assert_eq!(of("kappa", &[]), Some(0.05));
        assert_eq!(of("preserved", &[]), Some(1.0));
        assert_eq!(of("accuracy", &[("model", "teacher")]), Some(0.954));
        assert_eq!(of("accuracy", &[("model", "student")]), Some(0.9478));
        assert_eq!(of("examples", &[]), Some(67_349.0));
        // 0.0446² / 0.05², by hand 0.7957.
        assert!((of("budget_spent_ratio", &[]).unwrap() - 0.795_664).abs() < 1e-9);
        assert_eq!(of("sigma_recalibrated", &[]), Some(0.0446 * 0.95));
        let low = [("method", "bootstrap"), ("end", "low"), ("level", "0.95")];
        assert_eq!(of("sigma_interval", &low), Some(0.0446 * 0.98));
        let beside = [("task", "sst2"), ("split", "validation"), ("gates", "false")];
        assert_eq!(value(&read, "preserved", &beside), Some(0.0));
        assert_eq!(value(&read, "sigma_unseen_limit", &beside), Some(0.101 * 1.1));
        assert_eq!(value(&read, "f1", &[("task", "mrpc"), ("model", "student")]), Some(0.9147));
    }

    #[test]
    fn a_row_that_could_not_run_has_an_error_and_nothing_else() {
        let read = parse(&render(&samples::suite()));
        let of_rte: Vec<&Read> = read.iter().filter(|it| it.labels["task"] == "rte").collect();
        assert_eq!(of_rte.len(), 1);
        assert_eq!((&of_rte[0].name[..], of_rte[0].value), ("confidence_audit_error", 1.0));
        assert_eq!(value(&read, "error", &[("task", "mrpc")]), Some(0.0));
    }

    #[test]
    fn what_an_early_end_leaves_open_is_left_out() {
        let read = parse(&render(&samples::failed_fast()));
        assert_eq!(value(&read, "sigma", &[]), None);
        assert_eq!(value(&read, "sigma_at_least", &[]), Some(0.0508));
        assert_eq!(value(&read, "examples_run", &[]), Some(26_112.0));
        let read = parse(&render(&samples::statistical()));
        assert_eq!(value(&read, "sigma_interval", &[("end", "high")]), Some(0.0501));
        let mut report = samples::preserved();
        report.tasks[0].kappa = Some(f64::NAN);
        let read = parse(&render(&report));
        assert_eq!(value(&read, "kappa", &[("split", "train")]), None);
    }

    #[test]
    fn labels_come_back_as_one_text_each_and_no_two_rows_are_one_series() {
        assert_eq!(escape("a\\b\"c\nd#e"), "a\\\\b\\\"c d＃e");
        let all = samples::HOSTILE.join(" ");
        let mut report = samples::hostile();
        report.tasks.push(report.tasks[0].clone());
        let read = parse(&render(&report));
        let shown = neutralise(&all).replace('#', "＃");
        let errors: Vec<&Read> =
            read.iter().filter(|it| it.name == "confidence_audit_error").collect();
        assert_eq!((&errors[0].labels["task"], &errors[0].labels["split"]), (&shown, &shown));
        assert_eq!(errors[2].labels["split"], format!("{shown} (2)"));
    }

    #[test]
    fn gitlab_finds_no_comment_behind_a_sample() {
        for (name, report) in samples::all() {
            for line in render(&report).lines().filter(|line| !line.starts_with("# ")) {
                assert!(!line.contains('#'), "{name}: {line}");
            }
        }
    }
}
