//! 6. Numbers to verdict: the bound, the budget, warnings.
//!
//! ```text
//! policy, α, γ ──► Bound ──► Budget ─┐
//!             DifferenceSums ────────┴─► Check (verdict), Course ──► findings
//! ```
//!
//! One comparison decides everywhere, Σd² ≤ B in fixed point: [`Budget::allows`].

mod bound; //          κ, β and the budget that follow from a policy
mod budget; //         the one predicate
mod course; //         how the budget was spent along the data

pub use bound::{Bound, BoundError, BoundPolicy, DEFAULT_BETA_PER_EXAMPLE};
pub use budget::{Budget, Check, NoExamples, Verdict};
pub use course::{Course, CoursePoint, COURSE_POINTS};
