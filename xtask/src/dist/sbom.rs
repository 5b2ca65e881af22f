//! The bill of materials: every crate that is linked into the daemon, as SPDX has it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{created, sha256};
use crate::command::output;

/// Writes it. What `cargo sbom` makes differs each time in a time, a random name and the order of its lists, which say
/// nothing here.
pub fn write(sources: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["sbom", "--cargo-package", "sensor", "--output-format", "spdx_json_2_3"]);
    let text = output(command.current_dir(sources)).context("listing what the daemon is made of")?;
    let mut bill: Value = serde_json::from_str(&text).context("reading what `cargo sbom` wrote")?;
    bill["creationInfo"]["created"] = created()?.into();
    for list in ["packages", "files", "relationships"] {
        let elements = bill[list].as_array_mut().with_context(|| format!("the list has no {list}"))?;
        elements.sort_by_cached_key(Value::to_string);
    }
    bill["documentNamespace"] = Value::Null;
    let name = sha256(bill.to_string().as_bytes());
    bill["documentNamespace"] = format!("urn:sha256:{name}").into();
    fs::write(to, serde_json::to_vec_pretty(&bill)?).with_context(|| format!("writing {}", to.display()))
}
