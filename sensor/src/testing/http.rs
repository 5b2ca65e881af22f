//! An HTTP/1.1 server for tests, which can misbehave in all the ways in which servers do.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// With names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Status, content type, body.
    Reply(u16, &'static str, String),
    /// The first half of a reply, and then the connection is closed.
    Cut(String),
    /// Nothing, for as long as the client waits.
    Hang,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Reply(status, "application/json", body.to_string())
    }
}

type Handler = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

/// Listens on the loopback until it is dropped, and can be stopped and started again on the same port.
pub(crate) struct HttpServer {
    address: SocketAddr,
    handler: Handler,
    tls: Option<Arc<rustls::ServerConfig>>,
    running: Option<Running>,
}

struct Running {
    stopped: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    thread: JoinHandle<()>,
}

impl HttpServer {
    pub(crate) fn start(handler: impl Fn(Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(handler, None)
    }

    pub(crate) fn start_with(
        handler: impl Fn(Request) -> Answer + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { address, handler: Arc::new(handler), tls, running: None };
        server.run(listener);
        server
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    /// Closes the port and all connections.
    pub(crate) fn stop(&mut self) {
        let Some(Running { stopped, connections, thread }) = self.running.take() else { return };
        stopped.store(true, Ordering::SeqCst);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
        thread.join().unwrap();
        for connection in connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        // std sets SO_REUSEADDR.
        let listener = TcpListener::bind(self.address).unwrap();
        self.run(listener);
    }

    fn run(&mut self, listener: TcpListener) {
        let stopped = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (handler, tls) = (Arc::clone(&self.handler), self.tls.clone());
        let (their_stopped, their_connections) = (Arc::clone(&stopped), Arc::clone(&connections));
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if their_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                their_connections.lock().unwrap().push(connection.try_clone().unwrap());
                let (handler, tls) = (Arc::clone(&handler), tls.clone());
                thread::spawn(move || {
                    // The other side may go at any time.
                    let _ = match tls {
                        Some(config) => rustls::ServerConnection::new(config)
                            .map_err(io::Error::other)
                            .and_then(|tls| serve(rustls::StreamOwned::new(tls, &connection), &handler)),
                        None if speaks_tls(&connection) => {
                            (&connection).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                        }
                        None => serve(&connection, &handler),
                    };
                    let _ = connection.shutdown(Shutdown::Both);
                });
            }
        });
        self.running = Some(Running { stopped, connections, thread });
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether a handshake begins.
fn speaks_tls(connection: &TcpStream) -> bool {
    let mut first = [0];
    connection.peek(&mut first).is_ok() && first == [0x16]
}

fn serve(stream: impl Read + Write, handler: &Handler) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream)? {
        let reply = |status, kind: &str, body: &str| {
            format!(
                "HTTP/1.1 {status} Status\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        match handler(request) {
            Answer::Reply(status, kind, body) => {
                stream.get_mut().write_all(reply(status, kind, &body).as_bytes())?;
                stream.get_mut().flush()?;
            }
            Answer::Cut(body) => {
                let reply = reply(200, "application/json", &body);
                stream.get_mut().write_all(&reply.as_bytes()[..reply.len() - body.len() / 2 - 1])?;
                stream.get_mut().flush()?;
                return Ok(());
            }
            Answer::Hang => {
                io::copy(&mut stream, &mut io::sink())?;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read_request(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body }))
}
