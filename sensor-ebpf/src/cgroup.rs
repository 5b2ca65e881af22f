//! The cgroups of a process, whose names tell which container it is in.

use sensor_common::offsets::ABSENT;
use sensor_common::record::SECTION_CGROUP;

use crate::kernel::{Css, CssSet, KernfsNode, Task};
use crate::read::{Probed, offset, probe};
use crate::record::{LIMIT, Record, Written};
use crate::text;

/// Cgroups within each other that are followed.
const MAX_STEPS: u32 = 32;
/// `NAME_MAX` and the NUL.
const MAX_NAME: u32 = 256;

/// Adds the paths of the cgroups.
#[inline(always)]
pub fn write(record: &mut Record, task: Task) {
    let set = task.cgroups::<Probed>();
    section(record, set.default::<Probed>().node::<Probed>());
    let other = version_1(set.0 as u64);
    if other != 0 {
        section(record, KernfsNode(other as *const u8));
    }
}

#[inline(always)]
fn section(record: &mut Record, node: KernfsNode) {
    record.section(SECTION_CGROUP, 0, |record, at| {
        let written = walk_cgroup(record.slot, at, node.0 as u64);
        Written { end: written as u32 & (2 * LIMIT - 1), complete: written >> 32 != 0 }
    });
}

/// The cgroup in a hierarchy of version 1, or 0: of a controller that every container engine puts its containers into. A global
/// function: see `path::walk`.
#[unsafe(no_mangle)]
pub extern "C" fn version_1(set: u64) -> u64 {
    let set = CssSet(set as *const u8);
    let default = set.default::<Probed>().root::<Probed>();
    for offset in [offset!(css_set_pids), offset!(css_set_memory)] {
        if offset != ABSENT {
            let cgroup = Css(probe(set.0.wrapping_add(offset as usize))).cgroup::<Probed>();
            // A controller that has no hierarchy of its own belongs to that of version 2.
            if !cgroup.is_null() && cgroup.root::<Probed>() != default {
                return cgroup.node::<Probed>().0 as u64;
            }
        }
    }
    0
}

/// Writes the names of a directory and of those above it, each ended by NUL, and gives what `path::walk` gives. A global
/// function: see there.
#[unsafe(no_mangle)]
pub extern "C" fn walk_cgroup(slot: u32, start: u32, node: u64) -> u64 {
    let Some(record) = Record::new(slot) else { return u64::from(start) };
    let mut node = KernfsNode(node as *const u8);
    let mut position = start;
    for _ in 0..MAX_STEPS {
        let target;
        (position, target) = record.go_on(position);
        let parent = node.parent::<Probed>();
        // The root, whose name is empty.
        if parent.is_null() {
            return u64::from(position) | 1 << 32;
        }
        let length = text::copy(target, node.name::<Probed>(), MAX_NAME);
        if length <= 0 {
            break;
        }
        position += length as u32 & 0x1ff;
        if position >= LIMIT {
            break;
        }
        node = parent;
    }
    u64::from(position)
}
