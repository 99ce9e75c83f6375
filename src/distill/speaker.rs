//! How a training tells how it goes: a line every so many steps, one at the end of each epoch.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::evaluate::{Score, SigmaCheck};
use super::saved::Epoch;
use crate::terminal::Verbosity;

/// Who tells the user how it goes.
#[derive(Debug, Clone, Copy)]
pub struct TrainingLog(pub Verbosity);

/// How fast a training goes.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    steps: usize,
    examples: usize,
    busy: Duration,
}

impl Pace {
    /// A pace from `began` on.
    pub fn begin(began: Instant) -> Self {
        Pace { began, steps: 0, examples: 0, busy: Duration::ZERO }
    }

    /// A step over `examples` took `time`.
    pub fn step(&mut self, examples: usize, time: Duration) {
        self.steps += 1;
        self.examples += examples;
        self.busy += time;
    }

    /// Examples a second, measuring the student between epochs left out.
    fn examples_per_second(&self) -> f64 {
        self.examples as f64 / self.busy.as_secs_f64().max(1e-9)
    }

    /// Time that so many steps will take, at the pace of all that was done.
    fn left(&self, steps: usize) -> Duration {
        self.began.elapsed().div_f64(self.steps.max(1) as f64).mul_f64(steps as f64)
    }
}

impl TrainingLog {
    /// What a stage trains.
    pub fn trains(&self, stage: &str, reached: usize, all: usize) {
        if reached < all {
            self.0.message(&format!(
                "stage {stage}: its losses reach {reached} of {all} tensors; the others stay"
            ));
        }
    }

    /// One step; `done` and `epoch` are (so many, of how many).
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

    /// The end of an epoch; `held` is w_soft·ΣL_soft over the training set, and β.
    pub fn epoch(&self, epoch: &Epoch, epochs: usize, held: Option<(f64, f64)>) {
        let mut line = format!("{} epoch {}/{epochs} done", epoch.stage, epoch.epoch);
        for (term, loss) in &epoch.losses {
            let _ = write!(line, "  {term} {loss:.5}");
        }
        if let Some((loss, beta)) = held {
            let _ = write!(line, "  weighted soft loss on train {loss:.4} (β {beta:.4})");
        }
        if let Some(SigmaCheck { sigma, .. }) = epoch.train {
            let _ = write!(line, "  sigma on train {sigma:.4}");
        }
        if let Some(Score { accuracy, sigma }) = epoch.validation {
            if let Some(accuracy) = accuracy {
                let _ = write!(line, "  validation accuracy {accuracy:.4}");
            }
            if let Some(sigma) = sigma {
                let _ = write!(line, "  sigma {sigma:.4}");
            }
        }
        self.0.message(&line);
    }
}

/// Such as `1 h 02 min`, `3 min 20 s`, `4 s`.
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
    fn durations_are_told_in_two_units() {
        let told = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(told(4), "4 s");
        assert_eq!(told(200), "3 min 20 s");
        assert_eq!(told(3720), "1 h 02 min");
    }
}
