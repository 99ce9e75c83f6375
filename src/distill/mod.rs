//! 8. Students that keep their teacher's confidence.
//!
//! ```text
//!  recipe ─► plan ─► student ─┐
//!  teacher ─► signals ────────┼─► trainer ─► folder: an ordinary checkpoint, distillation.json
//!  data ─► tokens ────────────┘
//! ```
//!
//! A [`methods::Method`] is a list of stages; a stage minimises an [`objective::Objective`], in most
//! methods a weighted sum of named losses ([`terms`]).

pub mod recipe; //    what is in force: published defaults, the recipe's file, flags
pub mod methods; //   one file and one row per method
pub mod student; //   what a student begins as
pub mod states; //    what is taken of the teacher's hidden states
pub mod store; //     these in a file
pub mod signals; //   what the teacher says to a student in training
pub mod objective; // what a stage minimises: the seam for methods to come
pub mod losses; //    pure functions of tensors
pub mod term; //      the losses by name
pub mod terms; //     weighted sums of them: the objective of most methods
pub mod schedule; //  how the learning rate rises and falls
pub mod optimizer; // AdamW
pub mod trainer; //   the loop
pub mod evaluate; //  how a student does, as an audit would see it
pub mod saved; //     a training that can be gone on with
pub mod speaker; //   a line every so many steps
pub mod record; //    distillation.json
pub mod data; //      the splits, the teacher with what it says of them
mod run; //           all of it in order

pub use run::{
    check, distill, distill_among, SplitLogits, SplitsLogits, Student, TrainingContext,
    TrainingFacts, TrainingOutcome, WatchedSample,
};
