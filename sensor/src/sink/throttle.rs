//! Says how often something happened without saying it every time.

use std::time::{Duration, Instant};

/// Lets the first of a kind pass, and then one in each interval, with the count of those it held back.
#[derive(Debug)]
pub(super) struct Throttle {
    interval: Duration,
    next: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: None, held_back: 0 }
    }

    /// Whether what happens at `now` is to be said; if so, how many were not said before it.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.held_back += 1;
            return None;
        }
        self.next = Some(now + self.interval);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_passes_and_the_rest_are_counted() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut throttle = Throttle::new(Duration::from_secs(10));
        assert_eq!(throttle.admit(at(0)), Some(0));
        assert_eq!(throttle.admit(at(1)), None);
        assert_eq!(throttle.admit(at(9)), None);
        assert_eq!(throttle.admit(at(10)), Some(2));
        assert_eq!(throttle.admit(at(19)), None);
        assert_eq!(throttle.admit(at(100)), Some(1));
    }
}
