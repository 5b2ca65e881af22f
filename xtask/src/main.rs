//! `cargo xtask`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::architecture::Architecture;
use xtask::bench::{self, BenchOptions};
use xtask::command::workspace;
use xtask::demo::{self, Place};
use xtask::lab::{self, ScriptOptions};
use xtask::{dist, fuzz, manual, setup, test, tidy};

/// What cargo cannot do
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Find an eBPF toolchain and the lab's tools, and install what is missing
    Setup,
    /// Watch the daemon at work: on this host if it can be watched, else on a stock kernel under QEMU. Without a terminal,
    /// on this host only if its kernel can be hooked
    Run {
        /// Use a stock kernel under QEMU
        #[arg(long, conflicts_with = "native")]
        vm: bool,
        /// Use this host's kernel
        #[arg(long)]
        native: bool,
    },
    /// Check everything, natively and on stock kernels
    Test {
        /// Only tests whose names contain this
        filter: Option<String>,
    },
    /// Measure what the sensor costs, beside what others cost, and write docs/cost.md
    Bench(BenchOptions),
    /// Run each fuzz target for a while
    Fuzz {
        /// Seconds for each target
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only targets whose names contain this
        filter: Option<String>,
    },
    /// Build what is given to others, into target/dist (target/dist-arm64): a static daemon, a .deb, an .rpm, an OCI image, a
    /// list of what is in it (SPDX), checksums
    Dist {
        /// What to build for
        #[arg(long, value_enum, default_value = "amd64")]
        arch: Architecture,
        /// Build it a second time, somewhere else, and fail if one byte differs
        #[arg(long)]
        twice: bool,
    },
    /// Check what the compiler does not, and list long files
    Tidy,
    /// Write manual pages and shell completions into target/dist
    Manual,
    /// Try things in a stock kernel under QEMU
    #[command(subcommand)]
    Lab(Lab),
}

#[derive(Debug, Subcommand)]
enum Lab {
    /// Boot a kernel, start the daemon, run a script as root; the daemon's NDJSON is all there is on standard output
    Run {
        #[command(flatten)]
        options: ScriptOptions,
        /// A shell script, or one with a `#!` line
        script: PathBuf,
    },
    /// Boot a kernel, start the daemon, give a shell
    Shell {
        #[command(flatten)]
        options: ScriptOptions,
    },
}

fn main() -> ExitCode {
    match perform(&Arguments::parse().task) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            xtask::command::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: &Task) -> Result<i32> {
    if let Task::Tidy = task {
        return tidy::run(true).map(|()| 0);
    }
    setup::run()?;
    match task {
        Task::Setup | Task::Tidy => Ok(0),
        Task::Run { vm, native } => demo::run(match (vm, native) {
            (true, _) => Place::Lab,
            (_, true) => Place::Here,
            _ => Place::Anywhere,
        }),
        Task::Test { filter } => test::run(filter.as_deref()),
        Task::Bench(options) => bench::run(options).map(|()| 0),
        Task::Fuzz { seconds, filter } => fuzz::run(*seconds, filter.as_deref()),
        Task::Manual => manual::write(&workspace().join("target/dist")).map(|()| 0),
        Task::Dist { arch, twice } => dist::run(*arch, *twice).map(|()| 0),
        Task::Lab(Lab::Run { options, script }) => lab::run_script(options, script),
        Task::Lab(Lab::Shell { options }) => lab::shell(options).map(|()| 0),
    }
}
