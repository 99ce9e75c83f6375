//! A training that is interrupted and resumed, with an objective that keeps state of its own.

use serde_json::json;

use super::*;
use crate::checkpoint::{Draws, ModelConfig, TokenizedExample, Weights};
use crate::config::Layer;
use crate::distill::losses;
use crate::distill::objective::Needs;
use crate::distill::recipe::Flags;
use crate::distill::term::Term;
use crate::inference::Windows;
use crate::model::{load_trainable, Frozen, Head, Wanted};
use crate::terminal::Verbosity;

/// The loss on the labels, weighted by the number of the step; it sets the interrupt at one step.
struct Growing {
    steps: f64,
    stops_at: Option<f64>,
    interrupt: Interrupt,
}

impl Objective for Growing {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>> {
        self.steps += 1.0;
        if self.stops_at == Some(self.steps) {
            self.interrupt.set();
        }
        let logits = step.outputs(Wanted::default())?.logits;
        let value = (losses::hard(&logits, &step.known_labels()?)? * self.steps)?;
        Ok(vec![Weighted { term: Term::HARD, weight: 1.0, value }])
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

const RECIPE: &str = "task = 'mrpc'\nmethod = 'finetune'\noutput = 'o'\nstudent.base = 'b'\n\
    [training]\nmax_epochs = 2\nbatch_size = 2\nlearning_rate = 1e-2";

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

/// Eight examples of three tokens.
fn examples() -> Evaluated {
    let tokens = (0..8).map(|i| TokenizedExample {
        input_ids: vec![1, 2 + i, 0],
        token_type_ids: vec![0; 3],
        truncated: false,
    });
    Evaluated {
        split: "train".to_owned(),
        tokens: tokens.collect(),
        labels: (0..8).map(|i| Some(i % 2)).collect(),
        teacher: None,
    }
}

/// Trains in `folder`, from the saved state if there is one -> the parameters at the end.
fn train(folder: &TrainingFolder, stops_at: Option<f64>) -> (Result<TrainingEnd>, Vec<Vec<f32>>) {
    let flags = Flags { settings: Layer::default(), ..Flags::default() };
    let recipe = Recipe::parse(RECIPE, "recipe.toml".as_ref(), &flags).unwrap();
    let interrupt = Interrupt::default();
    let (model, parameters) = student().parameters(Frozen::Nothing).unwrap();
    let examples = examples();
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
        dropout: DropoutRates { hidden: 0.0, attention: 0.0, classifier: 0.0 },
        train: &examples,
        validation: None,
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
        let objective = Growing { steps: 0.0, stops_at, interrupt: interrupt.clone() };
        Ok((Box::new(objective), Signals::default()))
    });
    let values = parameters.iter().map(|p| p.var.flatten_all().unwrap().to_vec1().unwrap());
    (finish, values.collect())
}

#[test]
fn the_state_of_an_objective_is_saved_and_restored_with_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| {
        let training = TrainingFolder::of(&folder.path().join(name));
        drop(training.lock().unwrap());
        training
    };
    let (finish, whole) = train(&of("whole"), None);
    assert!(matches!(finish.unwrap(), TrainingEnd::Finished(_)));
    let halves = of("halves");
    let (stopped, half) = train(&halves, Some(3.0));
    assert!(stopped.err().unwrap().is::<Interrupted>());
    assert_ne!(half, whole);
    let (finish, resumed) = train(&halves, None);
    assert!(matches!(finish.unwrap(), TrainingEnd::Finished(_)));
    assert_eq!(resumed, whole);
}
