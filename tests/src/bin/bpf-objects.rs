//! What is loaded in the kernel, whoever has it, and a way to spoil it.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Array, Map, MapData, loaded_maps};
use aya::programs::{loaded_links, loaded_programs};

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => count(),
        ["blind", process] => blind(process.parse().context("reading the process id")?),
        _ => bail!("no arguments, or `blind PID`"),
    }
}

/// `programs=N links=N maps=N`. Nothing that a process left behind is missed, be it pinned, held by a link, or not let go
/// of.
fn count() -> Result<()> {
    // What goes while it is looked at is an error, and not counted.
    let (programs, links) = (loaded_programs().flatten().count(), loaded_links().flatten().count());
    let maps = loaded_maps().flatten().count();
    writeln!(std::io::stdout(), "programs={programs} links={links} maps={maps}").context("writing the counts")
}

/// Has the programs of a process go by a filter into which nothing was put, as one who can write to its maps would.
fn blind(process: u32) -> Result<()> {
    let mut found = 0;
    for information in std::fs::read_dir(format!("/proc/{process}/fdinfo"))?.flatten() {
        let text = std::fs::read_to_string(information.path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse().ok());
        let Some(map) = id.and_then(|id| MapData::from_id(id).ok()) else { continue };
        if map.info()?.name_as_str() != Some(".data.in_force") {
            continue;
        }
        let mut generation: Array<_, u32> = Map::Array(map).try_into()?;
        let in_force = generation.get(&0, 0)?;
        generation.set(0, in_force.wrapping_add(1), 0)?;
        found += 1;
    }
    ensure!(found == 1, "process {process} has {found} maps that say which filter is in force");
    Ok(())
}
