//! A syslog server for tests that takes messages with their length in front, over TCP or TLS.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

pub(crate) struct SyslogServer {
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    messages: Arc<Mutex<Vec<String>>>,
    running: Option<Running>,
}

struct Running {
    stopped: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    thread: JoinHandle<()>,
}

impl SyslogServer {
    pub(crate) fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { address, tls, messages: Arc::default(), running: None };
        server.run(listener);
        server
    }

    pub(crate) fn address(&self) -> String {
        let scheme = if self.tls.is_some() { "tls" } else { "tcp" };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
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
        self.run(TcpListener::bind(self.address).unwrap());
    }

    fn run(&mut self, listener: TcpListener) {
        let (stopped, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (tls, messages) = (self.tls.clone(), Arc::clone(&self.messages));
        let (their_stopped, their_connections) = (Arc::clone(&stopped), Arc::clone(&connections));
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if their_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                their_connections.lock().unwrap().push(connection.try_clone().unwrap());
                let (tls, messages) = (tls.clone(), Arc::clone(&messages));
                thread::spawn(move || {
                    // The other side may go at any time.
                    let _ = match tls {
                        Some(config) => {
                            let tls = rustls::ServerConnection::new(config).unwrap();
                            receive(rustls::StreamOwned::new(tls, connection), &messages)
                        }
                        None => receive(connection, &messages),
                    };
                });
            }
        });
        self.running = Some(Running { stopped, connections, thread });
    }
}

impl Drop for SyslogServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn receive(stream: impl Read, messages: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = Vec::new();
        if stream.read_until(b' ', &mut length)? == 0 {
            return Ok(());
        }
        let length: usize = String::from_utf8(length).unwrap().trim_end().parse().unwrap();
        let mut message = vec![0; length];
        stream.read_exact(&mut message)?;
        messages.lock().unwrap().push(String::from_utf8(message).unwrap());
    }
}
