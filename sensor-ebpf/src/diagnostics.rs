//! What the programs say about themselves, for whoever looks for a fault in them. Only where something does not go as it
//! should, and only at log level `debug`: the daemon sets the level before loading, and at a lower one the verifier
//! takes the code out.
//!
//! Where it is found out, the stack is full: it is noted in the scratch, and said when the record is done.

use aya_log_ebpf::debug;

use crate::record::Record;

/// What there can be to say about an event, with a number that is not 0.
#[derive(Clone, Copy)]
pub enum Note {
    /// A path ended before a root, after this many bytes. So does that of a memfd.
    PathIncomplete,
    /// A file system has more mounts than are looked at.
    MountsLeftOut,
    /// The ring had no room for a record of this many bytes.
    RecordLost,
    /// There is no room for what an operation's end is told by.
    OperationUntracked,
}

impl Note {
    pub const COUNT: usize = 4;
}

/// Says what was noted. Last in a program, when nothing else is on the stack: putting a line together takes half of it.
#[inline(always)]
pub fn tell(slot: u32) {
    let Some(record) = Record::new(slot) else { return };
    say(Note::PathIncomplete, record.noted(Note::PathIncomplete));
    say(Note::MountsLeftOut, record.noted(Note::MountsLeftOut));
    say(Note::RecordLost, record.noted(Note::RecordLost));
    say(Note::OperationUntracked, record.noted(Note::OperationUntracked));
}

#[inline(always)]
fn say(note: Note, number: u32) {
    if number == 0 {
        return;
    }
    match note {
        Note::PathIncomplete => path_incomplete(number),
        Note::MountsLeftOut => mounts_left_out(number),
        Note::RecordLost => record_lost(number),
        Note::OperationUntracked => operation_untracked(number),
    };
}

// Global functions with plain numbers (see `path::walk`): verified once, and what a line is put together in weighs on
// nobody else.

#[unsafe(no_mangle)]
extern "C" fn path_incomplete(bytes: u32) -> u32 {
    debug!(&(), "a path has no root after {} bytes", bytes);
    0
}

#[unsafe(no_mangle)]
extern "C" fn mounts_left_out(kind: u32) -> u32 {
    debug!(&(), "there are more mounts of a file system than are noted in an event of kind {}", kind);
    0
}

#[unsafe(no_mangle)]
extern "C" fn record_lost(bytes: u32) -> u32 {
    debug!(&(), "the ring has no room for a record of {} bytes", bytes);
    0
}

#[unsafe(no_mangle)]
extern "C" fn operation_untracked(kind: u32) -> u32 {
    debug!(&(), "too many operations are under way to follow one of kind {}", kind);
    0
}
