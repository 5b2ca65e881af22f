//! How messages travel: datagrams, and streams in which each has its length in front (RFC 5425, RFC 6587).

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::config::SyslogAddress;

/// How often a connection is asked whether the other side has everything.
const CONFIRM_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// An open way to a server.
pub(super) enum Connection {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp(_) => "Udp",
            Self::Unix(_) => "Unix",
            Self::Tcp(_) => "Tcp",
            Self::Tls(_) => "Tls",
        })
    }
}

impl Connection {
    pub(super) fn open(
        address: &SyslogAddress,
        tls: Option<&Arc<ClientConfig>>,
        timeout: Duration,
    ) -> io::Result<Self> {
        match address {
            SyslogAddress::Udp(host) => {
                let server = resolve(host)?;
                let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.connect(server)?;
                Ok(Self::Udp(socket))
            }
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(timeout))?;
                Ok(Self::Unix(socket))
            }
            SyslogAddress::Tcp(host) => Ok(Self::Tcp(connect(host, timeout)?)),
            SyslogAddress::Tls(host) => {
                let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
                let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(name).map_err(io::Error::other)?;
                let Some(config) = tls else { return Err(io::Error::other("there is no TLS configuration")) };
                let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                let mut socket = connect(host, timeout)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Ok(Self::Tls(Box::new(StreamOwned::new(tls, socket))))
            }
        }
    }

    /// Sends messages. Over a stream, the other side's kernel has them when it returns; nobody says more.
    pub(super) fn send(&mut self, messages: &[String], timeout: Duration) -> io::Result<()> {
        match self {
            Self::Udp(socket) => messages.iter().try_for_each(|text| socket.send(text.as_bytes()).map(drop)),
            Self::Unix(socket) => messages.iter().try_for_each(|text| socket.send(text.as_bytes()).map(drop)),
            Self::Tcp(stream) => {
                refuse_closed(stream)?;
                stream.write_all(&framed(messages))?;
                confirm(stream, timeout)
            }
            Self::Tls(stream) => {
                let StreamOwned { conn, sock } = stream.as_mut();
                refuse_closed_tls(conn, sock)?;
                stream.write_all(&framed(messages))?;
                stream.flush()?;
                confirm(&stream.sock, timeout)
            }
        }
    }
}

fn framed(messages: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
    }
    bytes
}

fn resolve(host: &str) -> io::Result<SocketAddr> {
    host.to_socket_addrs()?.next().ok_or_else(|| ErrorKind::NotFound.into())
}

/// Connects to the first address that answers.
fn connect(host: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = None;
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| ErrorKind::NotFound.into()))
}

/// A server that went away while nothing was sent has closed: what is written then would be lost without an error.
fn refuse_closed(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let found = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match found {
        Ok(0) => Err(ErrorKind::ConnectionAborted.into()),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

fn refuse_closed_tls(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let result = loop {
        match tls.read_tls(stream) {
            Ok(0) => break Err(ErrorKind::ConnectionAborted.into()),
            Ok(_) => match tls.process_new_packets() {
                Ok(state) if state.peer_has_closed() => break Err(ErrorKind::ConnectionAborted.into()),
                // A syslog server has nothing to say; what it says all the same must not pile up.
                Ok(_) => while tls.reader().read(&mut [0; 512]).is_ok_and(|read| read > 0) {},
                Err(error) => break Err(io::Error::new(ErrorKind::InvalidData, error)),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    stream.set_nonblocking(false)?;
    result
}

/// Waits until the other side's kernel has acknowledged everything.
fn confirm(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    let deadline = Instant::now() + timeout;
    while unacknowledged(stream)? > 0 {
        if Instant::now() >= deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        // Returns early if the connection breaks.
        let mut ends = [PollFd::new(stream, PollFlags::empty())];
        poll(&mut ends, Some(&CONFIRM_INTERVAL))?;
        if ends[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return Err(stream.take_error()?.unwrap_or_else(|| ErrorKind::ConnectionReset.into()));
        }
    }
    stream.take_error()?.map_or(Ok(()), Err)
}

fn unacknowledged(stream: &TcpStream) -> io::Result<i32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as the stream is borrowed, and TIOCOUTQ (SIOCOUTQ) writes one int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}
