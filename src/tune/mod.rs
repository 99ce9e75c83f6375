//! 9. Students that keep the property: settings of a distillation that restore it, and one
//!    temperature for a student that is trained already.
//!
//! ```text
//!  plan ─► space ─► search ─► run: distil, measure ─► journal ─► rule: the best ─► finale ─► winner
//!            ▲                   │ watch                 │
//!            └───────────────────┴───────────────────────┘
//!
//!  confidence(T), logits(S) ──► Scores ──► fit ──► τ ──► recalibrated: the weights with τ folded in
//! ```

pub mod space; //   the keys that may change
pub mod plan; //    what is in force: the tune's file, flags
pub mod outcome; // what became of a run, and which of two is the better
pub mod journal; // all of it on disk, for a stop and for other processes
mod locks; //       who may do what, among several processes
pub mod search; //  which settings come next
pub mod watch; //   which trial is given up
mod speaker; //     what is told meanwhile
mod measure; //     a student held against the bound
mod importance; //  which keys mattered
mod finale; //      the winner, on data that the search did not see
mod notes; //       what a reader must know beside the verdict
mod run; //         all of it in order

pub use run::tune;
