//! 8. Students that keep their teacher's confidence: losses, schedules, the trainer, the record.

pub mod losses;
pub mod optimizer;
pub mod schedule;
