//! The daemon's messages about itself, on standard error.
//!
//! Lines go through a bounded queue to a thread of their own: a standard error that nobody reads must not stop
//! the pipeline. What it does not take is counted.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Level, LogFormat, LogOptions};
use crate::metrics::{Counter, Handle, Metrics};
use crate::queue::Queue;
use crate::sandbox;

/// Overrides the configured level, in the syntax of tracing's `Targets`: `debug`, `info,sensor::kernel=trace`.
pub const VARIABLE: &str = "LDSENTRY_LOG";

const WAITING_LINES: usize = 1024;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The environment variable cannot be understood.
    #[error(
        "cannot read the log level from {VARIABLE}={value}: {error}; set it to error, warn, info, debug or trace"
    )]
    Level {
        /// What it is set to.
        value: String,
        /// What is wrong with it.
        error: tracing_subscriber::filter::ParseError,
    },
    /// The system gave no thread.
    #[error("cannot start the thread of the log: {0}; raise the limit on tasks (`ulimit -u`, TasksMax=)")]
    Thread(io::Error),
    /// Somebody else logs already.
    #[error("cannot start the log: {0}")]
    Set(tracing_subscriber::util::TryInitError),
}

/// What is shown at a level. The eBPF loader has a message for each relocation of each program: at `debug`, hundreds that
/// only [`VARIABLE`] brings up.
fn targets(level: Level) -> Targets {
    let shown = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let quieter =
        ["aya", "aya_obj", "rustls", "ureq", "ureq_proto"].map(|name| (name, shown.min(LevelFilter::INFO)));
    Targets::new().with_default(shown).with_targets(quieter)
}

/// The log while it runs. When it goes, it waits a moment for the last lines to be written.
#[derive(Debug)]
#[must_use = "the log ends with it"]
pub struct Log {
    lines: Lines,
}

impl Log {
    /// Starts logging as `options` say, or [`VARIABLE`].
    ///
    /// `confined` is whether its thread, which is older than the sandbox, is to have no privileges either.
    pub fn start(options: &LogOptions, confined: bool, metrics: &Metrics) -> Result<Self, LogError> {
        let shown: Targets = match std::env::var(VARIABLE) {
            Ok(value) if !value.is_empty() => {
                value.parse().map_err(|error| LogError::Level { value, error })?
            }
            _ => targets(options.level),
        };
        let lines = Lines::start(io::stderr(), confined, metrics).map_err(LogError::Thread)?;
        let color =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines_out = fmt::layer().with_writer(lines.clone()).with_ansi(color);
        let layer = match options.format {
            LogFormat::Text => lines_out.with_target(false).boxed(),
            LogFormat::Json => lines_out.json().flatten_event(true).boxed(),
        };
        Registry::default().with(layer).with(shown).try_init().map_err(LogError::Set)?;
        Ok(Self { lines })
    }

    /// Writes a line as it is, in order with the messages.
    pub fn print(&self, line: &str) {
        self.lines.push(format!("{line}\n").into_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.finish(Duration::from_secs(1));
    }
}

/// Sends whole lines to the thread that writes them.
#[derive(Debug, Clone)]
struct Lines {
    queue: Arc<Queue<Vec<u8>>>,
    lost: Handle,
}

impl Lines {
    fn start(mut output: impl Write + Send + 'static, confined: bool, metrics: &Metrics) -> io::Result<Self> {
        let queue = Arc::new(Queue::<Vec<u8>>::new(WAITING_LINES));
        let lost = metrics.counter(Counter::LogLinesLost).clone();
        let lines = Self { queue: Arc::clone(&queue), lost: lost.clone() };
        let begun = Arc::new(Barrier::new(2));
        let begins = Arc::clone(&begun);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            if confined {
                sandbox::confine_helper();
            }
            begins.wait();
            while let Some(line) = queue.next() {
                let written = output.write_all(&line).is_ok();
                queue.complete(|| lost.add(u64::from(!written)));
            }
        })?;
        // Later it could not give up anything any more.
        begun.wait();
        Ok(lines)
    }

    fn push(&self, line: Vec<u8>) {
        if self.queue.try_push(line).is_err() {
            self.lost.increment();
        }
    }

    fn finish(&self, patience: Duration) {
        self.queue.close();
        self.queue.wait_until_done(Instant::now() + patience);
        self.queue.discard(|lost| self.lost.add(lost));
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// `tracing` hands over each message in one call.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    #[test]
    fn messages_arrive_in_order_before_the_end() {
        let metrics = Metrics::default();
        let (reader, writer) = io::pipe().unwrap();
        let lines = Lines::start(writer, false, &metrics).unwrap();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(lines.clone())
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, || tracing::error!(output = "file", "no\nspace"));
        lines.push(b"{\"counters\":{}}\n".to_vec());
        lines.finish(Duration::from_mins(1));
        let mut received = BufReader::new(reader).lines().map_while(Result::ok);
        let message: serde_json::Value = serde_json::from_str(&received.next().unwrap()).unwrap();
        assert_eq!(
            (&message["level"], &message["output"], &message["message"]),
            (&"ERROR".into(), &"file".into(), &"no\nspace".into())
        );
        assert_eq!(received.next().as_deref(), Some("{\"counters\":{}}"));
        assert_eq!(metrics.counter(Counter::LogLinesLost).get(), 0);
    }

    #[test]
    fn a_reader_that_does_not_read_stops_nobody_and_is_counted() {
        let metrics = Metrics::default();
        let (reader, writer) = io::pipe().unwrap();
        let lines = Lines::start(writer, false, &metrics).unwrap();
        // More than a pipe (64 KiB) and the queue hold.
        let count = 10 * WAITING_LINES as u64;
        for _ in 0..count {
            lines.push(vec![b'x'; 1000]);
        }
        lines.finish(Duration::ZERO);
        let lost = metrics.counter(Counter::LogLinesLost).get();
        assert!(lost >= count - WAITING_LINES as u64 && lost <= count, "{lost} of {count}");
        drop(reader);
    }
}
