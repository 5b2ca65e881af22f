//! Syslog as in RFC 5424, over UDP, TCP, TLS or a Unix socket.

mod message;
mod transport;

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;

use self::transport::Connection;
use super::http::{TLS_REMEDY, of_tls};
use super::secret::Watched;
use super::tls::Certificates;
use super::{NetworkSink, Outcome};
use crate::config::{SyslogAddress, SyslogOptions};
use crate::sink::Failure;
use crate::sink::spool::{BatchLimits, Spooled};

/// What is sent again if a connection breaks: a syslog server cannot tell that it has seen a message.
const LIMITS: BatchLimits = BatchLimits { count: 20, bytes: 1 << 20 };

#[derive(Debug)]
pub(in crate::sink) struct Syslog {
    options: SyslogOptions,
    tls: Watched<Arc<ClientConfig>>,
    connection: Option<Connection>,
}

impl Syslog {
    pub(in crate::sink) fn new(options: &SyslogOptions) -> Self {
        let files = options.tls.files().map(ToOwned::to_owned);
        Self { tls: Watched::new(files), options: options.clone(), connection: None }
    }

    fn send(&mut self, messages: &[String]) -> Result<(), Failure> {
        let Self { options, tls, connection } = self;
        let (address, timeout) = (&options.address, options.timeout.get());
        let mut open = if let Some(open) = connection.take() {
            open
        } else {
            let tls = match address {
                SyslogAddress::Tls(_) => Some(&*tls.get(|| Certificates::load(&options.tls)?.for_rustls())?),
                _ => None,
            };
            Connection::open(address, tls, timeout).map_err(|error| failure(address, error))?
        };
        // After an error the connection is given up.
        open.send(messages, timeout).map_err(|error| failure(address, error))?;
        *connection = Some(open);
        Ok(())
    }
}

impl NetworkSink for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn limits(&self) -> BatchLimits {
        LIMITS
    }

    fn open(&mut self) -> Result<(), Failure> {
        if let SyslogAddress::Tls(_) = self.options.address {
            self.tls.get(|| Certificates::load(&self.options.tls)?.for_rustls())?;
        }
        Ok(())
    }

    fn deliver(&mut self, alerts: &[Arc<Spooled>]) -> Result<Vec<Outcome>, Failure> {
        let SyslogOptions { facility, message, .. } = self.options;
        let messages: Vec<_> =
            alerts.iter().map(|alert| message::format(&alert.line, facility, message)).collect();
        match (self.send(&messages), messages.as_slice()) {
            (Ok(()), _) => Ok(vec![Outcome::Delivered; alerts.len()]),
            (Err(failure), [_]) if is_too_long(&failure) => Ok(vec![Outcome::Rejected(failure.to_string())]),
            (Err(failure), _) if is_too_long(&failure) => {
                let one_by_one = alerts.iter().map(|alert| self.deliver(std::slice::from_ref(alert)));
                one_by_one.collect::<Result<Vec<_>, _>>().map(|outcomes| outcomes.concat())
            }
            (Err(failure), _) => Err(failure),
        }
    }
}

/// Whether a message does not fit into a datagram, now or ever.
fn is_too_long(failure: &Failure) -> bool {
    let error = failure.source.downcast_ref::<io::Error>();
    error.and_then(io::Error::raw_os_error) == Some(libc::EMSGSIZE)
}

fn failure(address: &SyslogAddress, source: io::Error) -> Failure {
    let remedy = match source.kind() {
        _ if of_tls(&source) => TLS_REMEDY,
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            "start the syslog server, or correct output.syslog.address"
        }
        io::ErrorKind::PermissionDenied => "let the user that runs ldsentry write to the socket",
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            "see whether the syslog server works and can be reached; or raise `timeout`"
        }
        _ if source.raw_os_error() == Some(libc::EMSGSIZE) => {
            "the message is too long for a datagram: use tcp:// or tls://, or `message = \"reason\"`"
        }
        _ => "see whether the syslog server works and can be reached",
    };
    Failure {
        attempt: format!("cannot send to the syslog server {address}"),
        source: source.into(),
        remedy: remedy.to_owned(),
    }
}
