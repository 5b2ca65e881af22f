//! A scenario: a script, and the alerts that it must give.

use std::fmt;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::alert::{compare, lookup, summary};
use crate::boot::Outcome;

/// The rule that is about what scripts do to prepare and to tidy up, too.
pub const CHANGES_IN_PLACE: &str = "Dynamic Linker Modification In Place";

/// Shell functions that scripts may use.
const LIBRARY: &str = ". /lab/lib.sh\n";

type Check = Box<dyn Fn(&Outcome) -> Result<()> + Send + Sync>;

/// A script that runs as root in the guest beside the daemon, and what must come of it.
pub struct Scenario {
    name: String,
    script: String,
    seconds: u64,
    changes_in_place: bool,
    expected: Option<Vec<Value>>,
    checks: Vec<Check>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Scenario {
    /// A scenario that gives no alert unless told otherwise. The script must succeed; it runs with `set -eu`.
    pub fn new(name: impl Into<String>, script: impl Into<String>) -> Self {
        let script = format!("set -eu\n{LIBRARY}{}\n", script.into());
        Self {
            name: name.into(),
            script,
            seconds: 90,
            changes_in_place: false,
            expected: Some(Vec::new()),
            checks: Vec::new(),
        }
    }

    /// One more alert, in the order in which they come: its fields by their dotted names. `null` is a field that must be
    /// missing; `"$name"` is what the script printed as `name=…`.
    #[must_use]
    pub fn alert(mut self, fields: Value) -> Self {
        self.expected.get_or_insert_default().push(fields);
        self
    }

    /// Several more alerts.
    #[must_use]
    pub fn alerts(self, fields: impl IntoIterator<Item = Value>) -> Self {
        fields.into_iter().fold(self, Self::alert)
    }

    /// It may take longer than others.
    #[must_use]
    pub fn seconds(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    /// Alerts of the rule about changes in place count too. Elsewhere they do not: scripts prepare and tidy up.
    #[must_use]
    pub fn with_changes_in_place(mut self) -> Self {
        self.changes_in_place = true;
        self
    }

    /// Whatever alerts there are is for [`Self::check`] to say.
    #[must_use]
    pub fn any_alerts(mut self) -> Self {
        self.expected = None;
        self
    }

    /// Something else that must hold.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&Outcome) -> Result<()> + Send + Sync + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the guest runs.
    pub(crate) fn as_plan(&self) -> xtask::lab::Scenario {
        xtask::lab::Scenario { name: self.name.clone(), script: self.script.clone(), seconds: self.seconds }
    }

    /// Compares what came of it with what must.
    pub fn verify(&self, outcome: &Outcome) -> Result<()> {
        let mut outcome = outcome.clone();
        if !self.changes_in_place {
            outcome.alerts.retain(|alert| {
                lookup(alert, "kibana.alert.rule.name").is_none_or(|rule| rule != CHANGES_IN_PLACE)
            });
        }
        let outcome = &outcome;
        if outcome.exit_code != 0 {
            bail!("the script failed with exit code {}\n{}", outcome.exit_code, outcome.transcript());
        }
        if let Some(expected) = &self.expected {
            let mut complaints = Vec::new();
            for (number, pair) in expected.iter().zip(&outcome.alerts).enumerate() {
                let (fields, alert) = pair;
                complaints.extend(
                    compare(fields, alert, &outcome.facts())
                        .into_iter()
                        .map(|what| format!("alert {}: {what}", number + 1)),
                );
            }
            if expected.len() != outcome.alerts.len() {
                complaints.insert(0, format!("{} alerts, not {}", outcome.alerts.len(), expected.len()));
            }
            if !complaints.is_empty() {
                let alerts: Vec<String> = outcome.alerts.iter().map(summary).collect();
                bail!(
                    "{}\nall alerts:\n{}\n{}",
                    complaints.join("\n"),
                    alerts.join("\n"),
                    outcome.transcript()
                );
            }
        }
        for check in &self.checks {
            check(outcome).map_err(|error| error.context(outcome.transcript()))?;
        }
        Ok(())
    }
}
