//! What travels from the guest to the host: one stream of frames, so that the order of things is kept.
//!
//! A frame is a line `KIND SCENARIO LENGTH`, then as many bytes.

use std::io::{self, BufRead, Write};
use std::str::FromStr;

/// What a frame's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The guest is up; its kernel release.
    Hello,
    /// The daemon watches.
    Ready,
    /// A part of the daemon's standard output.
    DaemonStdout,
    /// A part of the daemon's standard error.
    DaemonStderr,
    /// The daemon is gone: its exit code.
    DaemonExit,
    /// A scenario begins.
    Begin,
    /// A part of a scenario's standard output.
    ScriptStdout,
    /// A part of a scenario's standard error.
    ScriptStderr,
    /// A scenario is over and the daemon has said all that it has to say about it: the exit code.
    End,
    /// The guest cannot go on: why.
    Failed,
    /// Everything in the plan is done.
    Done,
}

const KINDS: [(Kind, &str); 11] = [
    (Kind::Hello, "hello"),
    (Kind::Ready, "ready"),
    (Kind::DaemonStdout, "daemon-stdout"),
    (Kind::DaemonStderr, "daemon-stderr"),
    (Kind::DaemonExit, "daemon-exit"),
    (Kind::Begin, "begin"),
    (Kind::ScriptStdout, "script-stdout"),
    (Kind::ScriptStderr, "script-stderr"),
    (Kind::End, "end"),
    (Kind::Failed, "failed"),
    (Kind::Done, "done"),
];

/// One message of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the bytes are.
    pub kind: Kind,
    /// The scenario that was running, counted from zero.
    pub scenario: usize,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// Why no frame could be read.
#[derive(Debug)]
pub enum ReadError {
    /// The guest is gone.
    Closed,
    /// The stream is broken.
    Io(io::Error),
    /// What came is no frame: the line.
    NotAFrame(String),
}

impl Frame {
    /// No frame's bytes are more; a longer one is a stream gone wrong.
    pub const MAX_PAYLOAD: usize = 1 << 20;

    /// The payload as text, for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// Sends the frame.
    pub fn write_to(&self, stream: &mut impl Write) -> io::Result<()> {
        let name = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("?", |(_, name)| *name);
        let mut bytes = format!("{name} {} {}\n", self.scenario, self.payload.len()).into_bytes();
        bytes.extend_from_slice(&self.payload);
        stream.write_all(&bytes)
    }

    /// Reads the next frame.
    pub fn read_from(stream: &mut impl BufRead) -> Result<Self, ReadError> {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).map_err(ReadError::Io)? == 0 {
            return Err(ReadError::Closed);
        }
        let line = String::from_utf8_lossy(&line);
        let header = line.trim_end();
        let (kind, scenario, length) =
            parse_header(header).ok_or_else(|| ReadError::NotAFrame(header.to_owned()))?;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).map_err(ReadError::Io)?;
        Ok(Self { kind, scenario, payload })
    }
}

fn parse_header(line: &str) -> Option<(Kind, usize, usize)> {
    let mut words = line.split(' ');
    let kind = words.next()?.parse().ok()?;
    let scenario = words.next()?.parse().ok()?;
    let length = words.next()?.parse().ok().filter(|length| *length <= Frame::MAX_PAYLOAD)?;
    words.next().is_none().then_some((kind, scenario, length))
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_wire_with_any_bytes() {
        let frames: Vec<Frame> = KINDS
            .iter()
            .enumerate()
            .map(|(scenario, (kind, name))| Frame {
                kind: *kind,
                scenario,
                payload: [name.as_bytes(), b"\n\0\xff end 0 0\n"].concat(),
            })
            .collect();
        let mut wire = Vec::new();
        for frame in &frames {
            frame.write_to(&mut wire).unwrap();
        }
        let mut stream = wire.as_slice();
        for frame in &frames {
            assert_eq!(&Frame::read_from(&mut stream).unwrap(), frame);
        }
        assert!(matches!(Frame::read_from(&mut stream), Err(ReadError::Closed)));
    }

    #[test]
    fn noise_is_told_from_frames() {
        for noise in ["[    0.1] panic\n", "end 0\n", "end 0 99999999\n", "end 0 1 1\n", "nod 0 0\n"] {
            assert!(
                matches!(Frame::read_from(&mut noise.as_bytes()), Err(ReadError::NotAFrame(_))),
                "{noise}"
            );
        }
        assert!(matches!(Frame::read_from(&mut "end 0 5\nabc".as_bytes()), Err(ReadError::Io(_))));
    }
}
