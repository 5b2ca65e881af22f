//! The pipeline sees whether it still sees.

use std::sync::Arc;
use std::time::Duration;

use super::{Pipeline, PipelineError};
use crate::alert::{Alert, Source};
use crate::event::Action;
use crate::host::Host as _;
use crate::self_test::{self, SelfTest, Step};
use crate::sink::Record;

impl Pipeline<'_> {
    /// Tests in the interval that the settings say, if something is watched that a test can be made by.
    pub(super) fn begin_self_test(&mut self, action: Option<Action>) {
        let wanted = self.settings.sensor.self_test.get();
        self.self_test = wanted.zip(action).map(|(interval, action)| match self.self_test.take() {
            Some(test) => test.changed(interval, action),
            None => SelfTest::new(interval, action),
        });
    }

    /// Sees whether the sensor sees, if it is time to.
    pub(super) fn test_itself(&mut self, now: Duration) -> Result<(), PipelineError> {
        let lost = || self.watcher.lost();
        match self.self_test.as_mut().map_or(Step::Wait, |test| test.step(now, lost)) {
            Step::Wait => Ok(()),
            Step::Perform(action) => {
                if let Err(error) = self_test::perform(action) {
                    tracing::warn!(
                        "the sensor cannot test itself: {error}; let it write to /run/ldsentry, or set `sensor.self_test = \"off\"`"
                    );
                    self.self_test = None;
                }
                Ok(())
            }
            Step::Fail => {
                self.health.set_watching(false);
                self_test::clean_up();
                let now = jiff::Timestamp::now();
                if let Some(rule) = self_test::rule(Action::Creation) {
                    let document = self_test::failure(&self.host.describe(), now);
                    let source = Source {
                        document,
                        id: None,
                        index: None,
                        decided_by: "self-test",
                        not_honoured: None,
                    };
                    let alert: Arc<dyn Record> = Arc::new(Alert::new(&rule, source, now));
                    self.outputs.send(&alert);
                }
                Err(PipelineError::Blind)
            }
        }
    }
}
