//! 7. Verdict to what people and CI read: one file per format, one serialised schema.

pub mod schema;
