//! One file per command: arguments in, the flow or its parts, the report out.

pub mod audit;
pub mod cache;
pub mod check;
pub mod compare;
pub mod config;
pub mod demo;
pub mod distill;
pub mod explain;
pub mod init;
mod output;
pub mod predict;
pub mod recalibrate;
pub mod render;
mod suite;

pub use output::{print, Sink};
pub use suite::{build_report, run_each, run_suite};
