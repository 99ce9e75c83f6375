//! Recipes in force, and the errors of wrong ones.

use super::*;
use crate::distill::methods::METHODS;

fn resolve(toml: &str, flags: &Flags) -> Result<Recipe> {
    let file = RecipeFile::parse(toml).map_err(|e| Diagnostic::usage(e.to_string()))?;
    Recipe::resolve(file, Path::new("recipe.toml"), toml, flags)
}

const KD: &str = r#"
    task = "mrpc"
    method = "kd"
    teacher = "t"
    output = "o"
"#;

fn refused(more: &str) -> String {
    let toml = format!("{KD}{more}");
    match resolve(&toml, &Flags::default()) {
        Ok(_) => panic!("accepted: {more}"),
        Err(error) => crate::error::rendered(&error),
    }
}

#[test]
fn a_recipe_overrides_the_method_and_a_stage_overrides_all_stages() {
    let toml = format!(
        "{KD}[training]\nbatch_size = 8\nlearning_rate = 1e-3\n[stage.train]\nbatch_size = 4\n"
    );
    let recipe = resolve(&toml, &Flags::default()).unwrap();
    let stage = recipe.last_stage();
    assert_eq!((stage.batch_size, stage.learning_rate, stage.max_epochs), (4, 1e-3, 4));
    // Hinton's: 0.7 on the soft labels at t = 10, scaled by t².
    assert_eq!((stage.soft_weight(), stage.temperature, stage.t_squared), (0.7, 10.0, true));
}

#[test]
fn flags_override_the_file() {
    let flags = Flags {
        method: Some("finetune".to_owned()),
        base: Some("b".to_owned()),
        output: Some("elsewhere".into()),
        ..Flags::default()
    };
    let recipe = resolve(KD, &flags).unwrap();
    assert_eq!((recipe.method.name, recipe.output.to_str()), ("finetune", Some("elsewhere")));
}

#[test]
fn an_error_names_the_key() {
    for (more, named) in [
        ("method = 'kd'", "duplicate key"),
        ("beta = 1.0\nbeta_per_example = 1.0", "`beta` and `beta_per_example`"),
        ("beta = -1.0", "`beta` = -1"),
        ("stopping_loss = 'ce'", "`stopping_loss`"),
        ("[training]\ntemperature = 0.0", "`stage.train.temperature`"),
        ("[training]\nbatch_size = 0", "`stage.train.batch_size`"),
        ("[training]\nlearning_rate = -1.0", "`stage.train.learning_rate`"),
        ("[training]\ndropout = { hidden = 1.0 }", "`stage.train.dropout.hidden`"),
        ("[training]\nlosses = { attention = 1.0 }", "`stage.train.losses.attention`"),
        ("[training]\nlosses = { soft = 0.0 }", "`stage.train.losses` has no loss above 0"),
        ("beta = 1.0\n[training]\nlosses = { hard = 1.0 }", "no soft-label loss"),
        ("[training]\nsmoothing = 1.0", "`stage.train.smoothing` must be in [0, 1)"),
        (
            "[training]\nsmoothing = 0.1\nlosses = { soft = 1.0 }",
            "`stage.train.smoothing` has no effect without the loss `hard`",
        ),
        ("[stage.intermediate]\nmax_epochs = 1", "`[stage.intermediate]`"),
        ("[hsk]\nlength = 3", "`[hsk]` belongs to the method hsk"),
        ("compat = 'huawei'", "`compat`"),
        ("[student]\ninit = 'base'", "`student.base`"),
        ("[student]\ninit = 'scratch'\nlayers = 2", "`student.init`"),
        ("[student]\nheads = 3", "`student.heads`"),
        ("[own_task]\nseed = 3", "`own_task.seed`"),
        ("kappa = 0.1", "`kappa` has no effect without `keep` = `best-preserved`"),
        ("keep = 'best-preserved'\nkappa = -1.0", "kappa"),
        ("keep = 'best-preservd'", "best-preserved"),
        (
            "keep = 'best-accuracy'\nstatistic = 'rms'",
            "`statistic` has no effect with `keep` = `best-accuracy`",
        ),
        ("keep = 'last'\nconfidence = 'max'", "`confidence` has no effect with `keep` = `last`"),
        (
            "statistic = 'published'\nconfidence = 'max'",
            "`confidence` has no effect with `statistic` = `published`",
        ),
        ("statistic = 'mean'", "unknown variant `mean`"),
        ("[training]\nmax_epochs = 0", "`stage.train.max_epochs` must be at least 1"),
    ] {
        let message = refused(more);
        assert!(message.contains(named), "{more}: {message}");
    }
}

#[test]
fn the_state_that_is_kept_depends_on_a_teacher() {
    let kept = |more: &str| resolve(&format!("{KD}{more}"), &Flags::default()).unwrap();
    let by_default = kept("");
    assert_eq!(by_default.keep, Keep::OneStandardError);
    assert_eq!(by_default.sigma_of_keep(), Some((Statistic::Rms, ConfidenceKind::Max)));
    assert_eq!(kept("keep = 'best-accuracy'").sigma_of_keep(), None);
    let centred = kept("keep = 'best-sigma'\nstatistic = 'centred'\nconfidence = 'teacher-class'");
    let of_keep = Some((Statistic::Centred, ConfidenceKind::TeacherClass));
    assert_eq!(centred.sigma_of_keep(), of_keep);
    let alone = "task = 'mrpc'\nmethod = 'finetune'\noutput = 'o'\nstudent.base = 'b'\n";
    assert_eq!(resolve(alone, &Flags::default()).unwrap().keep, Keep::BestAccuracy);
    let taught = resolve(&format!("{alone}teacher = 't'\n"), &Flags::default()).unwrap();
    assert_eq!(taught.keep, Keep::OneStandardError);
}

#[test]
fn a_stage_without_epochs_is_left_out() {
    let of = |method: &str, [first, last]: [(&str, usize); 2]| {
        let epochs = |(stage, epochs)| format!("[stage.{stage}]\nmax_epochs = {epochs}\n");
        let method = KD.replace("\"kd\"", &format!("\"{method}\""));
        let toml = format!("{method}{}{}", epochs(first), epochs(last));
        let recipe = resolve(&toml, &Flags::default()).map_err(|e| crate::error::rendered(&e));
        recipe.map(|recipe| {
            let names: Vec<_> = recipe.stages.iter().map(|stage| stage.name).collect();
            (names, recipe.measured_epochs())
        })
    };
    let annealing = |first, last| of("annealing", [("logits", first), ("labels", last)]);
    assert_eq!(annealing(14, 6), Ok((vec!["logits", "labels"], 20)));
    assert_eq!(annealing(14, 0), Ok((vec!["logits"], 14)));
    assert_eq!(annealing(0, 6), Ok((vec!["labels"], 6)));
    let why = annealing(0, 0).unwrap_err();
    assert!(why.contains("`stage.labels.max_epochs` is 0, and so is"), "{why}");
    for method in ["tinybert", "hsk"] {
        let of = |first, last| of(method, [("intermediate", first), ("prediction", last)]);
        assert_eq!(of(3, 2), Ok((vec!["intermediate", "prediction"], 2)));
        assert_eq!(of(0, 2), Ok((vec!["prediction"], 2)));
        let why = of(3, 0).unwrap_err();
        assert!(why.contains("`stage.prediction.max_epochs` must be at least 1"), "{why}");
    }
}

#[test]
fn smoothing_is_for_the_stages_with_a_hard_loss() {
    let of = |method: &str, more: &str| {
        let toml = KD.replace("\"kd\"", &format!("\"{method}\"")) + more;
        let recipe = resolve(&toml, &Flags::default()).map_err(|e| crate::error::rendered(&e))?;
        Ok::<_, String>(recipe.stages.iter().map(|stage| stage.smoothing).collect::<Vec<_>>())
    };
    let all = "[training]\nsmoothing = 0.1\n";
    assert_eq!(of("annealing", all), Ok(vec![0.0, 0.1]), "the logits have no label");
    assert_eq!(of("annealing", "[stage.labels]\nsmoothing = 0.2\n"), Ok(vec![0.0, 0.2]));
    let why = of("annealing", "[stage.logits]\nsmoothing = 0.2\n").unwrap_err();
    assert!(why.contains("`stage.logits.smoothing` has no effect"), "{why}");
    let why = of("tinybert", all).unwrap_err();
    assert!(why.contains("`training.smoothing` has no effect"), "{why}");
    // Without a smoothing the record is that of a version without the key.
    let recipe = resolve(KD, &Flags::default()).unwrap();
    assert_eq!(serde_json::to_value(&recipe.stages[0]).unwrap().get("smoothing"), None);
}

#[test]
fn generations_have_the_student_s_shape_and_a_seed_each() {
    let of = |more: &str| {
        let toml = format!(
            "task = 'mrpc'\nmethod = 'born-again'\nteacher = 't'\noutput = 'o'\nseed = 7\n\
             [student]\nbase = 'b'\nlayers = 3\n{more}"
        );
        let recipe = resolve(&toml, &Flags::default()).map_err(|e| crate::error::rendered(&e))?;
        let assistants = recipe.configured.assistants(&recipe);
        assert!(assistants.iter().all(|each| each.student == recipe.student));
        Ok::<_, String>(assistants.iter().map(|each| each.seed).collect::<Vec<_>>())
    };
    assert_eq!(of(""), Ok(vec![8, 9]));
    assert_eq!(of("[born-again]\ngenerations = 2\nseeds = [7]\n"), Ok(vec![7]));
    let why = of("[born-again]\ngenerations = 1\n").unwrap_err();
    assert!(why.contains("`born-again.generations` must be at least 2"), "{why}");
    let why = of("[born-again]\nseeds = [1]\n").unwrap_err();
    assert!(why.contains("`born-again.seeds` has 1 seeds, and 2 are needed"), "{why}");
}

#[test]
fn an_assistant_may_have_its_own_seed() {
    let toml = KD.replace("\"kd\"", "\"takd\"")
        + "seed = 5\n[takd]\nassistants = [{ layers = 4, seed = 2 }, { layers = 2 }]\n";
    let recipe = resolve(&toml, &Flags::default()).unwrap();
    let seeds: Vec<_> = recipe.configured.assistants(&recipe).iter().map(|a| a.seed).collect();
    assert_eq!(seeds, [2, 5]);
    let (_, record) = recipe.configured.record().unwrap();
    assert_eq!(record, serde_json::json!([{"layers": 4, "seed": 2}, {"layers": 2}]));
}

#[test]
fn only_a_virtual_teacher_needs_no_model() {
    let of = |method: &str, more: &str| {
        let toml =
            format!("task = 'mrpc'\nmethod = '{method}'\noutput = 'o'\nstudent.base = 'b'\n");
        let recipe = resolve(&(toml + "student.init = 'base'\n" + more), &Flags::default());
        recipe.map(|recipe| recipe.keep).map_err(|e| crate::error::rendered(&e))
    };
    assert_eq!(of("virtual", ""), Ok(Keep::BestAccuracy));
    for method in ["kd", "ckd", "rail", "born-again"] {
        let why = of(method, "").unwrap_err();
        assert!(why.contains(&format!("the method {method} needs a teacher")), "{why}");
    }
    let why = of("virtual", "[virtual]\nprobability = 0.5\n").unwrap_err();
    assert!(why.contains("`virtual.probability` must be above 0.5 and below 1"), "{why}");
}

#[test]
fn a_layer_map_is_a_list_or_a_rule() {
    let of = |map: &str| {
        let toml = KD.replace("\"kd\"", "\"hsk\"") + &format!("layer_map = {map}\n");
        resolve(&toml, &Flags::default()).map(|recipe| recipe.layer_map.unwrap())
    };
    assert_eq!(of("[1, 3, 4]").unwrap(), LayerMap::These(vec![1, 3, 4]));
    assert_eq!(of("'two-thirds'").unwrap(), LayerMap::Named(NamedLayerMap::TwoThirds));
    let why = crate::error::rendered(&of("'thirds'").unwrap_err());
    assert!(why.contains("a list of the teacher's layers, or `two-thirds`"), "{why}");
}

#[test]
fn an_unknown_method_names_the_known_ones() {
    let flags = Flags { method: Some("tinybart".to_owned()), ..Flags::default() };
    let message = resolve(KD, &flags).err().map(|e| crate::error::rendered(&e)).unwrap_or_default();
    assert!(message.contains("did you mean `tinybert`?") && message.contains("hsk"), "{message}");
}

#[test]
fn every_method_has_a_valid_recipe() {
    let mut names = Vec::new();
    let folders = ["configs/distill", "scripts/demo"].map(|f| std::fs::read_dir(f).unwrap());
    let paths = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|e| e == "toml")) {
        let flags = Flags {
            settings: Layer { teacher: Some("t".to_owned()), ..Layer::default() },
            output: Some("o".into()),
            ..Flags::default()
        };
        names.push(Recipe::read(&path, &flags).unwrap().method.name);
    }
    for method in METHODS {
        assert!(names.contains(&method.name), "no recipe of the method {}", method.name);
    }
}
