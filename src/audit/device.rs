//! The device that models run on.

use anyhow::{ensure, Result};
use candle_core::Device;

use crate::error::{failure, usage};

/// The device `name`.
///
/// # Errors
/// An unknown name, or a device that this build or machine does not have.
pub fn device(name: &str) -> Result<Device> {
    let ordinal = match (name, name.strip_prefix("cuda:")) {
        ("cpu", _) => return Ok(Device::Cpu),
        ("cuda", _) => 0,
        (_, Some(ordinal)) => ordinal.parse().map_err(|_| no_device(name))?,
        _ => return Err(no_device(name)),
    };
    ensure!(
        cfg!(feature = "cuda"),
        failure!("no CUDA device: this build of audit does not support `{name}`")
            .hint("build it with `--features cuda`, or use --device cpu")
    );
    // Without a driver the CUDA bindings panic rather than fail.
    let opened = std::panic::catch_unwind(|| Device::new_cuda(ordinal));
    let opened = opened.map_err(|_| "the driver cannot be loaded".to_owned());
    let opened = opened.and_then(|device| device.map_err(|error| error.to_string()));
    let failed = |why| failure!("no CUDA device: {why}");
    opened.map_err(|why| failed(why).hint("use --device cpu").into())
}

fn no_device(name: &str) -> anyhow::Error {
    usage!("unknown device `{name}`").hint("use cpu, cuda or cuda:N").into()
}
