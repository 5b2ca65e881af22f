//! How long to wait between attempts: longer each time, and not at the same time as all other hosts.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

#[derive(Debug)]
pub(super) struct Backoff {
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    /// From `shortest` on to `longest`, each varied by up to as much again.
    pub(super) fn new(shortest: Duration, longest: Duration) -> Self {
        let builder = ExponentialBuilder::default()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .without_max_times()
            .with_jitter();
        Self { builder, delays: builder.build(), longest }
    }

    /// The time before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.longest)
    }

    /// It worked: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.delays = self.builder.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_differ() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(60));
        let delays: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!((seconds(1)..=seconds(2)).contains(&delays[0]), "{delays:?}");
        assert!(delays[10..].iter().all(|delay| (seconds(60)..=seconds(120)).contains(delay)), "{delays:?}");
        assert!(delays[10..].iter().any(|delay| *delay != delays[10]), "{delays:?}");
        backoff.reset();
        assert!(backoff.next() <= seconds(2));
    }
}
