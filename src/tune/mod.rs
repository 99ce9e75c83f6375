//! 9. The search for distillation settings under which a student keeps its teacher's confidence.
//!
//! ```text
//!  plan ─► space ─► search ─► run: distil, measure ─► journal ─► constraints: the best ─► finale ─► winner
//!            ▲                   │ pruning               │
//!            └───────────────────┴───────────────────────┘
//! ```

mod space; //       the keys that a search may change
pub mod plan; //    settings in force: the tune's file, flags
mod outcome; //     the result of a training, and the order of two students
mod journal; //     a file of all results, for resuming and for other processes
mod locks; //       locks between processes
mod search; //      the next settings
mod pruning; //     trials that are stopped early
mod log; //         progress lines
mod measure; //     a student compared with the bound
mod importance; //  the share of each key in the results
mod finale; //      the winner, on data that the search did not see
mod notes; //       notes on the verdict
mod run; //         the whole tune, in order

pub use run::tune;
