//! The library behind `ldsentry`: a pipeline of stages, each of which sees only what lies before it.
//!
//! `kernel (eBPF) -> decode -> enrich -> detect -> alert -> sink`; see ARCHITECTURE.md.

pub mod alert;
pub mod config;
pub mod detect;
pub mod ecs;
pub mod event;
pub mod load;
pub mod replay;
pub mod rule;
#[cfg(test)]
mod testing;
