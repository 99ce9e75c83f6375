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
mod code; //           what notes and warnings are known by
mod course; //         how the budget was spent along the data
mod findings; //       what a reader must know beside the verdict
mod preflight; //      is the model sane before the long run
mod sequential; //     a verdict from the first few draws
mod student_record; // distillation.json: what the student's own training asked for and reached
mod unseen; //         a limit for σ on inputs that nobody has run

pub use bound::{Bound, BoundError, BoundPolicy, DEFAULT_BETA_PER_EXAMPLE};
pub use budget::{Budget, Check, NoExamples, Verdict};
pub use code::{Code, Note, NoteLevel};
pub use course::{Course, CoursePoint, COURSE_POINTS};
pub use findings::{findings, Evidence, BORDERLINE};
pub use preflight::{majority_share, worse_than_majority, worse_than_majority_p, PREFLIGHT_LEVEL};
pub use sequential::{
    draw_order, seed_of_data, Certainty, Decision, Sequential, SequentialError, SequentialTest,
    LARGEST_DELTA, SMALLEST_DELTA,
};
pub use student_record::{AuditedExamples, LossReached, RecordError, RecordedBound, StudentRecord};
pub use unseen::{unseen_sigma, UpperLimit, UNSEEN_LEVEL};

/// The probability of a wrong verdict that a sequential test accepts, unless told otherwise.
pub const DEFAULT_DELTA: f64 = 0.001;
