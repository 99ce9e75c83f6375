use super::*;
use crate::config::Layer;

/// A plan over a TinyBERT recipe with that space.
pub fn plan(space: &str, seed: u64) -> Plan {
    read(&format!("seed = {seed}\n{RECIPE}\n[space]\n{space}")).unwrap()
}

/// A plan with these keys at the top, over a TinyBERT recipe with that space.
pub fn plan_with(keys: &str, space: &str) -> Plan {
    read(&format!("{keys}\n{RECIPE}\n[space]\n{space}")).unwrap()
}

const RECIPE: &str =
    "recipe = { task = \"mrpc\", method = \"tinybert\", student = { layers = 3 } }";

fn read(text: &str) -> Result<Plan> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tune.toml");
    std::fs::write(&path, text).unwrap();
    let settings = Layer { teacher: Some("teacher".to_owned()), ..Layer::default() };
    let training = Flags { settings, output: Some("out".into()), ..Flags::default() };
    Plan::read(&path, &TuneFlags { training, ..TuneFlags::default() })
}

fn refused(text: &str) -> String {
    crate::error::rendered(&read(text).unwrap_err())
}

const RATE: &str =
    "\"stage.prediction.learning_rate\" = { low = 1e-5, high = 5e-4, scale = \"log\" }\n";

#[test]
fn every_example_is_a_valid_search() {
    let settings = Layer { teacher: Some("teacher".to_owned()), ..Layer::default() };
    let training = Flags { settings, output: Some("out".into()), ..Flags::default() };
    let flags = TuneFlags { training, ..TuneFlags::default() };
    let paths = std::fs::read_dir("configs/tune").unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.extend(
        ["scripts/reproduce/search.toml", "tests/fixtures/tuning/tune.toml"].map(Into::into),
    );
    assert!(paths.len() > 6, "{paths:?}");
    for path in paths {
        if let Err(error) = Plan::read(&path, &flags) {
            panic!("{}: {}", path.display(), crate::error::rendered(&error));
        }
    }
}

#[test]
fn a_trial_is_the_recipe_with_the_points_values() {
    let plan = plan(RATE, 3);
    let point = plan.defaults();
    assert_eq!(point["stage.prediction.learning_rate"], Value::Float(3e-5));
    let rate = ("stage.prediction.learning_rate".to_owned(), Value::Float(2e-4));
    let point = TrialSettings::from([rate]);
    let recipe = plan.recipe(&point, 5, Path::new("run")).unwrap();
    assert_eq!(recipe.last_stage().learning_rate, 2e-4);
    assert_eq!(recipe.stages[0].learning_rate, 5e-5);
    assert_eq!((recipe.settings.seed, recipe.output), (5, PathBuf::from("run")));
    let held_out = recipe.held_out.unwrap();
    assert_eq!((held_out.share, held_out.seed), (0.5, 3));
}

#[test]
fn a_loss_is_added_to_those_of_the_method() {
    let plan =
        plan("\"stage.prediction.losses.hard\" = { low = 0.0, high = 1.0, default = 0 }\n", 0);
    let point = TrialSettings::from([("stage.prediction.losses.hard".into(), Value::Float(0.5))]);
    let recipe = plan.recipe(&point, 0, Path::new("run")).unwrap();
    let weights: Vec<_> = recipe.last_stage().losses.values().copied().collect();
    assert_eq!(weights, [0.5, 1.0]);
}

#[test]
fn each_method_keeps_the_keys_that_it_has() {
    let space = "method = { choices = [\"tinybert\", \"kd\"] }\n\
        \"stage.train.temperature\" = { low = 1.0, high = 10.0 , default = 1 }\n\
        \"stage.intermediate.max_epochs\" = { choices = [3, 10] }\n";
    let plan = plan(space, 0);
    let methods: Vec<_> = plan.corners().into_iter().map(|(_, p)| p["method"].clone()).collect();
    assert_eq!(methods.len(), 6);
    let kd = TrialSettings::from([
        ("method".to_owned(), Value::String("kd".to_owned())),
        ("stage.train.temperature".to_owned(), Value::Float(4.0)),
    ]);
    let recipe = plan.recipe(&kd, 0, Path::new("run")).unwrap();
    assert_eq!((recipe.method.name, recipe.last_stage().temperature), ("kd", 4.0));
    let hsk = read("recipe = { task = \"mrpc\", method = \"hsk\", hsk = { depth = 2 }, layer_map = [2, 4, 6] }\n[space]\nmethod = { choices = [\"hsk\", \"kd\"] }");
    assert!(hsk.is_ok(), "keys that kd does not have are left out: {hsk:?}");
}

#[test]
fn the_own_keys_of_every_method_have_its_published_defaults() {
    let space = "[space]\nmethod = { choices = [\"kd\", \"annealing\"] }\n\
        \"annealing.tau_max\" = { low = 2, high = 7 }\n";
    let of = |method: &str| {
        let recipe = format!("recipe = {{ task = \"mrpc\", method = \"{method}\" }}");
        let plan = read(&format!("{recipe}\n{space}")).unwrap();
        let key = plan.space.0.iter().find(|key| key.name == "annealing.tau_max").unwrap();
        key.default.clone()
    };
    assert_eq!([of("kd"), of("annealing")], [Value::Integer(7), Value::Integer(7)]);
}

#[test]
fn a_tune_that_contradicts_itself_is_refused_by_its_key() {
    let with = |line: &str| format!("{line}\n{RECIPE}\n[space]\n{RATE}");
    let space = |space: &str| format!("{RECIPE}\n[space]\n{space}");
    let own = |key: &str| {
        format!("recipe = {{ task = \"mrpc\", method = \"tinybert\", {key} }}\n[space]\n{RATE}")
    };
    let cases = [
        (with("trials = 0"), "`trials` must be at least 1"),
        (with("epsilon = 1.5"), "`epsilon`"),
        (with("unseen = 1"), "`unseen`"),
        (with("reference = 2.0"), "`reference` = 2.0 is neither"),
        (with("reference = \"student\""), "neither `default` nor `teacher` nor an accuracy"),
        (with("seed = 9223372036854775807"), "`seed`"),
        (with("objective = \"speed\""), "unknown variant `speed`"),
        (with("tials = 3"), "unknown field `tials`"),
        (with("time = \"soon\""), "`time` = `soon`"),
        (with("stopping = { sample = 0 }"), "`stopping.sample`"),
        (with("stopping = { delta = 0.9 }"), "`stopping.delta`"),
        (with("stopping = { halving = 0.5 }"), "`stopping.halving`"),
        (with("stopping = { rungs = [1.5] }"), "`stopping.rungs`"),
        (with("kappa = -1"), "kappa"),
        (with("confirm = 0"), "`confirm` must be at least 1"),
        (with("non_inferiority = 0.5"), "`non_inferiority` is the level of a test"),
        (with("start = [{}, { kept = 1 }]"), "`start`, entry 2: `kept` is not a key of `space`"),
        (
            with("start = [{ stage.prediction.learning_rate = 1 }]"),
            "`start`, entry 1: `stage.prediction.learning_rate` = 1 is not",
        ),
        (
            format!(
                "start = [{{ method = \"kd\", \"stage.prediction.max_epochs\" = 3 }}]\n{RECIPE}\n[space]\n\
                 method = {{ choices = [\"tinybert\", \"kd\"] }}\n\
                 \"stage.prediction.max_epochs\" = {{ low = 1, high = 9 }}\n"
            ),
            "`start`, entry 1: `stage.prediction.max_epochs` is not a key of the method kd",
        ),
        (format!("[space]\n{RATE}"), "`recipe` is missing"),
        (own("held_out = { share = 0.5, seed = 1 }"), "`recipe.held_out` has no effect in a tune"),
        (own("seed = 1"), "`recipe.seed` has no effect in a tune"),
        (own("keep = \"best-preserved\", kappa = 0.1"), "`recipe.kappa` has no effect in a tune"),
        (own("store = \"states\""), "`recipe.store` has no effect in a tune"),
        (format!("recipe = \"none.toml\"\n[space]\n{RATE}"), "`recipe` = `none.toml`: cannot read"),
        (
            format!("recipe = {{ task = \"mrpc\" }}\n[space]\n{RATE}"),
            "`recipe`: `method` is missing",
        ),
        (RECIPE.to_owned(), "`space` is empty"),
        (
            space("\"stage.train.learning_rate\" = { low = 1e-5, high = 1e-4, default = 1e-5 }"),
            "`space.\"stage.train.learning_rate\"` is not a key of the method tinybert",
        ),
        (
            space("\"stage.prediction.losses.patient\" = { low = 0, high = 1, default = 0 }"),
            "its losses are",
        ),
        (
            space("\"stage.prediction.speed\" = { low = 0, high = 1, default = 0 }"),
            "`space.\"stage.prediction.speed\"`: with 0, `speed = 0`: unknown field `speed`",
        ),
        (
            space("\"stage.prediction.warmup\" = { low = 0.0, high = 1.5, default = 0.1 }"),
            "`space.\"stage.prediction.warmup\"`: with 1.5",
        ),
        (
            space("\"hsk.depth\" = { low = 1, high = 2, default = 1 }"),
            "`space.\"hsk.depth\"` is not a key",
        ),
        (
            space("method = { choices = [\"tinybert\", \"kdd\"] }"),
            "`space.method`: `method` = `kdd`",
        ),
        (space("\"a.b\" = { low = 1, high = 2, default = 1 }"), "`space.\"a.b\"`: with 1, "),
    ];
    for (text, why) in cases {
        let error = refused(&text);
        assert!(error.contains(why) && error.contains("tune.toml"), "{text}\n{error}");
    }
}

#[test]
fn a_dropout_is_added_to_those_of_all_stages() {
    let recipe = "[recipe]\ntask = \"mrpc\"\nmethod = \"tinybert\"\nstudent = { layers = 3 }\n\
        training.dropout = { hidden = 0.0, attention = 0.2 }\n";
    let key = "\"stage.prediction.dropout.hidden\" = { low = 0.0, high = 0.3 }\n";
    let plan = read(&format!("{recipe}[space]\n{key}")).unwrap();
    assert_eq!(plan.defaults()["stage.prediction.dropout.hidden"], Value::Float(0.0));
    let point =
        TrialSettings::from([("stage.prediction.dropout.hidden".into(), Value::Float(0.1))]);
    let of = |point: &TrialSettings| {
        let stages = plan.recipe(point, 0, Path::new("run")).unwrap().stages;
        stages.into_iter().map(|stage| (stage.dropout.hidden, stage.dropout.attention)).collect()
    };
    let rates: Vec<_> = of(&point);
    assert_eq!(rates, [(Some(0.0), Some(0.2)), (Some(0.1), Some(0.2))]);
}

#[test]
fn a_key_that_changes_nothing_in_any_method_is_refused() {
    let space = "[space]\nmethod = { choices = [\"tinybert\", \"hsk\"] }\n\
        \"training.weight_decay\" = { low = 0.0, high = 0.1, default = 0.0 }\n";
    let recipe = |stages: &[&str]| {
        let stage = |name: &&str| format!("stage.{name}.weight_decay = 0.01\n");
        let stages: String = stages.iter().map(stage).collect();
        format!(
            "[recipe]\ntask = \"mrpc\"\nmethod = \"tinybert\"\nstudent = {{ layers = 3 }}\n{stages}{space}"
        )
    };
    let why = refused(&recipe(&["intermediate", "prediction"]));
    assert!(why.contains("`space.\"training.weight_decay\"` changes nothing"), "{why}");
    assert!(read(&recipe(&["prediction"])).is_ok(), "it changes the other stage");
}
