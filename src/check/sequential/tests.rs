//! Small cases worked by hand, and properties for any data.

use proptest::prelude::*;

use super::*;
use crate::check::{Bound, BoundPolicy};

const PASS: Verdict = Verdict::Preserved;
const FAIL: Verdict = Verdict::NotPreserved;

fn budget(beta: f64, n: usize) -> Budget {
    Budget::new(&Bound::new(BoundPolicy::Beta(beta), 0.0, 1.0).unwrap(), n)
}

fn test(beta: f64, n: usize, largest: f64, delta: f64) -> SequentialTest {
    SequentialTest::new(budget(beta, n), n, largest, delta).unwrap()
}

fn exact(verdict: Verdict) -> Option<Decision> {
    Some(Decision { verdict, certainty: Certainty::Exact })
}

fn statistical(verdict: Verdict) -> Option<Decision> {
    Some(Decision { verdict, certainty: Certainty::Statistical })
}

/// A sum of one.
const ONE: i128 = 1 << 96;

/// The part of the wealth that is staked on a first draw. Above T: ten even parts of 1023/1024
/// stake 1/2, 1/4 … 2⁻¹⁰, in sum 1023/1024. Below: Σ 2⁻ᵏ·2⁻ᵏ for k from 1 to 10.
const STAKED_ABOVE: f64 = 1023.0 * 1023.0 / (10.0 * 1024.0 * 1024.0);
const STAKED_BELOW: f64 = (1.0 - 1.0 / 1_048_576.0) / 3.0;

fn assert_near(measured: f64, expected: f64) {
    assert!((measured / expected - 1.0).abs() < 1e-14, "{measured} against {expected}");
}

#[test]
fn wealth_follows_the_tickets() {
    // T = 1 for two examples with R = 1, so m = 1/2. d² = 1/4 pays 1/2 to the one and
    // (1 − 1/4)/(1 − 1/2) = 3/2 to the other.
    let population = Population { n: 2, most: ONE };
    let mut above = Wager::new(SumClaim::Above, ONE, population);
    let mut below = Wager::new(SumClaim::Below, ONE, population);
    assert_near(above.wealth(), 1.0);
    assert_near(below.wealth(), 1.0);
    above.draw(ONE / 4);
    below.draw(ONE / 4);
    assert_near(above.wealth(), 1.0 - 0.5 * STAKED_ABOVE);
    assert_near(below.wealth(), 1.0 + 0.5 * STAKED_BELOW);
    // Now m = 3/4, and d² = 3/4 is worth its price: nothing moves.
    let before = (above.wealth(), below.wealth());
    above.draw(3 * ONE / 4);
    below.draw(3 * ONE / 4);
    assert_eq!((above.wealth(), below.wealth()), before);
}

#[test]
fn a_wealth_within_rounding_of_the_level_is_no_evidence() {
    let mut wager = Wager::new(SumClaim::Above, ONE, Population { n: 2, most: ONE });
    wager.draw(ONE / 4);
    let level = 1.0 / wager.wealth();
    assert!(!wager.refutes_at(level) && !wager.refutes_at(level * (1.0 + 5e-7)));
    assert!(wager.refutes_at(level * (1.0 + 2e-6)));
}

/// All orders of `values`.
fn orders(values: &[f64]) -> Vec<Vec<f64>> {
    if values.is_empty() {
        return vec![vec![]];
    }
    let starting_with = |at: usize| {
        let mut rest = values.to_vec();
        let first = rest.remove(at);
        orders(&rest).into_iter().map(move |order| [vec![first], order].concat())
    };
    (0..values.len()).flat_map(starting_with).collect()
}

/// Seven differences each, |d| ≤ 1: one, a few large, spread out, all alike.
const SMALL_SETS: [[f64; 7]; 4] = [
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.75, -0.75, 0.0, 0.0, 0.0, 0.0, 0.125],
    [0.0, 0.0625, 0.125, 0.25, -0.375, 0.5, 0.875],
    [0.5, -0.5, 0.5, 0.5, 0.5, -0.5, 0.5],
];

#[test]
fn wealth_is_one_on_average_where_the_claim_is_just_false() {
    for set in SMALL_SETS {
        let total = DifferenceSums::of(&set).spent(Statistic::Rms).units();
        for (claim, off) in [(SumClaim::Above, 1), (SumClaim::Below, -1)] {
            // After each number of draws, over all 5,040 orders, against Σd² and against a T by
            // a 2²⁰th away, which makes the claim more false.
            let (mut fair, mut unfair) = ([0.0; 7], [0.0; 7]);
            let population = Population { n: 7, most: ONE };
            let orders = orders(&set);
            for order in &orders {
                let mut at = Wager::new(claim, total, population);
                let mut beyond = Wager::new(claim, total + off * (total >> 20), population);
                for (i, &d) in order.iter().enumerate() {
                    at.draw(square_of(d));
                    beyond.draw(square_of(d));
                    fair[i] += at.wealth() / orders.len() as f64;
                    unfair[i] += beyond.wealth() / orders.len() as f64;
                }
            }
            let is_one = |mean: &f64| (mean - 1.0).abs() < 1e-12;
            assert!(fair.iter().all(is_one), "{claim:?} {set:?}: {fair:?}");
            let is_less = |mean: &f64| *mean < 1.0 + 1e-12;
            assert!(unfair.iter().all(is_less), "{claim:?} {set:?}: {unfair:?}");
        }
    }
}

#[test]
fn of_all_orders_no_more_than_delta_lead_to_a_wrong_verdict() {
    for set in SMALL_SETS {
        let spent = DifferenceSums::of(&set).spent(Statistic::Rms).to_f64();
        let orders = orders(&set);
        for (beta, truth) in [(spent, PASS), (spent.next_down(), FAIL)] {
            for delta in [0.5, 0.4, 0.3, 0.2] {
                let is_wrong = |order: &&Vec<f64>| {
                    let mut test = test(beta, 7, 1.0, delta);
                    order.iter().find_map(|&d| test.draw(d)).unwrap().verdict != truth
                };
                let wrong = orders.iter().filter(is_wrong).count();
                assert!(wrong as f64 <= delta * orders.len() as f64, "{set:?}, {delta}: {wrong}");
            }
        }
    }
}

#[test]
fn wealth_neither_reaches_zero_nor_overflows() {
    let population = Population { n: 1_000_000, most: ONE };
    let mut poor = Wager::new(SumClaim::Above, 500_000 * ONE, population);
    (0..500_000).for_each(|_| poor.draw(0));
    assert_near(poor.wealth(), 1.0 / 1024.0);
    // T of one unit: the first draw pays 1,000,000 for each unit of it.
    let mut rich = Wager::new(SumClaim::Above, 1, population);
    rich.draw(1);
    assert_near(rich.wealth(), 1.0 + 999_999.0 * STAKED_ABOVE);
    // The rest is known to be zero: nothing is at stake.
    rich.draw(0);
    assert_near(rich.wealth(), 1.0 + 999_999.0 * STAKED_ABOVE);
}

#[test]
fn one_plain_draw_fails_a_small_bound() {
    // R = 1/2, B = 2.5 for 1,000: m = 0.0025 against d² = 1/4 pays 100. 1 + 99·0.0998 = 10.9 is
    // 1/0.1 but not 1/0.005. A second one pays 999/9 = 111: 0.0999·(50.5·56 + 25.75·28.5 + …) = 384.
    assert_eq!(test(2.5, 1_000, 0.5, 0.1).draw(-0.5), statistical(FAIL));
    let mut strict = test(2.5, 1_000, 0.5, 0.005);
    assert_eq!(strict.draw(-0.5), None);
    assert_eq!(strict.draw(0.5), statistical(FAIL));
    assert_eq!((strict.draws(), strict.decision()), (2, statistical(FAIL)));
}

#[test]
fn nine_zeros_pass_half_of_what_is_possible() {
    // m = R²/2: a zero pays 2 (and a little more each time, as less is left), so the shares grow
    // by 1 + 2⁻ᵏ: Σ 2⁻ᵏ(1 + 2⁻ᵏ)⁸ = 12.81 + 1.49 + … = 15, and after nine 19.22 + 1.86 + … = 21.6.
    let mut passes = test(500.0, 1_000, 1.0, 0.05);
    assert_eq!((0..8).filter_map(|_| passes.draw(0.0)).count(), 0);
    assert_eq!(passes.draw(0.0), statistical(PASS));
}

#[test]
fn a_decision_stays() {
    // The draws after the statistical failure are all zero: the whole set is within its budget.
    let mut wrong = test(2.5, 1_000, 0.5, 0.1);
    wrong.draw(0.5);
    for _ in 1..1_000 {
        assert_eq!(wrong.draw(0.0), statistical(FAIL));
    }
    assert_eq!(wrong.draws(), 1_000);
    assert_eq!(wrong.interval().high, (0.25f64 / 1_000.0).sqrt());
}

#[test]
fn a_bound_beyond_the_largest_difference_needs_no_draw() {
    for kappa in [0.5, 0.6, 1e200] {
        let bound = Bound::new(BoundPolicy::Kappa(kappa), 0.0, 1.0).unwrap();
        let test = SequentialTest::new(Budget::new(&bound, 7), 7, 0.5, 0.01).unwrap();
        assert_eq!((test.decision(), test.draws()), (exact(PASS), 0));
        assert_eq!((test.interval().low, test.interval().high), (0.0, 0.5));
    }
}

#[test]
fn a_bound_of_zero_asks_for_every_example() {
    let mut same = test(0.0, 3, 0.5, 0.5);
    assert_eq!((same.draw(0.0), same.draw(-0.0)), (None, None));
    assert_eq!(same.draw(1e-20), exact(PASS)); // 1e-40 rounds to 0 on the grid of 2^-96
    let mut other = test(0.0, 3, 0.5, 0.5);
    assert_eq!((other.draw(0.0), other.draw(1e-12)), (None, exact(FAIL)));
}

#[test]
fn one_example_is_all_of_them() {
    assert_eq!(test(0.0625, 1, 0.5, 0.5).draw(0.25), exact(PASS));
    assert_eq!(test(0.0625, 1, 0.5, 0.5).draw(-0.2500001), exact(FAIL));
    assert_eq!(test(1e-300, 1, 0.5, 0.5).draw(0.0), exact(PASS));
    let mut one = test(0.0625, 1, 0.5, 0.05);
    one.draw(0.25);
    assert_eq!(one.interval(), Interval { low: 0.25, high: 0.25, level: 0.95 });
}

#[test]
fn a_summary_has_what_a_reader_needs_to_repeat_the_draws() {
    let mut test = test(2.5, 1_000, 0.5, 0.1);
    let decision = test.draw(-0.5).unwrap();
    let summary = test.summary(7);
    assert_eq!((summary.delta, summary.draws, summary.seed), (0.1, 1, 7));
    assert_eq!((summary.sigma_interval, summary.sigma_interval.level), (test.interval(), 0.9));
    let names = [decision.certainty, Certainty::Exact].map(Certainty::as_str);
    assert_eq!(names, ["statistical", "exact"]);
}

#[test]
fn a_certain_verdict_is_exact() {
    // B = 1 of 8·R² = 2: four draws of R spend it, and the fifth passes it. At δ = 1e-9 no
    // wager has reached 1/δ by then.
    let mut fails = test(1.0, 8, 0.5, 1e-9);
    assert_eq!((0..4).filter_map(|_| fails.draw(0.5)).count(), 0);
    assert_eq!(fails.draw(0.5), exact(FAIL));
    let mut passes = test(1.0, 8, 0.5, 1e-9);
    assert_eq!((0..3).filter_map(|_| passes.draw(0.0)).count(), 0);
    assert_eq!(passes.draw(0.0), exact(PASS));
}

#[test]
fn arguments_out_of_range_are_refused() {
    let new = |n, largest, delta| {
        SequentialTest::new(budget(1.0, 1), n, largest, delta).unwrap_err().to_string()
    };
    assert_eq!(new(0, 0.5, 0.1), "there are no examples: an empty split has no verdict");
    assert!(new(MAX_EXAMPLES, 0.5, 0.1).starts_with("1073741824 examples are too many"));
    for largest in [0.0, 0.49, 1.1, f64::NAN] {
        assert!(new(1, largest, 0.1).starts_with(&format!("the largest difference is {largest}")));
    }
    for delta in [0.0, -0.1, 0.51, 1e-101, f64::NAN] {
        let error = new(1, 0.5, delta);
        assert!(error.starts_with(&format!("delta is {delta}")), "{error}");
        assert!(error.ends_with("from 1e-100 to 0.5"), "{error}");
    }
}

#[test]
#[should_panic(expected = "beyond ±0.5")]
fn a_difference_beyond_the_largest_is_refused() {
    test(1.0, 9, 0.5, 0.1).draw(0.5000001);
}

#[test]
#[should_panic(expected = "all 1 examples are drawn")]
fn there_are_no_more_draws_than_examples() {
    let mut test = test(1.0, 1, 0.5, 0.1);
    test.draw(0.0);
    test.draw(0.0);
}

#[test]
fn the_order_is_that_of_its_description() {
    // scripts/draw_order.py 12 7; 12 0xba7816bf8f01c; 67349 7 (Python 3.11.7).
    assert_eq!(draw_order(12, 7), [4, 1, 7, 10, 11, 6, 8, 3, 2, 0, 5, 9]);
    let seed = seed_of_data("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(draw_order(12, seed), [3, 1, 10, 11, 2, 8, 5, 4, 9, 6, 7, 0]);
    let long = draw_order(67_349, 7);
    assert_eq!(long[..4], [47_744, 41_579, 20_397, 65_324]);
    assert_eq!(long[67_345..], [20_296, 382, 31_379, 51_461]);
    assert_eq!((draw_order(0, 7), draw_order(1, 7)), (vec![], vec![0]));
}

#[test]
fn every_order_of_four_is_as_likely() {
    // 24 orders, 24,000 seeds: χ² with 23 degrees of freedom is below 49.7 with probability 0.999.
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..24_000 {
        *counts.entry(draw_order(4, seed)).or_insert(0.0) += 1.0;
    }
    assert_eq!(counts.len(), 24);
    let chi_square: f64 = counts.values().map(|c: &f64| (c - 1_000.0).powi(2) / 1_000.0).sum();
    assert!(chi_square < 49.7, "{chi_square}");
}

#[test]
#[should_panic(expected = "hexadecimal")]
fn a_seed_needs_thirteen_digits() {
    seed_of_data("ba7816bf8f01");
}

#[test]
fn the_interval_narrows_to_sigma() {
    // |d| = 0.3 for every tenth example and 0.01 else: σ = sqrt(0.09/10 + 0.0001·9/10).
    let sigma = 0.00909f64.sqrt();
    let n = 20_000;
    let d = |i: u32| if i.is_multiple_of(10) { 0.3 } else { 0.01 };
    let mut test = test(1e-9, n, 0.5, 0.05);
    let mut widths = Vec::new();
    for (drawn, i) in draw_order(n, 3).into_iter().enumerate() {
        test.draw(d(i));
        if [10, 100, 1_000, 10_000, n - 1].contains(&(drawn + 1)) {
            let interval = test.interval();
            assert!(interval.low < sigma && sigma < interval.high);
            widths.push(interval.high - interval.low);
        }
    }
    assert!(widths.is_sorted_by(|a, b| a > b), "{widths:?}");
    assert!(widths[3] < 0.01 && widths[4] < 1e-4, "{widths:?}");
    let end = test.interval();
    assert_eq!((end.low, end.high), (test.sums.sigma().unwrap(), test.sums.sigma().unwrap()));
}

#[test]
fn each_end_of_the_interval_is_refuted_at_half_of_delta() {
    let (n, delta) = (1_000, 0.3);
    let population = Population { n, most: square_of(0.5) };
    let squares: Vec<i128> = (0..60).map(|i| square_of(0.1 * f64::from(i % 4))).collect();
    let (low, high) = interval::totals(&squares, population, delta);
    let richest = |claim, total| {
        let mut wager = Wager::new(claim, total, population);
        let wealth = squares.iter().map(|&square| {
            wager.draw(square);
            wager.wealth()
        });
        wealth.fold(0.0, f64::max)
    };
    // The wealth against an end is 2/δ, but for the bisection and the margin for rounding.
    for (claim, end) in [(SumClaim::Above, low), (SumClaim::Below, high)] {
        let wealth = richest(claim, end);
        assert!((wealth * delta / 2.0 - 1.0).abs() < 1e-5, "{claim:?}: {wealth}");
    }
}

#[test]
fn an_interval_without_possible_sums_falls_back_to_what_is_certain() {
    // 998 zeros of 1,000, R = 1: against Σd² = 1, each pays 1 + 1/(left − 1), so what is staked by
    // halves has grown by Π(1 + 1/2(left − 1)), about sqrt(1000/2) = 22: refuted at 2/δ = 4. A one
    // after that refutes every sum, and only what is certain remains.
    let mut test = test(1e-9, 1_000, 1.0, 0.5);
    for _ in 0..998 {
        test.draw(0.0);
    }
    assert!(test.interval().high < (1.0f64 / 1_000.0).sqrt());
    test.draw(1.0);
    let (low, high) = (test.interval().low, test.interval().high);
    assert_eq!((low, high), ((1.0f64 / 1_000.0).sqrt(), (2.0f64 / 1_000.0).sqrt()));
}

/// (differences, B, δ, R): B around Σd², from well inside to well outside.
fn cases() -> impl Strategy<Value = (Vec<f64>, f64, f64, f64)> {
    let difference = prop_oneof![Just(0.0), -0.5f64..=0.5, -0.01f64..=0.01];
    let differences = prop::collection::vec(difference, 1..60);
    let largest = prop_oneof![Just(0.5), Just(2.0 / 3.0), Just(1.0)];
    (differences, 0.0f64..3.0, 1e-6f64..=0.5, largest).prop_map(|(d, share, delta, largest)| {
        let spent: f64 = d.iter().map(|d| d * d).sum();
        (d, share * spent, delta, largest)
    })
}

proptest! {
    #[test]
    fn an_exact_decision_is_the_verdict_of_the_whole_set(
        (d, beta, delta, largest) in cases(),
    ) {
        let mut test = test(beta, d.len(), largest, delta);
        for &d in &d {
            test.draw(d);
        }
        let decision = test.decision().unwrap();
        let whole = budget(beta, d.len()).verdict(DifferenceSums::of(&d).spent(Statistic::Rms));
        prop_assert!(decision.certainty == Certainty::Statistical || decision.verdict == whole);
    }

    #[test]
    fn without_evidence_the_verdict_comes_when_it_is_certain((d, beta, _, largest) in cases()) {
        // At δ = 1e-100 sixty draws are not enough.
        let mut test = test(beta, d.len(), largest, SMALLEST_DELTA);
        let budget = budget(beta, d.len());
        for drawn in 0..=d.len() {
            let sums = DifferenceSums::of(&d[..drawn]);
            let certain = budget.certain(Statistic::Rms, &sums, d.len() - drawn, largest);
            // What is certain stays certain.
            prop_assert_eq!(test.decision(), certain.and_then(exact));
            if drawn < d.len() {
                test.draw(d[drawn]);
            }
        }
    }

    #[test]
    fn the_same_draws_give_the_same_bits((d, beta, delta, largest) in cases()) {
        let run = || {
            let mut test = test(beta, d.len(), largest, delta);
            let decisions: Vec<_> = d.iter().map(|&d| test.draw(d)).collect();
            let interval = test.interval();
            (decisions, interval.low.to_bits(), interval.high.to_bits())
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn the_interval_narrows_within_what_is_certain((d, _, delta, largest) in cases()) {
        let population = Population { n: d.len(), most: square_of(largest) };
        let squares: Vec<i128> = d.iter().map(|&d| square_of(d)).collect();
        let most = population.n as i128 * population.most;
        let (mut last, mut grain) = ((0, most), 0);
        for drawn in 0..=d.len() {
            let (low, high) = interval::totals(&squares[..drawn], population, delta);
            let spent: i128 = squares[..drawn].iter().sum();
            let certain = (spent, spent + (d.len() - drawn) as i128 * population.most);
            prop_assert!(certain.0 <= low && low <= high && high <= certain.1);
            // Where all is refuted, what is certain is back.
            prop_assert!((low, high) == certain || (low >= last.0 - grain && high <= last.1 + grain));
            // Each end is found to a 2⁵⁰th of what is certain, however near the other is.
            (last, grain) = ((low, high), (certain.1 - certain.0) >> 48);
        }
        prop_assert_eq!(last.0, last.1);
    }

    #[test]
    fn the_interval_agrees_with_the_verdict((d, beta, delta, largest) in cases()) {
        let mut test = test(beta, d.len(), largest, delta / 2.0);
        let decision = d.iter().find_map(|&d| test.draw(d)).unwrap();
        // With the δ of the verdict on each side, B is outside the interval or an end of it.
        let (low, high) = interval::totals(&test.squares, test.population, delta);
        let total = FixedSum::saturating_from(beta).units();
        let grain = (test.population.n as i128 * test.population.most) >> 48;
        match decision.verdict {
            Verdict::NotPreserved => prop_assert!(total <= low + grain),
            Verdict::Preserved => prop_assert!(high <= total + grain),
        }
    }

    #[test]
    fn the_order_is_a_permutation(n in 0usize..300, seed: u64) {
        let mut order = draw_order(n, seed);
        prop_assert_eq!(&order, &draw_order(n, seed));
        order.sort_unstable();
        prop_assert!(order.into_iter().eq(0..n as u32));
    }
}
