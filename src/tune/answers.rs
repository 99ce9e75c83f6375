//! Which examples a model has right, and the accuracy that students are compared with.

use anyhow::{bail, Error, Result};
use serde::{Deserialize, Serialize};

use crate::check::AccuracyTest;
use crate::confidence::Predictions;
use crate::digest::hexadecimal;

/// The labelled examples of a part of a split that a model has right, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AnswerBits", into = "AnswerBits")]
pub struct Answers(Vec<bool>);

/// The journal's form of [`Answers`]: the bits in hexadecimal, the first example in the highest bit.
#[derive(Clone, Serialize, Deserialize)]
struct AnswerBits {
    correct: usize,
    labelled: usize,
    right: String,
}

impl Answers {
    #[cfg(test)]
    pub fn new(right: Vec<bool>) -> Self {
        Answers(right)
    }

    /// The answers of `predictions` to the examples that have one of `labels`.
    pub fn of(predictions: &Predictions, labels: &[Option<u32>]) -> Self {
        let labelled = labels.iter().enumerate().filter_map(|(i, label)| Some((i, (*label)?)));
        Answers(labelled.map(|(i, label)| predictions.predicted(i) == label).collect())
    }

    pub fn correct(&self) -> usize {
        self.0.iter().filter(|right| **right).count()
    }

    pub fn labelled(&self) -> usize {
        self.0.len()
    }

    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.labelled() as f64
    }
}

impl From<Answers> for AnswerBits {
    fn from(answers: Answers) -> Self {
        let byte = |bits: &[bool]| {
            bits.iter().enumerate().fold(0u8, |byte, (i, bit)| byte | u8::from(*bit) << (7 - i))
        };
        let bytes: Vec<u8> = answers.0.chunks(8).map(byte).collect();
        let (correct, labelled) = (answers.correct(), answers.labelled());
        AnswerBits { correct, labelled, right: hexadecimal(&bytes) }
    }
}

impl TryFrom<AnswerBits> for Answers {
    type Error = Error;

    fn try_from(bits: AnswerBits) -> Result<Self> {
        let digit = |c: char| c.to_digit(16).map(|d| d as u8);
        let digits: Option<Vec<u8>> = bits.right.chars().map(digit).collect();
        let Some(digits) = digits else { bail!("`right` is not hexadecimal") };
        let all = digits.iter().flat_map(|digit| (0..4).map(move |i| digit >> (3 - i) & 1 == 1));
        let answers = Answers(all.take(bits.labelled).collect());
        let again = AnswerBits::from(answers.clone());
        if (again.correct, again.labelled, &again.right)
            != (bits.correct, bits.labelled, &bits.right)
        {
            bail!("`right` does not have {} of {} bits", bits.correct, bits.labelled);
        }
        Ok(answers)
    }
}

/// The accuracy that students are compared with, on the same examples.
#[derive(Debug, Clone, PartialEq)]
pub struct AccuracyReference {
    /// The mean of the models, or the number.
    pub accuracy: f64,
    /// For each example the share of the models that have it right; none for a number.
    shares: Vec<f64>,
}

impl AccuracyReference {
    pub fn number(accuracy: f64) -> Self {
        AccuracyReference { accuracy, shares: Vec::new() }
    }

    /// The mean of `models`, which answered the same examples; at least one.
    ///
    /// # Errors
    /// Models with different numbers of examples.
    pub fn mean(models: &[&Answers]) -> Result<Self> {
        let n = models.first().map_or(0, |model| model.labelled());
        if n == 0 || models.iter().any(|model| model.labelled() != n) {
            bail!("models whose answers are to different examples");
        }
        let count = models.len() as f64;
        let right = |i: usize| models.iter().filter(|model| model.0[i]).count();
        let correct: usize = models.iter().map(|model| model.correct()).sum();
        Ok(AccuracyReference {
            accuracy: correct as f64 / (n * models.len()) as f64,
            shares: (0..n).map(|i| right(i) as f64 / count).collect(),
        })
    }

    /// Tests `answers`, to the same examples, against the reference less `margin`.
    pub fn test(&self, answers: &Answers, margin: f64, level: f64) -> Option<AccuracyTest> {
        let ends = match self.shares.is_empty() {
            true => [-self.accuracy, 1.0 - self.accuracy],
            false => [-1.0, 1.0],
        };
        let share = |i: usize| self.shares.get(i).copied().unwrap_or(self.accuracy);
        let difference = |(i, right): (usize, &bool)| f64::from(u8::from(*right)) - share(i);
        let differences: Vec<f64> = answers.0.iter().enumerate().map(difference).collect();
        AccuracyTest::new(&differences, ends, margin, level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::NonInferiority;

    fn answers(right: &str) -> Answers {
        Answers(right.chars().map(|c| c == '1').collect())
    }

    #[test]
    fn the_journal_has_the_bits_in_hexadecimal() {
        let some = answers("1010000011");
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(text, r#"{"correct":4,"labelled":10,"right":"a0c0"}"#);
        assert_eq!(serde_json::from_str::<Answers>(&text).unwrap(), some);
        assert_eq!(some.accuracy(), 0.4);
        for (wrong, other) in
            [("a0c0", "a0g0"), ("a0c0", "a0"), ("a0c0", "a0c1"), (":4", ":3"), (":10", ":18")]
        {
            let wrong = text.replace(wrong, other);
            assert!(serde_json::from_str::<Answers>(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reference_of_several_models_is_their_mean_on_each_example() {
        let models = [answers("1110"), answers("1010"), answers("0010")];
        let reference = AccuracyReference::mean(&models.each_ref()).unwrap();
        assert_eq!(reference.accuracy, 0.5);
        assert_eq!(reference.shares, [2.0 / 3.0, 1.0 / 3.0, 1.0, 0.0]);
        // 1 − 2/3, 0 − 1/3, 0, 1 − 0: a quarter of their sum.
        let test = reference.test(&answers("1011"), 0.01, 0.05).unwrap();
        assert!((test.difference - 0.25).abs() < 1e-15);
        assert_eq!(test.outcome, NonInferiority::Undecided);
        assert!(AccuracyReference::mean(&[&models[0], &answers("11")]).is_err());
    }

    #[test]
    fn a_number_is_the_same_for_every_example() {
        let reference = AccuracyReference::number(0.75);
        let test = reference.test(&answers("1110"), 0.01, 0.05).unwrap();
        assert_eq!(test.difference, 0.0);
    }
}
