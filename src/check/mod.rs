//! 6. Numbers to verdict: the bound, the budget, warnings.
//!
//! ```text
//! policy, α, γ ──► Bound ──► Budget ─┐
//!             DifferenceSums ────────┴─► Verdict, Course ──► findings
//! ```
//!
//! One comparison decides, Σd² ≤ B in fixed point: [`Budget::allows`]. A [`SequentialTest`] answers the
//! same question with an error of at most δ.

mod accuracy; //       a student's accuracy against its reference, paired
mod bound; //          κ, β and budget of a policy
mod budget; //         the predicate
mod code; //           codes of notes and warnings
mod course; //         the budget spent along the data
mod findings; //       notes and warnings about a verdict
mod preflight; //      sanity check before the long run
mod published; //      what the published statistic hides
mod sequential; //     a verdict from the first few draws
mod student_record; // distillation.json: bound and loss of the student's training
mod unseen; //         a limit for σ on unseen inputs

pub use accuracy::{AccuracyTest, NonInferiority};
pub use bound::{Bound, BoundError, BoundPolicy, DEFAULT_BETA_PER_EXAMPLE};
pub use budget::{Budget, Verdict};
pub use code::{Code, Note, NoteLevel};
pub use course::{Course, CoursePoint, COURSE_POINTS};
pub use findings::{findings, Evidence, BORDERLINE};
pub use preflight::{majority_share, worse_than_majority, worse_than_majority_p, PREFLIGHT_LEVEL};
pub use published::{PublishedEvidence, ReadSigma};
pub use sequential::{
    draw_order, seed_of_data, Certainty, Decision, Sequential, SequentialError, SequentialTest,
    LARGEST_DELTA, SMALLEST_DELTA,
};
pub use student_record::{AuditedExamples, LossReached, RecordError, RecordedBound, StudentRecord};
pub use unseen::{unseen_sigma, UpperLimit, UNSEEN_LEVEL};

/// Default probability of a wrong verdict of a sequential test.
pub const DEFAULT_DELTA: f64 = 0.001;
