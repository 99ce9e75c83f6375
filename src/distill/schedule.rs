//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

/// The learning rate after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Falls linearly to 0.
    #[default]
    Linear,
    /// Stays constant.
    Constant,
}

/// The factor of the learning rate over a training.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Schedule {
    /// The part after the warm-up.
    pub decay: Decay,
    /// The share of all steps, in [0, 1], in which the rate rises linearly from 0.
    pub warmup: f64,
}

impl Schedule {
    /// The factor of step number `step`, counted from 0, out of `total_steps`. In [0, 1].
    ///
    /// As transformers' `get_linear_schedule_with_warmup` and `get_constant_schedule_with_warmup`:
    /// the first step of a warm-up has the factor 0.
    pub fn factor(&self, step: u64, total_steps: u64) -> f64 {
        let warmup = self.warmup_steps(total_steps);
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => {
                let left = total_steps.saturating_sub(step) as f64;
                left / (total_steps - warmup).max(1) as f64
            }
        }
    }

    /// Steps of the warm-up, rounded up as transformers' `TrainingArguments` does; at most all.
    fn warmup_steps(&self, total_steps: u64) -> u64 {
        ((self.warmup * total_steps as f64).ceil() as u64).min(total_steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_those_of_transformers() {
        let cases: [(Decay, f64, u64, &[f64]); 7] = [
            // get_linear_schedule_with_warmup(warmup 2, training steps 10): i/2, then (10 − i)/8; past
            // the end 0.
            (
                Decay::Linear,
                0.2,
                10,
                &[0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0],
            ),
            (Decay::Constant, 0.5, 4, &[0.0, 0.5, 1.0, 1.0, 1.0]),
            // Without a warm-up the first step has the factor 1.
            (Decay::Linear, 0.0, 4, &[1.0, 0.75, 0.5, 0.25, 0.0]),
            (Decay::Constant, 0.0, 2, &[1.0, 1.0, 1.0]),
            // The number of warm-up steps is rounded up: ceil(0.1 · 15) = 2.
            (Decay::Constant, 0.1, 15, &[0.0, 0.5, 1.0]),
            // Degenerate trainings have finite factors.
            (Decay::Linear, 1.0, 2, &[0.0, 0.5, 0.0]),
            (Decay::Linear, 0.0, 0, &[0.0]),
        ];
        for (decay, warmup, total, expected) in cases {
            let schedule = Schedule { decay, warmup };
            let factors: Vec<f64> =
                (0..expected.len() as u64).map(|step| schedule.factor(step, total)).collect();
            assert_eq!(factors, expected, "{decay:?} {warmup} {total}");
        }
    }

    #[test]
    fn names_are_in_kebab_case() {
        assert_eq!(serde_json::to_string(&Decay::Linear).unwrap(), "\"linear\"");
        assert_eq!(serde_json::to_string(&Decay::Constant).unwrap(), "\"constant\"");
    }
}
