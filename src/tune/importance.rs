//! Which keys mattered: the share of a figure's variance over the trials that each explains.
//!
//! Functional ANOVA over a random forest (Hutter, Hoos & Leyton-Brown 2014, *An Efficient Approach
//! for Assessing Hyperparameter Importance*), over the trials that finished. With few trials it is a
//! hint and no measurement.

use optimizer::parameter::{FloatParam, ParamValue, Parameter};
use optimizer::sampler::RandomSampler;
use optimizer::Study;

use super::space::{Space, TrialSettings};

/// Trials below which nothing is said.
pub const FEWEST: usize = 5;

/// For each key the share of the variance of `figures` that it explains by itself, in [0, 1]; `None`
/// with fewer than [`FEWEST`] trials. `trials` are the settings that gave the figures. A trial that
/// does not have a key counts as having its default.
pub fn importance(space: &Space, trials: &[&TrialSettings], figures: &[f64]) -> Option<Vec<f64>> {
    if trials.len() < FEWEST {
        return None;
    }
    let study: Study<f64> = Study::minimize(RandomSampler::with_seed(0));
    let parameters: Vec<FloatParam> =
        space.0.iter().map(|key| FloatParam::new(0.0, 1.0).name(&key.name)).collect();
    for (point, &figure) in trials.iter().zip(figures) {
        let places = space.0.iter().zip(&parameters).map(|(key, parameter)| {
            let (low, high) = key.range.interval();
            let value = point.get(&key.name).unwrap_or(&key.default);
            let position = key.range.position(value).unwrap_or(low);
            (parameter.id(), ParamValue::Float(((position - low) / (high - low)).clamp(0.0, 1.0)))
        });
        study.enqueue(places.collect());
        let mut trial = study.ask();
        for parameter in &parameters {
            parameter.suggest(&mut trial).ok()?;
        }
        study.tell(trial, Ok::<_, &str>(figure));
    }
    let effects = study.fanova().ok()?.main_effects;
    let of = |name: &str| effects.iter().find(|(key, _)| key == name).map_or(0.0, |(_, x)| *x);
    Some(space.0.iter().map(|key| of(&key.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::space::{Range, RangeScale, SpaceKey};
    use toml::Value;

    fn space() -> Space {
        let range = Range::Real { low: 1e-5, high: 1e-3, scale: RangeScale::Log };
        let rate = SpaceKey { name: "rate".to_owned(), range, default: Value::Float(1e-4) };
        let range = Range::Choices(vec![Value::Boolean(false), Value::Boolean(true)]);
        let idle = SpaceKey { name: "idle".to_owned(), range, default: Value::Boolean(true) };
        Space(vec![rate, idle])
    }

    fn points(n: usize) -> Vec<TrialSettings> {
        let point = |i: usize| {
            let rate = 1e-5 * 100f64.powf(i as f64 / n as f64);
            let rate = ("rate".to_owned(), Value::Float(rate));
            TrialSettings::from([rate, ("idle".to_owned(), Value::Boolean(i.is_multiple_of(3)))])
        };
        (0..n).map(point).collect()
    }

    #[test]
    fn what_a_figure_follows_is_what_matters() {
        let points = points(24);
        let trials: Vec<&TrialSettings> = points.iter().collect();
        let figure = |point: &&TrialSettings| point["rate"].as_float().unwrap().ln();
        let figures: Vec<f64> = trials.iter().map(figure).collect();
        let shares = importance(&space(), &trials, &figures).unwrap();
        assert!(shares[0] > 0.9 && shares[1] < 0.1, "{shares:?}");
        assert_eq!(importance(&space(), &trials, &figures), Some(shares), "the same every time");
    }

    #[test]
    fn a_figure_that_never_moves_is_explained_by_nothing() {
        let points = points(8);
        let trials: Vec<&TrialSettings> = points.iter().collect();
        let shares = importance(&space(), &trials, &[0.5; 8]).unwrap();
        assert!(shares.iter().all(|share| *share == 0.0), "{shares:?}");
    }

    #[test]
    fn of_few_trials_nothing_is_said() {
        let points = points(FEWEST - 1);
        let trials: Vec<&TrialSettings> = points.iter().collect();
        assert_eq!(importance(&space(), &trials, &[1.0, 2.0, 3.0, 4.0]), None);
    }
}
