//! ONNX Runtime: the user's own shared library.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{anyhow, bail, Context, Result};
use ort::session::builder::SessionBuilder;
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{DynValue, Shape, Tensor};
use prost::Message;
use tract_onnx::pb::ModelProto;

use super::graph::{GraphInput, Interface};
use super::{OnnxSession, PaddedBatch};
use crate::digest::sha256_of;
use crate::error::{caught, failure};

/// The library that was loaded; a process can load one.
static LOADED: OnceLock<Library> = OnceLock::new();

#[derive(Debug)]
struct Library {
    path: PathBuf,
    absolute: PathBuf,
    sha256: String,
    version: String,
    build: String,
}

/// `ONNX Runtime` and the version of the library at `path`, which is loaded.
pub(super) fn name(path: &Path) -> Result<String> {
    Ok(format!("ONNX Runtime {}", library(path)?.version))
}

/// What the library at `path` says of its build, and the SHA-256 of its file.
pub(super) fn build(path: &Path) -> Result<String> {
    let library = library(path)?;
    Ok(format!("ONNX Runtime {} {} {}", library.version, library.build, library.sha256))
}

/// Loads the library at `path`, once.
fn library(path: &Path) -> Result<&'static Library> {
    let library = match LOADED.get() {
        Some(library) => library,
        None => {
            let loaded = load(path)?;
            LOADED.get_or_init(|| loaded)
        }
    };
    if library.path != path && path.canonicalize().ok().as_ref() != Some(&library.absolute) {
        bail!(failure!(
            "ONNX Runtime was loaded from `{}`, and a second library, `{}`, cannot be",
            library.path.display(),
            path.display()
        )
        .hint("run the models of each library in a command of their own"));
    }
    Ok(library)
}

fn load(path: &Path) -> Result<Library> {
    const REMEDY: &str =
        "name the shared library of ONNX Runtime 1.17 or later: the Python package \
                          onnxruntime has `libonnxruntime.so.VERSION` in its folder `capi`, and \
                          releases have it in `lib`";
    let cannot = |why: String| {
        failure!("cannot load ONNX Runtime from `{}`: {why}", path.display()).hint(REMEDY)
    };
    // The loader would look for a bare name elsewhere.
    let absolute = path.canonicalize().map_err(|error| cannot(error.to_string()))?;
    let opened = caught(|| ort::init_from(&absolute));
    let environment = match opened {
        Ok(Ok(environment)) => environment,
        Ok(Err(error)) => bail!(cannot(error.to_string())),
        Err(reason) => bail!(cannot(reason)),
    };
    environment.with_name("audit").with_telemetry(false).commit();
    let build = caught(|| ort::info().to_owned()).map_err(cannot)?;
    let version = version_of(&build, &absolute);
    let sha256 = sha256_of(&[&absolute]).map_err(|error| cannot(error.to_string()))?;
    Ok(Library { path: path.to_owned(), absolute, sha256, version, build })
}

/// The version of a library: in the name of its file, or of the branch that it was built from.
fn version_of(build: &str, path: &Path) -> String {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        text[..end].trim_matches('.').to_owned()
    };
    let candidates = [
        build.split("git-branch=rel-").nth(1).map(digits),
        file.split(".so.").nth(1).map(digits),
        file.split("onnxruntime.").nth(1).map(digits),
    ];
    let version = candidates.into_iter().flatten().find(|version| version.contains('.'));
    version.unwrap_or_else(|| "of an unknown version".to_owned())
}

/// A model of ONNX Runtime. A session serves one thread, so there are as many as run at once.
pub(super) struct OnnxRuntime {
    bytes: Vec<u8>,
    inputs: Vec<GraphInput>,
    output: String,
    idle: Mutex<Vec<OrtSession>>,
}

impl OnnxRuntime {
    /// Loads the library, and the model into it.
    ///
    /// # Errors
    /// A library that cannot be loaded; a model that it refuses, with its reason.
    pub(super) fn new(
        path: &Path,
        model: &ModelProto,
        interface: &Interface,
        name: &str,
    ) -> Result<Self> {
        let version = &library(path)?.version;
        let (inputs, output) = (interface.inputs.clone(), interface.output.clone());
        let runtime =
            OnnxRuntime { bytes: model.encode_to_vec(), inputs, output, idle: Mutex::default() };
        let first = runtime.open().map_err(|error| {
            failure!("ONNX Runtime {version} cannot take `{name}`: {error:#}")
                .hint("use a newer ONNX Runtime, or export the model again")
        })?;
        runtime.put(first);
        Ok(runtime)
    }

    /// A session with one thread: the workers of an audit are the threads.
    fn open(&self) -> Result<OrtSession> {
        let options = || -> ort::Result<SessionBuilder> {
            Ok(OrtSession::builder()?.with_intra_threads(1)?.with_inter_threads(1)?)
        };
        let mut builder = options().map_err(|error| anyhow!("{error}"))?;
        builder.commit_from_memory(&self.bytes).map_err(|error| anyhow!("{error}"))
    }

    fn put(&self, session: OrtSession) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    fn idle(&self) -> Option<OrtSession> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl OnnxSession for OnnxRuntime {
    fn run(&self, batch: &PaddedBatch) -> Result<(Vec<f32>, Vec<usize>)> {
        let mut session = match self.idle() {
            Some(session) => session,
            None => self.open()?,
        };
        let shape = [batch.rows, batch.length];
        let mut values: Vec<(String, SessionInputValue)> = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let numbers = batch.values(input.kind);
            let value = match input.is_wide {
                true => Tensor::from_array((shape, numbers.to_vec()))?.into(),
                false => {
                    let narrow: Vec<i32> = numbers.iter().map(|&id| id as i32).collect();
                    Tensor::from_array((shape, narrow))?.into()
                }
            };
            values.push((input.name.clone(), value));
        }
        let found = {
            let outputs = session.run(values)?;
            let output = outputs.get(&self.output).context("it gives no logits")?;
            let (shape, logits) = as_f32(output)?;
            let shape = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0));
            (logits, shape.collect())
        };
        self.put(session);
        Ok(found)
    }
}

/// The shape and the values of a tensor of floats.
fn as_f32(value: &DynValue) -> Result<(Shape, Vec<f32>)> {
    if let Ok((shape, values)) = value.try_extract_tensor::<half::f16>() {
        return Ok((shape.clone(), values.iter().map(|value| value.to_f32()).collect()));
    }
    if let Ok((shape, values)) = value.try_extract_tensor::<f64>() {
        return Ok((shape.clone(), values.iter().map(|&value| value as f32).collect()));
    }
    let (shape, values) = value.try_extract_tensor::<f32>()?;
    Ok((shape.clone(), values.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::message_and_hint;

    #[test]
    fn the_version_is_in_the_build_or_in_the_name() {
        for (build, path, version) in [
            ("ORT Build Info: git-branch=rel-1.22.0, git-commit-id=f217402", "/a/lib.so", "1.22.0"),
            ("ORT Build Info: git-branch=HEAD", "/a/libonnxruntime.so.1.32.0", "1.32.0"),
            ("", "/a/libonnxruntime.1.20.1.dylib", "1.20.1"),
            ("", "/a/onnxruntime.dll", "of an unknown version"),
        ] {
            assert_eq!(version_of(build, Path::new(path)), version, "{build} {path}");
        }
    }

    #[test]
    fn a_library_that_is_none_is_refused_with_the_remedy() {
        let error = library(Path::new("/nowhere/libonnxruntime.so")).unwrap_err();
        let (message, hint) = message_and_hint(&error);
        assert!(message.contains("cannot load ONNX Runtime from `/nowhere/"), "{message}");
        assert!(hint.unwrap().contains("`capi`"));
    }
}
