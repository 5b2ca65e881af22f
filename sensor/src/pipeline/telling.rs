//! What the daemon says about itself: in its log, and to the service manager.

use super::Pipeline;
use crate::ecs;
use crate::event::Action;
use crate::notify;

impl Pipeline<'_> {
    /// Known at 0 before it counts: Prometheus sees no increase from nothing to 1.
    pub(super) fn count_from_nothing(&self) {
        self.rules().for_each(|rule| drop(self.metrics.alerts(&rule.id)));
    }

    pub(super) fn say_what_is_watched(&self) {
        let (seen, unseen): (Vec<_>, Vec<_>) =
            self.engine.filters().actions().partition(|action| self.watcher.sees(*action));
        if seen.is_empty() {
            tracing::warn!("no rule can fire, so nothing is watched; `ldsentry rules check` says why");
        }
        let (watcher, rules) = (self.watcher.describe(), self.rules().count());
        if !unseen.is_empty() {
            tracing::warn!("{watcher} does not tell of {}, which rules ask for", listed(&unseen));
        }
        let line = format!("watching {} with {watcher} and {rules} rules", listed(&seen));
        tracing::info!("{line}");
        notify::ready();
        notify::status(&line);
    }

    /// Prints all counters.
    pub(super) fn report(&self) {
        self.watcher.count(&self.metrics);
        self.watcher.report();
        let text = if self.for_people { self.metrics.to_text() } else { self.metrics.to_json() };
        self.log.print(&text);
    }
}

/// Actions as one says them.
pub(super) fn listed(actions: &[Action]) -> String {
    let names: Vec<_> = actions.iter().map(|action| ecs::action(*action)).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
