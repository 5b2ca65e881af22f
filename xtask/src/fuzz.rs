//! `cargo xtask fuzz`: each fuzz target for a while.

use std::fs;

use anyhow::{Result, bail, ensure};

use crate::command::{Step, complain, program, target_directory, workspace};

/// The crates' directories, and their targets.
const TARGETS: [(&str, &str); 4] =
    [("eql", "parse"), ("eql", "compile"), ("eql", "evaluate"), ("sensor", "rule")];

/// Runs every target whose name contains `filter` for as many seconds. Gives the exit code.
pub fn run(seconds: u64, filter: Option<&str>) -> Result<i32> {
    let installed = program("cargo").args(["+nightly", "fuzz", "--version"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        bail!(
            "fuzzing needs a nightly compiler and cargo-fuzz:\n  rustup toolchain install nightly\n  cargo install cargo-fuzz"
        );
    }
    let targets = TARGETS.iter().filter(|(_, target)| filter.is_none_or(|filter| target.contains(filter)));
    let mut failed = Vec::new();
    let mut ran = 0;
    for (directory, target) in targets {
        ran += 1;
        let step = Step::begin(format!("fuzzing {target} for {seconds} s"));
        let fuzz = format!("{directory}/fuzz");
        // What is found anew stays out of the tree: `cargo fuzz cmin` chooses what is worth keeping.
        let found = target_directory().join("fuzz").join(target);
        fs::create_dir_all(&found)?;
        let mut command = program("cargo");
        command.current_dir(workspace()).args(["+nightly", "fuzz", "run", "--fuzz-dir", &fuzz, target]);
        command.arg(found).arg(format!("{}/{fuzz}/corpus/{target}", workspace().display()));
        command.args(["--", &format!("-max_total_time={seconds}"), "-timeout=10", "-print_final_stats=1"]);
        if !command.status()?.success() {
            failed.push(format!("{target}: the input is in {fuzz}/artifacts/{target}"));
        }
        step.done();
    }
    ensure!(ran > 0, "there is no such target; there are {}", TARGETS.map(|(_, target)| target).join(", "));
    for failure in &failed {
        complain(&format!("{failure}; once it is mended, it belongs into the corpus"));
    }
    Ok(i32::from(!failed.is_empty()))
}
