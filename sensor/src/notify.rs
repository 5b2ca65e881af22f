//! Tells the service manager how the daemon is doing, as `sd_notify(3)` describes it. Without one, it says nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon watches the host.
pub fn ready() {
    send(&NotifyState::Ready);
}

/// The daemon has begun to read its configuration anew; [`ready`] says that it has, or has kept the old one.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // In one message: that is what `Type=notify-reload` waits for.
        Ok(now) => send_all(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("cannot read the monotonic clock for the service manager: {error}"),
    }
}

/// A line for `systemctl status`.
pub fn status(line: &str) {
    // A line end would begin another message.
    send(&NotifyState::Status(&line.replace('\n', " ")));
}

/// The daemon has begun to end.
pub fn stopping() {
    send(&NotifyState::Stopping);
}

/// The daemon works. Said more often than [`watchdog_interval`], if there is one.
pub fn watchdog() {
    if watchdog_interval().is_some() {
        send(&NotifyState::Watchdog);
    }
}

/// How often the service manager wants to hear that the daemon works, with time to spare.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 3)
}

fn send(state: &NotifyState<'_>) {
    send_all(std::slice::from_ref(state));
}

fn send_all(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify the service manager: {error}; check NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    /// What a daemon says in its life. The variable that leads to the service manager is the process's own.
    #[test]
    #[ignore = "run by the test below"]
    fn a_daemon() {
        ready();
        status("watching\nREADY=0");
        watchdog();
        reloading();
        stopping();
    }

    #[test]
    fn a_service_manager_hears_of_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let status = crate::testing::rerun("notify::tests::a_daemon")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "3000000")
            .status()
            .unwrap();
        assert!(status.success());
        let receive = || {
            let mut message = [0; 100];
            let length = socket.recv(&mut message).unwrap();
            String::from_utf8_lossy(&message[..length]).into_owned()
        };
        for expected in ["READY=1\n", "STATUS=watching READY=0\n", "WATCHDOG=1\n"] {
            assert_eq!(receive(), expected);
        }
        let reloading = receive();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
        assert!(time.trim_end().parse::<u64>().is_ok_and(|time| time > 0), "{reloading}");
        assert_eq!(receive(), "STOPPING=1\n");
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        let status =
            crate::testing::rerun("notify::tests::a_daemon").env_remove("NOTIFY_SOCKET").status().unwrap();
        assert!(status.success());
    }
}
