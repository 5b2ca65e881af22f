//! The pipeline sees whether it still sees.

use std::sync::Arc;
use std::time::Duration;

use super::{Pipeline, PipelineError};
use crate::alert::{Alert, Source};
use crate::host::Host as _;
use crate::self_test::{self, Step};
use crate::sink::Record;

impl Pipeline<'_> {
    /// Sees whether the sensor sees, if it is time to.
    pub(super) fn test_itself(&mut self, now: Duration) -> Result<(), PipelineError> {
        match self.self_test.as_mut().map_or(Step::Wait, |test| test.step(now)) {
            Step::Wait => Ok(()),
            Step::Perform => {
                if let Err(error) = self_test::perform() {
                    tracing::warn!(
                        "the sensor cannot test itself: {error}; let it write to /run/ldsentry, or remove sensor.self_test"
                    );
                    self.self_test = None;
                }
                Ok(())
            }
            Step::Fail => {
                self.health.set_watching(false);
                self_test::clean_up();
                let now = jiff::Timestamp::now();
                if let Some(rule) = self_test::rule() {
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
