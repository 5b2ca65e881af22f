//! The port to the host: frames out, and the knowledge that the host is still there.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use xtask::lab::{Frame, Kind};

use crate::system;

const NAME: &str = "ldsentry.lab";
const HOST_LIMIT: Duration = Duration::from_mins(1);

/// The port to the host. Threads share it; a frame goes out whole.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    device: Arc<Mutex<fs::File>>,
    scenario: Arc<AtomicUsize>,
}

impl Port {
    /// Finds the port among the virtual machine's.
    pub(crate) fn open() -> Result<Self> {
        let ports = fs::read_dir("/sys/class/virtio-ports").context("looking for virtio ports")?;
        let mut devices = ports.filter_map(|port| Some(port.ok()?.path()));
        let device = devices
            .find(|port| fs::read_to_string(port.join("name")).is_ok_and(|name| name.trim() == NAME))
            .with_context(|| format!("there is no port {NAME}"))?;
        let path = Path::new("/dev").join(device.file_name().unwrap_or_default());
        let file = fs::File::options().read(true).write(true).open(&path)?;
        end_with_host(file.try_clone()?);
        Ok(Self { device: Arc::new(Mutex::new(file)), scenario: Arc::default() })
    }

    /// From here on, frames are about this scenario.
    pub(crate) fn set_scenario(&self, number: usize) {
        self.scenario.store(number, Ordering::SeqCst);
    }

    /// Sends a frame, or several if the bytes are many. A host that is gone ends the guest anyway.
    pub(crate) fn send(&self, kind: Kind, payload: &[u8]) {
        let scenario = self.scenario.load(Ordering::SeqCst);
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunks = payload.chunks(Frame::MAX_PAYLOAD);
        let mut next = Some(chunks.next().unwrap_or_default());
        while let Some(chunk) = next {
            if let Err(error) = (Frame { kind, scenario, payload: chunk.to_vec() }).write_to(&mut *device) {
                system::complain(&format!("cannot write to the host: {error}"));
            }
            next = chunks.next();
        }
    }
}

/// Waits for the host to have read everything: it ends the guest when it has. What is written may still be in the
/// port's buffers, and would be lost with a guest that ends by itself.
pub(crate) fn wait_for_host() {
    std::thread::sleep(HOST_LIMIT);
}

/// The host never writes; when it closes its end, nobody is left to serve.
fn end_with_host(mut device: fs::File) {
    std::thread::spawn(move || {
        let mut byte = [0];
        while device.read(&mut byte).is_ok_and(|count| count > 0) {}
        system::power_off();
    });
}
