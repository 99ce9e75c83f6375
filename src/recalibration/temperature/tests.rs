use proptest::prelude::*;

use super::*;
use crate::confidence::confidence_differences;

/// Logits of `n` examples over `labels` labels.
fn logits(values: Vec<f32>, labels: usize) -> Logits {
    Logits { values, labels }
}

fn predictions(logits: &Logits) -> Predictions {
    Predictions::from_logits(&logits.values, logits.labels).unwrap()
}

fn scores(teacher: &Logits, student: &Logits, kind: ConfidenceKind) -> Scores {
    Scores::new(&predictions(teacher), student, kind, 1)
}

fn scaled(logits: &Logits, factor: f32) -> Logits {
    Logits { values: logits.values.iter().map(|z| z * factor).collect(), labels: logits.labels }
}

/// Rows of three logits, within ±4.
fn rows(n: std::ops::Range<usize>) -> impl Strategy<Value = Logits> {
    n.prop_flat_map(|n| prop::collection::vec(-4f32..4.0, 3 * n)).prop_map(|z| logits(z, 3))
}

/// Two models' logits over the same examples.
fn pairs() -> impl Strategy<Value = (Logits, Logits)> {
    let values = |n| prop::collection::vec(-4f32..4.0, 3 * n);
    (1usize..40)
        .prop_flat_map(move |n| (values(n), values(n)))
        .prop_map(|(t, s)| (logits(t, 3), logits(s, 3)))
}

#[test]
fn one_example_is_mended_exactly() {
    // The teacher's logits are (1, 0), the student's (3, 0): τ = 3.
    let found = fit(
        &scores(&logits(vec![1.0, 0.0], 2), &logits(vec![3.0, 0.0], 2), ConfidenceKind::Max),
        Statistic::Rms,
    );
    assert!((found.temperature - 3.0).abs() < 1e-7, "{}", found.temperature);
    assert!(found.sums.sigma().unwrap() < 1e-8);
    assert!(!found.at_edge);
}

#[test]
fn the_published_statistic_is_over_what_both_get_right_at_every_temperature() {
    let teacher = logits(vec![1.0, 0.0, 0.0, 2.0, 3.0, 0.0, 1.5, 0.0], 2);
    let student = logits(vec![3.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.5, 0.0], 2);
    let labels = [0, 1, 0, 1].map(Some);
    let reading = (ConfidenceKind::Max, Statistic::Published);
    let of = |labels: &[Option<u32>], threads| {
        Scores::of_statistic(&predictions(&teacher), &student, labels, reading, threads)
    };
    let scores = of(&labels, 1).unwrap();
    assert_eq!(scores.examples(), 2);
    for temperature in [1.0, 2.5] {
        let scaled = logits(student.values.iter().map(|z| z / temperature as f32).collect(), 2);
        let published =
            PublishedDifferences::new(&predictions(&teacher), &predictions(&scaled), &labels);
        let expected = DifferenceSums::of(&published.unwrap().differences);
        let found = scores.at(temperature);
        match temperature == 1.0 {
            true => assert_eq!(found, expected),
            false => {
                let [found, expected] = [found, expected].map(|of| of.sigma_centred().unwrap());
                assert!((found - expected).abs() < 1e-7, "{found} {expected}");
            }
        }
    }
    assert!(of(&[None; 4], 1).is_err());
    let (kind, statistic) = (ConfidenceKind::TeacherClass, Statistic::Centred);
    let others =
        Scores::of_statistic(&predictions(&teacher), &student, &[], (kind, statistic), 1).unwrap();
    assert_eq!(others.at(1.3), self::scores(&teacher, &student, kind).at(1.3));
}

#[test]
fn a_student_beyond_the_grid_is_at_its_edge() {
    let teacher = logits(vec![0.1, 0.0], 2);
    let too_sure = scaled(&teacher, 30.0);
    let found = fit(&scores(&teacher, &too_sure, ConfidenceKind::Max), Statistic::Rms);
    assert_eq!((found.temperature, found.at_edge), (LARGEST_TEMPERATURE, true));
    let found = fit(&scores(&too_sure, &teacher, ConfidenceKind::Max), Statistic::Rms);
    assert!((found.temperature / SMALLEST_TEMPERATURE - 1.0).abs() < 1e-12);
    assert!(found.at_edge);
}

#[test]
fn a_curve_without_a_slope_keeps_the_temperature_one() {
    // Equal logits have the confidence ½ at any temperature.
    let teacher = logits(vec![2.0, 0.0], 2);
    let found =
        fit(&scores(&teacher, &logits(vec![1.0, 1.0], 2), ConfidenceKind::Max), Statistic::Rms);
    assert_eq!((found.temperature, found.at_edge), (1.0, false));
}

#[test]
fn the_deeper_of_two_minima_is_found() {
    // The student's margins are 16 and 0.25 (twice over); the teacher's are 1 and 1: the first asks
    // for τ = 16, the others for τ = ¼. Near each, the other kind is about as far off as can be.
    let teacher = logits([1.0, 0.0].repeat(3), 2);
    let deep_below = logits(vec![16.0, 0.0, 0.25, 0.0, 0.25, 0.0], 2);
    let deep_above = logits(vec![16.0, 0.0, 16.0, 0.0, 0.25, 0.0], 2);
    let curve = |student: &Logits| {
        let scores = scores(&teacher, student, ConfidenceKind::Max);
        let at = |t: f64| scores.at(t).spent(Statistic::Rms);
        // Two dips: between them it is worse than in either.
        assert!(at(0.26) < at(2.0) && at(14.0) < at(2.0));
        fit(&scores, Statistic::Rms).temperature
    };
    let (below, above) = (curve(&deep_below), curve(&deep_above));
    assert!(below < 0.5 && above > 8.0, "{below}, {above}");
}

#[test]
fn the_teacher_s_label_may_be_another_than_the_student_s() {
    // The teacher gives its label 0.6; the student, which prefers the other one by ln 4, gives it
    // 1/5 and can be brought to just below ½ by a high temperature, to 0.6 by none.
    let (teacher, student) = (logits(vec![1.5f32.ln(), 0.0], 2), logits(vec![0.0, 4f32.ln()], 2));
    let found = fit(&scores(&teacher, &student, ConfidenceKind::TeacherClass), Statistic::Rms);
    assert_eq!((found.temperature, found.at_edge), (LARGEST_TEMPERATURE, true));
    // Its largest probability alone can be 0.6 exactly, at ln 4 / ln 1.5.
    let found = fit(&scores(&teacher, &student, ConfidenceKind::Max), Statistic::Rms);
    assert!((found.temperature - 4f64.ln() / 1.5f64.ln()).abs() < 1e-6, "{}", found.temperature);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn at_one_the_sums_are_the_audit_s((teacher, student) in pairs()) {
        for kind in ConfidenceKind::ALL {
            let differences =
                confidence_differences(&predictions(&teacher), &predictions(&student), kind);
            let audit = DifferenceSums::of(&differences.unwrap());
            prop_assert_eq!(scores(&teacher, &student, kind).at(1.0), audit);
        }
    }

    #[test]
    fn it_is_never_worse_than_no_temperature((teacher, student) in pairs()) {
        for (kind, statistic) in [
            (ConfidenceKind::Max, Statistic::Rms),
            (ConfidenceKind::TeacherClass, Statistic::Rms),
            (ConfidenceKind::Max, Statistic::Centred),
        ] {
            let scores = scores(&teacher, &student, kind);
            let found = fit(&scores, statistic);
            prop_assert!(found.sums.spent(statistic) <= scores.at(1.0).spent(statistic));
            prop_assert!(found.temperature >= SMALLEST_TEMPERATURE * (1.0 - 1e-12));
            prop_assert!(found.temperature <= LARGEST_TEMPERATURE);
        }
    }

    #[test]
    fn a_scaled_teacher_is_mended_exactly(teacher in rows(1..40), power in -3i32..4) {
        // A power of two, so that the student's f32 logits are exactly so many times the teacher's.
        let student = scaled(&teacher, 2f32.powi(power));
        let found = fit(&scores(&teacher, &student, ConfidenceKind::Max), Statistic::Rms);
        prop_assert!(found.sums.sigma().unwrap() < 1e-7, "{}", found.sums.sigma().unwrap());
    }

    #[test]
    fn a_student_scaled_by_c_has_c_times_the_temperature((teacher, student) in pairs(), up in 1i32..3) {
        // An even power of two: both searches have the same dips. Where one of them ends at the
        // edge of the grid, or a dip has a twin as deep, there is nothing to compare.
        let factor = 2f64.powi(up);
        let plain = scores(&teacher, &student, ConfidenceKind::Max);
        let large = scores(&teacher, &scaled(&student, factor as f32), ConfidenceKind::Max);
        let (a, b) = (fit(&plain, Statistic::Rms), fit(&large, Statistic::Rms));
        let inside = |t: f64| t > SMALLEST_TEMPERATURE * 1.1 && t < LARGEST_TEMPERATURE / 1.1;
        if inside(a.temperature) && inside(a.temperature * factor)
            && inside(b.temperature) && inside(b.temperature / factor) {
            let (a, b) = (a.sums.sigma().unwrap(), b.sums.sigma().unwrap());
            prop_assert!((a - b).abs() < 1e-6, "{a} against {b}");
            let moved = large.at(fit(&plain, Statistic::Rms).temperature * factor);
            prop_assert!((moved.sigma().unwrap() - b).abs() < 1e-6);
        }
    }

    #[test]
    fn neither_order_nor_threads_matter((teacher, student) in pairs(), threads in 2usize..5) {
        let kind = ConfidenceKind::Max;
        let turned = |l: &Logits| logits(l.values.chunks(3).rev().flatten().copied().collect(), 3);
        let one = fit(&scores(&teacher, &student, kind), Statistic::Rms);
        let other = fit(&scores(&turned(&teacher), &turned(&student), kind), Statistic::Rms);
        prop_assert_eq!(one, other);
        let many = |l: &Logits| logits(l.values.iter().copied().cycle().take(3 * 9_000).collect(), 3);
        let (teacher, student) = (many(&teacher), many(&student));
        let alone = scores(&teacher, &student, kind).at(1.7);
        let shared = Scores::new(&predictions(&teacher), &student, kind, threads).at(1.7);
        prop_assert_eq!(alone, shared);
    }

    #[test]
    fn no_prediction_moves(logits in rows(1..40), temperature in 0.05f64..20.0) {
        prop_assert_eq!(moved(&logits, temperature), 0);
    }
}
