//! Whether the programs run: they can be loaded and attached and stay silent all the same. The daemon creates, renames, opens
//! and removes a file of its own and must see what it is attached for.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sensor_common::record::{Header, KIND_CREATE, KIND_MODIFY, KIND_RENAME, KIND_UNLINK};
use zerocopy::FromBytes as _;

use super::ring::Ring;
use super::{Kernel, KernelError};
use crate::event::Action;
use crate::filter::{Filter, Filters};

/// Where a file can be made: what is there on every host, the tidiest first.
const DIRECTORIES: [&str; 4] = ["/run", "/dev/shm", "/tmp", "/var/tmp"];
/// Emulated kernels are slow; where the programs run this ends at once.
const DEADLINE: Duration = Duration::from_secs(5);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) fn run(kernel: &mut Kernel, ring: &mut Ring, actions: &[Action]) -> Result<(), KernelError> {
    if actions.is_empty() {
        return Ok(());
    }
    let name = format!(".ldsentry-self-test-{}", std::process::id());
    let renamed = format!("{name}.1");
    let entries: BTreeSet<_> = [&name, &renamed].map(|name| name.clone().into_bytes()).into();
    let mut filters = Filters::default();
    for action in actions {
        filters.add(*action, Filter { entries: entries.clone(), ..Filter::default() });
    }
    kernel.set_filters(&filters)?;
    let directory = do_everything(&name, &renamed)?;
    let mut unseen: Vec<_> = TESTED.into_iter().filter(|tested| actions.contains(&tested.action)).collect();
    let deadline = Instant::now() + DEADLINE;
    while !unseen.is_empty() && Instant::now() < deadline {
        let Some(record) = ring.read() else {
            // The ring has no sign for what is not released.
            std::thread::sleep(PAUSE);
            continue;
        };
        if let Ok((header, _)) = Header::read_from_prefix(record.bytes)
            && (header.pid_tgid >> 32) as u32 == std::process::id()
        {
            unseen.retain(|tested| tested.kind != header.kind);
        }
    }
    ring.rewind();
    match unseen.first() {
        None => Ok(()),
        Some(Tested { operation, .. }) => {
            Err(KernelError::Silent { mode: kernel.mode, operation, directory })
        }
    }
}

/// What is done to the file, and the record that must come of it. Nothing is mounted for a test.
struct Tested {
    action: Action,
    kind: u8,
    operation: &'static str,
}

const TESTED: [Tested; 4] = [
    Tested { action: Action::Creation, kind: KIND_CREATE, operation: "created" },
    Tested { action: Action::Rename, kind: KIND_RENAME, operation: "renamed" },
    Tested { action: Action::Modification, kind: KIND_MODIFY, operation: "opened for writing" },
    Tested { action: Action::Deletion, kind: KIND_UNLINK, operation: "removed" },
];

fn do_everything(name: &str, renamed: &str) -> Result<PathBuf, KernelError> {
    let mut first = None;
    for directory in DIRECTORIES.map(Path::new) {
        let (from, to) = (directory.join(OsStr::from_bytes(name.as_bytes())), directory.join(renamed));
        match File::create_new(&from).and_then(|_| fs::rename(&from, &to)) {
            Ok(()) => {
                let _ = File::options().append(true).open(&to);
                let _ = fs::remove_file(&to);
                return Ok(directory.to_owned());
            }
            Err(error) => first = first.or(Some(error)),
        }
        let _ = fs::remove_file(&from);
    }
    Err(KernelError::SelfTest(first.unwrap_or_else(|| std::io::ErrorKind::NotFound.into())))
}
