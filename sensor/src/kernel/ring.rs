//! The ring buffer's reading end.
//!
//! What is read stays in the ring until it is released: a daemon that is killed in between leaves it to the next one. The
//! layout is the kernel's (`kernel/bpf/ringbuf.c`): a page with the reader's position, one with the writer's, and the data
//! twice in a row, so that no record is torn apart at the end.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;
use sensor_common::record::Header;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use zerocopy::FromBytes as _;

use super::pins::Set;
use super::{KernelError, PinsError};

/// The map.
const MAP: &str = "EVENTS";
/// Of a record's length: it is being written.
const BUSY: u32 = 1 << 31;
/// Of a record's length: it is none.
const DISCARDED: u32 = 1 << 30;
/// Bytes in front of a record.
const HEAD: usize = 8;

/// Records, oldest first.
pub struct Ring {
    map: MapData,
    positions: Positions,
    /// What this process did before this position was for a test of its own.
    tested: usize,
}

/// A record, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'r> {
    /// Its bytes.
    pub bytes: &'r [u8],
    /// Where it is; those that come later are further on.
    pub position: usize,
}

impl Ring {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        #[expect(
            clippy::expect_used,
            reason = "the object is embedded, and every test of the lab would fail"
        )]
        let map = ebpf.take_map(MAP).expect("the embedded object has this map");
        Self::open(map)
    }

    /// The one that is pinned in a set, if it can be read.
    pub(super) fn of(set: &Set) -> Option<Self> {
        let map = MapData::from_pin(set.map(MAP)).ok()?;
        Self::open(Map::RingBuf(map)).ok()
    }

    fn open(map: Map) -> Result<Self, KernelError> {
        let Map::RingBuf(map) = map else { return Err(KernelError::NoRing) };
        let size = map.info().map_err(|source| KernelError::Map { doing: "open the ring buffer", source })?;
        let size = size.max_entries() as usize;
        let positions =
            Positions::open(map.fd().as_fd(), size).map_err(|error| KernelError::Wait(error.into()))?;
        Ok(Self { map, positions, tested: 0 })
    }

    /// The next record, if there is one.
    pub fn read(&mut self) -> Option<Record<'_>> {
        loop {
            let (position, length) = self.positions.next()?;
            let bytes = self.positions.bytes(position, length);
            // What was read for a test is read again for what others did meanwhile.
            let is_test = self.tested > position && process(bytes) == Some(std::process::id());
            if !is_test {
                // Borrowed anew: the borrow checker does not see that the loop ends here.
                return Some(Record { bytes: self.positions.bytes(position, length), position });
            }
        }
    }

    /// Gives the place of everything before `position` back to the kernel. What is given back already stays so.
    pub fn release(&mut self, position: usize) {
        if self.has(position) {
            self.positions.release(position);
        }
    }

    /// Where the next record will be that is read.
    pub fn position(&self) -> usize {
        self.positions.read
    }

    /// Whether what is at a position is still in the ring.
    pub fn has(&self, position: usize) -> bool {
        position.wrapping_sub(self.positions.released).cast_signed() >= 0
    }

    /// Bytes that were read and not released.
    pub fn held(&self) -> usize {
        self.positions.read.wrapping_sub(self.positions.released)
    }

    /// Bytes of records that it can hold.
    pub fn size(&self) -> usize {
        self.positions.size
    }

    /// Bytes of records that nobody has read.
    pub(super) fn unread(&self) -> usize {
        self.positions.producer.position().load(Ordering::Acquire).wrapping_sub(self.positions.released)
    }

    pub(super) fn pin(&self, set: &Set) -> Result<(), PinsError> {
        let path = set.map(MAP);
        self.map.pin(&path).map_err(|error| PinsError::Pin { path, reason: error.to_string() })
    }

    /// Reads again what was not released, without what this process did.
    pub(super) fn rewind(&mut self) {
        self.tested = self.positions.read;
        self.positions.read = self.positions.released;
    }

    /// A descriptor that becomes readable when there are records.
    pub fn descriptor(&self) -> Result<AsyncFd<OwnedFd>, KernelError> {
        let descriptor = self.map.fd().as_fd().try_clone_to_owned().map_err(KernelError::Wait)?;
        // SAFETY: the descriptor is owned, so it is open as long as it is registered.
        unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }
            .map_err(|error| KernelError::Wait(error.into()))
    }
}

/// The process that a record is about.
fn process(record: &[u8]) -> Option<u32> {
    Header::read_from_prefix(record).ok().map(|(header, _)| (header.pid_tgid >> 32) as u32)
}

/// The memory that is shared with the kernel, and how far it was read.
struct Positions {
    consumer: Mapping,
    producer: Mapping,
    size: usize,
    read: usize,
    released: usize,
}

impl Positions {
    fn open(map: BorrowedFd<'_>, size: usize) -> rustix::io::Result<Self> {
        let page = page_size();
        let consumer = Mapping::new(map, 0, page, ProtFlags::READ | ProtFlags::WRITE)?;
        let producer = Mapping::new(map, page, page + 2 * size, ProtFlags::READ)?;
        let mut positions = Self { consumer, producer, size, read: 0, released: 0 };
        positions.released = positions.consumer.position().load(Ordering::Acquire);
        positions.read = positions.released;
        Ok(positions)
    }

    /// Where the next record is and its length.
    fn next(&mut self) -> Option<(usize, usize)> {
        loop {
            let position = self.read;
            // The kernel's stores to a record come before that to its length, and that to the position comes first of all.
            if position == self.producer.position().load(Ordering::Acquire) {
                return None;
            }
            let word = self.producer.word(page_size() + (position & (self.size - 1))).load(Ordering::Acquire);
            if word & BUSY != 0 {
                return None;
            }
            // Longer than the ring it cannot be, whatever stands there.
            let length = (word & !DISCARDED) as usize & (self.size - 1);
            self.read = position.wrapping_add((HEAD + length).next_multiple_of(8));
            if word & DISCARDED == 0 {
                return Some((position, length));
            }
        }
    }

    fn bytes(&self, position: usize, length: usize) -> &[u8] {
        self.producer.bytes(page_size() + (position & (self.size - 1)) + HEAD, length)
    }

    fn release(&mut self, position: usize) {
        self.released = position;
        // The kernel writes over it from now on: all reads come before.
        self.consumer.position().store(position, Ordering::Release);
    }
}

/// Memory of a map.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: nothing about it belongs to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(map: BorrowedFd<'_>, offset: usize, length: usize, access: ProtFlags) -> rustix::io::Result<Self> {
        // SAFETY: a new mapping, wherever there is room.
        let start = unsafe { mmap(null_mut(), length, access, MapFlags::SHARED, map, offset as u64)? };
        let start = NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Self { start, length })
    }

    /// The position that it begins with.
    fn position(&self) -> &AtomicUsize {
        // SAFETY: a mapping begins at a page, is as long as one, and lives as long as this does; the kernel too stores the
        // position as a whole.
        unsafe { self.start.cast().as_ref() }
    }

    /// The word at a multiple of eight.
    fn word(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(8) && at + 4 <= self.length, "{at} is no place of a record");
        // SAFETY: within the mapping and aligned; the kernel too stores it as a whole.
        unsafe { self.start.add(at).cast().as_ref() }
    }

    fn bytes(&self, at: usize, length: usize) -> &[u8] {
        assert!(at + length <= self.length, "{length} bytes at {at} are not within the ring");
        // SAFETY: within the mapping. The kernel does not touch a record between its end and its release, which takes the
        // ring mutably.
        unsafe { std::slice::from_raw_parts(self.start.add(at).as_ptr(), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made here, and nothing borrows from it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}
