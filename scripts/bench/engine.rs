//! Our engine as a child process of the benchmark: the lines that engines.py answers, and `peak`.
//!
//! ```text
//! peak THREADS    GFLOP/s of fused multiply-adds in registers  {"widest", "avx2"}
//! ```

#[path = "clock.rs"]
mod clock;

use std::fs::File;
use std::hint::black_box;
use std::io::{stdin, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Parser;
use confidence_audit::checkpoint::TokenizedExample;
use confidence_audit::checkpoint::{Casing, Checkpoint};
use confidence_audit::hub::Hub;
use confidence_audit::inference::{run_tokens, RunOptions, Windows};
use confidence_audit::interrupt::Interrupt;
use confidence_audit::model::{self, Head, Model};
use pulp::{Arch, Simd, WithSimd};
use serde_json::{json, Value};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as in src/main.rs

#[derive(Parser)]
struct Options {
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    shape: String,
    #[arg(long)]
    lengths: String,
    #[arg(long)]
    examples: usize,
    #[arg(long)]
    threads: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let examples = read_examples(&options)?;
    let engine = Engine::load(&options)?;
    answer(json!({ "ready": format!("confidence-audit {}", env!("CARGO_PKG_VERSION")) }))?;
    for line in stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let first = |n: &str| -> Result<_> { Ok(&examples[..n.parse::<usize>()?]) };
        answer(match words[..] {
            ["run", n, budget] => {
                let (examples, budget) = (first(n)?, budget.parse()?);
                let (clock, cpu) = (Instant::now(), clock::cpu_seconds());
                black_box(engine.logits(examples, budget)?);
                json!({ "seconds": clock.elapsed().as_secs_f64(), "cpu_seconds": clock::cpu_seconds() - cpu })
            }
            ["logits", n, budget, path] => {
                let logits = engine.logits(first(n)?, budget.parse()?)?;
                let bytes: Vec<u8> = logits.iter().flat_map(|v| v.to_le_bytes()).collect();
                std::fs::write(path, bytes).with_context(|| format!("cannot write `{path}`"))?;
                json!({ "labels": engine.model.labels() })
            }
            ["peak", threads] => peak(threads.parse()?),
            ["quit"] => return answer(json!({ "peak_bytes": peak_bytes() })),
            _ => bail!("`{line}` is no command"),
        })?;
    }
    Ok(())
}

fn answer(value: Value) -> Result<()> {
    println!("{value}");
    Ok(std::io::stdout().flush()?)
}

fn read_examples(options: &Options) -> Result<Vec<TokenizedExample>> {
    let path = options.data.join(format!("{}.jsonl", options.lengths));
    let file = File::open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
    BufReader::new(file)
        .lines()
        .take(options.examples)
        .map(|line| {
            let input_ids: Vec<u32> = serde_json::from_str(&line?)?;
            let token_type_ids = vec![0; input_ids.len()];
            Ok(TokenizedExample { input_ids, token_type_ids, truncated: false })
        })
        .collect()
}

/// All that the benchmark knows of the library.
struct Engine {
    model: Box<dyn Model>,
    threads: usize,
}

impl Engine {
    fn load(options: &Options) -> Result<Self> {
        let folder = options.data.join(&options.shape);
        let folder = folder.to_str().context("the path of the data is no valid UTF-8")?;
        let mut checkpoint = Checkpoint::open(folder, Casing::Auto, &Hub::from_env())?;
        let device = candle_core::Device::Cpu;
        let loaded = model::load(
            &checkpoint.config,
            checkpoint.network.weights_mut()?,
            Head::Auto,
            &device,
        )?;
        Ok(Engine { model: loaded.model, threads: options.threads })
    }

    /// (N, K), row-major.
    fn logits(&self, examples: &[TokenizedExample], token_budget: usize) -> Result<Vec<f32>> {
        let options = RunOptions {
            threads: self.threads,
            batch_threads: self.threads,
            token_budget,
            windows: Windows::WHOLE,
            interrupt: Interrupt::default(),
        };
        Ok(run_tokens(&*self.model, examples, "benchmark", &options)?.values)
    }
}

/// Largest resident set, from /proc; `null` where there is none.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Products of one chain of dependent additions; a dozen chains cover the latency of two units.
const CHAINS: usize = 12;
const STEPS: usize = 200_000; // below a millisecond, so that most windows pass undisturbed
const WINDOWS: Duration = Duration::from_millis(500);

/// Multiplies and adds in registers for [`WINDOWS`] -> GFLOP/s of the median window.
struct Peak;

impl WithSimd for Peak {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let (factor, term) = (simd.splat_f32s(0.999_999), simd.splat_f32s(1e-7));
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        let (start, mut windows) = (Instant::now(), Vec::new());
        while start.elapsed() < WINDOWS {
            let mut chains = [simd.splat_f32s(1.0); CHAINS];
            let window = Instant::now();
            for _ in 0..STEPS {
                for chain in &mut chains {
                    *chain = simd.mul_add_f32s(*chain, factor, term);
                }
            }
            windows.push(window.elapsed());
            black_box(chains.map(|chain| simd.reduce_sum_f32s(chain)));
        }
        windows.sort_unstable();
        let median = windows[windows.len() / 2].as_secs_f64();
        (2 * STEPS * CHAINS * lanes) as f64 / median / 1e9
    }
}

/// The peak with the widest vectors and, on x86, with AVX2: on one thread, and the sum of `threads`.
fn peak(threads: usize) -> Value {
    let together = |peak: &(dyn Fn() -> f64 + Sync)| {
        let barrier = Barrier::new(threads);
        let wait_and_run = || {
            barrier.wait();
            peak()
        };
        let all_threads: f64 = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(wait_and_run)).collect();
            workers.into_iter().map(|w| w.join().expect("the loop does not panic")).sum()
        });
        json!({ "one_thread": peak(), "all_threads": all_threads })
    };
    let mut peaks = serde_json::Map::new();
    peaks.insert("widest".to_owned(), together(&|| Arch::new().dispatch(Peak)));
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = pulp::x86::V3::try_new() {
        peaks.insert("avx2".to_owned(), together(&|| Simd::vectorize(avx2, Peak)));
    }
    Value::Object(peaks)
}
