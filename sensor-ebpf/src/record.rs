//! Putting a record together in memory of this CPU and handing it to the ring.

use sensor_common::counters::EVENTS_LOST;
use sensor_common::record::{Event, SECTION_FLAG_TRUNCATED, Section};

use crate::diagnostics::Note;
use crate::kernel::{Dentry, Mount};
use crate::maps::{EVENTS, NO_WAKE, PROCESSES, Process, SCRATCH, WAKE, count, is_filling};
use crate::read::ends_for_certain;

/// A section is begun below this position only.
pub const LIMIT: u32 = 1 << 14;
/// Behind the limit there is room for the longest piece that is written at once.
pub const SLACK: u32 = 1 << 12;

/// Candidates for the mount that an entry is reached through.
pub const MAX_MOUNTS: u32 = 4;

/// Memory of one CPU to put a record together.
#[repr(C)]
pub struct Scratch {
    /// Mounts to try, `struct mount`.
    pub mounts: [u64; MAX_MOUNTS as usize],
    /// `VIEW_*` of each.
    pub views: [u8; 8],
    /// Bytes of sections so far.
    position: u32,
    /// How many mounts are noted.
    mount_count: u32,
    /// Where the walk along a path is: a mount and an entry.
    place: [u64; 2],
    /// See [`forget`].
    forgotten: u64,
    /// What there is to say about this event, by [`Note`].
    notes: [u32; Note::COUNT],
    /// The [`Subject`]'s addresses: the steps after the first find them here, and not on the stack.
    subject: [u64; 3],
    /// Copied before anything else is done with the event; followed by its sections.
    pub event: Event,
    sections: [u8; (LIMIT + SLACK) as usize],
}

/// What something is done to.
#[derive(Clone, Copy)]
pub struct Subject {
    pub entry: Dentry,
    /// Renames and links: the entry that is renamed or gets another name. Else null.
    pub original: Dentry,
    /// The mount that was used, if it is known.
    pub exact: Mount,
}

impl Subject {
    #[inline(always)]
    pub fn of(entry: Dentry) -> Self {
        Self { entry, original: Dentry(core::ptr::null()), exact: Mount(core::ptr::null()) }
    }
}

/// A record that is being written.
#[derive(Clone, Copy)]
pub struct Record {
    pub scratch: *mut Scratch,
    /// Which one of this CPU's.
    pub slot: u32,
}

impl Record {
    /// The scratch of this CPU. `slot`: a program that can preempt another has its own.
    #[inline(always)]
    pub fn new(slot: u32) -> Option<Self> {
        Some(Self { scratch: SCRATCH.get_ptr_mut(slot)?, slot })
    }

    #[inline(always)]
    pub fn event(&mut self) -> &mut Event {
        // SAFETY: the memory belongs to this CPU and to this program, which the kernel does not run twice at once on
        // a CPU.
        unsafe { &mut (*self.scratch).event }
    }

    /// An address at a position.
    #[inline(always)]
    pub fn at(&self, position: u32) -> *mut u8 {
        self.go_on(position).1
    }

    /// A position in a loop, and its address. To the verifier any number: see [`forget`].
    #[inline(always)]
    pub fn go_on(&self, position: u32) -> (u32, *mut u8) {
        let position = forget(self.scratch, position) & (LIMIT - 1);
        // SAFETY: within `sections`.
        (position, unsafe { (&raw mut (*self.scratch).sections).cast::<u8>().add(position as usize) })
    }

    /// Bytes of sections so far. To the verifier any number: see [`forget`].
    #[inline(always)]
    fn position(&self) -> u32 {
        // SAFETY: the scratch belongs to this program on this CPU.
        unsafe { (&raw const (*self.scratch).position).read_volatile() & (2 * LIMIT - 8) }
    }

    /// Sections that follow begin here, at a multiple of eight.
    #[inline(always)]
    fn set_position(&mut self, position: u32) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.scratch).position).write_volatile(position) };
    }

    /// The address of a kernel structure as a plain number. A pointer whose type the verifier knows cannot be handed
    /// to a global function.
    #[inline(always)]
    pub fn untyped(&self, address: *const u8) -> *const u8 {
        // SAFETY: as above.
        unsafe {
            let slot = &raw mut (*self.scratch).forgotten;
            slot.write_volatile(address as u64);
            slot.read_volatile() as *const u8
        }
    }

    /// Forgets what was in it.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.set_position(0);
        for note in 0..Note::COUNT {
            // SAFETY: as above. Volatile, or the compiler makes a call of it that takes a hundred instructions.
            unsafe { (&raw mut (*self.scratch).notes).cast::<u32>().add(note).write_volatile(0) };
        }
    }

    #[inline(always)]
    pub fn set_subject(&mut self, subject: Subject) {
        let addresses = [subject.entry.0 as u64, subject.original.0 as u64, subject.exact.0 as u64];
        // SAFETY: as above.
        unsafe { (&raw mut (*self.scratch).subject).write(addresses) };
    }

    #[inline(always)]
    pub fn subject(&self) -> Subject {
        // SAFETY: as above.
        let addresses = unsafe { (&raw const (*self.scratch).subject).read() };
        let [entry, original, exact] = addresses.map(|address| address as *const u8);
        Subject { entry: Dentry(entry), original: Dentry(original), exact: Mount(exact) }
    }

    #[inline(always)]
    pub fn set_place(&mut self, mount: Mount, entry: Dentry) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.scratch).place).write([mount.0 as u64, entry.0 as u64]) };
    }

    #[inline(always)]
    pub fn place(&self) -> (Mount, Dentry) {
        // SAFETY: as above.
        let [mount, entry] = unsafe { (&raw const (*self.scratch).place).read() };
        (Mount(mount as *const u8), Dentry(entry as *const u8))
    }

    #[inline(always)]
    pub fn set_mounts(&mut self, count: u32) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.scratch).mount_count).write(count) };
    }

    /// How many mounts are noted.
    #[inline(always)]
    pub fn mounts(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.scratch).mount_count).read() }
    }

    /// Something to say about this event when it is done; see [`crate::diagnostics`].
    #[inline(always)]
    pub fn note(&self, note: Note, number: u32) {
        // SAFETY: as above, and a note has a place.
        unsafe { (&raw mut (*self.scratch).notes).cast::<u32>().add(note as usize).write(number) };
    }

    /// 0 if there is nothing to say.
    #[inline(always)]
    pub fn noted(&self, note: Note) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.scratch).notes).cast::<u32>().add(note as usize).read() }
    }

    /// Whether a further piece can be written.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        self.position() < LIMIT - 256
    }

    /// Writes a section whose content `write` puts behind the head; it gets where the content begins and gives where
    /// it ends, and whether it is all.
    #[inline(always)]
    pub fn section(&mut self, kind: u8, view: u8, write: impl FnOnce(&Self, u32) -> Written) {
        if !self.has_room() {
            self.event().header.flags |= sensor_common::record::FLAG_CUT;
            return;
        }
        let start = self.position();
        let content = start + size_of::<Section>() as u32;
        let written = write(self, content);
        let end = if written.end < content { content } else { written.end };
        let flags = if written.complete { 0 } else { SECTION_FLAG_TRUNCATED };
        let head = Section { length: end - content, kind, view, flags };
        // SAFETY: within `sections`, which is aligned to eight as every section is.
        unsafe { self.at(start).cast::<Section>().write(head) };
        self.set_position((end + 7) & !7);
    }

    /// Keeps the record, as far as there is room, as the one of a process.
    #[inline(always)]
    pub fn keep(&mut self, process: u32) {
        let position = self.position();
        self.event().header.length = size_of::<Event>() as u32 + position;
        // SAFETY: the event and the sections behind it are one piece of memory, longer than this.
        let kept = unsafe { &*(&raw const (*self.scratch).event).cast::<Process>() };
        if PROCESSES.insert(process, kept, 0).is_err() {
            // It is then asked for where it may still be known: in procfs.
            PROCESSES.remove(process).ok();
        }
    }

    /// Hands the record to the ring.
    #[inline(always)]
    pub fn send(&mut self) -> bool {
        let position = self.position();
        let position = if position > LIMIT + SLACK - 8 { LIMIT + SLACK - 8 } else { position };
        let length = size_of::<Event>() as u32 + position;
        self.event().header.length = length;
        let length = forget(self.scratch, length) & 0x7fff;
        if length > size_of::<Event>() as u32 + LIMIT + SLACK {
            return false;
        }
        // SAFETY: the event and the sections behind it are one piece of memory of at least this length.
        let bytes = unsafe {
            core::slice::from_raw_parts((&raw const (*self.scratch).event).cast::<u8>(), length as usize)
        };
        let can_wait = ends_for_certain() && self.event().has_outcome_soon() && !is_filling();
        let wake = if can_wait { NO_WAKE } else { WAKE };
        let sent = EVENTS.output::<[u8]>(bytes, wake).is_ok();
        if !sent {
            count(EVENTS_LOST);
            self.note(Note::RecordLost, length);
        }
        sent
    }
}

/// Makes the verifier forget what it knows of a number: what comes out of a map can be anything. Else it follows every
/// way through a loop, or through one section after the other, with a value of its own, and never ends.
#[inline(always)]
pub fn forget(scratch: *mut Scratch, number: u32) -> u32 {
    // SAFETY: the scratch belongs to this program on this CPU.
    unsafe {
        let slot = &raw mut (*scratch).forgotten;
        slot.write_volatile(u64::from(number));
        slot.read_volatile() as u32
    }
}

/// How far a section's content goes.
#[derive(Clone, Copy)]
pub struct Written {
    pub end: u32,
    pub complete: bool,
}
