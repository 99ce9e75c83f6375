//! CI: action.yml, its script, the examples of docs/pipelines.md.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{ArgAction, CommandFactory};
use common::{glue, says, tiny_pair, Run, Sandbox};
use confidence_audit::cli::Cli;
use serde_norway::Value;

#[path = "pipelines/examples.rs"]
mod examples;

/// Flags of the program that the action's script sets itself.
const OF_THE_SCRIPT: [&str; 2] = ["format", "github-output"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn action() -> Value {
    serde_norway::from_str(&read("action.yml")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is no string"))
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_mapping().unwrap().iter().map(|(key, value)| (text(key), value))
}

/// The inputs with their defaults.
fn inputs() -> BTreeMap<String, String> {
    let default = |input: &Value| input.get("default").map_or("", text).to_owned();
    let action = action();
    entries(&action["inputs"]).map(|(name, input)| (name.to_owned(), default(input))).collect()
}

/// `INPUT_BETA_PER_EXAMPLE` for `beta-per-example`.
fn variable(input: &str) -> String {
    format!("INPUT_{}", input.to_uppercase().replace('-', "_"))
}

/// How the action ended, and what GitHub would have of it.
struct Step {
    run: Run,
    outputs: BTreeMap<String, String>,
    summary: String,
}

/// Runs the action's steps as GitHub does in the workspace `sandbox`, with programs from the folder
/// `program`, and with the home folder of `machine`.
fn act_with(program: &Path, machine: &Sandbox, sandbox: &Sandbox, given: &[(&str, &str)]) -> Step {
    let mut inputs = inputs();
    for (name, value) in given {
        assert!(inputs.insert((*name).to_owned(), (*value).to_owned()).is_some(), "{name}");
    }
    let (output, summary) = (sandbox.write("output", ""), sandbox.write("summary", ""));
    let mut ended = None;
    for step in action()["runs"]["steps"].as_sequence().unwrap() {
        assert_eq!(step["shell"], "bash");
        let script = sandbox.write("step.sh", text(&step["run"]));
        let mut bash = assert_cmd::Command::new("bash");
        // https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax: shell
        bash.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(script);
        bash.current_dir(sandbox.path(".")).env_clear().envs(sandbox.environment());
        bash.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", program.display()));
        bash.env("HOME", machine.path("home"));
        bash.env("GITHUB_ACTION_PATH", env!("CARGO_MANIFEST_DIR"));
        bash.env("GITHUB_WORKSPACE", sandbox.path("."));
        bash.env("GITHUB_OUTPUT", &output).env("GITHUB_STEP_SUMMARY", &summary);
        for (name, value) in step.get("env").into_iter().flat_map(entries) {
            let input =
                text(value).strip_prefix("${{ inputs.").and_then(|it| it.strip_suffix(" }}"));
            bash.env(name, &inputs[input.expect("an input alone")]);
        }
        let run = Run::of(bash);
        let failed = run.code != 0;
        ended = Some(run);
        if failed {
            break;
        }
    }
    let outputs = sandbox.read("output");
    let outputs = outputs.lines().map(|line| line.split_once('=').expect("name=value"));
    Step {
        run: ended.expect("the action has steps"),
        outputs: outputs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        summary: sandbox.read("summary"),
    }
}

fn act(sandbox: &Sandbox, given: &[(&str, &str)]) -> Step {
    let program = Path::new(env!("CARGO_BIN_EXE_audit")).parent().unwrap();
    act_with(program, &Sandbox::new(), sandbox, given)
}

impl Step {
    #[track_caller]
    fn gives(&self, code: i32, verdict: &str, report: &str) -> &Self {
        assert_eq!(self.run.code, code, "{}", self.run.stderr);
        let names: Vec<&str> = self.outputs.keys().map(String::as_str).collect();
        assert_eq!(names, ["report", "sigma", "verdict"]);
        assert_eq!((&self.outputs["verdict"][..], &self.outputs["report"][..]), (verdict, report));
        self
    }
}

/// The inputs for [`tiny_pair`].
const PAIR: [(&str, &str); 4] =
    [("task", "sst2"), ("data", "glue"), ("teacher", "teacher"), ("student", "student")];

#[test]
fn every_input_is_a_flag_and_reaches_the_script_through_the_environment() {
    let program = Cli::command();
    let action = action();
    let steps = action["runs"]["steps"].as_sequence().unwrap();
    let environment: BTreeMap<&str, &str> = steps
        .iter()
        .flat_map(|step| step.get("env").into_iter().flat_map(entries))
        .map(|(name, value)| (name, text(value)))
        .collect();
    assert_eq!(environment.len(), inputs().len(), "a variable is no input's");
    for (input, about) in entries(&action["inputs"]) {
        assert_eq!(environment[&variable(input)[..]], format!("${{{{ inputs.{input} }}}}"));
        assert!(text(&about["description"]).ends_with('.'), "{input}");
        assert!(about.get("default").is_some() != about.get("required").is_some(), "{input}");
        if input == "args" {
            continue;
        }
        let flag = program.get_arguments().find(|flag| flag.get_long() == Some(input));
        let flag = flag.unwrap_or_else(|| panic!("audit has no --{input}"));
        let takes_a_value = flag.get_num_args().is_none_or(|range| range.max_values() > 0);
        let is_alone = matches!(flag.get_action(), ArgAction::SetTrue) || !takes_a_value;
        assert_eq!(about.get("default").map(text) == Some("false"), is_alone, "{input}");
    }
    for step in steps {
        assert!(!text(&step["run"]).contains("${{"), "an input inside a script");
    }
    let outputs: Vec<&str> = entries(&action["outputs"]).map(|(name, _)| name).collect();
    assert_eq!(outputs, ["verdict", "sigma", "report"]);
    for (name, output) in entries(&action["outputs"]) {
        assert_eq!(text(&output["value"]), format!("${{{{ steps.audit.outputs.{name} }}}}"));
    }
}

/// A program of one's own at `path`, for `sh`; answers the folder that it lies in.
fn program(sandbox: &Sandbox, path: &str, script: &str) -> PathBuf {
    let path = sandbox.write(path, format!("#!/bin/sh\n{script}"));
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path.parent().unwrap().to_owned()
}

/// What `audit --version` prints.
const VERSION: &str = concat!("audit ", env!("CARGO_PKG_VERSION"));

/// A stand-in for `audit` of that version, which writes its arguments to the file `arguments`, each
/// in a line of its own.
fn recorder(sandbox: &Sandbox, path: &str, version: &str) -> PathBuf {
    let says = format!("if [ \"$1\" = --version ]; then echo '{version}'; exit; fi\n");
    program(sandbox, path, &(says + "printf '<%s>\\n' \"$@\" > arguments\n"))
}

#[test]
fn an_input_is_always_one_argument() {
    let (machine, sandbox) = (Sandbox::new(), Sandbox::new());
    let program = recorder(&machine, "bin/audit", VERSION);
    let nasty = "a b' \" \\ $(touch owned) `touch owned` ; touch owned # * --kappa=1";
    let own = inputs();
    let valued = own.iter().filter(|(name, default)| *default != "false" && *name != "args");
    let mut given: Vec<(&str, &str)> =
        valued.map(|(name, _)| (&name[..], nasty)).chain([("fail-fast", "true")]).collect();
    given.push(("exit-zero", "true"));
    given.push(("args", "--seed=7\r\n\n--statistic\ncentred\n--label-map=a b=c d"));
    act_with(&program, &machine, &sandbox, &given);
    let recorded = sandbox.read("arguments");
    let arguments: BTreeSet<&str> = recorded.lines().collect();
    let mut expected: BTreeSet<String> = given
        .iter()
        .filter(|(_, value)| *value == nasty)
        .map(|(name, value)| format!("<--{name}={value}>"))
        .collect();
    let more = ["format=github", "fail-fast", "exit-zero", "seed=7", "label-map=a b=c d"];
    expected.extend(more.map(|flag| format!("<--{flag}>")));
    expected.extend(["<--statistic>", "<centred>"].map(str::to_owned));
    let outputs = |it: &&str| it.starts_with("<--github-output=");
    assert_eq!(arguments.iter().filter(|it| outputs(it)).count(), 1);
    let others: BTreeSet<String> =
        arguments.iter().filter(|it| !outputs(it)).map(|it| (*it).to_owned()).collect();
    assert_eq!(others, expected);
    assert!(!sandbox.path("owned").exists());
}

#[test]
fn without_inputs_audit_has_its_own_defaults() {
    let (machine, sandbox) = (Sandbox::new(), Sandbox::new());
    let program = recorder(&machine, "bin/audit", VERSION);
    act_with(&program, &machine, &sandbox, &[("task", "sst2")]);
    let recorded = sandbox.read("arguments");
    let flags: Vec<&str> = recorded.lines().map(|it| it.split('=').next().unwrap()).collect();
    assert_eq!(flags, ["<--format", "<--output-dir", "<--task", "<--github-output"]);
    let known: BTreeSet<_> = Cli::command()
        .get_arguments()
        .filter_map(|flag| flag.get_long().map(str::to_owned))
        .collect();
    assert!(OF_THE_SCRIPT.iter().all(|flag| known.contains(*flag)));
}

/// A stand-in for `cargo` that writes its arguments to the file `cargo` of `machine` and its working
/// folder to `folder`, and then runs `script` in `machine`.
fn cargo(machine: &Sandbox, script: &str) {
    let root = machine.arg("");
    let says = format!("pwd -P > '{root}/folder'\ncd '{root}'\nprintf '<%s>\\n' \"$@\" >> cargo\n");
    program(machine, "bin/cargo", &(says + script));
}

const INSTALLS: &str = "mkdir -p home/.cargo/bin\ncp built home/.cargo/bin/audit\n";

#[test]
fn an_audit_of_another_version_or_of_another_kind_is_not_run() {
    for stranger in ["audit 0.0.1", "audit-userspace 4.0", ""] {
        let (machine, sandbox) = (Sandbox::new(), Sandbox::new());
        let path = program(&machine, "bin/audit", &format!("echo '{stranger}'\n"));
        recorder(&machine, "built", VERSION);
        cargo(&machine, INSTALLS);
        for runs in 1..=2 {
            let step = act_with(&path, &machine, &sandbox, &[("task", "sst2")]);
            assert_eq!(step.run.code, 0, "{}", step.run.stderr);
            assert!(sandbox.read("arguments").contains("<--task=sst2>"), "{runs}");
        }
        // Once: the second run finds it where the first has put it.
        let root = machine.arg("home/.cargo");
        let source = env!("CARGO_MANIFEST_DIR");
        let install =
            ["install", "--locked", "--force", "--root", &root, "--path", source, ""].join(">\n<");
        assert_eq!(machine.read("cargo"), format!("<{}", install.trim_end_matches('<')));
        // The workspace may have a rust-toolchain.toml and a .cargo/config.toml.
        assert_eq!(machine.read("folder").trim_end(), source);
    }
}

#[test]
fn an_audit_of_this_version_is_not_installed_again() {
    for place in ["bin/audit", "home/.cargo/bin/audit"] {
        let (machine, sandbox) = (Sandbox::new(), Sandbox::new());
        cargo(&machine, "exit 1\n");
        recorder(&machine, place, VERSION);
        let step = act_with(&machine.path("bin"), &machine, &sandbox, &[("task", "sst2")]);
        assert_eq!(step.run.code, 0, "{}", step.run.stderr);
        assert!(sandbox.path("arguments").exists() && !machine.path("cargo").exists(), "{place}");
    }
}

#[test]
fn a_program_of_the_workspace_is_not_run() {
    let (machine, sandbox) = (Sandbox::new(), Sandbox::new());
    recorder(&machine, "built", VERSION);
    cargo(&machine, INSTALLS);
    let tools = ["audit", "cargo", "sed", "cat", "tr", "dirname", "mktemp", "rm", "printf", "pwd"];
    for name in tools {
        program(&sandbox, &format!("bin/{name}"), "touch planted\n");
        program(&sandbox, &format!("home/.cargo/bin/{name}"), "touch planted\n");
    }
    let path = format!("{}:bin:.::{}", sandbox.arg("bin"), machine.arg("bin"));
    let step = act_with(Path::new(&path), &machine, &sandbox, &[("task", "sst2")]);
    assert_eq!(step.run.code, 0, "{}", step.run.stderr);
    assert!(machine.path("cargo").exists() && sandbox.path("arguments").exists());
    assert!(!sandbox.path("planted").exists());
}

#[test]
fn an_output_folder_is_never_a_flag() {
    let (sandbox, _) = tiny_pair();
    for folder in ["--exit-zero", "-n"] {
        let given = [("kappa", "0.001"), ("output-dir", folder)];
        let step = act(&sandbox, &[&PAIR[..], &given].concat());
        step.gives(1, "not_preserved", &format!("./{folder}"));
        assert_eq!(step.summary, sandbox.read(&format!("{folder}/report.md")));
    }
}

#[test]
fn an_audit_that_cannot_be_installed_is_an_audit_that_could_not_run() {
    let (machine, sandbox) = (Sandbox::new(), Sandbox::new());
    cargo(&machine, "exit 101\n");
    let path = recorder(&machine, "bin/audit", "audit 0.0.1");
    let step = act_with(&path, &machine, &sandbox, &[("task", "sst2")]);
    step.gives(3, "error", "");
    says(&step.run.stderr, &[VERSION, "could not be installed", "hint: "]);
    assert!(!sandbox.path("arguments").exists());
}

#[test]
fn the_action_exits_with_the_code_of_the_audit() {
    let (sandbox, _) = tiny_pair();
    let passed = act(&sandbox, &[&PAIR[..], &[("kappa", "0.2")]].concat());
    passed.gives(0, "preserved", "audit-report");
    says(&passed.run.stdout, &["::notice title=sst2/train%3A preserved::"]);
    assert_eq!(passed.summary, sandbox.read("audit-report/report.md"));
    says(&passed.summary, &["PRESERVED: confidence audit of sst2"]);

    let failed = act(&sandbox, &[&PAIR[..], &[("output-dir", "my reports")]].concat());
    failed.gives(1, "not_preserved", "my reports");
    says(&failed.run.stdout, &["::error title=sst2/train%3A not preserved::"]);
    assert_eq!(failed.summary, sandbox.read("my reports/report.md"));
    let report: serde_json::Value =
        serde_json::from_str(&sandbox.read("my reports/report.json")).unwrap();
    let sigma: f64 = failed.outputs["sigma"].parse().unwrap();
    assert_eq!(report["tasks"][0]["sigma"], sigma);

    let tolerated = [("kappa", "0.001"), ("fail-fast", "true"), ("exit-zero", "true")];
    let tolerated = act(&sandbox, &[&PAIR[..], &tolerated].concat());
    tolerated.gives(0, "not_preserved", "audit-report");
}

#[test]
fn a_run_that_fails_sets_the_outputs() {
    let (sandbox, _) = tiny_pair();
    sandbox.checkpoint("other", "architectures/electra", glue::labels("rte"));
    let given = [("task", "sst2"), ("data", "glue"), ("teacher", "teacher"), ("student", "other")];
    let step = act(&sandbox, &given);
    step.gives(3, "error", "audit-report");
    says(&step.summary, &["COULD NOT RUN"]);
    says(&step.run.stdout, &["::error title=sst2/train%3A could not run::"]);
    assert_eq!(step.outputs["sigma"], "");

    // Nothing is run, so the earlier run's report is not this one's.
    for wrong in [("kappa", "-1"), ("args", "--no-such-flag"), ("fail-fast", "yes")] {
        let step = act(&sandbox, &[&PAIR[..], &[wrong]].concat());
        step.gives(2, "error", "");
        assert_eq!((&step.summary[..], &step.outputs["sigma"][..]), ("", ""));
        says(&step.run.stderr, &["error: "]);
    }
    let step = act(&sandbox, &[&PAIR[..], &[("output-dir", "a\nverdict=preserved")]].concat());
    step.gives(2, "error", "");
}

#[test]
fn a_hostile_task_name_is_not_executed_and_forges_no_output() {
    let (sandbox, _) = tiny_pair();
    let name = "x' $(touch owned) `touch owned`\n::error::owned\nverdict=preserved\n; touch owned";
    let config = format!(
        "[task.{}]\nteacher = \"../teacher\"\nstudent = \"../student\"\ntext = \"sentence\"\n\
         label = \"label\"\nlabels = [\"negative\", \"positive\"]\n\
         splits = {{ train = \"../glue/SST-2/train.tsv\" }}\n",
        serde_json::to_string(name).unwrap()
    );
    sandbox.write("my configs/a b.toml", config);
    let given = [("task", name), ("config", "my configs/a b.toml"), ("args", "--statistic=rms")];
    let step = act(&sandbox, &given);
    step.gives(1, "not_preserved", "audit-report");
    for line in step.run.stdout.lines() {
        let levels = ["error", "warning", "notice"];
        assert!(levels.iter().any(|it| line.starts_with(&format!("::{it} title=x"))), "{line}");
    }
    assert!(!step.summary.contains("\n::error") && !sandbox.path("owned").exists());
    assert!(sandbox.read("audit-report/metrics.txt").ends_with("# EOF\n"));
}

/// A runner reads commands from stderr, too, and a terminal carries out what is printed there.
#[test]
fn what_is_printed_to_stderr_has_no_command_and_no_escape() {
    let sandbox = Sandbox::new();
    let evil = "x\n::add-mask::y\n \t::error::z\r##[error]\u{1b}[2J\u{9b}31m\u{202e}";
    let header = "id,probability_negative,probability_positive,label";
    sandbox.write("labels.csv", format!("{header}\n1,0.1,0.9,\"{evil}\"\n"));
    let config = format!("{evil}.toml");
    sandbox.write(&config, "[defaults]\nkapa = 1\n");
    let labels = ["--teacher-predictions", "labels.csv", "--student-predictions", "labels.csv"];
    let runs = [
        sandbox.audit(&common::with(&["check", "--task", "sst2", "--format", "github"], &labels)),
        sandbox.audit(&["--task", "sst2", "--config", &config]),
        sandbox.audit(&["--task", evil, "--teacher", evil, "--student", evil]),
        sandbox.audit(&[evil]),
        sandbox.audit(&["--device", evil]),
        sandbox.audit(&["render", evil]),
    ];
    for run in runs {
        assert!(run.code >= 2 && run.stderr.contains("error: "), "{}", run.stderr);
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!run.stderr.contains(acts) && !run.stderr.contains("##["), "{}", run.stderr);
        for line in run.stderr.lines() {
            assert!(!line.trim_start().starts_with("::"), "{line}");
        }
    }
}

#[test]
fn a_file_for_the_outputs_that_cannot_be_written_is_found_before_the_run() {
    let (sandbox, pair) = tiny_pair();
    let run = sandbox.audit(&common::with(&pair, &["--github-output", "glue"]));
    run.fails(3, &["cannot write `glue`", "hint: "]).prints_no_report();
    let arguments = common::with(&pair, &["--github-output", "out", "--kappa", "0.2"]);
    sandbox.write("out", "before=1\n");
    assert_eq!(sandbox.audit(&arguments).code, 0);
    says(&sandbox.read("out"), &["before=1\nverdict=preserved\nsigma=0.0"]);
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    for arguments in [&["man"][..], &["completions", "bash"], &["completions", "zsh"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_audit"));
        let child = command.args(arguments).stdout(writer).stderr(std::process::Stdio::piped());
        let output = child.output().unwrap();
        assert_eq!(
            (output.status.code(), &output.stderr[..]),
            (Some(0), &b""[..]),
            "{arguments:?}"
        );
    }
    let sandbox = Sandbox::new();
    sandbox.audit(&["completions", "tcsh"]).fails(2, &["tcsh", "possible values"]);
    assert_eq!(sandbox.audit(&["man", "--output-dir", "share/man"]).code, 0);
    assert!(sandbox.names("share/man").contains(&"audit-recalibrate.1".to_owned()));
}
