//! Staying in the kernel when the daemon ends, and being taken out of it.

use std::path::Path;

use super::diagnostics;
use super::handover::Predecessor;
use super::load::is_own;
use super::pins::{Pins, PinsError, Set};
use super::ring::Ring;
use super::{Kernel, Removed};

/// What other daemons left.
#[derive(Default)]
pub struct Left {
    /// Links that there were.
    pub links: usize,
    /// Those whose records can be read.
    pub predecessors: Vec<Predecessor>,
    /// How many cannot.
    pub unreadable: usize,
}

impl Kernel {
    /// Has the programs stay when this process ends, and takes those of others out of service. Gives their records.
    pub fn pin(&mut self, ring: &Ring) -> Left {
        let Some(pins) = self.pins.take() else { return Left::default() };
        let left = self.pin_in(&pins, ring).unwrap_or_else(|error| {
            without_pins(&error);
            Left::default()
        });
        self.pins = Some(pins);
        left
    }

    fn pin_in(&mut self, pins: &Pins, ring: &Ring) -> Result<Left, PinsError> {
        // What programs say about themselves goes to the process that loaded them.
        if self.set.is_none() && !diagnostics::is_on() {
            let set = pins.begin()?;
            if let Err(error) = self.fill(&set, ring) {
                // They stay as long as this process has them.
                set.remove()?;
                return Err(error);
            }
            self.set = Some(pins.complete(&set, &self.identity)?);
        }
        let others = pins.sets()?.into_iter().filter(|set| Some(set) != self.set.as_ref());
        let mut left = Left::default();
        for set in others {
            let (predecessor, links) = Predecessor::retire(set)?;
            left.links += links;
            left.unreadable += usize::from(predecessor.is_none());
            left.predecessors.extend(predecessor);
        }
        Ok(left)
    }

    pub(super) fn fill(&mut self, set: &Set, ring: &Ring) -> Result<(), PinsError> {
        for (name, map) in self.ebpf.maps().filter(|(name, _)| !is_own(name)) {
            let path = set.map(name);
            map.pin(&path).map_err(|error| PinsError::Pin { path, reason: error.to_string() })?;
        }
        ring.pin(set)?;
        self.pin_programs(set)
    }

    /// Links, and the programs themselves: what the kernel counts for them is told to who has one.
    pub(super) fn pin_programs(&mut self, set: &Set) -> Result<(), PinsError> {
        for (name, program) in self.ebpf.programs_mut().filter(|(_, program)| program.fd().is_ok()) {
            let path = set.program(name);
            if !path.exists() {
                program.pin(&path).map_err(|error| PinsError::Pin { path, reason: error.to_string() })?;
            }
        }
        for (program, attached) in &mut self.attached {
            attached.pin(&set.link(program))?;
        }
        Ok(())
    }

    /// Removes what is pinned: these programs end with this process.
    pub fn unpin(&mut self) {
        if let Some(set) = self.set.take()
            && let Err(error) = set.remove()
        {
            tracing::warn!("something stays in the kernel: {error}; `ldsentry unload` removes it");
        }
    }

    /// Whether the programs go on without this process.
    pub fn stays(&self) -> bool {
        self.set.is_some()
    }

    /// How many links are pinned.
    pub fn links(&self) -> usize {
        if self.stays() { self.attached.len() } else { 0 }
    }
}

/// Removes what is pinned in a directory, and the directory. Gives what it was and how many bytes of records nobody has read;
/// nothing if there is no such directory.
pub fn unload(directory: &Path) -> Result<Option<(Removed, usize)>, PinsError> {
    let Some(pins) = Pins::find(directory)? else { return Ok(None) };
    let (mut removed, mut unread) = (Removed::default(), 0);
    for set in pins.sets()? {
        unread += Ring::of(&set).map_or(0, |ring| ring.unread());
        let Removed { links, maps } = set.remove()?;
        removed.links += links;
        removed.maps += maps;
    }
    pins.remove()?;
    Ok(Some((removed, unread)))
}

/// Whether programs can be pinned in a directory.
pub fn can_pin(directory: &Path) -> Result<(), PinsError> {
    Pins::can_be(directory)
}

pub(super) fn without_pins(error: &PinsError) {
    tracing::warn!(
        "nothing stays in the kernel when the daemon ends, so what happens until it starts again is not seen: {error}; \
         or set `sensor.pins = \"off\"`"
    );
}
