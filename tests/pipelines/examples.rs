//! The examples of docs/pipelines.md and of README.md.

use std::collections::BTreeSet;

use serde_norway::Value;

use super::common::{self, names_in, says, tiny_pair, Run, Sandbox};
use super::{entries, inputs, program, read, text, VERSION};

/// The YAML blocks of a document.
fn examples(document: &str) -> Vec<Value> {
    let text = read(document);
    let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| serde_norway::from_str(block).unwrap()).collect()
}

#[test]
fn the_examples_for_github_use_the_action_s_inputs_and_outputs() {
    let own = inputs();
    let mut uses = 0;
    for document in ["README.md", "docs/pipelines.md"] {
        for workflow in examples(document).iter().filter(|it| it.get("jobs").is_some()) {
            for (_, job) in entries(&workflow["jobs"]) {
                for step in job["steps"].as_sequence().unwrap() {
                    let action = step.get("uses").map_or("", text);
                    if !action.contains("/confidence-audit@") {
                        continue;
                    }
                    uses += 1;
                    assert!(step["with"].get("task").is_some(), "{document}");
                    for (name, _) in entries(&step["with"]) {
                        assert!(own.contains_key(name), "{document}: {name}");
                    }
                }
            }
        }
        for output in read(document).split("steps.audit.outputs.").skip(1) {
            let name = output.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            assert!(["verdict", "sigma", "report"].contains(&name), "{document}: {name}");
        }
    }
    assert!(uses >= 2, "{uses}");
}

#[test]
fn the_examples_keep_what_a_run_leaves_even_where_it_fails() {
    let pipelines = examples("docs/pipelines.md");
    let workflow = pipelines.iter().find(|it| it.get("jobs").is_some()).unwrap();
    let steps = workflow["jobs"]["audit"]["steps"].as_sequence().unwrap();
    let using = |action: &str| {
        let found = steps.iter().find(|it| it.get("uses").map(text) == Some(action));
        found.unwrap_or_else(|| panic!("no step uses {action}"))
    };
    let (restore, save) = (using("actions/cache/restore@v4"), using("actions/cache/save@v4"));
    let key = text(&restore["with"]["key"]);
    let prefix = key.strip_suffix("${{ github.run_id }}").expect("a key of its own for each run");
    assert_eq!(text(&restore["with"]["restore-keys"]), prefix);
    assert_eq!(save["with"]["path"], restore["with"]["path"]);
    let of_the_first =
        format!("${{{{ steps.{}.outputs.cache-primary-key }}}}", text(&restore["id"]));
    assert_eq!((text(&save["with"]["key"]), text(&save["if"])), (&of_the_first[..], "always()"));
    let program = text(&using("actions/cache@v4")["with"]["key"]);
    assert!(program.ends_with(env!("CARGO_PKG_VERSION")), "{program}");

    let gitlab = pipelines.iter().find_map(|it| it.get("confidence")).unwrap();
    assert_eq!(gitlab["cache"]["when"], "always");
    assert!(text(&gitlab["cache"]["key"]).ends_with(env!("CARGO_PKG_VERSION")));
    let mut install = gitlab["before_script"].as_sequence().unwrap().iter().map(text);
    let install = install.next_back().unwrap();
    says(install, &[&format!("= \"{VERSION}\" ||"), "cargo install --locked --force"]);
}

/// A pull request can put files into its checkout: rows, a snapshot of the Hub, a program.
#[test]
fn the_examples_keep_nothing_that_a_gate_trusts_in_the_checkout() {
    const TRUSTED: [&str; 3] = ["AUDIT_CACHE_DIR", "CARGO_HOME", "HF_HOME"];
    let (mut folders, mut gitlab) = (0, 0);
    for document in ["README.md", "docs/pipelines.md"] {
        for pipeline in examples(document) {
            for (_, job) in pipeline.get("jobs").into_iter().flat_map(entries) {
                let steps = job["steps"].as_sequence().unwrap();
                let variables = steps.iter().chain([job]).filter_map(|it| it.get("env"));
                let variables = variables.flat_map(entries);
                let variables = variables.filter(|(name, _)| TRUSTED.contains(name));
                let caches = steps.iter().filter(|step| {
                    step.get("uses").is_some_and(|it| text(it).starts_with("actions/cache"))
                });
                let cached = caches.flat_map(|step| text(&step["with"]["path"]).lines());
                for folder in cached.chain(variables.map(|(_, value)| text(value))) {
                    let is_outside =
                        folder.starts_with("~/") || folder.starts_with("${{ runner.temp }}/");
                    assert!(is_outside, "{document}: {folder}");
                    folders += 1;
                }
            }
            let Some(job) = pipeline.get("confidence") else { continue };
            for (name, value) in entries(&job["variables"]) {
                assert!(TRUSTED.contains(&name), "{name}");
                assert!(text(value).starts_with("${CI_PROJECT_DIR}.audit/"), "{name}");
            }
            gitlab += 1;
        }
    }
    assert!(folders >= 6 && gitlab == 1, "{folders} {gitlab}");
}

#[test]
fn the_example_for_gitlab_moves_its_cache_out_of_the_checkout_and_refuses_a_committed_one() {
    let gitlab =
        examples("docs/pipelines.md").into_iter().find_map(|it| it.get("confidence").cloned());
    let gitlab = gitlab.unwrap();
    let lines = |key: &str| -> String {
        let lines = gitlab[key].as_sequence().unwrap().iter().map(|line| text(line).to_owned());
        lines.collect::<Vec<_>>().join("\n")
    };
    let machine = Sandbox::new();
    machine.write("checkout/audit.toml", "[defaults]\nkappa = 0.05\n");
    program(&machine, "bin/audit", &format!("echo '{VERSION}'\n"));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", machine.arg("bin"));
    let checkout = machine.path("checkout");
    let shell = |script: &str| {
        let mut bash = assert_cmd::Command::new("bash");
        bash.args(["-eo", "pipefail", "-c", script]).current_dir(&checkout).env_clear();
        bash.env("PATH", &path).env("HOME", machine.path("home"));
        bash.env("CI_PROJECT_DIR", &checkout).env("CI_DEFAULT_BRANCH", "main");
        bash.env("CARGO_HOME", machine.path("checkout.audit/cargo"));
        Run::of(bash)
    };
    let commit = "git add -A && git -c user.name=a -c user.email=a@b commit -qm all";
    let made = shell(&format!("git init -qb main && git remote add origin . && {commit}"));
    assert_eq!(made.code, 0, "{}", made.stderr);

    for kept in ["", "rows"] {
        if !kept.is_empty() {
            machine.write("checkout/.audit-kept/logits/a", kept);
        }
        let run = shell(&lines("before_script"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(!machine.path("checkout/.audit-kept").exists());
        assert_eq!(machine.read("checkout.audit/audit.toml"), machine.read("checkout/audit.toml"));
        assert_eq!(machine.path("checkout.audit/logits/a").exists(), !kept.is_empty());
        assert_eq!(shell(&lines("after_script")).code, 0);
        assert!(machine.path("checkout/.audit-kept/audit.toml").exists());
        assert!(!machine.path("checkout.audit").exists());
    }

    assert_eq!(shell(&format!("rm .audit-kept/audit.toml && {commit}")).code, 0);
    assert_ne!(shell(&lines("before_script")).code, 0, "a committed folder");
    assert_eq!(shell(&format!("rm -r .audit-kept && ln -s /tmp .audit-kept && {commit}")).code, 0);
    assert_ne!(shell(&lines("before_script")).code, 0, "a committed link");
    assert!(!machine.path("checkout.audit").exists());
}

#[test]
fn the_example_for_gitlab_names_files_that_a_run_leaves() {
    let (sandbox, pair) = tiny_pair();
    sandbox.audit(&common::with(&pair, &["--output-dir", "audit-report"]));
    let written = names_in(&sandbox.path("audit-report"));
    let pipelines = examples("docs/pipelines.md");
    let mut kinds = BTreeSet::new();
    for job in pipelines.iter().flat_map(|it| entries(it).map(|(_, job)| job).collect::<Vec<_>>()) {
        let reports = job.get("artifacts").and_then(|it| it.get("reports"));
        for (kind, path) in reports.into_iter().flat_map(entries) {
            let name = text(path).strip_prefix("audit-report/").expect("the job's folder");
            assert!(written.contains(&name.to_owned()), "{name}");
            kinds.insert(kind.to_owned());
        }
    }
    assert_eq!(kinds, ["codequality", "junit", "metrics"].map(str::to_owned).into());
}
