//! What system calls cost, in instructions: `cargo xtask bench` runs this in a guest whose clock counts them.

mod flood;
mod floor;
mod mark;
mod measure;
mod operation;
mod react;
mod ready;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cost")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Do every operation again and again; a line for each: the label, the operation, the median of its instructions
    Measure { label: String },
    /// Attach programs that do nothing, say `ready`, and wait to be ended
    Floor { kind: floor::Kind, functions: Vec<String> },
    /// Mark a directory, or the file system that it is on, with fanotify, say `ready`, read what comes
    Fanotify { target: mark::Target, path: PathBuf },
    /// How many instructions the guest has had
    Now,
    /// Wait until a file has a text: how many instructions the guest has had then
    Ready { file: PathBuf, text: String },
    /// Create and remove files that give an alert: so many in a second, or without a pause if that is 0
    Flood { count: u64, rate: u64 },
    /// Create files that give an alert, one at a time, and read the alert from a pipe: how many instructions that took
    React { alerts: PathBuf, process: u32, count: usize },
}

fn main() -> Result<()> {
    match Arguments::parse().action {
        Action::Measure { label } => measure::run(&label),
        Action::Floor { kind, functions } => floor::run(kind, &functions),
        Action::Fanotify { target, path } => mark::run(target, &path),
        Action::Now => Ok(writeln!(std::io::stdout(), "{}", operation::instructions())?),
        Action::Ready { file, text } => ready::run(&file, &text),
        Action::Flood { count, rate } => flood::run(count, rate),
        Action::React { alerts, process, count } => react::run(&alerts, process, count),
    }
}
