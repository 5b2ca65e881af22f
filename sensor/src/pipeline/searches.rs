//! Directories that are looked into beside the event path: [`Search`].

use std::collections::VecDeque;

use tokio::task::JoinSet;

use crate::below::{Found, Search};

/// At once. A file system that never answers takes one for good.
const MAX_RUNNING: usize = 16;

/// Until one of those is done. Whoever makes more at a time wants to be missed, and is counted.
const MAX_WAITING: usize = 1024;

/// Those that are under way, and those that wait for it.
#[derive(Debug, Default)]
pub(super) struct Searches {
    running: JoinSet<Found>,
    waiting: VecDeque<Search>,
}

impl Searches {
    /// Takes one more. Whether there was room.
    pub(super) fn add(&mut self, search: Search) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        self.waiting.push_back(search);
        self.fill();
        true
    }

    /// Waits for the next that is done; nothing if there is none. Nothing is lost if that is given up.
    pub(super) async fn next(&mut self) -> Option<Found> {
        let found = self.running.join_next().await?;
        self.fill();
        Some(found.unwrap_or_else(|error| Found { events: Vec::new(), incomplete: Some(error.to_string()) }))
    }

    pub(super) fn len(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn fill(&mut self) {
        while self.running.len() < MAX_RUNNING
            && let Some(search) = self.waiting.pop_front()
        {
            self.running.spawn_blocking(|| search.run());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn all_that_come_at_once_are_done_and_one_too_many_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let mut event = testing::rename("/prepared", directory.path().to_str().unwrap());
        (event.process.pid, event.file.mode, event.file.inode) = (std::process::id(), None, None);
        let search = || Search::after(&event, Path::new("/proc"), None).unwrap();
        let mut searches = Searches::default();
        for _ in 0..MAX_RUNNING + MAX_WAITING {
            assert!(searches.add(search()));
        }
        assert!(!searches.add(search()));
        let mut files = 0;
        while let Some(found) = searches.next().await {
            assert_eq!(found.incomplete, None);
            files += found.events.len();
        }
        assert_eq!(files, MAX_RUNNING + MAX_WAITING);
        assert!(searches.is_empty());
    }
}
