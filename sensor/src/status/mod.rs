//! Whether the daemon works, for those who ask over HTTP and for the service manager.

mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use self::server::{ServerError, StatusServer};

/// How often the pipeline shows that it moves.
pub const BEAT: Duration = Duration::from_secs(5);

/// How long it may show nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of the daemon. Clones share it.
#[derive(Debug, Clone)]
pub struct Health(Arc<State>);

#[derive(Debug)]
struct State {
    start: Instant,
    /// When the pipeline moved last, in milliseconds since the start.
    moved: AtomicU64,
    watches: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(State {
            start: Instant::now(),
            moved: AtomicU64::new(0),
            watches: AtomicBool::new(false),
        }))
    }
}

impl Health {
    /// The pipeline moves.
    pub fn beat(&self) {
        self.0.moved.store(self.0.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether the host is watched.
    pub fn set_watching(&self, watches: bool) {
        self.0.watches.store(watches, Ordering::Relaxed);
    }

    /// Why the daemon should be started afresh at `now`, if it should.
    fn ailment(&self, now: Instant) -> Option<String> {
        let moved = self.0.start + Duration::from_millis(self.0.moved.load(Ordering::Relaxed));
        let still = now.saturating_duration_since(moved);
        (still > PATIENCE).then(|| format!("the pipeline has not moved for {} s", still.as_secs()))
    }

    /// Why no alert can be expected at `now`, if none can.
    fn obstacle(&self, now: Instant) -> Option<String> {
        let watches = self.0.watches.load(Ordering::Relaxed);
        self.ailment(now).or_else(|| (!watches).then(|| "the host is not watched".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_does_not_move_is_ill_and_one_that_does_not_watch_is_not_ready() {
        let health = Health::default();
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(health.ailment(later(29)), None);
        assert_eq!(health.obstacle(later(0)).unwrap(), "the host is not watched");
        health.set_watching(true);
        health.beat();
        assert_eq!(health.obstacle(later(29)), None);
        assert_eq!(health.ailment(later(40)).unwrap(), "the pipeline has not moved for 40 s");
        assert!(health.obstacle(later(40)).is_some());
    }
}
