//! Decides whether a distilled classifier keeps its teacher's confidence.
//!
//! ```text
//!  task ──► examples ─┐
//!                     ├─► inference ──► logits(T), logits(S) ──► confidence ──► check ──► report ──► exit code
//!  checkpoint ► model ┘    ▲ cache ▼                                ▲
//!                   distill: logits, hidden states ► loss ► student ─┤
//!                   tune: the student's logits ► one temperature ────┘
//! ```
//!
//! The modules below stand in the order in which data passes through them.
//!
//! Letters for shapes, everywhere: N examples, B examples of one batch, L tokens of one
//! sequence, T tokens of one packed batch, H hidden size, K labels.

#![deny(unsafe_code)]
#![warn(missing_docs)]

// What a user may type.
pub mod cli;

// What is in force, and where each value comes from.
pub mod config;

// Files of the Hugging Face Hub, downloaded once.
pub mod hub;

// 1. What is audited: tasks, readers, examples.
pub mod task;

// 2. A folder or a Hub id to config, tokenizer, weights, label names.
pub mod checkpoint;

// 3. Encoders and heads.
pub mod model;

// What a model said before, kept on disk.
pub mod cache;

// 4. Examples to logits (N, K), in example order.
pub mod inference;

// Predictions as files: what one run writes and another reads.
pub mod predictions;

// 5. Logits to numbers.
pub mod confidence;

// 6. Numbers to verdict.
pub mod check;

// 7. Verdict to what people and CI read.
pub mod report;

// The flow above as one function.
pub mod audit;

// 8. Students that keep their teacher's confidence.
pub mod distill;

// One temperature for a student whose confidence is off by a scale.
pub mod tune;

// One file per command.
pub mod commands;

// What a person at a terminal sees meanwhile.
pub mod progress;

// Files on their way to their place.
pub mod temporary;

// Kinds of failure, and the exit code that each gives.
pub mod error;

// Ctrl-C, noticed between batches.
pub mod interrupt;

// Fingerprints of files.
pub mod digest;
