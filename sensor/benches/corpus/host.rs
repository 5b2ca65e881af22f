//! A host, always the same.

use sensor::event::Host;

/// What is told about it.
pub fn host() -> Host {
    Host {
        id: "18a77774a51b4024813da8493f10c056".to_owned(),
        boot_id: "7d3a8f0e-2f0e-4b5c-9e55-0a6f9d2f1c11".to_owned(),
        hostname: "web-01".to_owned(),
        architecture: "x86_64".to_owned(),
        kernel: "6.12.0-1-amd64 #1 SMP PREEMPT_DYNAMIC Debian".to_owned(),
        os_platform: Some("debian".to_owned()),
        os_family: Some("debian".to_owned()),
        os_name: Some("Debian GNU/Linux".to_owned()),
        os_version: Some("12".to_owned()),
        os_full: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
    }
}
