//! The pages under test, each written by a run of `audit`.

use std::sync::OnceLock;

use serde_json::{json, Value};

use crate::common::{demo, demo_audit, edit_json, glue, names_in, with, Run, Sandbox};

/// The kinds of plots that every split has which was run; a cut of the split may add one.
pub const PLOTS: usize = 5;

/// Characters without a space between them in one of the hostile inputs.
const LONG: usize = 10_000;

/// What data, labels and names may hold. No two spaces in a row, which HTML shows as one.
const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)> </p></div></main><h1>owned</h1>",
    "\u{202e}drawkcab\u{202c} then שלום עולם and on",
    "שלום עולם (hello) 1 + 2",
    "👩\u{200d}🔬 👨\u{200d}👩\u{200d}👧 🇩🇪 日本語",
    "&amp; &lt;b&gt; &#60;i&#62; &notit;",
    "a `b` ``c`` ${d} {{e}} \\n '\" =1+1",
    "<style>*{display:none}</style> <!-- ]]> <svg onload=alert(3)>",
    "<a href=\"javascript:alert(4)\">a</a> <base href=//evil.example>",
];

/// A page, and what its report says must be on it.
pub struct Page {
    pub name: &'static str,
    pub html: String,
    pub report: Value,
}

/// Every page; made once for all tests.
pub fn pages() -> &'static [Page] {
    static PAGES: OnceLock<Vec<Page>> = OnceLock::new();
    PAGES.get_or_init(|| {
        let make =
            [demonstration, passing, failing, not_run, early, statistical, six, large, hostile];
        std::thread::scope(|scope| {
            let running: Vec<_> = make.into_iter().map(|page| scope.spawn(page)).collect();
            running.into_iter().map(|page| page.join().unwrap()).collect()
        })
    })
}

pub fn page(name: &str) -> &'static Page {
    pages().iter().find(|page| page.name == name).unwrap()
}

impl Page {
    fn of(name: &'static str, sandbox: &Sandbox, run: &Run, code: i32) -> Page {
        assert_eq!(run.code, code, "{name}: {}", run.stderr);
        let report = serde_json::from_str(&sandbox.read("out/report.json")).unwrap();
        Page { name, html: sandbox.read("out/report.html"), report }
    }

    /// The report's rows, by task.
    pub fn tasks(&self) -> Vec<(&str, Vec<&Value>)> {
        let mut tasks: Vec<(&str, Vec<&Value>)> = Vec::new();
        for row in self.report["tasks"].as_array().unwrap() {
            let task = row["task"].as_str().unwrap();
            match tasks.iter_mut().find(|known| known.0 == task) {
                Some((_, rows)) => rows.push(row),
                None => tasks.push((task, vec![row])),
            }
        }
        tasks
    }

    /// Rows of which at least one example was run.
    pub fn rows_that_ran(&self) -> usize {
        let rows = self.report["tasks"].as_array().unwrap();
        rows.iter().filter(|row| row["examples_run"] != 0).count()
    }
}

/// Both verdicts in a suite.
fn demonstration() -> Page {
    let sandbox = Sandbox::new();
    let run = sandbox.audit(&["demo", "--output-dir", "out"]);
    Page::of("demo", &sandbox, &run, 0)
}

fn audit(name: &'static str, arguments: &[String], code: i32) -> Page {
    let sandbox = Sandbox::new();
    let run = sandbox.audit(&with(arguments, &["--output-dir", "out"]));
    Page::of(name, &sandbox, &run, code)
}

fn passing() -> Page {
    audit("passing", &demo_audit("student"), 0)
}

fn failing() -> Page {
    audit("failing", &demo_audit("student-overconfident"), 1)
}

/// A student whose labels are another task's.
fn not_run() -> Page {
    let sandbox = Sandbox::new();
    let student = sandbox.checkpoint("student", "architectures/electra", glue::labels("rte"));
    let (data, teacher) = (demo(""), demo("teacher"));
    let models = ["--data", &data, "--teacher", &teacher, "--student", &student];
    let run = sandbox.audit(&with(&["--task", "sst2", "--output-dir", "out"], &models));
    Page::of("not-run", &sandbox, &run, 3)
}

fn early() -> Page {
    audit("fail-fast", &with(&demo_audit("student-overconfident"), &["--fail-fast"]), 1)
}

fn statistical() -> Page {
    audit("statistical", &with(&demo_audit("student-overconfident"), &["--sequential"]), 1)
}

/// The six tasks, of which one cannot be run.
fn six() -> Page {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    glue::write_models(&sandbox);
    std::fs::remove_dir_all(sandbox.path("models/mrpc/student")).unwrap();
    let suite = with(&["--task", "all", "--allow-skipped", "--output-dir", "out"], &glue::SUITE);
    Page::of("six", &sandbox, &sandbox.audit(&suite), 3)
}

/// A report with counts as QQP's, 727 times the demo's 500 examples and more, and with as many parts
/// as a task of many labels has.
fn large() -> Page {
    let sandbox = Sandbox::new();
    let arguments = with(&demo_audit("student-overconfident"), &["--output-dir", "saved"]);
    assert_eq!(sandbox.audit(&arguments).code, 1);
    edit_json(&sandbox.path("saved/report.json"), |report| {
        for row in report["tasks"].as_array_mut().unwrap() {
            enlarge(row, 727);
            let part = |i: usize| {
                let name = format!("a label with a long name {i}");
                let (n, sigma) = (363_846 / (i + 1), 0.4321 / (i + 1) as f64);
                json!({ "by": "label", "name": name, "n": n, "sigma": sigma, "mean_difference": -0.1 })
            };
            row["groups"].as_array_mut().unwrap().extend((0..12).map(part));
        }
    });
    let run = sandbox.audit(&["render", "saved/report.json", "--output-dir", "out"]);
    Page::of("large", &sandbox, &run, 0)
}

/// Multiplies every whole number in `value`: they count examples, but for the seed.
fn enlarge(value: &mut Value, factor: u64) {
    match value {
        Value::Object(fields) => {
            let counts = fields.iter_mut().filter(|(key, _)| *key != "seed");
            counts.for_each(|(_, value)| enlarge(value, factor));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| enlarge(value, factor)),
        Value::Number(number) if number.is_u64() => {
            *value = (number.as_u64().unwrap() * factor).into();
        }
        _ => {}
    }
}

/// A task whose name, labels, data and models' folders are hostile.
fn hostile() -> Page {
    let sandbox = Sandbox::new();
    let labels = hostile_labels();
    let name = "<b>model<b> `x` שלום";
    sandbox.checkpoint(&format!("{name}t"), "architectures/distilbert", &labels);
    sandbox.checkpoint(&format!("{name}s"), "architectures/electra", &labels);
    let texts = hostile_texts();
    let rows = texts.iter().enumerate().map(|(i, text)| {
        json!({ "text": text, "other": text, "label": labels[i % 2] }).to_string() + "\n"
    });
    sandbox.write("data.jsonl", rows.collect::<String>());
    let task = json!({
        "task": { (hostile_task()): {
            "teacher": format!("{name}t"), "student": format!("{name}s"),
            "text": ["text", "other"], "label": "label", "labels": labels,
            "splits": { "train": "data.jsonl" },
        } }
    });
    sandbox.write("audit.toml", toml::to_string(&task).unwrap());
    let run = sandbox.audit(&["--task", hostile_task(), "--output-dir", "out", "--exit-zero"]);
    assert!(names_in(&sandbox.path("out")).contains(&"report.html".to_owned()), "{}", run.stderr);
    Page::of("hostile", &sandbox, &run, 0)
}

/// The task's name.
pub fn hostile_task() -> &'static str {
    HOSTILE[0]
}

/// Two labels.
pub fn hostile_labels() -> [&'static str; 2] {
    [HOSTILE[1], HOSTILE[2]]
}

/// The inputs; ten, so that all are among the ten that are shown.
pub fn hostile_texts() -> Vec<String> {
    let long: String = "<b>&`x€".chars().cycle().take(LONG).collect();
    HOSTILE.iter().map(|text| (*text).to_owned()).chain([long]).collect()
}

/// A text as the page must show it: what would reorder the line stands there by its number.
pub fn shown(text: &str) -> String {
    text.replace('\u{202e}', "\\u{202e}").replace('\u{202c}', "\\u{202c}")
}
