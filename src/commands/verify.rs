//! `audit verify`: derives a saved report again from its models and data.

mod again;
mod compared;
mod inputs;
mod places;
mod sample;

use anyhow::Result;
use serde_json::Value;

use super::audit::session_with;
use super::output::{render_options, to_stdout};
use super::suite::print_hub_notes;
use super::{check, demo, run_suite};
use crate::audit::{recalibrate, Session};
use crate::cli::VerifyArgs;
use crate::error::{message_and_hint, Exit, Interrupted};
use crate::interrupt::Interrupt;
use crate::report::recalibration::Recalibration;
use crate::report::schema::Report;
use crate::report::verification::{
    rows_of_audit, rows_of_recalibration, Verification, VerifiedRow,
};
use crate::report::{Envelope, PredictionTable, Saved, Verifiable, VerifiableKind};
use crate::terminal::Verbosity;
use again::Again;
use compared::Derived;

/// Verifies the report and prints what came of it.
pub fn run(args: &VerifyArgs) -> Result<Exit> {
    let progress = Verbosity::for_stderr(args.quiet);
    let saved = Verifiable::read(&args.report)?;
    let interrupt = Interrupt::from_signals(progress);
    let session = Session { cache: None, ..session_with(interrupt, progress, &[])? };
    let mut found = Verification::new(saved.name.clone(), rows(&saved));
    if let Some(again) = cannot(Again::of(saved.commands(), args), "", &mut found)? {
        again.refuse_without_effect(args)?;
        let verified = again::texts(saved.commands(), args).and_then(|texts| {
            let (saved, session, again) = (&saved, &session, &again);
            let verifier = Verifier { args, saved, session, again, texts };
            match &saved.kind {
                VerifiableKind::Audit(report) => verifier.audit(report, &mut found),
                VerifiableKind::Recalibration(report) => verifier.recalibration(report, &mut found),
            }
        });
        cannot(verified, "", &mut found)?;
    }
    print_hub_notes(&session);
    let report = found.decided();
    to_stdout(|out| args.on_stdout.format.write(&report, &[], &render_options(), out))?;
    Ok(report.exit(false))
}

fn rows(saved: &Verifiable) -> Vec<VerifiedRow> {
    match &saved.kind {
        VerifiableKind::Audit(saved) => rows_of_audit(&saved.report),
        VerifiableKind::Recalibration(report) => rows_of_recalibration(report),
    }
}

/// Notes why something could not be derived; an interrupt stays an error.
fn cannot<T>(result: Result<T>, what: &str, found: &mut Verification) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => {
            let (message, hint) = message_and_hint(&error);
            let hint = hint.map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
            found.reasons.push(format!("{what}{message}{hint}"));
            Ok(None)
        }
    }
}

/// A saved report and what it is derived again with.
struct Verifier<'a> {
    args: &'a VerifyArgs,
    saved: &'a Verifiable,
    session: &'a Session,
    again: &'a Again,
    /// The report's commands as the program writes them.
    texts: Vec<String>,
}

impl Verifier<'_> {
    /// Derives the report of `audit`, `audit check` or `audit demo`.
    fn audit(&self, saved: &Saved, found: &mut Verification) -> Result<()> {
        let report = &saved.report;
        if let Again::Audit(all) = self.again {
            inputs::compare(report, all, self.session, found)?;
            if !found.differences.is_empty() || !found.reasons.is_empty() {
                found.not_checked.push("every other value: the models were not run".to_owned());
                return Ok(());
            }
            if let Some(asked) = self.args.sample {
                let sample = sample::options(asked, self.args.seed);
                return sample::compare(self, saved, all, sample, found);
            }
        } else if self.args.sample.is_some() {
            found.checked.push("all examples: --sample is for reports of `audit`".to_owned());
        }
        let (now, tables) = self.run_again()?;
        let derived = self.placed(Derived::of_audit(report, &now, self.args, self.again));
        derived.compare(&self.saved.value, found);
        if found.reasons.is_empty() {
            compared::predictions(saved, &tables, &derived, found);
        }
        Ok(())
    }

    /// `derived`, whose commands name the report's places and not those that flags name.
    fn placed(&self, derived: Derived) -> Derived {
        match self.has_places() {
            true => derived.with_commands(&self.texts),
            false => derived,
        }
    }

    /// Whether a flag names a place.
    fn has_places(&self) -> bool {
        let args = self.args;
        let places = [&args.teacher, &args.student, &args.data];
        let library = |text: &String| text.contains("--onnxruntime");
        let has_library = args.onnxruntime.is_some() || self.texts.iter().any(library);
        places.iter().any(|place| place.is_some()) || args.config.is_some() || has_library
    }

    fn run_again(&self) -> Result<(Report, Vec<PredictionTable>)> {
        match self.again {
            Again::Audit(all) => run_suite(all, self.session),
            Again::Check(args, settings) => {
                check::checked(args, (**settings).clone(), self.session)
            }
            Again::Demo(args) => {
                let (interrupt, progress) = (self.session.interrupt.clone(), self.session.progress);
                demo::audited(&args.settings, interrupt, progress)
            }
            Again::Recalibrate { .. } => anyhow::bail!("its command is not that of an audit"),
        }
    }

    /// Derives the report of `audit recalibrate`.
    fn recalibration(&self, report: &Recalibration, found: &mut Verification) -> Result<()> {
        let Again::Recalibrate { to_fit, to_gate } = self.again else {
            anyhow::bail!("its command is not that of a recalibration");
        };
        inputs::compare_recalibration(report, to_fit, to_gate, self.session, found)?;
        if !found.differences.is_empty() || !found.reasons.is_empty() {
            found.not_checked.push("every other value: the models were not run".to_owned());
            return Ok(());
        }
        if self.args.sample.is_some() {
            let why = "all examples: τ is fitted on every one, so --sample has no effect";
            found.checked.push(why.to_owned());
        }
        let now = recalibrate(None, to_fit, to_gate, self.session)?;
        self.placed(Derived::of_recalibration(report, &now, self.args, self.again))
            .compare(&self.saved.value, found);
        Ok(())
    }
}

/// A report as JSON.
fn json<R: serde::Serialize>(report: &R) -> Value {
    serde_json::to_value(report).expect("a report is JSON")
}
