//! `epochs.csv`: every epoch of every training, a line each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tuning;

/// The columns ahead of those of the losses.
const COLUMNS: [&str; 11] = [
    "trial",
    "seed",
    "stage",
    "epoch",
    "kept",
    "accuracy",
    "seen_sigma_rms_max",
    "sample_sigma",
    "train_sigma",
    "kl",
    "cross_entropy",
];

/// An epoch of a training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainedEpoch {
    /// The trial.
    pub trial: usize,
    /// The training's seed.
    pub seed: u64,
    /// The stage of the method.
    pub stage: String,
    /// The epoch's number within the stage, from 1.
    pub epoch: usize,
    /// Whether the student is that of this epoch.
    pub kept: bool,
    /// Accuracy on the seen part of the validation split at its end.
    pub accuracy: Option<f64>,
    /// σ about zero of the largest probability there, whatever gates.
    pub seen_sigma_rms_max: Option<f64>,
    /// σ on the watched sample of the training set, in the statistic and confidence that gate.
    pub sample_sigma: Option<f64>,
    /// σ on the training set, likewise, where `keep` depends on it.
    pub train_sigma: Option<f64>,
    /// Mean KL divergence of the soft-label loss over the training set, nats, where it was measured.
    pub kl: Option<f64>,
    /// Mean cross-entropy of the soft-label loss, likewise.
    pub cross_entropy: Option<f64>,
    /// Means of the losses over the batches, by name, before the weights, dropout on.
    pub losses: BTreeMap<String, f64>,
}

/// Writes one line an epoch: its figures, then its losses, a column each.
///
/// # Errors
/// Whatever `to` refuses.
pub fn write_epochs(report: &Tuning, to: &mut dyn Write) -> io::Result<()> {
    let losses: BTreeSet<&str> =
        report.epochs.iter().flat_map(|epoch| epoch.losses.keys()).map(String::as_str).collect();
    let mut writer = ::csv::Writer::from_writer(to);
    let header = COLUMNS.into_iter().map(str::to_owned);
    let header = header.chain(losses.iter().map(|name| format!("loss_{name}")));
    writer.write_record(header).map_err(io::Error::other)?;
    for epoch in &report.epochs {
        let loss = |name: &&str| number(epoch.losses.get(*name).copied());
        let record = figures(epoch).into_iter().chain(losses.iter().map(loss));
        writer.write_record(record).map_err(io::Error::other)?;
    }
    writer.flush()
}

fn figures(epoch: &TrainedEpoch) -> [String; COLUMNS.len()] {
    [
        epoch.trial.to_string(),
        epoch.seed.to_string(),
        epoch.stage.clone(),
        epoch.epoch.to_string(),
        epoch.kept.to_string(),
        number(epoch.accuracy),
        number(epoch.seen_sigma_rms_max),
        number(epoch.sample_sigma),
        number(epoch.train_sigma),
        number(epoch.kl),
        number(epoch.cross_entropy),
    ]
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::samples::tuning;
    use super::*;

    #[test]
    fn every_epoch_has_a_line_and_every_loss_a_column() {
        let report = tuning();
        let mut out = Vec::new();
        write_epochs(&report, &mut out).unwrap();
        let mut reader = ::csv::Reader::from_reader(out.as_slice());
        let header = reader.headers().unwrap().clone();
        let column = |name: &str| header.iter().position(|column| column == name).unwrap();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((&rows[0][column("stage")], &rows[1][column("kept")]), ("intermediate", "true"));
        assert_eq!((&rows[0][column("accuracy")], &rows[1][column("accuracy")]), ("", "0.75"));
        assert_eq!((&rows[0][column("loss_hidden")], &rows[1][column("loss_hidden")]), ("1.5", ""));
        assert_eq!((&rows[0][column("loss_soft")], &rows[1][column("loss_soft")]), ("", "0.25"));
    }
}
