//! 8. Distillation: training a student to keep its teacher's confidence.
//!
//! ```text
//!  recipe ─► plan ─► student ─┐
//!  teacher ─► signals ────────┼─► trainer ─► folder: a checkpoint and distillation.json
//!  data ─► tokens ────────────┘
//! ```
//!
//! A [`methods::Method`] is a list of stages; a stage minimises an [`objective::Objective`], in most
//! methods a weighted sum of named losses ([`terms`]).

pub mod recipe; //           settings in force: published defaults, the recipe's file, flags
pub(crate) mod methods; //   one file and one row per method
mod student; //              the student before its training
mod states; //               selection of the teacher's hidden states
mod store; //                a file of them
mod signals; //              the teacher's outputs for a step
mod objective; //            the loss function of a stage: the seam for new methods
mod neighbours; //           texts of a corpus near the training set's
mod adversary; //            a generator that rewrites texts against the student
pub mod losses; //           pure functions of tensors
mod layer_draw; //           layers of the teacher that are drawn for each epoch
mod projection; //           linear layers that are trained with the student and dropped
mod term; //                 the losses by name
mod terms; //                weighted sums of losses: the objective of most methods
pub mod schedule; //         learning-rate schedules
pub mod optimizer; //        AdamW
pub(crate) mod trainer; //   the loop
pub(crate) mod evaluate; //  accuracy, σ and losses of a student, as an audit computes them
pub(crate) mod saved; //     resumable training state
pub(crate) mod log; //       progress lines
pub(crate) mod record; //    distillation.json
pub mod data; //             the splits and the teacher's logits
pub mod tables; //           a teacher that is a table
mod run; //                  the whole training, in order
#[cfg(test)]
mod testing;

pub use run::{check, distill, distill_with};
pub(crate) use run::{
    SampleDraw, SplitLogits, Student, TrainingContext, TrainingFacts, TrainingOutcome,
};
