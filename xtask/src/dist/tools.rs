//! cargo's subcommands that pack.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{Step, output};

const TOOLS: [(&str, &str); 3] =
    [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1"), ("cargo-sbom", "0.10.0")];

/// Installs those that are not there.
pub fn install() -> Result<()> {
    let installed = output(Command::new("cargo").args(["install", "--list"]))?;
    for (tool, version) in TOOLS {
        if installed.lines().any(|line| line == format!("{tool} v{version}:")) {
            continue;
        }
        let step = Step::begin(format!("building {tool} {version} (about a minute, once)"));
        let mut install = Command::new("cargo");
        install.args(["install", "--quiet", "--locked", "--force", tool, "--version", version]);
        output(&mut install).with_context(|| format!("building {tool}"))?;
        step.done();
    }
    Ok(())
}
