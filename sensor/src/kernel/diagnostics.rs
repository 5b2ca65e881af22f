//! What the programs say about themselves (`diagnostics` in sensor-ebpf), as messages of the log.

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use rustix::param::page_size;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::KernelError;

/// Bytes for lines that wait to be read. What does not fit is not said.
const RING_BYTES: u32 = 1 << 16;

/// Lines from the programs.
pub struct Diagnostics(AsyncFd<EbpfLogger<&'static dyn log::Log>>);

/// Sets the level of the programs that are going to be loaded. To the verifier it is a constant.
pub(super) fn set_level(loader: &mut EbpfLoader<'_>, on: bool) {
    static OFF: u8 = 0;
    static ON: u8 = aya_log::Level::Debug as u8;
    loader
        .override_global(aya_log::LEVEL, if on { &ON } else { &OFF }, true)
        // The map is named in the programs, so it has to be there; a page is the smallest.
        .map_max_entries("AYA_LOGS", if on { RING_BYTES } else { page_size() as u32 });
}

/// By the log's level for these programs: `LDSENTRY_LOG=sensor_ebpf=debug` turns on nothing else.
pub(super) fn is_on() -> bool {
    tracing::enabled!(target: "sensor_ebpf", tracing::Level::DEBUG)
}

impl Diagnostics {
    /// Begins to read.
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let logger = EbpfLogger::init(ebpf)?;
        // SAFETY: the logger owns its descriptor, so it is open as long as it is registered.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .map_err(|error| KernelError::Wait(error.into()))?;
        Ok(Self(logger))
    }

    /// Waits for lines and logs them.
    pub async fn pass_on(&mut self) {
        if let Ok(mut ready) = self.0.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }

    /// Logs what is there.
    pub fn flush(&mut self) {
        self.0.get_mut().flush();
    }
}
