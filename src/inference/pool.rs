//! The workers, and the delivery of windows in order.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{anyhow, bail, Context, Error, Result};

use super::plan::{batches, DistinctSequences};
use super::tokenize::check_sizes;
use super::window::{LaneWindow, Window};
use super::{Input, Lane, NotFinite, Observer, RunOptions};
use crate::cache::CacheEntry;
use crate::checkpoint::TokenizedExample;
use crate::error::{guarded, Diagnostic, Interrupted, NO_REPORT};
use crate::model::{Model, PackedBatch, Workspace};

/// Texts that a worker tokenises at a time.
const CHUNK: usize = 128;

/// Runs every lane over the examples `rows`, in that order, window by window.
///
/// `each` is called for every window in order, when every lane's entry knows its rows; it may end the
/// run. Known rows are not run again; equal token sequences are run once.
///
/// # Errors
/// A text that cannot be tokenised or a logit that is not finite, a failure of the device, an
/// interrupt, an error of `each`. The error names the first bad example of the order, for the first
/// lane; within a window, errors of tokenisation come before those of the model.
///
/// # Panics
/// If a model, the observer or `each` does.
pub fn run<F>(
    lanes: &mut [Lane<'_>],
    rows: &[u32],
    options: &RunOptions,
    observer: &dyn Observer,
    each: F,
) -> Result<()>
where
    F: FnMut(&[u32], &[&mut CacheEntry]) -> Result<ControlFlow<()>> + Send,
{
    let mut runners: Vec<Runner> = Vec::new();
    let mut entries = Vec::new();
    for lane in lanes {
        let group = runners.iter().position(|r| r.input.is_shared_with(&lane.input));
        let group = group.map_or(runners.len(), |i| runners[i].group);
        runners.push(Runner { what: lane.what, model: lane.model, input: lane.input, group });
        entries.push(&mut *lane.entry);
    }
    let seen = runners.iter().map(|_| DistinctSequences::default()).collect();
    let pool = Pool { runners, rows, options, observer, ready: Condvar::new() };
    let state = Mutex::new(State {
        next: 0,
        opened: 0,
        delivered: 0,
        windows: VecDeque::new(),
        tokenising: VecDeque::new(),
        batches: VecDeque::new(),
        seen,
        entries,
        each,
        ended: None,
    });
    std::thread::scope(|scope| {
        let (pool, state) = (&pool, &state);
        for worker in 1..options.threads.max(1) {
            scope.spawn(move || pool.work(state, worker < options.batch_threads));
        }
        pool.work(state, true);
    });
    let state = state.into_inner().expect("no worker panics with the lock");
    state.ended.expect("the workers end when the run does")
}

/// A lane without its entry, which the state holds.
struct Runner<'a> {
    what: &'a str,
    model: Option<&'a dyn Model>,
    input: Input<'a>,
    /// The first lane with the same tokens.
    group: usize,
}

struct Pool<'a> {
    runners: Vec<Runner<'a>>,
    rows: &'a [u32],
    options: &'a RunOptions,
    observer: &'a dyn Observer,
    ready: Condvar,
}

struct State<'a, F> {
    /// Position in the order of the next window's first example.
    next: usize,
    /// Number of windows so far.
    opened: usize,
    /// Examples of the delivered windows.
    delivered: usize,
    /// The windows in flight; the first is delivered next.
    windows: VecDeque<Window>,
    tokenising: VecDeque<Tokenise>,
    batches: VecDeque<Batch>,
    /// Per lane.
    seen: Vec<DistinctSequences>,
    /// Per lane.
    entries: Vec<&'a mut CacheEntry>,
    each: F,
    ended: Option<Result<()>>,
}

struct Tokenise {
    window: usize,
    group: usize,
    positions: Vec<u32>,
}

struct Batch {
    window: usize,
    lane: usize,
    positions: Vec<u32>,
    packed: PackedBatch,
}

enum Job {
    Tokenise(Tokenise),
    Batch(Batch),
}

impl Pool<'_> {
    /// Takes jobs until the run ends.
    fn work<F>(&self, state: &Mutex<State<F>>, takes_batches: bool)
    where
        F: FnMut(&[u32], &[&mut CacheEntry]) -> Result<ControlFlow<()>>,
    {
        let _end = EndOnPanic { pool: self, state };
        let mut workspace = Workspace::default();
        while let Some(job) = self.next_job(state, takes_batches) {
            match job {
                Job::Tokenise(job) => {
                    let start = self.start_of(state, job.window);
                    let done = self.tokenise(&job, start);
                    self.lock(state).tokenised(self, job, done);
                }
                Job::Batch(job) => {
                    let done = self.forward(&job, &mut workspace);
                    self.lock(state).ran(self, job, done);
                }
            }
            self.ready.notify_all();
        }
        self.ready.notify_all();
    }

    fn lock<'s, 'a, F>(&self, state: &'s Mutex<State<'a, F>>) -> MutexGuard<'s, State<'a, F>> {
        state.lock().expect("no worker panics with the lock")
    }

    fn next_job<F>(&self, state: &Mutex<State<F>>, takes_batches: bool) -> Option<Job>
    where
        F: FnMut(&[u32], &[&mut CacheEntry]) -> Result<ControlFlow<()>>,
    {
        let mut state = self.lock(state);
        loop {
            if state.ended.is_none() && self.options.interrupt.is_set() {
                let what = self.runners.iter().map(|r| r.what).collect::<Vec<_>>().join(", ");
                let (done, total) = (state.delivered, self.rows.len());
                state.ended =
                    Some(Err(Interrupted { what, done, total, outcome: NO_REPORT }.into()));
            }
            if state.ended.is_some() {
                return None;
            }
            if takes_batches {
                if let Some(job) = state.batches.pop_front() {
                    return Some(Job::Batch(job));
                }
            }
            if let Some(job) = state.tokenising.pop_front() {
                return Some(Job::Tokenise(job));
            }
            if state.open_window(self) {
                state.deliver(self);
                self.ready.notify_all();
                continue;
            }
            if state.windows.is_empty() && state.next == self.rows.len() {
                state.ended.get_or_insert(Ok(()));
                return None;
            }
            state = self.ready.wait(state).expect("no worker panics with the lock");
        }
    }

    /// The position in the order at which `window` begins.
    fn start_of<F>(&self, state: &Mutex<State<F>>, window: usize) -> usize {
        let state = self.lock(state);
        state.windows.iter().find(|w| w.number == window).map_or(0, |w| w.range.start)
    }

    fn tokenise(
        &self,
        job: &Tokenise,
        start: usize,
    ) -> std::result::Result<Vec<TokenizedExample>, (u32, Error)> {
        let group = self.runners.iter().filter(|r| r.group == job.group);
        let users: Vec<_> = group.filter_map(|r| Some((r.what, r.model?.sizes()))).collect();
        let input = &self.runners[job.group].input;
        let what = users.first().map_or("model", |(what, _)| what);
        job.positions
            .iter()
            .map(|&position| {
                let row = self.rows[start + position as usize];
                let tokens = input
                    .tokens(row)
                    .with_context(|| format!("cannot tokenise for the {what}"))
                    .map_err(|error| (position, error))?;
                for (what, sizes) in &users {
                    check_sizes(&tokens, sizes)
                        .with_context(|| format!("example {row}"))
                        .with_context(|| format!("cannot tokenise for the {what}"))
                        .map_err(|error| (position, error))?;
                }
                Ok(tokens)
            })
            .collect()
    }

    fn forward(&self, job: &Batch, workspace: &mut Workspace) -> Result<Vec<f32>> {
        let runner = &self.runners[job.lane];
        let model = runner.model.expect("batches are made for a lane with a model");
        // A library's panic on sizes that config.json gives it.
        guarded(|| "the model".to_owned(), || model.logits(&job.packed, workspace))
            .with_context(|| format!("cannot run the {}", runner.what))
    }

    /// The error of the first logit of `window` that is not finite, by example, then by lane.
    fn not_finite(&self, window: &Window) -> Option<Error> {
        let found = self.runners.iter().zip(&window.lanes).filter_map(|(runner, plan)| {
            let at = plan.logits.iter().position(|score| !score.is_finite())?;
            Some((at / runner.model?.labels(), runner.what, plan.logits[at]))
        });
        let (position, what, score) = found.min_by_key(|(position, ..)| *position)?;
        let index = self.rows[window.range.start + position];
        let cause = Diagnostic::failure("the model overflows on this input")
            .hint("its training diverged, or it needs another dtype");
        let found = NotFinite { what: what.to_owned(), index: index as usize, score };
        Some(Error::new(cause).context(found))
    }

    /// Maximum windows in flight: enough work for every worker, and little to lose.
    fn in_flight(&self) -> usize {
        2 + self.options.threads / 4
    }
}

/// Ends the run when a worker panics, as the others would wait for its job.
struct EndOnPanic<'p, 's, 'a, F> {
    pool: &'p Pool<'p>,
    state: &'s Mutex<State<'a, F>>,
}

impl<F> Drop for EndOnPanic<'_, '_, '_, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.ended.get_or_insert_with(|| Err(anyhow!("a worker panicked")));
            self.pool.ready.notify_all();
        }
    }
}

impl<F> State<'_, F>
where
    F: FnMut(&[u32], &[&mut CacheEntry]) -> Result<ControlFlow<()>>,
{
    /// Opens a window of the next examples; returns whether there was room and an example.
    fn open_window(&mut self, pool: &Pool) -> bool {
        if self.next == pool.rows.len() || self.windows.len() >= pool.in_flight() {
            return false;
        }
        let size = pool.options.windows.size(self.opened).min(pool.rows.len() - self.next);
        let (number, range) = (self.opened, self.next..self.next + size);
        (self.opened, self.next) = (number + 1, range.end);
        let missing = |entry: &&mut CacheEntry| -> Vec<u32> {
            let row = |position: u32| pool.rows[range.start + position as usize] as usize;
            (0..size as u32).filter(|&p| entry.row(row(p)).is_none()).collect()
        };
        let lanes: Vec<LaneWindow> = self
            .entries
            .iter()
            .map(|entry| LaneWindow { missing: missing(entry), ..LaneWindow::default() })
            .collect();
        let mut tokenise_jobs = 0;
        for group in 0..lanes.len() {
            let users = lanes.iter().zip(&pool.runners).filter(|(_, r)| r.group == group);
            let mut needed: Vec<u32> =
                users.flat_map(|(lane, _)| lane.missing.iter().copied()).collect();
            needed.sort_unstable();
            needed.dedup();
            for positions in needed.chunks(CHUNK).map(<[u32]>::to_vec) {
                self.tokenising.push_back(Tokenise { window: number, group, positions });
                tokenise_jobs += 1;
            }
        }
        let size = if tokenise_jobs > 0 { size } else { 0 };
        let tokens = lanes.iter().map(|_| vec![TokenizedExample::default(); size]).collect();
        self.windows.push_back(Window {
            number,
            range,
            lanes,
            tokens,
            tokenise_jobs,
            laid_out: tokenise_jobs == 0,
            batch_jobs: 0,
            failure: None,
        });
        true
    }

    fn window(&mut self, number: usize) -> &mut Window {
        let found = self.windows.iter_mut().find(|w| w.number == number);
        found.expect("a window stays until its jobs are done")
    }

    /// Stores tokens; after the last of a window's jobs, its batches are made.
    fn tokenised(
        &mut self,
        pool: &Pool,
        job: Tokenise,
        done: std::result::Result<Vec<TokenizedExample>, (u32, Error)>,
    ) {
        let window = self.window(job.window);
        match done {
            Ok(tokens) => {
                for (position, tokens) in job.positions.iter().zip(tokens) {
                    window.tokens[job.group][*position as usize] = tokens;
                }
            }
            Err((position, error)) => window.fail((position, job.group), error),
        }
        window.tokenise_jobs -= 1;
        // In order, so that a sequence's first row is not in a later window than its twins.
        while let Some(next) = self.windows.iter().position(|w| !w.laid_out) {
            if self.windows[next].tokenise_jobs > 0 {
                break;
            }
            self.lay_out(pool, next);
        }
        self.deliver(pool);
    }

    /// Finds the twins of the window at `index` and packs the others into batches.
    fn lay_out(&mut self, pool: &Pool, index: usize) {
        let window = &mut self.windows[index];
        window.laid_out = true;
        if window.failure.is_some() {
            return;
        }
        for (lane, runner) in pool.runners.iter().enumerate() {
            let Some(model) = runner.model else { continue };
            let tokens = &window.tokens[runner.group];
            let plan = &mut window.lanes[lane];
            let mut distinct = Vec::new();
            for &position in &plan.missing {
                let row = pool.rows[window.range.start + position as usize];
                match self.seen[lane].twin(&tokens[position as usize], row) {
                    Some(first) => plan.twins.push((position, first)),
                    None => distinct.push(position),
                }
            }
            if !distinct.is_empty() {
                plan.logits = vec![0.0; window.range.len() * model.labels()];
            }
            for positions in batches(tokens, distinct, pool.options.token_budget) {
                let sequences = positions.iter().map(|&p| &tokens[p as usize]);
                let packed = PackedBatch::new(sequences);
                self.batches.push_back(Batch { window: window.number, lane, positions, packed });
                window.batch_jobs += 1;
            }
        }
    }

    /// Stores a batch's logits.
    fn ran(&mut self, pool: &Pool, job: Batch, done: Result<Vec<f32>>) {
        let labels = pool.runners[job.lane].model.map_or(1, |model| model.labels());
        let window = self.window(job.window);
        match done {
            Ok(logits) => {
                let plan = &mut window.lanes[job.lane];
                for (&position, row) in job.positions.iter().zip(logits.chunks_exact(labels)) {
                    plan.logits[position as usize * labels..][..labels].copy_from_slice(row);
                }
                pool.observer.rows_done(job.positions.len(), job.packed.tokens());
            }
            Err(error) => {
                let first = job.positions.iter().min().expect("no batch is empty");
                window.fail((*first, job.lane), error);
            }
        }
        window.batch_jobs -= 1;
        if window.batch_jobs == 0 {
            self.deliver(pool);
        }
    }

    /// Delivers the finished windows, in order.
    fn deliver(&mut self, pool: &Pool) {
        while self.ended.is_none() && self.windows.front().is_some_and(Window::is_done) {
            let window = self.windows.pop_front().expect("there is a first one");
            match self.deliver_one(pool, window) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
            }
        }
    }

    fn deliver_one(&mut self, pool: &Pool, window: Window) -> Result<ControlFlow<()>> {
        if let Some((_, error)) = window.failure {
            return Err(error);
        }
        if let Some(error) = pool.not_finite(&window) {
            return Err(error);
        }
        let rows = &pool.rows[window.range.clone()];
        for ((runner, plan), entry) in pool.runners.iter().zip(&window.lanes).zip(&mut self.entries)
        {
            let Some(model) = runner.model else {
                match plan.missing.first() {
                    None => continue,
                    Some(p) => bail!("{}: row {} is not known", runner.what, rows[*p as usize]),
                }
            };
            let tokens = &window.tokens[runner.group];
            if let Some(note) = plan.store(rows, tokens, model.labels(), entry, runner.what)? {
                pool.observer.cache_note(&note);
            }
            pool.observer.rows_done(plan.twins.len(), 0);
        }
        self.delivered += rows.len();
        (self.each)(rows, &self.entries)
    }
}
