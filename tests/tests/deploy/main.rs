//! What is given to others: the packages, the unit, the image, the manifests.

mod container;
mod kubernetes;
mod packages;

use anyhow::Result;
use xtask::lab::{Binaries, build};

/// The daemon as the lab has it: its release would take minutes more.
fn daemon() -> Result<Binaries> {
    build(&[("sensor", "ldsentry")])
}
