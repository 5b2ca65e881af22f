//! Running other programs, with errors that say what was run and what it said.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Says on standard error what is being done, and how long it took when dropped.
#[derive(Debug)]
pub struct Step {
    what: String,
    began: Instant,
}

impl Step {
    /// Begins a step that is worth a line on the screen.
    #[expect(clippy::print_stderr, reason = "progress is what this is for")]
    pub fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        eprintln!("xtask: {what} …");
        Self { what, began: Instant::now() }
    }

    /// Ends the step; steps of more than a second say how long they took.
    #[expect(clippy::print_stderr, reason = "progress is what this is for")]
    pub fn done(self) {
        let took = self.began.elapsed();
        if took > Duration::from_secs(1) {
            eprintln!("xtask: {}: {:.1} s", self.what, took.as_secs_f32());
        }
    }
}

/// Says on standard error what went wrong.
#[expect(clippy::print_stderr, reason = "this is the program's last word")]
pub fn complain(what: &str) {
    eprintln!("xtask: {what}");
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| {
        let argument = argument.to_string_lossy();
        if argument.is_empty() || argument.contains([' ', '\'', '"', '$', '*', ';', '\n']) {
            format!("'{}'", argument.replace('\'', r"'\''"))
        } else {
            argument.into_owned()
        }
    }));
    words.join(" ")
}

/// Runs a command that shows its own output, and fails if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs a command silently; what it said is part of the error if it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("running `{}`", shown(command)))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        bail!("`{}` failed: {}\n{}", shown(command), output.status, tail(said.trim_end(), 25));
    }
    Ok(stdout)
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Where a program is, looking also where only root's `PATH` does.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

/// A command for a program that may live where only root's `PATH` looks.
pub fn program(name: &str) -> Command {
    Command::new(find_program(name).unwrap_or_else(|| PathBuf::from(name)))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The top of the source tree.
pub fn workspace() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// Where cargo builds to.
pub fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |directory| workspace().join(directory))
}

/// A `cargo` of the workspace's own toolchain, in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}
