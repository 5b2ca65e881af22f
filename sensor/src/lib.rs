//! The library behind `ldsentry`: a pipeline of stages, each of which sees only what lies before it.
//!
//! `kernel (eBPF) -> decode -> enrich -> detect -> alert -> sink`; see ARCHITECTURE.md.

pub mod alert;
pub mod below;
pub mod check;
pub mod cli;
pub mod config;
pub mod decode;
pub mod detect;
pub mod ecs;
pub mod enrich;
pub mod event;
pub mod fanotify;
pub mod filter;
pub mod guard;
pub mod heartbeat;
pub mod host;
pub mod instance;
pub mod inventory;
pub mod kernel;
pub mod links;
pub mod load;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod mountinfo;
pub mod notice;
pub mod notify;
pub mod outcome;
pub mod pipeline;
pub mod prefix;
pub mod presence;
mod queue;
pub mod replay;
pub mod rule;
pub mod sandbox;
pub mod self_test;
pub mod sink;
pub mod status;
#[cfg(test)]
mod testing;
