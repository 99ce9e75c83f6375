//! From the file and the flags to the settings in force. Keys that contradict each other or have no
//! effect are errors.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use super::{
    resolved, teacher, Beta, BetaStopping, Compat, Flags, Init, Keep, Layers, Recipe, RecipeFile,
    Stage, StageLayer, StoppingLoss, StudentLayer, TeacherPredictions, TeacherStates,
};
use crate::confidence::Statistic;
use crate::config::{Config, Layer, Settings};
use crate::distill::methods::{self, KeptFrom, Method};
use crate::distill::term::Term;
use crate::error::{usage, Diagnostic};
use crate::task;

impl Recipe {
    /// The recipe of `file`, which was read from `text` at `path`, under `flags`.
    pub(super) fn resolve(
        mut file: RecipeFile,
        path: &Path,
        text: &str,
        flags: &Flags,
    ) -> Result<Self> {
        let method_name = flags.method.as_ref().or(file.method.as_ref());
        let Some(method_name) = method_name else {
            let hint = format!("the methods are {}", methods::names_of(|_| true));
            bail!(Diagnostic::usage("`method` is missing").hint(hint));
        };
        let method = methods::find(method_name)?;
        refuse_others(&file, method)?;
        let configured = match file.own.pop() {
            Some((_, configured)) => configured,
            None => (method.configure)(None)?,
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        let tables = teacher::predictions(&mut file, folder, flags, method)?;
        let settings = settings(&file, path, text, flags)?;
        let stages = stages(&file, method)?;
        // A table has no layers.
        let init = if tables.is_some() { Init::Base } else { method.init };
        let (student, init) = student(&file, folder, flags, init)?;
        match &tables {
            Some(_) => teacher::require_start(init, student.base.as_deref())?,
            None => require_teacher(&settings, method, &stages, (&student, init))?,
        }
        let output = flags.output.clone().or(file.output.as_ref().map(PathBuf::from));
        let output = output.ok_or_else(|| {
            Diagnostic::usage("no output folder is given")
                .hint("pass --output DIR, or set `output`")
        })?;
        check_numbers(&file)?;
        configured.check()?;
        Ok(Recipe {
            stopping: stopping(&file, &stages)?,
            keep: keep(&file, &settings, tables.as_ref())?,
            states: file.states.unwrap_or_default(),
            held_out: file.held_out,
            inputs: configured.inputs().resolved(folder),
            learn_from: learn_from(&file, folder, &settings, &stages)?,
            settings,
            teacher_predictions: tables,
            method,
            configured,
            student,
            init,
            output,
            log_every: file.log_every.unwrap_or(50),
            save_every: file.save_every.unwrap_or(500),
            compat: file.compat.unwrap_or_default(),
            layer_map: file.layer_map.clone(),
            teacher_states: file.teacher_states.unwrap_or(TeacherStates::Auto),
            store: file.store.as_ref().map(|store| resolved(folder, store)),
            augmented: augmented(&file, folder, &stages)?,
            stages,
        })
    }
}

/// The settings shared with audits.
fn settings(file: &RecipeFile, path: &Path, text: &str, flags: &Flags) -> Result<Settings> {
    let task = flags.task.as_ref().or(file.task.as_ref());
    let Some(task) = task else {
        bail!(Diagnostic::usage("`task` is missing").hint("pass --task NAME, or set `task`"));
    };
    let task = task::canonical_name(task);
    let own = file.own_task.clone().unwrap_or_default();
    if let Some(key) = own.given().first() {
        bail!(usage!("`own_task.{key}` describes no data")
            .hint(format!("set `{key}` at the top of the recipe")));
    }
    let defaults = Layer {
        teacher: file.teacher.clone(),
        data: file.data.clone(),
        kappa: file.kappa,
        statistic: file.statistic,
        confidence: file.confidence,
        max_length: file.max_length,
        limit: file.limit,
        allow_skipped: file.allow_skipped,
        label_map: file.label_map.clone(),
        teacher_head: file.teacher_head,
        seed: file.seed,
        threads: file.threads,
        ..Layer::default()
    };
    let mut config = Config { defaults, ..Config::default() };
    if file.own_task.is_some() {
        config.task.insert(task.clone(), own);
    }
    config.path = Some(path.to_owned());
    config.text = text.to_owned();
    let mut settings = config.settings(&task, &flags.settings)?;
    // The student has the task's label names already.
    settings.label_map = settings.label_map.only("teacher");
    Ok(settings)
}

/// Refuses tables and keys of other methods, which would have no effect.
fn refuse_others(file: &RecipeFile, method: &Method) -> Result<()> {
    if let Some((other, _)) = file.own.iter().find(|(other, _)| *other != method) {
        let (name, method) = (other.name, method.name);
        bail!(usage!("`[{name}]` belongs to the method {name}, and `method` = `{method}`")
            .hint("leave the table out"));
    }
    let reads_encoders = method.reads_encoders();
    let keys = [
        ("compat", file.compat == Some(Compat::Huawei) && !method.knows_compat),
        ("layer_map", file.layer_map.is_some() && !method.maps_layers()),
        ("store", file.store.is_some() && !reads_encoders),
        ("teacher_states", file.teacher_states.is_some() && !reads_encoders),
    ];
    if let Some((key, _)) = keys.into_iter().find(|(_, without_effect)| *without_effect) {
        bail!(usage!("`{key}` has no effect with the method {}", method.name).hint("leave it out"));
    }
    Ok(())
}

/// Requires a teacher for its outputs, layers or vocabulary.
fn require_teacher(
    settings: &Settings,
    method: &Method,
    stages: &[Stage],
    (student, init): (&StudentLayer, Init),
) -> Result<()> {
    let teaches = learns_from_a_teacher(stages);
    let is_alone = match init {
        Init::Base => true,
        Init::TeacherLayers => false,
        Init::Scratch => student.base.is_some(),
    };
    if settings.teacher.is_some() || (is_alone && !teaches) {
        return Ok(());
    }
    bail!(usage!(
        "the method {} needs a teacher{}",
        method.name,
        if teaches { "" } else { ", whose layers or vocabulary the student takes" }
    )
    .hint(
        "pass --teacher DIR_OR_HUB_ID, or set `teacher`; predictions of the training set, as \
         --teacher-predictions FILE, are enough for a method that compares logits alone"
    ))
}

/// Whether a loss compares the student with a teacher.
fn learns_from_a_teacher(stages: &[Stage]) -> bool {
    stages.iter().any(|stage| stage.losses.keys().any(|term| term.needs_teacher()))
}

/// The checkpoint that teaches, where it is not the teacher.
fn learn_from(
    file: &RecipeFile,
    folder: &Path,
    settings: &Settings,
    stages: &[Stage],
) -> Result<Option<String>> {
    let Some(source) = &file.learn_from else { return Ok(None) };
    let Some(teacher) = &settings.teacher else {
        bail!(Diagnostic::usage("`learn_from` needs a teacher to measure the student against")
            .hint(
                "set `teacher`, or pass --teacher; a student that is measured against the \
                   checkpoint it learns from needs that alone"
            ));
    };
    if !learns_from_a_teacher(stages) {
        bail!(Diagnostic::usage("`learn_from` has no effect: no loss compares with a teacher")
            .hint("leave it out"));
    }
    let source = resolved(folder, source).display().to_string();
    Ok(Some(source).filter(|source| source != teacher))
}

/// The file of the texts to train on, which have no labels.
fn augmented(file: &RecipeFile, folder: &Path, stages: &[Stage]) -> Result<Option<PathBuf>> {
    let Some(path) = &file.augmented else { return Ok(None) };
    let reads_labels = |stage: &&Stage| stage.losses.keys().any(|term| term.0.labels);
    if let Some(stage) = stages.iter().find(reads_labels) {
        let name = stage.name;
        bail!(usage!("`augmented` texts have no labels, and the stage `{name}` trains on them")
            .hint(format!("leave `augmented` out, or give `stage.{name}.losses` no such loss")));
    }
    Ok(Some(resolved(folder, path)))
}

fn keep(
    file: &RecipeFile,
    settings: &Settings,
    tables: Option<&TeacherPredictions>,
) -> Result<Keep> {
    let has_teacher = settings.teacher.is_some() || tables.is_some();
    let default = match has_teacher {
        true => Keep::OneStandardError,
        false => Keep::BestAccuracy,
    };
    let keep = file.keep.unwrap_or(default);
    if keep.compares_sigma() && !has_teacher {
        let why = format!("`keep` = `{keep}` compares with a teacher, and none is set");
        bail!(Diagnostic::usage(why).hint("use best-accuracy or last"));
    }
    if keep == Keep::BestSigma && tables.is_some_and(|tables| tables.validation.is_none()) {
        bail!(Diagnostic::usage(
            "`keep` = `best-sigma` needs the teacher's predictions on the validation split"
        )
        .hint(
            "set `teacher_predictions = { train = FILE, validation = FILE }`, or another `keep`"
        ));
    }
    if file.kappa.is_some() && keep != Keep::BestPreserved {
        bail!(Diagnostic::usage("`kappa` has no effect without `keep` = `best-preserved`")
            .hint("leave it out; an audit has its own"));
    }
    let of_sigma =
        [("statistic", file.statistic.is_some()), ("confidence", file.confidence.is_some())];
    if let Some((key, _)) = of_sigma.iter().find(|(_, given)| *given && !keep.compares_sigma()) {
        bail!(usage!("`{key}` has no effect with `keep` = `{keep}`, which does not compare σ")
            .hint("leave it out; an audit has its own"));
    }
    if settings.statistic == Statistic::Published && file.confidence.is_some() {
        let why = "`confidence` has no effect with `statistic` = `published`";
        bail!(Diagnostic::usage(why).hint("leave it out; the statistic compares the first label"));
    }
    Ok(keep)
}

/// The method's stages under the recipe's `[training]` and `[stage.NAME]`.
fn stages(file: &RecipeFile, method: &Method) -> Result<Vec<Stage>> {
    let defaults = (method.stages)();
    let names: Vec<_> = defaults.iter().map(|(name, _)| *name).collect();
    if let Some(name) = file.stage.keys().find(|name| !names.contains(&name.as_str())) {
        bail!(usage!("`[stage.{name}]` is not a stage of the method {}", method.name)
            .hint(format!("its stages are {}", names.join(", "))));
    }
    if file.training.losses.is_some() && names.len() > 1 {
        bail!(Diagnostic::usage("`training.losses` would hold for every stage")
            .hint(format!("set it in [stage.NAME]; the stages are {}", names.join(", "))));
    }
    let of = |(name, layer): (&'static str, StageLayer)| {
        let layer = Stage::common().under(&layer).under(&file.training);
        let own = file.stage.get(name).cloned().unwrap_or_default();
        let mut layer = layer.under(&own);
        // Set for all stages, it is for those with the loss.
        let has_hard = layer.losses.as_ref().is_some_and(|l| l.contains_key(&Term::HARD));
        if own.smoothing.is_none() && names.len() > 1 && !has_hard {
            layer.smoothing = Some(0.0);
        }
        Stage::checked(name, layer, method)
    };
    let mut stages: Vec<Stage> = defaults.into_iter().map(of).collect::<Result<_>>()?;
    let smooths = stages.iter().any(|stage| stage.smoothing > 0.0);
    if file.training.smoothing.is_some_and(|smoothing| smoothing > 0.0) && !smooths {
        bail!(Diagnostic::usage("`training.smoothing` has no effect without the loss `hard`")
            .hint("leave it out; it spreads the label's probability, not the teacher's"));
    }
    require_an_epoch(&stages, method)?;
    stages.retain(|stage| stage.max_epochs > 0);
    Ok(stages)
}

/// Requires an epoch in the stages whose states may be kept; any other stage may have none.
fn require_an_epoch(stages: &[Stage], method: &Method) -> Result<()> {
    let (last, before) = stages.split_last().expect("every method has a stage");
    let name = last.name;
    match (method.kept_from, before) {
        _ if last.max_epochs > 0 => Ok(()),
        (KeptFrom::AnyStage, before) if before.iter().any(|stage| stage.max_epochs > 0) => Ok(()),
        (KeptFrom::LastStage, [_, ..]) => bail!(usage!(
            "`stage.{name}.max_epochs` must be at least 1: a state of this stage is kept"
        )
        .hint("0 leaves out a stage before it")),
        (KeptFrom::AnyStage, [_, ..]) => {
            bail!(usage!("`stage.{name}.max_epochs` is 0, and so is that of every other stage")
                .hint("leave out one stage at most"))
        }
        (_, []) => bail!(usage!("`stage.{name}.max_epochs` must be at least 1")),
    }
}

fn student(
    file: &RecipeFile,
    folder: &Path,
    flags: &Flags,
    default: Init,
) -> Result<(StudentLayer, Init)> {
    let mut student = file.student.clone();
    student.base = flags
        .base
        .clone()
        .or_else(|| student.base.map(|base| resolved(folder, &base).display().to_string()));
    let init = flags.init.or(student.init).unwrap_or(default);
    student.init = Some(init);
    let wrong = |key: &str, why: &str| usage!("`student.{key}` {why}");
    match init {
        Init::TeacherLayers if student.base.is_some() => {
            let why = "has no effect with `init` = `teacher-layers`";
            bail!(wrong("base", why).hint("leave one out"))
        }
        Init::Base if student.base.is_none() => {
            bail!(wrong("base", "is missing").hint("name a pretrained checkpoint, or pass --base"))
        }
        Init::Scratch => {
            let count = matches!(student.layers, Some(Layers::Count(1..)));
            if !count || student.hidden_size.is_none() || student.heads.is_none() {
                bail!(wrong("init", "= `scratch` needs the shape")
                    .hint("set `layers` (a number), `hidden_size` and `heads` in [student]"));
            }
        }
        _ => {}
    }
    let sizes = [
        ("hidden_size", student.hidden_size),
        ("heads", student.heads),
        ("intermediate_size", student.intermediate_size),
    ];
    for (key, value) in sizes {
        if value == Some(0) {
            bail!(wrong(key, "must be at least 1"));
        }
        if value.is_some() && init != Init::Scratch {
            bail!(wrong(key, "applies only to `init` = `scratch`"));
        }
    }
    if let (Some(hidden), Some(heads)) = (student.hidden_size, student.heads) {
        if !hidden.is_multiple_of(heads) {
            bail!(wrong("hidden_size", &format!("= {hidden} is not a multiple of {heads} heads")));
        }
    }
    Ok((student, init))
}

fn stopping(file: &RecipeFile, stages: &[Stage]) -> Result<Option<BetaStopping>> {
    let (key, beta) = match (file.beta, file.beta_per_example) {
        (None, None) if file.stopping_loss.is_some() => bail!(Diagnostic::usage(
            "`stopping_loss` has no effect without `beta` or `beta_per_example`"
        )
        .hint("give one")),
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            bail!(Diagnostic::usage("`beta` and `beta_per_example` are both set").hint("keep one"))
        }
        (Some(beta), None) => ("beta", Beta::Beta(beta)),
        (None, Some(mean)) => ("beta_per_example", Beta::BetaPerExample(mean)),
    };
    let value = beta.sum(1);
    if !(value.is_finite() && value > 0.0) {
        bail!(usage!("`{key}` = {value} is not a threshold").hint("nats, above 0"));
    }
    let last = stages.last().expect("every method has a stage");
    if last.soft_weight() <= 0.0 {
        bail!(usage!(
            "`{key}` cannot be reached: the last stage `{}` has no soft-label loss",
            last.name
        )
        .hint(format!("leave `{key}` out, or give `stage.{}.losses` a `soft`", last.name)));
    }
    let loss = file.stopping_loss.unwrap_or(StoppingLoss::Kl);
    Ok(Some(BetaStopping { beta, loss }))
}

fn check_numbers(file: &RecipeFile) -> Result<()> {
    for (key, value) in [("log_every", file.log_every), ("save_every", file.save_every)] {
        if value == Some(0) {
            bail!(usage!("`{key}` must be at least 1"));
        }
    }
    if file.held_out.is_some_and(|held_out| !(held_out.share > 0.0 && held_out.share < 1.0)) {
        bail!(Diagnostic::usage("`held_out.share` must be a share above 0 and below 1"));
    }
    Ok(())
}
