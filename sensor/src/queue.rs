//! A bounded queue between those who must not wait and one thread that may.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Items that were added.
    added: u64,
    /// Those that are done with, or given up.
    done: u64,
    taker: Taker,
    closed: bool,
    /// Somebody waits until every item is done with.
    awaited: bool,
}

/// What the thread does that takes the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taker {
    /// It sleeps until there is an item.
    Waits,
    /// It has taken an item and is not done with it.
    Works,
    /// It will look for an item by itself.
    Looks,
}

impl<T> State<T> {
    /// Says that an item is no longer worked on, if one is. Gives whether.
    fn end_work(&mut self) -> bool {
        let works = self.taker == Taker::Works;
        if works {
            self.taker = Taker::Looks;
            self.done += 1;
        }
        works
    }

    fn is_done(&self) -> bool {
        self.taker != Taker::Works && self.items.is_empty()
    }
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            added: 0,
            done: 0,
            taker: Taker::Looks,
            closed: false,
            awaited: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    /// Adds an item; gives up, at once, if the queue is full or closed.
    pub(crate) fn try_push(&self, item: T) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.items.len() >= self.capacity {
            return Err(Refused::Full);
        }
        state.items.push_back(item);
        state.added += 1;
        // Whoever works finds it by itself; and who is woken is not to find the lock taken.
        let waits = state.taker == Taker::Waits;
        if waits {
            state.taker = Taker::Looks;
        }
        drop(state);
        if waits {
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Waits for the next item, which [`Queue::complete`] must follow. `None` once the queue is closed and empty.
    pub(crate) fn next(&self) -> Option<T> {
        let wait = |state: &mut State<T>| {
            let waits = state.items.is_empty() && !state.closed;
            state.taker = if waits { Taker::Waits } else { Taker::Looks };
            waits
        };
        let waited = self.changed.wait_while(self.lock(), wait);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let item = state.items.pop_front();
        if item.is_some() {
            state.taker = Taker::Works;
        }
        item
    }

    /// The item taken last is done with: runs `count`, unless the item was discarded meanwhile, and counted by
    /// whoever did that. Nobody who waits for the items goes on before it was counted.
    pub(crate) fn complete(&self, count: impl FnOnce()) {
        let mut state = self.lock();
        if state.end_work() {
            count();
        }
        if state.awaited {
            self.changed.notify_all();
        }
    }

    /// Waits for `time` to pass, but not longer than until the queue is closed. Returns whether it is.
    pub(crate) fn wait_unless_closed(&self, time: Duration) -> bool {
        let result = self.changed.wait_timeout_while(self.lock(), time, |state| !state.closed);
        result.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Takes no more items.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Closes the queue and gives up what is in it and what is being worked on: how much that was, `count` gets and
    /// the caller.
    pub(crate) fn discard(&self, count: impl FnOnce(u64)) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.items).len() as u64;
        state.done += waiting;
        let discarded = waiting + u64::from(state.end_work());
        count(discarded);
        self.changed.notify_all();
        discarded
    }

    /// Whether every item is done with.
    pub(crate) fn is_done(&self) -> bool {
        self.lock().is_done()
    }

    /// How many items were added so far.
    pub(crate) fn added(&self) -> u64 {
        self.lock().added
    }

    /// Whether the first `count` items that were added are done with.
    pub(crate) fn has_done(&self, count: u64) -> bool {
        self.lock().done >= count
    }

    /// Waits until every item is done with, at most until `deadline`.
    pub(crate) fn wait_until_done(&self, deadline: Instant) {
        let patience = deadline.saturating_duration_since(Instant::now());
        let unfinished = |state: &mut State<T>| {
            state.awaited = true;
            !state.is_done()
        };
        drop(self.changed.wait_timeout_while(self.lock(), patience, unfinished));
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // What runs under the lock leaves the state whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an item was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_no_more_than_it_may_hold_and_nothing_once_closed() {
        let queue = Queue::new(2);
        assert_eq!((queue.try_push(1), queue.try_push(2)), (Ok(()), Ok(())));
        assert_eq!(queue.try_push(3), Err(Refused::Full));
        assert_eq!(queue.next(), Some(1));
        assert_eq!(queue.try_push(4), Ok(()));
        queue.close();
        assert_eq!(queue.try_push(5), Err(Refused::Closed));
        assert_eq!((queue.next(), queue.next(), queue.next()), (Some(2), Some(4), None));
    }

    #[test]
    fn what_is_being_worked_on_is_counted_once() {
        let queue = Queue::new(2);
        queue.try_push(1).unwrap();
        queue.try_push(2).unwrap();
        queue.next();
        assert_eq!(queue.discard(|_| {}), 2, "the one that waits, and the one at hand");
        queue.complete(|| panic!("it was counted already"));
        assert_eq!((queue.next(), queue.discard(|_| {})), (None, 0));
    }

    #[test]
    fn it_knows_how_many_of_the_first_are_done_with() {
        let queue = Queue::new(2);
        queue.try_push(1).unwrap();
        let first = queue.added();
        queue.try_push(2).unwrap();
        assert_eq!(queue.try_push(3), Err(Refused::Full));
        assert!(queue.has_done(0) && !queue.has_done(first));
        queue.next();
        assert!(!queue.has_done(first), "it is being worked on");
        queue.complete(|| {});
        assert!(queue.has_done(first) && !queue.has_done(queue.added()));
        queue.next();
        queue.discard(|_| {});
        assert!(queue.has_done(queue.added()) && !queue.has_done(queue.added() + 1));
    }

    #[test]
    fn waiting_ends_with_the_last_item() {
        let queue = Queue::new(2);
        queue.try_push(1).unwrap();
        assert!(!queue.is_done());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.wait_until_done(Instant::now() + Duration::from_hours(1)));
            assert_eq!(queue.next(), Some(1));
            queue.complete(|| {});
            waiter.join().unwrap();
        });
        assert!(queue.is_done());
        assert_eq!(queue.discard(|_| {}), 0);
    }

    #[test]
    fn closing_ends_a_wait() {
        let queue = Queue::<()>::new(1);
        assert!(!queue.wait_unless_closed(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.wait_unless_closed(Duration::from_hours(1)));
            queue.close();
            assert!(waiter.join().unwrap());
        });
    }
}
