//! Syslog: framing, transports, and what goes wrong with them. Against a real rsyslog: tests/tests/servers.rs.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::config::Settings;
use crate::sink::network::Outcome;
use crate::testing::certificates::Certificates;
use crate::testing::syslog::SyslogServer;

pub(super) struct SyslogRig {
    server: SyslogServer,
    received: usize,
}

impl SyslogRig {
    pub(super) fn new() -> Self {
        Self { server: SyslogServer::start(None), received: 0 }
    }
}

impl Rig for SyslogRig {
    fn sinks(&self) -> Sinks {
        let sink: Box<dyn NetworkSink> = Box::new(sink(&self.server.address(), ""));
        sink.into()
    }

    fn name(&self) -> &'static str {
        "syslog"
    }

    fn receive(&mut self) -> usize {
        self.received += 1;
        wait_for(&true, || self.server.messages().len() >= self.received);
        number_in(&self.server.messages()[self.received - 1])
    }

    fn obstruct(&mut self) {
        self.server.stop();
    }
}

fn sink(address: &str, more: &str) -> Syslog {
    let text = format!("[output.syslog]\naddress = '{address}'\nmessage = 'json'\n{more}\n");
    Syslog::new(&Settings::parse(Path::new("/etc/ldsentry.toml"), text).unwrap().output.syslog.unwrap())
}

/// The alert that a message with the whole document is about.
fn number_in(message: &str) -> usize {
    assert!(message.starts_with("<84>1 "), "{message}");
    id_of(message.split_once('\u{feff}').unwrap().1)
}

fn batch(numbers: std::ops::Range<usize>) -> Vec<Arc<spool::Spooled>> {
    numbers.map(|number| spooled(&alert(number))).collect()
}

#[test]
fn datagrams_hold_a_message_each() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sink_to_udp = sink(&format!("udp://{}", udp.local_addr().unwrap()), "");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let unix = UnixDatagram::bind(&path).unwrap();
    let mut sink_to_unix = sink(&format!("unix://{}", path.display()), "");
    assert_eq!(sink_to_udp.deliver(&batch(0..3)).unwrap(), vec![Outcome::Delivered; 3]);
    assert_eq!(sink_to_unix.deliver(&batch(0..3)).unwrap(), vec![Outcome::Delivered; 3]);
    for number in 0..3 {
        let mut buffer = [0; 4096];
        let length = udp.recv(&mut buffer).unwrap();
        assert_eq!(number_in(std::str::from_utf8(&buffer[..length]).unwrap()), number);
        let length = unix.recv(&mut buffer).unwrap();
        assert_eq!(number_in(std::str::from_utf8(&buffer[..length]).unwrap()), number);
    }
    // The log daemon was restarted.
    drop(unix);
    fs::remove_file(&path).unwrap();
    sink_to_unix.deliver(&batch(3..4)).unwrap_err();
    let unix = UnixDatagram::bind(&path).unwrap();
    sink_to_unix.deliver(&batch(3..4)).unwrap();
    let mut buffer = [0; 4096];
    let length = unix.recv(&mut buffer).unwrap();
    assert_eq!(number_in(std::str::from_utf8(&buffer[..length]).unwrap()), 3);
}

#[test]
fn what_is_too_long_for_a_datagram_holds_nothing_up() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sink = sink(&format!("udp://{}", udp.local_addr().unwrap()), "");
    let alerts = [alert(0), large_alert(1, 70_000), alert(2)].map(|alert| spooled(&alert));
    let outcomes = sink.deliver(&alerts).unwrap();
    assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Delivered, &Outcome::Delivered));
    assert!(matches!(&outcomes[1], Outcome::Rejected(reason) if reason.contains("use tcp:// or tls://")));
}

#[test]
fn a_server_that_was_restarted_gets_what_it_missed() {
    let mut server = SyslogServer::start(None);
    let mut sink = sink(&server.address(), "");
    sink.deliver(&batch(0..1)).unwrap();
    wait_for(&1, || server.messages().len());
    server.restart();
    // The kernel would still take what is written to the old connection.
    while sink.deliver(&batch(1..2)).is_err() {}
    wait_for(&vec![0, 1], || server.messages().iter().map(|message| number_in(message)).collect());
}

#[test]
fn tls_shows_a_certificate_and_wants_to_see_one() {
    let certificates = Certificates::make();
    let mut server = SyslogServer::start(Some(certificates.server(true)));
    let tls = ["ca_file = 'ca.pem'", "certificate_file = 'client.pem'", "key_file = 'client.key'"]
        .map(|line| line.replace("= '", &format!("= '{}/", certificates.path("").display())));
    let section = |lines: &[String]| format!("[output.syslog.tls]\n{}", lines.join("\n"));
    let mut good = sink(&server.address(), &section(&tls));
    for number in 0..3 {
        good.deliver(&batch(number..number + 1)).unwrap();
        wait_for(&(number + 1), || server.messages().len());
    }
    server.restart();
    while good.deliver(&batch(3..4)).is_err() {}
    wait_for(&4, || server.messages().len());
    let failure = sink(&server.address(), "").deliver(&batch(4..5)).unwrap_err().to_string();
    assert!(failure.contains("UnknownIssuer") && failure.contains("`ca_file`"), "{failure}");
    let other_name = server.address().replace("localhost", "127.0.0.1");
    let failure = sink(&other_name, &section(&tls)).deliver(&batch(4..5)).unwrap_err().to_string();
    assert!(failure.contains("certificate not valid for name \"127.0.0.1\""), "{failure}");
}

#[test]
fn failures_name_cause_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let failure = |address: &str| {
        let failure = sink(address, "timeout = '1s'").deliver(&batch(0..1)).unwrap_err().to_string();
        failure.replace(directory.path().to_str().unwrap(), "DIR")
    };
    let mut server = SyslogServer::start(None);
    let address = server.address();
    let port = address.rsplit(':').next().unwrap().to_owned();
    server.stop();
    let messages = [
        failure(&address).replace(&port, "PORT"),
        failure("tcp://no-such-host.invalid:514"),
        failure(&format!("unix://{}/log", directory.path().display())),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}
