//! Standard output: for people on a terminal, NDJSON for pipes and files.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{Failure, Record, Sink, SinkError};
use crate::config::Format;

/// Writes to standard output, or to what a test puts in its place.
#[derive(Debug)]
pub(super) struct StdoutSink {
    output: Option<File>,
    style: Style,
    unfinished: Option<Unfinished>,
}

#[derive(Debug, Clone, Copy)]
enum Style {
    Pretty { color: bool },
    Ndjson,
}

/// An alert that was not written to its end.
#[derive(Debug)]
struct Unfinished {
    id: String,
    rest: Vec<u8>,
}

/// Whether standard output is read by a person rather than a program.
pub fn is_for_people(format: Format) -> bool {
    match format {
        Format::Auto => io::stdout().is_terminal(),
        Format::Pretty => true,
        Format::Ndjson => false,
    }
}

impl StdoutSink {
    pub(super) fn stdout(format: Format) -> Self {
        let color =
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let style = if is_for_people(format) { Style::Pretty { color } } else { Style::Ndjson };
        Self { output: None, style, unfinished: None }
    }

    #[cfg(test)]
    pub(super) fn redirected(format: Format, output: File) -> Self {
        Self { output: Some(output), ..Self::stdout(format) }
    }

    fn render<'a>(&self, alert: &'a dyn Record) -> Cow<'a, str> {
        match self.style {
            Style::Pretty { color } => alert.to_pretty(color).into(),
            Style::Ndjson => alert.ended_line(),
        }
    }

    fn output(&mut self) -> io::Result<&mut File> {
        let output = match self.output.take() {
            Some(output) => output,
            // The descriptor itself: the standard library's handle holds back what has no line end.
            None => io::stdout().as_fd().try_clone_to_owned()?.into(),
        };
        Ok(self.output.insert(output))
    }

    /// Writes the `rest` of the alert `id` to its end; what an error leaves is kept for the next time.
    fn write(&mut self, id: &str, mut rest: &[u8]) -> Result<(), SinkError> {
        let result = self.output().and_then(|output| write_all(output, &mut rest));
        result.map_err(|error| {
            self.unfinished = Some(Unfinished { id: id.to_owned(), rest: rest.to_vec() });
            failure(error)
        })
    }
}

impl Sink for StdoutSink {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn open(&mut self) -> Result<(), SinkError> {
        self.output().map(|_| ()).map_err(failure)
    }

    fn deliver(&mut self, alert: &dyn Record) -> Result<(), SinkError> {
        if let Some(unfinished) = self.unfinished.take() {
            self.write(&unfinished.id, &unfinished.rest)?;
            if unfinished.id == alert.id() {
                return Ok(());
            }
        }
        self.write(alert.id(), self.render(alert).as_bytes())
    }
}

/// Writes `bytes`, and takes from them what was written.
fn write_all(output: &mut File, bytes: &mut &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(written) => *bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Whoever shares the terminal or pipe with us may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(output, PollFlags::OUT)], None))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn failure(source: io::Error) -> SinkError {
    let attempt = "cannot write to standard output".to_owned();
    let code = source.raw_os_error().map(Errno::from_raw_os_error);
    if let Some(Errno::NOSPC | Errno::DQUOT) = code {
        let remedy = "free space where it is redirected to".to_owned();
        SinkError::Temporary(Failure { attempt, source: source.into(), remedy })
    } else {
        let remedy =
            "whoever read it has gone: start ldsentry again with a reader that stays, or use [output.file]";
        SinkError::Gone(Failure { attempt, source: source.into(), remedy: remedy.to_owned() })
    }
}
