//! Decides whether a distilled classifier keeps its teacher's confidence.
//!
//! ```text
//!  task ──► examples ─┐
//!                     ├─► inference ──► logits(T), logits(S) ──► confidence ──► check ──► report ──► exit code
//!  checkpoint ► model ┘    ▲ cache ▼                                ▲
//!                   distill: logits, hidden states ► loss ► student ─┤
//!                   recalibration: logits(S) ► one temperature ───────┘
//! ```
//!
//! Modules are in dependency order, lowest first: a module uses only those above it, which
//! `tests/architecture.rs` checks. docs/architecture.md describes each.
//!
//! Letters of shapes: N examples, B examples of one batch, L tokens of one sequence, T tokens of one
//! packed batch, H hidden size, K labels.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod terminal;
pub mod error;
pub mod interrupt;
pub mod temporary;
pub mod digest;
pub mod input;
pub mod hub;
pub mod task;
pub mod checkpoint;
pub mod model;
pub mod cache;
pub mod inference;
pub mod confidence;
pub mod predictions;
pub mod check;
pub mod recalibration;
pub mod config;
pub mod report;
pub mod progress;
pub mod audit;
pub mod augment;
pub mod distill;
pub mod pretrain;
pub mod tune;
pub mod cli;
pub mod commands;
