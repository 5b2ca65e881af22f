//! Paths, from an entry to the root of a mount namespace.

use crate::diagnostics::Note;
use crate::kernel::{Dentry, Mount};
use crate::read::{Read, cheapest};
use crate::record::{LIMIT, Record, Written};
use crate::text;

/// Components and mounts on the way that are followed, so many times so many.
const MAX_STRETCHES: u32 = 8;
const STRETCH: u32 = 8;
/// A path longer than that is cut off: no path that is given to a system call is.
const MAX_BYTES: u32 = 4096;
/// `NAME_MAX` and the NUL.
const MAX_NAME: u32 = 256;
/// The root was reached.
const COMPLETE: u64 = 1 << 32;
/// There is more to go.
const MORE: u64 = 1 << 33;

/// Writes the components of a path, the last one first, each ended by NUL.
#[inline(always)]
pub fn write(record: &Record, position: u32, mount: Mount, dentry: Dentry) -> Written {
    let written = walk(record.slot, position, mount.0 as u64, dentry.0 as u64);
    Written { end: written as u32 & (2 * LIMIT - 1), complete: written & COMPLETE != 0 }
}

/// The end in the lower half, and [`COMPLETE`].
///
/// A global function, whose arguments and result are plain numbers: the verifier looks at it once, and not again for
/// each path of each event with all that it knows at that point.
#[unsafe(no_mangle)]
pub extern "C" fn walk(slot: u32, start: u32, mount: u64, dentry: u64) -> u64 {
    let Some(mut record) = Record::new(slot) else { return u64::from(start) };
    // Nearly all paths end here.
    let mut written =
        some_steps(&mut record, start, start, (Mount(mount as *const u8), Dentry(dentry as *const u8)));
    for _ in 1..MAX_STRETCHES {
        if written & MORE == 0 {
            break;
        }
        written = walk_on(slot, start, written as u32);
    }
    if written & COMPLETE == 0 {
        record.note(Note::PathIncomplete, (written as u32).wrapping_sub(start));
    }
    written & !MORE
}

/// Goes on where [`some_steps`] stopped. A global function: see [`walk`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_on(slot: u32, start: u32, position: u32) -> u64 {
    let Some(mut record) = Record::new(slot) else { return u64::from(start) };
    let place = record.place();
    some_steps(&mut record, start, position, place)
}

#[inline(always)]
fn some_steps(record: &mut Record, start: u32, position: u32, (mount, dentry): (Mount, Dentry)) -> u64 {
    cheapest!(steps(mount, dentry; record, start, position))
}

/// Walks some steps and gives the position, and [`COMPLETE`], or [`MORE`]: then the record has where to go on.
#[inline(always)]
fn steps<R: Read>(
    mut mount: Mount,
    mut dentry: Dentry,
    record: &mut Record,
    start: u32,
    mut position: u32,
) -> u64 {
    let mut root = mount.root::<R>();
    for _ in 0..STRETCH {
        let target;
        (position, target) = record.go_on(position);
        if dentry == root {
            let above = mount.parent::<R>();
            if above == mount {
                let complete = if mount.is_in_namespace::<R>() { COMPLETE } else { 0 };
                return u64::from(position) | complete;
            }
            dentry = mount.mountpoint::<R>();
            mount = above;
            root = mount.root::<R>();
            continue;
        }
        let length = text::copy(target, dentry.name::<R>(), MAX_NAME);
        if length <= 0 {
            return u64::from(position);
        }
        position += length as u32 & 0x1ff;
        let parent = dentry.parent::<R>();
        // The second: no directory above it and not the root of the mount. A memfd, or an entry that was moved out
        // of a bind mount.
        if position >= LIMIT || position.wrapping_sub(start) >= MAX_BYTES || parent == dentry {
            return u64::from(position);
        }
        dentry = parent;
    }
    record.set_place(mount, dentry);
    u64::from(position) | MORE
}
