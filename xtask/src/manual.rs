//! `cargo xtask manual`: manual pages and shell completions, for packages.

use std::path::Path;

use anyhow::Result;

use crate::command::{Step, cargo, output};

/// Writes `man/ldsentry*.1`, `completions/ldsentry.bash`, `completions/_ldsentry` (zsh) and `completions/ldsentry.fish` below
/// `directory`. A package puts them into `/usr/share/man/man1`, as `ldsentry` into `/usr/share/bash-completion/completions`,
/// into `/usr/share/zsh/vendor-completions` and into `/usr/share/fish/vendor_completions.d`.
pub fn write(directory: &Path) -> Result<()> {
    let step = Step::begin("writing manual pages and completions");
    let mut example = cargo();
    example.args(["run", "--quiet", "--package", "sensor", "--example", "manual", "--"]);
    output(example.arg(directory))?;
    step.done();
    Ok(())
}
