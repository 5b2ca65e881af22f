//! Who is writing to a file that it has made, or of whose change there was an event: what it goes on to write until it closes the
//! file is no further event.

use std::collections::HashSet;

/// More are not remembered: some may then be told again, none is lost.
const MOST: usize = 4096;

/// A file by its directory's handle and its name, and a process.
type Writer = (Box<[u8]>, Box<[u8]>, u32);

/// The processes that write.
#[derive(Debug, Default)]
pub(super) struct Writers(HashSet<Writer>);

impl Writers {
    /// `pid` did something to a file: whether that is the first of it that changes the file. `closed`: it has closed the file, so
    /// that what it does next is something new.
    pub(super) fn is_first(&mut self, directory: &[u8], name: &[u8], pid: u32, closed: bool) -> bool {
        // Nobody knows whether it is the same one.
        if pid == 0 {
            return true;
        }
        let writer = (directory.into(), name.into(), pid);
        if closed {
            return !self.0.remove(&writer);
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(writer)
    }

    /// The file is gone.
    pub(super) fn forget(&mut self, directory: &[u8], name: &[u8]) {
        self.0.retain(|(in_directory, called, _)| **in_directory != *directory || **called != *name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_does_until_it_closes_is_one_thing() {
        let mut writers = Writers::default();
        let mut is_first = |name: &[u8], pid, closed| writers.is_first(b"d", name, pid, closed);
        assert!(is_first(b"a", 1, false));
        assert!(!is_first(b"a", 1, false));
        assert!(is_first(b"a", 2, false), "another one");
        assert!(is_first(b"b", 1, false), "another file");
        assert!(!is_first(b"a", 1, true));
        assert!(is_first(b"a", 1, true), "opened again, and closed before it was told");
        assert!(is_first(b"a", 0, false) && is_first(b"a", 0, false), "nobody knows who");
        writers.forget(b"d", b"a");
        assert!(writers.is_first(b"d", b"a", 2, false));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut writers = Writers::default();
        for pid in 1..=3 * MOST as u32 {
            assert!(writers.is_first(b"d", b"a", pid, false));
        }
        assert!(writers.0.len() <= MOST);
    }
}
