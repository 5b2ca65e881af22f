//! Who ran what, from programs on the kernel's tracepoints of processes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aya::maps::{HashMap, MapData};
use aya::programs::RawTracePoint;
use aya::{Ebpf, EbpfLoader};
use rustix::param::page_size;
use sensor_common::record::PROCESS;
use zerocopy::IntoBytes as _;

use super::attach;
use super::diagnostics;
use super::error::describe;
use super::offsets::{self, KERNEL_BTF, OffsetError};

/// Processes that are remembered: two kilobytes each.
const CAPACITY: u32 = 4096;
/// The inode number of the first pid namespace, `PROC_PID_INIT_INO`.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
/// The programs, by the tracepoints that they are for.
const TRACEPOINTS: [(&str, &str); 3] = [
    ("process_exit", "sched_process_exit"),
    ("process_fork", "sched_process_fork"),
    ("process_exec", "sched_process_exec"),
];

/// Why processes cannot be remembered.
#[derive(Debug, thiserror::Error)]
pub enum ProcessesError {
    /// Numbers would not be those that the kernel uses.
    #[error("the daemon is in a pid namespace of its own")]
    PidNamespace,
    /// Structures are not known.
    #[error(transparent)]
    Offsets(#[from] OffsetError),
    /// The kernel did not take the maps or the object.
    #[error("the kernel refused the eBPF maps: {0}")]
    Load(#[from] aya::EbpfError),
    /// The kernel did not take a program.
    #[error("the kernel refused the program for the tracepoint `{tracepoint}`: {reason}")]
    Program {
        /// What it is for.
        tracepoint: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// The map cannot be used.
    #[error("cannot use the map of processes: {0}")]
    Map(#[from] aya::maps::MapError),
}

/// The programs at work, and what they keep.
pub struct Processes {
    /// Holds the programs and their links.
    _ebpf: Ebpf,
    map: HashMap<MapData, u32, [u8; PROCESS]>,
}

impl Processes {
    /// Loads and attaches the programs.
    pub fn open(btf: Option<&Path>) -> Result<Self, ProcessesError> {
        let namespace = std::fs::metadata("/proc/self/ns/pid");
        if !namespace.is_ok_and(|namespace| namespace.ino() == FIRST_PID_NAMESPACE) {
            return Err(ProcessesError::PidNamespace);
        }
        let known = offsets::Kernel { cast: None, ..offsets::read(btf.unwrap_or(Path::new(KERNEL_BTF)))? };
        let mut loader = EbpfLoader::new();
        loader
            .override_global("OFFSETS", known.offsets.as_bytes(), true)
            .map_max_entries("EVENTS", page_size() as u32)
            .map_max_entries("PROCESSES", CAPACITY);
        diagnostics::set_level(&mut loader, diagnostics::is_on());
        let mut ebpf = loader.load(&attach::object(&known))?;
        for (name, tracepoint) in TRACEPOINTS {
            let refused = |error| ProcessesError::Program { tracepoint, reason: describe(&error) };
            let program: &mut RawTracePoint = attach::program(&mut ebpf, name).try_into().map_err(refused)?;
            program.load().map_err(refused)?;
            program.attach(tracepoint).map_err(refused)?;
        }
        Ok(Self { map: take_map(&mut ebpf).try_into()?, _ebpf: ebpf })
    }

    /// The record of a process that ran since the programs were attached, if it is not too long ago.
    pub fn get(&self, pid: u32) -> Option<[u8; PROCESS]> {
        self.map.get(&pid, 0).ok()
    }
}

fn take_map(ebpf: &mut Ebpf) -> aya::maps::Map {
    #[expect(clippy::expect_used, reason = "the object is embedded, and every test of the lab would fail")]
    ebpf.take_map("PROCESSES").expect("the embedded object has this map")
}
