//! `ldsentry`, the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sensor::cli::run()
}
