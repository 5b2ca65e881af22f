//! Counters of what came, what was lost on the way and where, and what was delivered.
//!
//! Names follow the Prometheus conventions. Everything that can be lost has a series that is there, at 0, from the
//! start: an absent series would look like an absent loss.

mod prometheus;
mod reference;

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::prometheus::CONTENT_TYPE;
pub use self::reference::markdown_reference;

/// A metric: series of one name, told apart by labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`help` says what each is")]
pub enum Family {
    Events,
    EventsLost,
    Alerts,
    AlertsSuppressed,
    ExclusionsNotHonoured,
    EventsWithoutExecutable,
    OutputAlerts,
    OutputErrors,
    OutputSummaries,
    OutputWaiting,
    SpoolBytes,
    SpoolErrors,
    SelfTests,
    LogLinesLost,
    SourceFallbacks,
    Rescans,
    DirectoriesNotWatched,
    InventoryFiles,
    InventoryIncomplete,
    Gaps,
    RingReleasedEarly,
}

/// How a metric's value moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 21] = [
        Self::Events,
        Self::EventsLost,
        Self::Alerts,
        Self::AlertsSuppressed,
        Self::ExclusionsNotHonoured,
        Self::EventsWithoutExecutable,
        Self::OutputAlerts,
        Self::OutputErrors,
        Self::OutputSummaries,
        Self::OutputWaiting,
        Self::SpoolBytes,
        Self::SpoolErrors,
        Self::SelfTests,
        Self::LogLinesLost,
        Self::SourceFallbacks,
        Self::Rescans,
        Self::DirectoriesNotWatched,
        Self::InventoryFiles,
        Self::InventoryIncomplete,
        Self::Gaps,
        Self::RingReleasedEarly,
    ];

    /// The name as Prometheus shows it.
    pub fn full_name(self) -> String {
        match self.kind() {
            Kind::Counter => format!("{}_total", self.name()),
            Kind::Gauge => self.name().to_owned(),
        }
    }

    /// How its value moves.
    pub fn kind(self) -> Kind {
        match self {
            Self::OutputWaiting | Self::SpoolBytes => Kind::Gauge,
            _ => Kind::Counter,
        }
    }

    /// The name, without Prometheus' `_total`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "ldsentry_events",
            Self::EventsLost => "ldsentry_events_lost",
            Self::Alerts => "ldsentry_alerts",
            Self::AlertsSuppressed => "ldsentry_alerts_suppressed",
            Self::ExclusionsNotHonoured => "ldsentry_exclusions_not_honoured",
            Self::EventsWithoutExecutable => "ldsentry_events_without_executable",
            Self::OutputAlerts => "ldsentry_output_alerts",
            Self::OutputErrors => "ldsentry_output_errors",
            Self::OutputSummaries => "ldsentry_output_summaries",
            Self::OutputWaiting => "ldsentry_output_waiting_alerts",
            Self::SpoolBytes => "ldsentry_spool_bytes",
            Self::SpoolErrors => "ldsentry_spool_errors",
            Self::SelfTests => "ldsentry_self_tests",
            Self::LogLinesLost => "ldsentry_log_lines_lost",
            Self::SourceFallbacks => "ldsentry_source_fallbacks",
            Self::Rescans => "ldsentry_rescans",
            Self::DirectoriesNotWatched => "ldsentry_directories_not_watched",
            Self::InventoryFiles => "ldsentry_inventory_files",
            Self::InventoryIncomplete => "ldsentry_inventories_incomplete",
            Self::Gaps => "ldsentry_gaps",
            Self::RingReleasedEarly => "ldsentry_ring_released_early",
        }
    }

    /// What is counted.
    pub fn help(self) -> &'static str {
        match self {
            Self::Events => "Events received from the kernel, by the outcome of their operation",
            Self::EventsLost => "Events that no rule saw, by the reason",
            Self::Alerts => "Alerts raised, by rule",
            Self::AlertsSuppressed => {
                "Alerts that a rule would have raised but for an exclusion of its own or an exception of the \
                 configuration, by the clause that excluded them"
            }
            Self::ExclusionsNotHonoured => {
                "Alerts raised although the clause excludes the event, because the clause rests on an executable that is \
                 not trusted (`rules.trusted_exclusions`)"
            }
            Self::EventsWithoutExecutable => {
                "Events by a process of which no executable is known: a kernel thread, or one about which it could not be \
                 learned (`unknown`)"
            }
            Self::OutputAlerts => "Alerts given to an output, by what became of them",
            Self::OutputErrors => "Failed attempts to deliver; what is tried again can still be delivered",
            Self::OutputSummaries => {
                "Summaries that arrived, of alerts beyond a rule's `max_signals`; those alerts are counted as \
                 `summarized`"
            }
            Self::OutputWaiting => "Alerts in the spool that a network output has still to deliver",
            Self::SpoolBytes => "What the alerts in the spool take",
            Self::SelfTests => "Files that the sensor made to see whether it sees them, and did",
            Self::SpoolErrors => "Failures to use the spool's file; alerts are kept in memory meanwhile",
            Self::LogLinesLost => "Log lines lost because standard error did not take them",
            Self::SourceFallbacks => {
                "Starts with fanotify because the hooks could not be attached: docs/sources.md says what it cannot see"
            }
            Self::Rescans => {
                "fanotify: times that all directories were looked through for files whose notification was lost"
            }
            Self::DirectoriesNotWatched => {
                "fanotify: directories in which a rule's files can be and that could not be marked"
            }
            Self::InventoryFiles => {
                "Files that were there when the sensor started, as `sensor.inventory` tells them"
            }
            Self::InventoryIncomplete => "Inventories that left something out; the log says why",
            Self::Gaps => "Starts before which this host was not watched for some time since its boot",
            Self::RingReleasedEarly => {
                "Times that the ring was half full of records that were not done with, and some of their place was given back: a \
                 daemon that was killed then would lose those"
            }
        }
    }

    /// The keys of its labels.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Events => &["outcome"],
            Self::EventsLost | Self::EventsWithoutExecutable => &["reason"],
            Self::Alerts => &["rule_id"],
            Self::AlertsSuppressed | Self::ExclusionsNotHonoured => &["rule_id", "clause"],
            Self::OutputAlerts => &["output", "result"],
            Self::OutputErrors | Self::OutputSummaries | Self::OutputWaiting => &["output"],
            Self::SpoolBytes
            | Self::SpoolErrors
            | Self::SelfTests
            | Self::LogLinesLost
            | Self::SourceFallbacks
            | Self::Rescans
            | Self::DirectoriesNotWatched
            | Self::InventoryFiles
            | Self::InventoryIncomplete
            | Self::Gaps
            | Self::RingReleasedEarly => &[],
        }
    }
}

/// The series that are known in advance; those of rules and outputs come with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Counter {
    /// Events of operations that the kernel carried out.
    EventsSuccess,
    /// Events of operations that failed, or opened what was there.
    EventsFailure,
    /// Events whose outcome could not be learned.
    EventsUnknown,
    /// Events by kernel threads.
    KernelThread,
    /// Events by a process whose executable could not be learned.
    ExecutableUnknown,
    /// Lost: the ring buffer was full.
    LostRingFull,
    /// Lost: the kernel did not run the program (recursion, or no free kprobe instance).
    LostProgramMiss,
    /// Lost: bytes that are no event of this version.
    LostDecode,
    /// Lost: files in a directory that was renamed.
    LostDirectory,
    /// Lost: fanotify's queue was full. Counts the times, each of which lost at least one.
    LostQueueOverflow,
    /// Log lines that standard error did not take.
    LogLinesLost,
    /// The hooks could not be attached.
    SourceFallback,
    /// Directories were looked through.
    Rescans,
    /// Directories that could not be marked.
    DirectoriesNotWatched,
    /// Files that were there.
    InventoryFiles,
    /// Something was left out of the inventory.
    InventoryIncomplete,
    /// Nothing was watched before the start.
    Gaps,
    /// The ring was too full of what was not done with.
    RingReleasedEarly,
}

impl Counter {
    const ALL: [Self; 18] = [
        Self::EventsSuccess,
        Self::EventsFailure,
        Self::EventsUnknown,
        Self::KernelThread,
        Self::ExecutableUnknown,
        Self::LostRingFull,
        Self::LostProgramMiss,
        Self::LostDecode,
        Self::LostDirectory,
        Self::LostQueueOverflow,
        Self::LogLinesLost,
        Self::SourceFallback,
        Self::Rescans,
        Self::DirectoriesNotWatched,
        Self::InventoryFiles,
        Self::InventoryIncomplete,
        Self::Gaps,
        Self::RingReleasedEarly,
    ];

    fn series(self) -> (Family, &'static [&'static str]) {
        match self {
            Self::EventsSuccess => (Family::Events, &["success"]),
            Self::EventsFailure => (Family::Events, &["failure"]),
            Self::EventsUnknown => (Family::Events, &["unknown"]),
            Self::KernelThread => (Family::EventsWithoutExecutable, &["kernel_thread"]),
            Self::ExecutableUnknown => (Family::EventsWithoutExecutable, &["unknown"]),
            Self::LostRingFull => (Family::EventsLost, &["ring_full"]),
            Self::LostProgramMiss => (Family::EventsLost, &["program_miss"]),
            Self::LostDecode => (Family::EventsLost, &["decode"]),
            Self::LostDirectory => (Family::EventsLost, &["directory"]),
            Self::LostQueueOverflow => (Family::EventsLost, &["queue_overflow"]),
            Self::LogLinesLost => (Family::LogLinesLost, &[]),
            Self::SourceFallback => (Family::SourceFallbacks, &[]),
            Self::Rescans => (Family::Rescans, &[]),
            Self::DirectoriesNotWatched => (Family::DirectoriesNotWatched, &[]),
            Self::InventoryFiles => (Family::InventoryFiles, &[]),
            Self::InventoryIncomplete => (Family::InventoryIncomplete, &[]),
            Self::Gaps => (Family::Gaps, &[]),
            Self::RingReleasedEarly => (Family::RingReleasedEarly, &[]),
        }
    }
}

/// One series' value, to be counted up without any lock.
#[derive(Debug, Clone, Default)]
pub struct Handle(Arc<AtomicU64>);

impl Handle {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes over a value that is known elsewhere, such as a total that is counted in the kernel.
    pub fn set(&self, total: u64) {
        self.0.store(total, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one output. Every alert that it was given ends in `delivered` or `dropped`.
#[derive(Debug, Clone)]
pub struct OutputCounters {
    /// Alerts that arrived.
    pub delivered: Handle,
    /// Alerts given up.
    pub dropped: Handle,
    /// Failed attempts.
    pub errors: Handle,
}

/// The counters of one network output: every alert that it was given ends in one of them, or waits.
#[derive(Debug, Clone)]
pub struct NetworkCounters {
    /// What every output has.
    pub output: OutputCounters,
    /// Alerts that the server refused for good.
    pub rejected: Handle,
    /// Alerts beyond a rule's `max_signals`, of which a summary tells.
    pub summarized: Handle,
    /// Summaries that arrived.
    pub summaries: Handle,
}

/// All counters of the daemon. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    fixed: Arc<[Handle]>,
    all: Arc<Mutex<BTreeMap<Series, Handle>>>,
}

/// A family and the values of its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The family.
    pub family: Family,
    /// A value for each of the family's labels, in their order.
    pub labels: Vec<String>,
}

impl Default for Metrics {
    fn default() -> Self {
        let all = Counter::ALL.map(|counter| {
            let (family, labels) = counter.series();
            (Series::new(family, labels), Handle::default())
        });
        Self {
            fixed: all.iter().map(|(_, handle)| handle.clone()).collect(),
            all: Arc::new(Mutex::new(all.into_iter().collect())),
        }
    }
}

impl Metrics {
    /// The counter itself, for those who count often.
    pub fn counter(&self, counter: Counter) -> &Handle {
        &self.fixed[counter as usize]
    }

    /// Adds one to `counter`.
    pub fn increment(&self, counter: Counter) {
        self.counter(counter).increment();
    }

    /// Alerts that the rule `rule_id` raised.
    pub fn alerts(&self, rule_id: &str) -> Handle {
        self.series(Family::Alerts, &[rule_id])
    }

    /// Alerts that `clause` kept the rule `rule_id` from raising.
    pub fn suppressed(&self, rule_id: &str, clause: &str) -> Handle {
        self.series(Family::AlertsSuppressed, &[rule_id, clause])
    }

    /// Alerts that the rule `rule_id` raised although `clause` excludes the event.
    pub fn not_honoured(&self, rule_id: &str, clause: &str) -> Handle {
        self.series(Family::ExclusionsNotHonoured, &[rule_id, clause])
    }

    /// What became of the alerts that `output` was given.
    pub fn output(&self, output: &str) -> OutputCounters {
        OutputCounters {
            delivered: self.series(Family::OutputAlerts, &[output, "delivered"]),
            dropped: self.series(Family::OutputAlerts, &[output, "dropped"]),
            errors: self.series(Family::OutputErrors, &[output]),
        }
    }

    /// What became of the alerts that the network output `output` was given.
    pub fn network_output(&self, output: &str) -> NetworkCounters {
        NetworkCounters {
            output: self.output(output),
            rejected: self.series(Family::OutputAlerts, &[output, "rejected"]),
            summarized: self.series(Family::OutputAlerts, &[output, "summarized"]),
            summaries: self.series(Family::OutputSummaries, &[output]),
        }
    }

    /// How many alerts wait for the network output `output`.
    pub fn output_waiting(&self, output: &str) -> Handle {
        self.series(Family::OutputWaiting, &[output])
    }

    /// What the alerts in the spool take.
    pub fn spool_bytes(&self) -> Handle {
        self.series(Family::SpoolBytes, &[])
    }

    /// Failures to use the spool's file.
    pub fn spool_errors(&self) -> Handle {
        self.series(Family::SpoolErrors, &[])
    }

    /// Tests of its own that the sensor saw.
    pub fn self_tests(&self) -> Handle {
        self.series(Family::SelfTests, &[])
    }

    /// Every series and its value now.
    pub fn snapshot(&self) -> Vec<(Series, u64)> {
        self.lock().iter().map(|(series, handle)| (series.clone(), handle.get())).collect()
    }

    /// One line of JSON, `{"counters":{"ldsentry_events_total{outcome=\"success\"}":1,…}}`: what is logged at exit and
    /// on SIGUSR1.
    pub fn to_json(&self) -> String {
        let counters: serde_json::Map<_, _> =
            self.snapshot().into_iter().map(|(series, value)| (series.to_string(), value.into())).collect();
        serde_json::json!({ "counters": counters }).to_string()
    }

    /// For people: a line for each series that counted something.
    pub fn to_text(&self) -> String {
        let counted = self.snapshot().into_iter().filter(|(_, value)| *value > 0);
        let lines = counted.map(|(series, value)| format!("\n{value:>10}  {series}"));
        format!("counters since the start (all others are 0):{}", lines.collect::<String>())
    }

    /// As Prometheus scrapes them.
    pub fn to_openmetrics(&self) -> String {
        prometheus::encode(self)
    }

    fn series(&self, family: Family, labels: &[&str]) -> Handle {
        self.lock().entry(Series::new(family, labels)).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Series, Handle>> {
        // No code that can panic runs under the lock, and a map of counters is whole at any time.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn new(family: Family, labels: &[&str]) -> Self {
        debug_assert_eq!(labels.len(), family.labels().len(), "{family:?} has other labels");
        Self { family, labels: labels.iter().map(ToString::to_string).collect() }
    }
}

/// As Prometheus' text format has it.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.family.full_name())?;
        for (index, (key, value)) in self.family.labels().iter().zip(&self.labels).enumerate() {
            f.write_char(if index == 0 { '{' } else { ',' })?;
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(f, "{key}=\"{value}\"")?;
        }
        if self.labels.is_empty() { Ok(()) } else { f.write_char('}') }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_shown_before_it_happens() {
        let json = Metrics::default().to_json();
        let counters: serde_json::Value = serde_json::from_str(&json).unwrap();
        for reason in ["ring_full", "program_miss", "decode", "queue_overflow"] {
            let name = format!("ldsentry_events_lost_total{{reason=\"{reason}\"}}");
            assert_eq!(counters["counters"][&name], 0, "{name} in {json}");
        }
        assert_eq!(counters["counters"]["ldsentry_log_lines_lost_total"], 0);
        assert!(!json.contains('\n'));
    }

    #[test]
    fn handles_and_clones_count_the_same_series() {
        let metrics = Metrics::default();
        metrics.increment(Counter::LostRingFull);
        metrics.counter(Counter::LostRingFull).add(2);
        metrics.clone().suppressed("rule", "process.name == \"a\\b\"").increment();
        metrics.suppressed("rule", "process.name == \"a\\b\"").increment();
        metrics.alerts("rule").set(7);
        let shown: Vec<_> = metrics
            .snapshot()
            .into_iter()
            .filter(|(_, value)| *value > 0)
            .map(|(series, value)| format!("{series} {value}"))
            .collect();
        assert_eq!(
            shown,
            [
                r#"ldsentry_events_lost_total{reason="ring_full"} 3"#,
                r#"ldsentry_alerts_total{rule_id="rule"} 7"#,
                r#"ldsentry_alerts_suppressed_total{rule_id="rule",clause="process.name == \"a\\b\""} 2"#,
            ]
        );
    }

    #[test]
    fn people_see_what_is_not_0() {
        let metrics = Metrics::default();
        metrics.counter(Counter::LostDecode).add(3);
        assert_eq!(
            metrics.to_text(),
            "counters since the start (all others are 0):\n         3  ldsentry_events_lost_total{reason=\"decode\"}"
        );
    }

    #[test]
    fn each_counter_is_a_series_of_its_own() {
        let metrics = Metrics::default();
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            metrics.counter(counter).set(index as u64 + 1);
        }
        let mut values: Vec<_> = metrics.snapshot().into_iter().map(|(_, value)| value).collect();
        values.sort_unstable();
        assert_eq!(values, (1..=Counter::ALL.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn the_checked_in_reference_is_current() {
        crate::testing::assert_document_is_current("metrics.md", &markdown_reference());
    }
}
