//! Log lines of a training: one every `log_every` steps and one at the end of each epoch.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::evaluate::{Score, SigmaCheck};
use super::saved::Epoch;
use crate::terminal::Verbosity;

/// Writes the log lines of a training.
#[derive(Debug, Clone, Copy)]
pub struct TrainingLog(pub Verbosity);

/// The speed of a training.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    steps: usize,
    examples: usize,
    busy: Duration,
}

impl Pace {
    pub fn begin(began: Instant) -> Self {
        Pace { began, steps: 0, examples: 0, busy: Duration::ZERO }
    }

    pub fn step(&mut self, examples: usize, time: Duration) {
        self.steps += 1;
        self.examples += examples;
        self.busy += time;
    }

    /// Examples per second of training steps; evaluation between epochs is not counted.
    fn examples_per_second(&self) -> f64 {
        self.examples as f64 / self.busy.as_secs_f64().max(1e-9)
    }

    /// Expected time of `steps` more steps, evaluation included.
    fn left(&self, steps: usize) -> Duration {
        self.began.elapsed().div_f64(self.steps.max(1) as f64).mul_f64(steps as f64)
    }
}

impl TrainingLog {
    /// Reports how many tensors the losses of a stage reach, if not all.
    pub fn reached(&self, stage: &str, reached: usize, all: usize) {
        if reached < all {
            self.0.message(&format!(
                "stage {stage}: its losses reach {reached} of {all} tensors; the others are not trained"
            ));
        }
    }

    /// One step; `done` and `epoch` are (number, total).
    pub fn step(
        &self,
        stage: &str,
        (done, total): (usize, usize),
        (epoch, epochs): (usize, usize),
        losses: &[(&str, f64)],
        (learning_rate, norm): (f64, f64),
        pace: &Pace,
    ) {
        let mut line = format!("{stage} {done}/{total}  epoch {epoch}/{epochs} ");
        for (name, loss) in losses {
            let _ = write!(line, " {name} {loss:.4}");
        }
        let left = duration(pace.left(total - done));
        let speed = pace.examples_per_second();
        let _ = write!(
            line,
            "  lr {learning_rate:.2e}  gradient {norm:.3}  {speed:.0} examples/s  {left} left"
        );
        self.0.message(&line);
    }

    /// The end of an epoch; `compared` is w_soft·ΣL_soft over the training set, and β. `named` is the
    /// name of the σ that `keep` compares, where it is not the one of every score.
    pub fn epoch(
        &self,
        epoch: &Epoch,
        epochs: usize,
        compared: Option<(f64, f64)>,
        named: Option<&str>,
    ) {
        self.0.message(&epoch_line(epoch, epochs, compared, named));
    }
}

fn epoch_line(
    epoch: &Epoch,
    epochs: usize,
    compared: Option<(f64, f64)>,
    named: Option<&str>,
) -> String {
    let mut line = format!("{} epoch {}/{epochs} done", epoch.stage, epoch.epoch);
    let named = named.map(|name| format!(" ({name})")).unwrap_or_default();
    for (term, loss) in &epoch.losses {
        let _ = write!(line, "  {term} {loss:.5}");
    }
    for (name, value) in &epoch.figures {
        let _ = write!(line, "  {name} {value:.4}");
    }
    if let Some((loss, beta)) = compared {
        let _ = write!(line, "  weighted soft loss on train {loss:.4} (β {beta:.4})");
    }
    if let Some(SigmaCheck { sigma, .. }) = epoch.train {
        let _ = write!(line, "  sigma on train {sigma:.4}{named}");
    }
    if let Some(Score { accuracy, sigma }) = epoch.validation {
        if let Some(accuracy) = accuracy {
            let _ = write!(line, "  validation accuracy {accuracy:.4}");
        }
        if let Some(sigma) = sigma {
            let _ = write!(line, "  sigma {sigma:.4}");
        }
    }
    if let Some(sigma) = epoch.validation_sigma {
        let _ = write!(line, "  sigma {sigma:.4}{named}");
    }
    line
}

/// `time` in two units: `1 h 02 min`, `3 min 20 s`, `4 s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        let cases = [(4, "4 s"), (200, "3 min 20 s"), (3720, "1 h 02 min")];
        let shown = cases.map(|(seconds, _)| duration(Duration::from_secs(seconds)));
        assert_eq!(shown, cases.map(|(_, text)| text));
    }

    #[test]
    fn a_sigma_of_another_statistic_is_named() {
        let epoch = Epoch {
            stage: "train".to_owned(),
            epoch: 2,
            train: Some(SigmaCheck { sigma: 0.0316, preserved: None }),
            validation: Some(Score { accuracy: Some(0.9), sigma: Some(0.0379) }),
            ..Epoch::default()
        };
        let usual = epoch_line(&epoch, 3, None, None);
        let start = "train epoch 2/3 done  sigma on train 0.0316";
        assert_eq!(usual, format!("{start}  validation accuracy 0.9000  sigma 0.0379"));
        let other = epoch_line(&epoch, 3, None, Some("published"));
        let end = "  validation accuracy 0.9000  sigma 0.0379";
        assert_eq!(other, format!("{start} (published){end}"));
        let seen = Epoch { train: None, validation_sigma: Some(0.02), ..epoch };
        let seen = epoch_line(&seen, 3, None, Some("centred"));
        assert!(seen.ends_with("sigma 0.0379  sigma 0.0200 (centred)"), "{seen}");
    }
}
