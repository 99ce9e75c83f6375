//! Which settings come next.
//!
//! The tree-structured Parzen estimator (Bergstra et al. 2011) looks at ranks alone, so the order of
//! [`super::constraints::Constraints`], in which whatever is allowed comes before whatever is not, is all that
//! it needs to know of the constraints. What is proposed follows from the seed, the number of the
//! trial and what is known when it begins.
//!
//! The crate optimizer, which computes [`super::importance`], has an estimator too. Its density of the
//! good trials has no prior, and with a few dozen trials it finds worse settings than tpe does.

use anyhow::{Context, Result};
use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use toml::Value;
use tpe::{categorical_range, histogram_estimator, parzen_estimator, range, TpeOptimizerBuilder};

use super::plan::{Plan, SearchName};
use super::space::{Range, SpaceKey, TrialSettings};

/// Trials that are drawn evenly before the search learns from them, the default settings apart.
const DRAWN: usize = 4;
/// Share of the trials that the search takes for good ones.
const GOOD: f64 = 0.25;
/// Values that are looked at for every key.
const LOOKED_AT: usize = 24;
/// Proposals of the estimator that may have been tried already, before one is drawn.
const ESTIMATES: u64 = 16;
/// Draws that may have been tried already, before a small space is gone through.
const ATTEMPTS: u64 = 200;
/// Settings of a small space.
const MOST: u64 = 1 << 16;

/// The settings of trial number `number`, from 1, which no trial in `begun` has; `None` where all
/// were tried. `ranked` holds the settings of the trials that are over, the best first.
///
/// # Errors
/// None that a checked plan leads to.
pub fn propose(
    plan: &Plan,
    number: usize,
    begun: &[&TrialSettings],
    ranked: &[&TrialSettings],
) -> Result<Option<TrialSettings>> {
    if number == 1 {
        return Ok(Some(plan.defaults()));
    }
    let is_new = |point: &TrialSettings| !begun.contains(&point);
    if let Some(start) = plan.start.iter().find(|point| is_new(point)) {
        return Ok(Some(start.clone()));
    }
    for attempt in 0..ATTEMPTS {
        let stream = ((number as u64) << 32) | attempt;
        let learns = plan.search == SearchName::Tpe && ranked.len() > DRAWN;
        let point = match learns && attempt < ESTIMATES {
            true => estimated(plan, stream, ranked)?,
            false => drawn(plan, stream),
        };
        if is_new(&point) {
            return Ok(Some(point));
        }
    }
    // A small space, nearly all of which was tried.
    let every = plan.space.every(MOST).unwrap_or_default();
    Ok(every.into_iter().map(|point| active(plan, point)).find(is_new))
}

/// Drawn evenly from the whole space.
fn drawn(plan: &Plan, stream: u64) -> TrialSettings {
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    random.set_stream(stream);
    let share = |random: &mut ChaCha8Rng| (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let draw = |key: &SpaceKey| {
        let (low, high) = key.range.interval();
        (key.name.clone(), key.range.value(low + share(&mut random) * (high - low)))
    };
    let point: TrialSettings = plan.space.0.iter().map(draw).collect();
    active(plan, point)
}

/// Drawn where good trials are likelier than others, key by key.
fn estimated(plan: &Plan, stream: u64, ranked: &[&TrialSettings]) -> Result<TrialSettings> {
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    random.set_stream(stream);
    let mut point = TrialSettings::new();
    for key in &plan.space.0 {
        let (low, high) = key.range.interval();
        let (estimator, interval) = match &key.range {
            Range::Choices(choices) => (histogram_estimator(), categorical_range(choices.len())?),
            // Its ranges are half open, and the upper end is a value like any other.
            _ => (parzen_estimator(), range(low, high + (high - low) * 1e-9)?),
        };
        let mut builder = TpeOptimizerBuilder::new();
        let mut optimizer = builder.gamma(GOOD).candidates(LOOKED_AT).build(estimator, interval)?;
        for (rank, known) in ranked.iter().enumerate() {
            let position = known.get(&key.name).and_then(|value| key.range.position(value));
            // A trial whose method does not have the key tells nothing of it.
            optimizer.tell(position.unwrap_or(f64::NAN), rank as f64)?;
        }
        let position = optimizer.ask(&mut random).context("no value to propose")?;
        point.insert(key.name.clone(), key.range.value(position));
    }
    Ok(active(plan, point))
}

/// `point` without the keys that its method does not have.
fn active(plan: &Plan, point: TrialSettings) -> TrialSettings {
    let method = point.get("method").and_then(Value::as_str);
    match method.map(str::to_owned) {
        Some(method) => plan.space.active(point, &method),
        None => point,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::plan::tests::{plan, plan_with};

    const SPACE: &str = "\
        \"stage.prediction.learning_rate\" = { low = 1e-5, high = 1e-3, scale = \"log\" }\n\
        \"stage.prediction.max_epochs\" = { low = 1, high = 12 }\n\
        keep = { choices = [\"last\", \"best-accuracy\"], default = \"best-accuracy\" }\n";

    /// A number that is smallest for one learning rate, many epochs and `last`.
    fn figure(point: &TrialSettings) -> f64 {
        let rate = point["stage.prediction.learning_rate"].as_float().unwrap();
        let epochs = point["stage.prediction.max_epochs"].as_integer().unwrap() as f64;
        let last = point["keep"].as_str() == Some("last");
        (rate.ln() - 2e-4f64.ln()).abs() + (12.0 - epochs) / 6.0 + if last { 0.0 } else { 1.0 }
    }

    fn best_of(plan: &Plan, trials: usize) -> f64 {
        let mut known: Vec<TrialSettings> = Vec::new();
        for number in 1..=trials {
            let mut ranked: Vec<&TrialSettings> = known.iter().collect();
            ranked.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
            let begun: Vec<&TrialSettings> = known.iter().collect();
            let next = propose(plan, number, &begun, &ranked).unwrap().unwrap();
            known.push(next);
        }
        known.iter().map(figure).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_first_trial_has_the_defaults() {
        let plan = plan(SPACE, 7);
        let first = propose(&plan, 1, &[], &[]).unwrap().unwrap();
        assert_eq!(first["stage.prediction.learning_rate"], Value::Float(3e-5));
        assert_eq!(first["stage.prediction.max_epochs"], Value::Integer(3));
        assert_eq!(first["keep"], Value::String("best-accuracy".into()));
    }

    #[test]
    fn what_comes_next_follows_from_seed_number_and_what_is_known() {
        let (plan, other) = (plan(SPACE, 7), plan(SPACE, 8));
        let known: Vec<TrialSettings> =
            (1..=9).map(|n| propose(&plan, n, &[], &[]).unwrap().unwrap()).collect();
        let ranked: Vec<&TrialSettings> = known.iter().collect();
        let next = |plan: &Plan, number| propose(plan, number, &ranked, &ranked).unwrap();
        assert_eq!(next(&plan, 10), next(&plan, 10));
        assert_ne!(next(&plan, 10), next(&plan, 11));
        assert_ne!(next(&plan, 10), next(&other, 10));
    }

    #[test]
    fn the_search_learns_and_chance_does_not() {
        let mean = |search| {
            let best = |seed| {
                let mut plan = plan(SPACE, seed);
                plan.search = search;
                best_of(&plan, 24)
            };
            (0..20).map(best).sum::<f64>() / 20.0
        };
        let (tpe, random) = (mean(SearchName::Tpe), mean(SearchName::Random));
        assert!(tpe < 0.75 * random, "{tpe} {random}");
    }

    #[test]
    fn what_the_user_names_is_tried_after_the_default_in_its_order() {
        let start = "start = [{ keep = \"last\" }, {}, { stage.prediction.max_epochs = 9 }]";
        let plan = plan_with(start, SPACE);
        let mut known = Vec::new();
        for number in 1..=4 {
            let begun: Vec<&TrialSettings> = known.iter().collect();
            known.push(propose(&plan, number, &begun, &[]).unwrap().unwrap());
        }
        let of = |i: usize| {
            (known[i]["keep"].as_str(), known[i]["stage.prediction.max_epochs"].as_integer())
        };
        assert_eq!(of(0), (Some("best-accuracy"), Some(3)), "the default");
        assert_eq!(of(1), (Some("last"), Some(3)));
        assert_eq!(of(2), (Some("best-accuracy"), Some(9)), "{{}} is the default again");
        assert!(!plan.start.contains(&known[3]), "drawn");
    }

    #[test]
    fn a_small_space_is_exhausted_and_nothing_is_tried_twice() {
        let plan = plan("\"student.layers\" = { choices = [2, 3, 6], default = 3 }\n", 0);
        let mut known: Vec<TrialSettings> = Vec::new();
        while known.len() < 3 {
            let begun: Vec<&TrialSettings> = known.iter().collect();
            let next = propose(&plan, known.len() + 1, &begun, &begun).unwrap().unwrap();
            assert!(!known.contains(&next));
            known.push(next);
        }
        let begun: Vec<&TrialSettings> = known.iter().collect();
        assert_eq!(propose(&plan, 4, &begun, &begun).unwrap(), None);
    }

    #[test]
    fn every_setting_of_a_small_space_is_tried_before_the_search_gives_up() {
        let space = "\"student.layers\" = { choices = [1, 2, 3], default = 3 }\n\
            keep = { choices = [\"last\", \"best-accuracy\"], default = \"best-accuracy\" }\n\
            \"stage.prediction.batch_size\" = { choices = [8, 16, 32, 64] }\n";
        let plan = plan(space, 0);
        let mut known: Vec<TrialSettings> = Vec::new();
        loop {
            let begun: Vec<&TrialSettings> = known.iter().collect();
            match propose(&plan, known.len() + 1, &begun, &begun).unwrap() {
                Some(next) => known.push(next),
                None => break,
            }
        }
        assert_eq!(known.len(), 24);
    }
}
