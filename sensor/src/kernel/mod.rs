//! Loading the programs, attaching them, and reading what they say.

mod attach;
mod counters;
pub mod offsets;
mod ring;
mod self_test;

use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};
use sensor_common::filter::{Key, Lengths};

pub use self::attach::{AttachMode, open};
pub use self::counters::KernelCounters;
pub use self::offsets::OffsetError;
pub use self::ring::Ring;
use crate::filter::Filter;

/// How to attach.
#[derive(Debug, Clone)]
pub struct Options {
    /// The kind of programs; `None` tries one after the other.
    pub attach: Option<AttachMode>,
    /// The kernel's type information, if it does not come from the kernel itself.
    pub btf: Option<PathBuf>,
    /// Size of the ring.
    pub ring_bytes: u32,
}

/// Why the kernel cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Structures are not known.
    #[error(transparent)]
    Offsets(#[from] OffsetError),
    /// The kernel did not take the maps or the object.
    #[error("the kernel refused the eBPF maps: {0}")]
    Load(#[from] Box<aya::EbpfError>),
    /// The kernel did not take a program.
    #[error("the kernel refused the {mode} program for `{function}`: {reason}")]
    Program {
        /// Its kind.
        mode: AttachMode,
        /// The function that it hooks.
        function: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// A program is attached and does not run.
    #[error("{mode} programs were attached but did not run when a test file was {operation} in {}", directory.display())]
    Silent {
        /// Their kind.
        mode: AttachMode,
        /// What was not seen.
        operation: &'static str,
        /// Where.
        directory: PathBuf,
    },
    /// The test could not be done.
    #[error("cannot create a file to test the hooks with: {0}")]
    SelfTest(std::io::Error),
    /// No kind of programs works.
    #[error("no way to attach works:\n  {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
    NoMode(Vec<KernelError>),
    /// A map cannot be used.
    #[error("cannot {doing}: {source}")]
    Map {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: aya::maps::MapError,
    },
    /// The ring cannot be waited for.
    #[error("cannot wait for the ring buffer: {0}")]
    Wait(std::io::Error),
}

/// The programs at work. They stop when this is dropped, or the process ends in whatever way.
pub struct Kernel {
    /// Holds the programs and their links.
    ebpf: Ebpf,
    mode: AttachMode,
    generation: u32,
    current: Vec<Key>,
}

impl Kernel {
    /// How the programs are attached.
    pub fn mode(&self) -> AttachMode {
        self.mode
    }

    /// Puts a filter in force in one step.
    pub fn set_filter(&mut self, filter: &Filter) -> Result<(), KernelError> {
        let generation = self.generation.wrapping_add(1);
        let map_error = |source| KernelError::Map { doing: "change the kernel's filter", source };
        let keys: Vec<Key> = filter.keys(generation).collect();
        {
            let mut names = self.names()?;
            for key in &keys {
                names.insert(bytes::<16>(key), 0_u8, 0).map_err(map_error)?;
            }
        }
        let mut lengths: Array<&mut MapData, [u8; size_of::<Lengths>()]> =
            self.map("LENGTHS").try_into().map_err(map_error)?;
        lengths.set(0, bytes(&filter.lengths(generation)), 0).map_err(map_error)?;
        let old = std::mem::replace(&mut self.current, keys);
        let mut names = self.names()?;
        for key in &old {
            // What cannot be removed is of an old generation and never asked for again.
            let _ = names.remove(&bytes::<16>(key));
        }
        self.generation = generation;
        Ok(())
    }

    /// What the kernel side counted since the programs were loaded.
    pub fn counters(&self) -> KernelCounters {
        counters::read(&self.ebpf)
    }

    /// Of the counters, the one that decides what a missing outcome means.
    pub fn outcomes_lost(&self) -> u64 {
        counters::count(&self.ebpf, sensor_common::counters::OUTCOMES_LOST)
    }

    fn names(&mut self) -> Result<HashMap<&mut MapData, [u8; 16], u8>, KernelError> {
        let source = |source| KernelError::Map { doing: "change the kernel's filter", source };
        self.map("NAMES").try_into().map_err(source)
    }

    fn map(&mut self, name: &'static str) -> &mut aya::maps::Map {
        #[expect(
            clippy::expect_used,
            reason = "the object is embedded, and every test of the lab would fail"
        )]
        self.ebpf.map_mut(name).expect("the embedded object has this map")
    }
}

fn bytes<const N: usize>(value: &(impl zerocopy::IntoBytes + zerocopy::Immutable)) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(value.as_bytes());
    bytes
}
