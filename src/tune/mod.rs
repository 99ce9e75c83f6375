//! 9. The search for distillation settings under which a student keeps its teacher's confidence.
//!
//! ```text
//!  plan ─► space ─► search ─► run: distil, measure ─► journal ─► constraints: the best ─► finale ─► winner
//!            ▲                   │ pruning               │
//!            └───────────────────┴───────────────────────┘
//! ```

mod space; //       the keys that a search may change
pub mod plan; //    settings in force: the tune's file, flags
mod answers; //     which examples a model has right, and the accuracy to compare with
mod outcome; //     the result of a training
mod scale; //       the units of a violation
mod constraints; // the order of two students
mod warm; //        trials of another search
mod journal; //     a file of all results, for resuming and for other processes
mod locks; //       locks between processes
mod ranking; //     the trials in their order, and the finalists
mod search; //      the next settings
mod pruning; //     trials that are stopped early
mod log; //         progress lines
mod measure; //     a student compared with the bound
mod importance; //  the share of each key in the results
mod finale; //      the winner, on data that the search did not see
mod notes; //       notes on the verdict
mod checks; //      the plan on its models and its data, before the first trial
mod run; //         the whole tune, in order

pub use run::tune;
