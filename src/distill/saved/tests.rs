//! Saved states of other versions of the program, and shared stages that cannot be used.

use candle_core::Var;

use super::*;
use crate::error::{exit_code, message_and_hint, Exit};

fn parameters(values: [f32; 2]) -> Vec<Parameter> {
    let parameter = |name: &str, value: f32| Parameter {
        name: name.to_owned(),
        var: Var::from_slice(&[value], 1, &Device::Cpu).unwrap(),
        decays: true,
        embeds: false,
    };
    vec![parameter("a", values[0]), parameter("b", values[1])]
}

fn values_of(parameters: &[Parameter]) -> Vec<f32> {
    parameters.iter().flat_map(|p| p.var.to_vec1::<f32>().unwrap()).collect()
}

fn progress() -> TrainingProgress {
    let (of, fingerprint) = ("student".to_owned(), "f".to_owned());
    TrainingProgress { of, fingerprint, stage: 1, ..TrainingProgress::default() }
}

/// A file of both parameters with this progress and format.
fn write(path: &Path, progress: &str, format: Option<&str>) {
    let mut metadata = HashMap::from([(PROGRESS.to_owned(), progress.to_owned())]);
    metadata.extend(format.map(|format| (FORMAT_KEY.to_owned(), format.to_owned())));
    let bytes = safetensors::serialize(values(&parameters([1.0, 2.0])), Some(metadata)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_state_of_another_version_is_refused_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let training = TrainingFolder::of(folder.path());
    drop(training.lock().unwrap());
    let refusal = |progress: &str, format: Option<&str>| {
        write(&training.path().join(STATE), progress, format);
        let error = training.progress("student", "f").unwrap_err();
        (exit_code(&error), message_and_hint(&error))
    };
    // As it was before several states could be kept.
    let old = r#"{"fingerprint": "f", "of": "student", "stage": 0, "best": null}"#;
    for format in [None, Some("2"), Some("4")] {
        let (exit, (message, hint)) = refusal(old, format);
        assert_eq!(exit, Exit::Usage);
        assert!(message.ends_with("was saved by another version of this program"), "{message}");
        let remove = format!("remove `{}`, and start again", training.path().display());
        assert!(hint.unwrap().starts_with(&remove), "{format:?}");
    }
    let format = FORMAT.to_string();
    let (exit, (message, _)) = refusal(&old.replace("\"f\"", "\"g\""), Some(&format));
    assert!(exit == Exit::Usage && message.contains("is another one"), "{message}");
    let (exit, (message, _)) = refusal(old, Some(&format));
    assert!(exit == Exit::CouldNotRun && message.contains("is damaged"), "{message}");
    let now = serde_json::to_string(&progress()).unwrap();
    write(&training.path().join(STATE), &now, Some(&format));
    assert_eq!(training.progress("student", "f").unwrap(), Some(progress()));
    assert_eq!(training.progress("assistant 1", "f").unwrap(), None);
}

#[test]
fn a_shared_stage_that_cannot_be_used_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stage.safetensors");
    let restored = || {
        let parameters = parameters([7.0, 8.0]);
        let restored = TrainingFolder::restore_stage(&path, &parameters);
        (restored, values_of(&parameters))
    };
    let missing = (None, vec![7.0, 8.0]);
    assert_eq!(restored(), missing);
    TrainingFolder::save_stage(&path, &progress(), &parameters([1.0, 2.0])).unwrap();
    assert_eq!(restored(), (Some(progress()), vec![1.0, 2.0]));
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 4, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(restored(), missing, "{length} bytes");
    }
    TrainingFolder::save_stage(&path, &progress(), &parameters([1.0, 2.0])[..1]).unwrap();
    assert_eq!(restored(), missing, "without the second parameter");
    let now = serde_json::to_string(&progress()).unwrap();
    let format = FORMAT.to_string();
    for (progress, format) in [(now.as_str(), None), (&now, Some("1")), ("{}", Some(&*format))] {
        write(&path, progress, format);
        assert_eq!(restored(), missing, "{progress} {format:?}");
    }
}
