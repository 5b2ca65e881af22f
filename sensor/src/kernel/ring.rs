//! The ring buffer's reading end.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::KernelError;

/// Records, oldest first.
pub struct Ring {
    ring: RingBuf<MapData>,
    /// What was read while the programs were tested and belongs to others.
    waiting: VecDeque<Bytes>,
}

impl Ring {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let source = |source| KernelError::Map { doing: "open the ring buffer", source };
        #[expect(
            clippy::expect_used,
            reason = "the object is embedded, and every test of the lab would fail"
        )]
        let map = ebpf.take_map("EVENTS").expect("the embedded object has this map");
        Ok(Self { ring: RingBuf::try_from(map).map_err(source)?, waiting: VecDeque::new() })
    }

    /// Puts records back in front.
    pub(super) fn put_back(&mut self, records: Vec<Bytes>) {
        self.waiting = records.into_iter().chain(self.waiting.drain(..)).collect();
    }

    /// Hands the next record to `take`, if there is one. Its place in the ring is free again when `take` returns.
    pub fn next<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if let Some(record) = self.waiting.pop_front() {
            return Some(take(&record));
        }
        self.ring.next().map(|record| take(&record))
    }

    /// Waits for a record for at most a time.
    pub(super) fn wait(&self, milliseconds: i32) -> bool {
        if !self.waiting.is_empty() {
            return true;
        }
        let mut poll = libc::pollfd { fd: self.ring.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid structure.
        unsafe { libc::poll(&raw mut poll, 1, milliseconds) > 0 }
    }

    /// A descriptor that becomes readable when there are records.
    pub fn descriptor(&self) -> Result<AsyncFd<OwnedFd>, KernelError> {
        let descriptor = self.ring.as_fd().try_clone_to_owned().map_err(KernelError::Wait)?;
        // SAFETY: the descriptor is owned, so it is open as long as it is registered.
        unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }
            .map_err(|error| KernelError::Wait(error.into()))
    }
}
