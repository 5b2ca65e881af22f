//! What the programs say about themselves, for whoever looks for a fault in them. Only where something does not go as it
//! should, and only at log level `debug`: the daemon sets the level before loading, and at a lower one the verifier
//! takes the code out.
//!
//! Global functions with plain numbers (see `path::walk`), so that what a line is put together in weighs on nobody else.

use aya_log_ebpf::debug;

/// A path ended before a root. So does that of a memfd.
#[unsafe(no_mangle)]
pub extern "C" fn path_incomplete(bytes: u32) -> u32 {
    debug!(&(), "a path has no root after {} bytes", bytes);
    0
}

/// A file system has more mounts than are looked at.
#[unsafe(no_mangle)]
pub extern "C" fn mounts_left_out(noted: u32) -> u32 {
    debug!(&(), "there are more mounts of a file system than the {} that are noted", noted);
    0
}

/// The ring is full.
#[unsafe(no_mangle)]
pub extern "C" fn record_lost(bytes: u32) -> u32 {
    debug!(&(), "the ring has no room for a record of {} bytes", bytes);
    0
}

/// There is no room for what an operation's end is told by.
#[unsafe(no_mangle)]
pub extern "C" fn operation_untracked(kind: u32) -> u32 {
    debug!(&(), "too many operations are under way to follow one of kind {}", kind);
    0
}
