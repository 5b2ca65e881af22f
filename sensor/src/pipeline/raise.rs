//! From settled events to alerts.

use std::path::Path;
use std::sync::Arc;

use super::Pipeline;
use crate::alert::{SentEvent, Suppressed, Template};
use crate::below::{Found, Search};
use crate::detect::Verdict;
use crate::ecs::{Candidate, Document};
use crate::event::{Event, Executable, Outcome};
use crate::metrics::Counter;
use crate::self_test::{RULE_ID as SELF_TEST_RULE_ID, SelfTest, clean_up};
use crate::sink::Record;

impl Pipeline<'_> {
    pub(super) fn raise(&mut self) {
        for event in std::mem::take(&mut self.settled) {
            if self.detect(&event) {
                // The sensor's own test is none of the events that a user counts.
                continue;
            }
            self.metrics.increment(match event.outcome {
                Outcome::Success => Counter::EventsSuccess,
                Outcome::Failure => Counter::EventsFailure,
                Outcome::Unknown => Counter::EventsUnknown,
            });
            match event.process.executable {
                Executable::File(_) => {}
                Executable::KernelThread => self.metrics.increment(Counter::KernelThread),
                Executable::Unknown => self.metrics.increment(Counter::ExecutableUnknown),
            }
            self.look_below(&event);
        }
    }

    /// A directory brings the files in it.
    fn look_below(&mut self, event: &Event) {
        let Some(search) = Search::after(event, Path::new("/proc"), self.prefixes.as_deref()) else { return };
        if !self.searches.add(search) {
            self.not_looked_into("too many directories are being looked into");
        }
    }

    pub(super) fn found(&mut self, found: Found) {
        self.memory.used(found.events.len() as u32, self.start.elapsed());
        self.settled.extend(found.events);
        if let Some(reason) = found.incomplete {
            self.not_looked_into(&reason);
        }
    }

    pub(super) fn not_looked_into(&self, reason: &str) {
        self.metrics.increment(Counter::LostDirectory);
        tracing::warn!("files can be missed: {reason}");
    }

    /// Gives whether it is the sensor's own test.
    fn detect(&mut self, event: &Event) -> bool {
        let now = jiff::Timestamp::now();
        let mut is_test = false;
        let Self { engine, handles, templates, metrics, outputs, self_test, .. } = self;
        let paths = event.file.paths.iter().map(|path| path.text.as_str());
        // The path that a rule looks for, if one does: rules elsewhere are to see the same.
        let mut candidate = Candidate::default();
        let may_be_test = self_test.as_ref().is_some_and(|test| test.is_about(paths));
        engine.detect_event(event, now, |detection| {
            let rule = engine.rule(detection.rule);
            let excluded = match detection.verdict {
                Verdict::Excluded(exclusion) => Some(exclusion),
                Verdict::Alert | Verdict::NotHonoured(_) => None,
                Verdict::NoMatch(_) | Verdict::NotOffered => return,
            };
            candidate = detection.candidate;
            if rule.id == SELF_TEST_RULE_ID {
                if self_test.as_mut().is_some_and(SelfTest::arrived) {
                    is_test = true;
                    clean_up();
                    metrics.self_tests().increment();
                }
                return;
            }
            if may_be_test {
                return;
            }
            let clause = || engine.clause(detection.rule, detection.verdict);
            let document = || Document::new(event, engine.table(), detection.candidate);
            let counter = handles.entry((detection.rule, excluded)).or_insert_with(|| match excluded {
                Some(_) => metrics.suppressed(&rule.id, &clause()),
                None => metrics.alerts(&rule.id),
            });
            counter.increment();
            let not_honoured = engine.not_honoured(detection.rule, detection.verdict);
            if let Some(clause) = not_honoured {
                metrics.not_honoured(&rule.id, clause).increment();
            }
            if excluded.is_some() {
                tracing::debug!(
                    rule = rule.name,
                    clause = clause(),
                    "suppressed: {}",
                    event.file.paths[0].text
                );
                outputs.send_suppressed(|| Arc::new(Suppressed::new(rule, document().to_json(), &clause())));
                return;
            }
            let template = templates.entry(detection.rule).or_insert_with(|| Template::new(rule));
            let alert: Arc<dyn Record> = Arc::new(template.alert(&document(), &clause(), not_honoured, now));
            outputs.send(&alert);
        });
        if event.outcome != Outcome::Failure && !may_be_test {
            outputs.send_event(|| {
                Arc::new(SentEvent::new(Document::new(event, engine.table(), candidate).to_json()))
            });
        }
        is_test
    }
}
