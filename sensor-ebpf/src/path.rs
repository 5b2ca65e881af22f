//! Paths, from an entry to the root of a mount namespace.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;

use crate::diagnostics::Note;
use crate::kernel::{Dentry, Mount};
use crate::read::Probed;
use crate::record::{LIMIT, Record, Written, forget};

/// Components and mounts on the way that are followed.
const MAX_STEPS: u32 = 64;
/// A path longer than that is cut off: no path that is given to a system call is.
const MAX_BYTES: u32 = 4096;
/// `NAME_MAX` and the NUL.
const MAX_NAME: u32 = 256;

/// Writes the components of a path, the last one first, each ended by NUL.
#[inline(always)]
pub fn write(record: &Record, position: u32, mount: Mount, dentry: Dentry) -> Written {
    let written = walk(record.slot, position, mount.0 as u64, dentry.0 as u64);
    Written { end: written as u32 & (2 * LIMIT - 1), complete: written >> 32 != 0 }
}

/// The end in the lower half, in the upper half not zero if the root was reached.
///
/// A global function, whose arguments and result are plain numbers: the verifier looks at it once, and not again for
/// each path of each event with all that it knows at that point.
#[unsafe(no_mangle)]
pub extern "C" fn walk(slot: u32, start: u32, mount: u64, dentry: u64) -> u64 {
    let Some(record) = Record::new(slot) else { return u64::from(start) };
    let (mut mount, mut dentry) = (Mount(mount as *const u8), Dentry(dentry as *const u8));
    let mut position = start;
    for _ in 0..MAX_STEPS {
        position = forget(record.scratch, position) & (LIMIT - 1);
        let parent = dentry.parent::<Probed>();
        if dentry == mount.root() {
            let above = mount.parent::<Probed>();
            if above == mount {
                let complete = u64::from(mount.is_in_namespace());
                return u64::from(position) | complete << 32;
            }
            dentry = mount.mountpoint::<Probed>();
            mount = above;
            continue;
        }
        let target = record.at(position);
        // SAFETY: behind every position below the limit there is room for a name, and the helper checks the source.
        let length =
            unsafe { bpf_probe_read_kernel_str(target.cast(), MAX_NAME, dentry.name::<Probed>().cast()) };
        if length <= 0 {
            break;
        }
        position += length as u32 & 0x1ff;
        // The second: no directory above it and not the root of the mount. A memfd, or an entry that was moved out
        // of a bind mount.
        if position >= LIMIT || position.wrapping_sub(start) >= MAX_BYTES || parent == dentry {
            break;
        }
        dentry = parent;
    }
    record.note(Note::PathIncomplete, position.wrapping_sub(start));
    u64::from(position)
}
