//! Decides whether a distilled classifier keeps its teacher's confidence.
//!
//! ```text
//!  task ──► examples ─┐
//!                     ├─► inference ──► logits(T), logits(S) ──► confidence ──► check ──► report ──► exit code
//!  checkpoint ► model ┘
//! ```
//!
//! The modules below stand in the order in which data passes through them.
//!
//! Letters for shapes, everywhere: N examples, B examples of one batch, L tokens of one
//! sequence, T tokens of one packed batch, H hidden size, K labels.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod audit; //      the flow above as one function
pub mod check; //      6. numbers -> verdict
pub mod checkpoint; // 2. a folder or a Hub id -> config, tokenizer, weights, label names
pub mod cli; //        what a user may type
pub mod commands; //   one file per command
pub mod confidence; // 5. logits -> numbers
pub mod config; //     what is in force, and where each value comes from
pub mod error;
pub mod hub; //        files of the Hugging Face Hub, downloaded once
pub mod inference; //  4. examples -> logits (N, K), in example order
pub mod model; //      3. encoders and heads
pub mod report; //     7. verdict -> what people and CI read
pub mod task; //       1. what is audited: tasks, readers, examples //      kinds of failure, and the exit code that each gives
