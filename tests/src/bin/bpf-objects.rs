//! Counts what is loaded in the kernel, whoever has it: `programs=N links=N maps=N`. Nothing that a process left behind is
//! missed, be it pinned, held by a link, or not let go of.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};

fn main() -> Result<()> {
    // What goes while it is looked at is an error, and not counted.
    let (programs, links) = (loaded_programs().flatten().count(), loaded_links().flatten().count());
    let maps = loaded_maps().flatten().count();
    writeln!(std::io::stdout(), "programs={programs} links={links} maps={maps}").context("writing the counts")
}
