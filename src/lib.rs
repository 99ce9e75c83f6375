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
//! The modules below stand in the order of their dependencies: each uses only those above it, which
//! `tests/architecture.rs` checks. docs/architecture.md is the map.
//!
//! Letters for shapes, everywhere: N examples, B examples of one batch, L tokens of one
//! sequence, T tokens of one packed batch, H hidden size, K labels.

#![deny(unsafe_code)]
#![warn(missing_docs)]

// Lines on stderr.
pub mod terminal;

// Errors as a person reads them, and exit codes.
pub mod error;

// Ctrl-C, noticed between batches.
pub mod interrupt;

// Atomic writes.
pub mod temporary;

// SHA-256 of files.
pub mod digest;

// Files of the Hugging Face Hub, downloaded once.
pub mod hub;

// 1. What is audited: tasks, readers, examples.
pub mod task;

// 2. A folder or a Hub id to config, tokenizer, weights, label names.
pub mod checkpoint;

// 3. Encoders and heads.
pub mod model;

// Logits of earlier runs, kept on disk.
pub mod cache;

// 4. Examples to logits (N, K), in example order.
pub mod inference;

// 5. Logits to numbers.
pub mod confidence;

// Predictions as files: written by one run, read by another.
pub mod predictions;

// 6. Numbers to verdict.
pub mod check;

// Temperature scaling of a student.
pub mod recalibration;

// Settings in force, and where each value comes from.
pub mod config;

// 7. Verdict to what people and CI read.
pub mod report;

// The live line of a run.
pub mod progress;

// The flow above as one function.
pub mod audit;

// 8. Students that keep their teacher's confidence.
pub mod distill;

// 9. A search for the settings of a distillation.
pub mod tune;

// The command line.
pub mod cli;

// One file per command.
pub mod commands;
