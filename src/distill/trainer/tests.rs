//! A training that is interrupted or killed and resumed, with an objective that keeps state of its own.

use serde_json::json;

use super::*;
use crate::checkpoint::{Draws, ModelConfig, TokenizedExample, Weights};
use crate::config::Layer;
use crate::distill::objective::{Needs, Opponent};
use crate::distill::optimizer::AdamWOptions;
use crate::distill::recipe::Flags;
use crate::distill::term::Term;
use crate::inference::{Logits, Windows};
use crate::model::{load_trainable, Frozen, Head, Wanted};
use crate::terminal::Verbosity;

/// What happens to a training at one of its steps.
#[derive(Clone)]
enum Event {
    /// An interrupt.
    Stop(f64),
    /// The folder is copied, as a killed program would leave it.
    Kill(f64, std::path::PathBuf),
}

/// Lowers the logit of label 1 for nine steps, and raises it after them. An opponent sets how much,
/// and raises what the student lowers in one step of three.
struct Turning {
    opponent: Option<Opponent>,
    /// The opponent's parameter before the last step, if that was the student's.
    before: Option<f32>,
    steps: f64,
    event: Option<Event>,
    folder: std::path::PathBuf,
    interrupt: Interrupt,
}

impl Objective for Turning {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn opponent(&self) -> Option<&Opponent> {
        self.opponent.as_ref()
    }

    fn turn(&self, step: u64) -> Turn {
        match self.opponent {
            Some(_) if step.is_multiple_of(3) => Turn::Opponent,
            _ => Turn::Student,
        }
    }

    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>> {
        self.steps += 1.0;
        match &self.event {
            Some(Event::Stop(at)) if *at == self.steps => self.interrupt.set(),
            Some(Event::Kill(at, to)) if *at == self.steps => copy(&self.folder, to),
            _ => {}
        }
        let logits = step.outputs(Wanted::default())?.logits; // (B, 2)
        let margin = (logits.narrow(1, 1, 1)? - logits.narrow(1, 0, 1)?)?.mean_all()?;
        let value = (margin * if self.steps <= 9.0 { 1.0 } else { -1.0 })?;
        let Some(Opponent { parameters, .. }) = &self.opponent else {
            return Ok(vec![Weighted { term: Term::HARD, weight: 1.0, value }]);
        };
        let size = parameters[0].var.to_vec1::<f32>()?[0];
        assert!(self.before.is_none_or(|before| before == size), "the student's step changed it");
        self.before = (step.turn == Turn::Student).then_some(size);
        let value = (value * parameters[0].var.as_tensor().sum_all()?)?;
        Ok(match step.turn {
            Turn::Student => vec![Weighted { term: Term::HARD, weight: 1.0, value }],
            Turn::Opponent => vec![Weighted { term: Term::SOFT, weight: -1.0, value }],
        })
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let steps = Tensor::from_slice(&[self.steps], 1, &candle_core::Device::Cpu)?;
        Ok(vec![("steps".to_owned(), steps)])
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.steps = state["steps"].to_vec1::<f64>()?[0];
        Ok(())
    }
}

/// The files of the folder `from` in the folder `to`.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// An opponent of one parameter.
fn opponent() -> Opponent {
    let size = Tensor::from_slice(&[0.5f32], 1, &candle_core::Device::Cpu).unwrap();
    let parameters = vec![Parameter::new("opponent.size".to_owned(), &size, false).unwrap()];
    Opponent { parameters, learning_rate: 0.1, options: AdamWOptions::default(), clip: 1.0 }
}

/// Six epochs of four steps, saved every three steps.
fn recipe(keep: &str) -> String {
    format!(
        "task = 'mrpc'\nmethod = 'finetune'\noutput = 'o'\nstudent.base = 'b'\nteacher = 't'\n\
         save_every = 3\nkeep = '{keep}'\n[training]\nmax_epochs = 6\nbatch_size = 2\n\
         learning_rate = 2e-2\nschedule = 'constant'"
    )
}

/// The steps of a whole training.
const STEPS: u32 = 24;

/// A BERT of one layer over ten tokens.
fn student() -> Box<dyn Trainable> {
    let config = json!({
        "model_type": "bert", "architectures": ["BertForSequenceClassification"],
        "vocab_size": 10, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 8, "max_position_embeddings": 8, "type_vocab_size": 2,
        "id2label": {"0": "no", "1": "yes"},
    });
    let config = ModelConfig::of("config.json".as_ref(), config.as_object().unwrap().clone());
    let draws = Draws { seed: 1, deviation: 0.5, prefixes: vec![String::new()] };
    let head = [("classifier.weight", vec![2, 4]), ("classifier.bias", vec![2])];
    let head = head.map(|(name, dims)| (name.to_owned(), draws.tensor(name, &dims).unwrap()));
    let weights = Weights::from_tensors("student", BTreeMap::from(head)).unwrap();
    load_trainable(&config, &mut weights.with_draws(draws), Head::Pooled).unwrap().unwrap().0
}

/// Eight examples of three tokens, each with `labels`, and a teacher that is never sure.
fn examples(labels: &[u32]) -> Evaluated {
    let tokens = |i: u32| TokenizedExample {
        input_ids: vec![1, 2 + i, 0],
        token_type_ids: vec![0; 3],
        truncated: false,
    };
    let n = 8 * labels.len();
    Evaluated {
        split: "train".to_owned(),
        tokens: (0..8).flat_map(|i| vec![tokens(i); labels.len()]).collect(),
        labels: labels.repeat(8).into_iter().map(Some).collect(),
        teacher: Some(Logits { values: vec![0.0; 2 * n], labels: 2 }),
    }
}

/// 51 of 101 labels are `favoured`: students of either label are within one standard error.
fn validation(favoured: u32) -> Evaluated {
    let labels: Vec<u32> = (0..101).map(|i| if i < 51 { favoured } else { 1 - favoured }).collect();
    examples(&labels)
}

/// A training's end and its parameters, in order.
type Trained = (Result<TrainingEnd>, Vec<Vec<f32>>);

/// A training of [`train`].
#[derive(Clone, Copy)]
struct Run {
    keep: &'static str,
    /// The label that is right a little more often.
    favoured: u32,
    has_opponent: bool,
}

/// Trains in `folder`, from the saved state if there is one.
fn train(folder: &TrainingFolder, run: Run, event: Option<Event>) -> Trained {
    let Run { keep, favoured, has_opponent } = run;
    let flags = Flags { settings: Layer::default(), ..Flags::default() };
    let recipe = Recipe::parse(&recipe(keep), "recipe.toml".as_ref(), &flags).unwrap();
    let interrupt = Interrupt::default();
    let (model, parameters) = student().parameters(Frozen::Nothing).unwrap();
    let (examples, validation) = (examples(&[0]), validation(favoured));
    let evaluation = RunOptions {
        threads: 1,
        batch_threads: 1,
        token_budget: 64,
        windows: Windows::WHOLE,
        interrupt: interrupt.clone(),
    };
    let training = Training {
        recipe: &recipe,
        student: &*model,
        parameters: &parameters,
        keeps_all: false,
        dropout: DropoutRates { hidden: 0.0, attention: 0.0, classifier: 0.0 },
        seed: recipe.settings.seed,
        learned: &examples,
        train: &examples,
        validation: Some(&validation),
        sample: None,
        stages: Vec::new(),
        stopping: None,
        evaluation,
        folder,
        interrupt: &interrupt,
        log: TrainingLog(Verbosity::Quiet),
    };
    let saved = folder.progress("student", "f").unwrap();
    let resume = saved.is_some();
    let (of, fingerprint) = ("student".to_owned(), "f".to_owned());
    let progress =
        saved.unwrap_or(TrainingProgress { of, fingerprint, ..TrainingProgress::default() });
    let finish = training.run(progress, resume, |_| {
        let (event, interrupt) = (event.clone(), interrupt.clone());
        let folder = folder.path().to_owned();
        let opponent = has_opponent.then(opponent);
        let objective = Turning { opponent, before: None, steps: 0.0, event, folder, interrupt };
        Ok((Box::new(objective), Signals::default()))
    });
    let values = parameters.iter().map(|p| p.var.flatten_all().unwrap().to_vec1().unwrap());
    (finish, values.collect())
}

fn locked(folder: &std::path::Path, name: &str) -> TrainingFolder {
    let training = TrainingFolder::of(&folder.join(name));
    drop(training.lock().unwrap());
    training
}

/// The names of the files of states that may be kept.
fn candidates(folder: &TrainingFolder) -> Vec<String> {
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.to_str().unwrap().to_owned()).collect();
    names.retain(|name| name.starts_with("epoch-"));
    names.sort();
    names
}

#[test]
fn a_training_that_stops_at_any_step_ends_with_the_same_state() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [("one-standard-error", 1), ("best-accuracy", 5), ("last", 7)];
    let alone = runs.map(|(keep, every)| (Run { keep, favoured: 1, has_opponent: false }, every));
    let against = (Run { keep: "last", favoured: 1, has_opponent: true }, 1);
    for (run, every) in alone.into_iter().chain([against]) {
        let keep = format!("{}-{}", run.keep, run.has_opponent);
        let (finish, whole) = train(&locked(folder.path(), &format!("{keep}-whole")), run, None);
        let TrainingEnd::Finished(finish) = finish.unwrap() else { panic!("it was stopped") };
        for step in (1..=STEPS).step_by(every) {
            let halves = locked(folder.path(), &format!("{keep}-{step}"));
            let (stopped, _) = train(&halves, run, Some(Event::Stop(f64::from(step))));
            assert!(stopped.err().unwrap().is::<Interrupted>(), "{keep} {step}");
            let (resumed, values) = train(&halves, run, None);
            assert_eq!(resumed.unwrap(), TrainingEnd::Finished(finish.clone()), "{keep} {step}");
            assert!(values == whole, "{keep} {step}");
        }
    }
}

#[test]
fn a_training_that_is_killed_at_any_step_finds_the_states_that_may_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut most = 0;
    for favoured in [0, 1] {
        let run = Run { keep: "one-standard-error", favoured, has_opponent: false };
        let folder = folder.path().join(favoured.to_string());
        let first = locked(&folder, "whole");
        let (finish, whole) = train(&first, run, None);
        let TrainingEnd::Finished(finish) = finish.unwrap() else { panic!("it was stopped") };
        let held = candidates(&first);
        most = most.max(held.len());
        for step in 1..=STEPS {
            let killed = TrainingFolder::of(&folder.join(format!("killed-{step}")));
            let event = Event::Kill(f64::from(step), killed.path().to_owned());
            train(&locked(&folder, &format!("copied-{step}")), run, Some(event)).0.unwrap();
            if let Some(saved) = killed.progress("student", "f").unwrap() {
                let files = candidates(&killed);
                let named = saved.candidates.iter().map(|state| state.epoch);
                for name in named.map(|epoch| format!("epoch-1-{epoch}.safetensors")) {
                    assert!(files.contains(&name), "{step}: {name} of {files:?}");
                }
                assert!(files.len() <= saved.candidates.len() + 1, "{step}: {files:?}");
            }
            let (resumed, values) = train(&killed, run, None);
            assert_eq!(resumed.unwrap(), TrainingEnd::Finished(finish.clone()), "{step}");
            assert!(values == whole, "{step}");
            assert_eq!(candidates(&killed), held, "{step}");
        }
    }
    // The label of the state that is nearest to the teacher is the rarer one in one of the two.
    assert!(most > 1, "{most}");
}

#[test]
fn an_opponent_learns_in_its_own_turns_alone() {
    let folder = tempfile::tempdir().unwrap();
    let against = Run { keep: "last", favoured: 1, has_opponent: true };
    let TrainingEnd::Finished(finish) =
        train(&locked(folder.path(), "a"), against, None).0.unwrap()
    else {
        panic!("it was stopped")
    };
    // Each epoch's means are over the batches that had the loss: 4 in an epoch, by turns of 1 and 2.
    assert!(finish.course.iter().all(|epoch| epoch.losses.len() == 2), "{:?}", finish.course);
    let stopped = locked(folder.path(), "b");
    let (end, _) = train(&stopped, against, Some(Event::Stop(9.0)));
    assert!(end.is_err());
    let saved = stopped.progress("student", "f").unwrap().unwrap();
    assert_eq!((saved.optimizer_steps, saved.opponent_steps), (6, 3));
    let other = student().parameters(Frozen::Nothing).unwrap().1;
    let size = opponent().parameters;
    let restored = stopped.restore(&[other, size.clone()].concat()).unwrap();
    assert_eq!(restored.moments.last().unwrap().0, "opponent.size");
    let size = size[0].var.to_vec1::<f32>().unwrap()[0];
    assert!(size != 0.5, "{size}");
}
