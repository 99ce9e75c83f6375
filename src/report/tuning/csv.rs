//! `trials.csv`: every trial, a line each, for a spreadsheet or a data frame.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::Value;

use super::{Trial, Tuning};

/// The columns ahead of those of the settings.
const COLUMNS: [&str; 20] = [
    "trial",
    "outcome",
    "feasible",
    "violation",
    "pareto",
    "sigma",
    "preserved",
    "accuracy",
    "accuracy_test",
    "accuracy_difference_lower",
    "accuracy_difference_upper",
    "temperature",
    "recalibrated_sigma",
    "recalibrated_preserved",
    "train_accuracy",
    "epochs",
    "cost",
    "parameters",
    "kappa",
    "why",
];

/// Writes one line a trial: its figures, then its settings, a column each.
///
/// # Errors
/// Whatever `to` refuses.
pub fn write_csv(report: &Tuning, to: &mut dyn Write) -> io::Result<()> {
    let keys: BTreeSet<&str> =
        report.trials.iter().flat_map(|trial| trial.values.keys()).map(String::as_str).collect();
    let mut writer = ::csv::Writer::from_writer(to);
    let header = COLUMNS.into_iter().chain(keys.iter().copied());
    writer.write_record(header).map_err(io::Error::other)?;
    for trial in &report.trials {
        let settings = keys.iter().map(|key| trial.values.get(*key).map(plain).unwrap_or_default());
        let record = figures(trial, report.kappa).into_iter().chain(settings);
        writer.write_record(record).map_err(io::Error::other)?;
    }
    writer.flush()
}

fn figures(trial: &Trial, kappa: f64) -> Vec<String> {
    let shown = trial.figures.as_ref();
    let test = shown.and_then(|figures| figures.accuracy_test);
    fn field<T: ToString>(value: Option<T>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    vec![
        trial.trial.to_string(),
        trial.outcome.clone(),
        trial.feasible.to_string(),
        field(trial.violation),
        trial.pareto.to_string(),
        field(shown.map(|f| f.sigma)),
        field(shown.and_then(|f| f.preserved)),
        field(shown.map(|f| f.accuracy)),
        field(test.map(|test| test.outcome.as_str())),
        field(test.map(|test| test.lower)),
        field(test.map(|test| test.upper)),
        field(shown.and_then(|f| f.temperature)),
        field(shown.and_then(|f| f.recalibrated_sigma)),
        field(shown.and_then(|f| f.recalibrated_preserved)),
        field(shown.and_then(|f| f.train_accuracy)),
        field(shown.and_then(|f| f.epochs)),
        field(shown.and_then(|f| f.cost)),
        field(shown.and_then(|f| f.parameters)),
        kappa.to_string(),
        trial.why.clone().unwrap_or_default(),
    ]
}

/// A word without quotation marks, anything else as JSON.
pub(in super::super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::tuning;
    use super::*;

    #[test]
    fn a_data_frame_reads_every_figure_back() {
        let report = tuning();
        let mut out = Vec::new();
        write_csv(&report, &mut out).unwrap();
        let mut reader = ::csv::Reader::from_reader(out.as_slice());
        let header = reader.headers().unwrap().clone();
        let column = |name: &str| header.iter().position(|column| column == name).unwrap();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), report.trials.len());
        for (row, trial) in rows.iter().zip(&report.trials) {
            assert_eq!(row[column("trial")], trial.trial.to_string());
            let sigma = trial.figures.as_ref().map(|f| f.sigma.to_bits());
            assert_eq!(row[column("sigma")].parse().ok().map(f64::to_bits), sigma);
            let rate = "stage.prediction.learning_rate";
            assert_eq!(row[column(rate)], trial.values.get(rate).map(plain).unwrap_or_default());
        }
        let test = ["accuracy_test", "accuracy_difference_lower", "accuracy_difference_upper"];
        let test = |i: usize| test.map(|name| rows[i][column(name)].to_owned());
        assert_eq!(test(0), ["undecided", "-0.021", "0.029"]);
        assert_eq!(test(2), ["", "", ""], "given up");
        assert_eq!(&rows[2][column("why")], report.trials[2].why.as_ref().unwrap());
    }
}
