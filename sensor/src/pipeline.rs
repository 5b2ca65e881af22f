//! The daemon: the only place that knows all stages.

mod inventory;
mod self_test;
mod source;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub use self::source::try_sources;
use self::source::{Input, Wakeup, Watcher};
use crate::alert::{self, Alert, SentEvent, Suppressed};
use crate::below::{Found, Search};
use crate::config::{self, Attach, MetricsOptions, SensorOptions, Settings};
use crate::decode::{RawRecord, decode};
use crate::detect::{Engine, Exclusion, Verdict};
use crate::ecs::{self, Candidate, Document};
use crate::enrich::enrich;
use crate::event::{Event, Executable, Outcome};
use crate::fanotify::FanotifyError;
use crate::filter::Filters;
use crate::host::Procfs;
use crate::instance::{Instance, InstanceError};
use crate::inventory::Inventory;
use crate::kernel::{self, AttachMode, Diagnostics, KernelError, Ring};
use crate::load::Loaded;
use crate::log::Log;
use crate::memory::{self, Memory};
use crate::metrics::{Counter, Handle, Metrics};
use crate::notify;
use crate::outcome::Outcomes;
use crate::self_test::{RULE_ID as SELF_TEST_RULE_ID, SelfTest, clean_up};
use crate::sink::{self, Outputs, OutputsError, Record};
use crate::status::{BEAT, Health, ServerError, StatusServer};

/// How long outputs may take to deliver what is left when the daemon ends.
const PATIENCE_AT_EXIT: Duration = Duration::from_secs(5);

/// Directories that are looked into at once. A file system that never answers takes one for good.
const MAX_SEARCHES: usize = 16;

/// How long the last of these may take when the daemon ends.
const SEARCH_AT_EXIT: Duration = Duration::from_secs(1);

/// How long it must have been quiet before mounts are looked at: that reads the mounts of every namespace.
const MOUNTS_SETTLE: Duration = Duration::from_secs(5);

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The kernel cannot be watched.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// fanotify does not work.
    #[error(transparent)]
    Fanotify(#[from] FanotifyError),
    /// Nothing works: why there are no hooks, and why there is no fanotify.
    #[error("{}\n{}", .0.0, .0.1)]
    NoSource(Box<(KernelError, FanotifyError)>),
    /// Another sensor runs.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// Alerts would go nowhere.
    #[error(transparent)]
    Outputs(#[from] OutputsError),
    /// The sensor does not see what it does itself.
    #[error(
        "the sensor does not see its own test, so it sees nothing: it ends, to be started afresh; if that goes on, see who \
         detaches its programs (`bpftool link`)"
    )]
    Blind,
    /// Metrics cannot be served.
    #[error(transparent)]
    Status(#[from] ServerError),
    /// All outputs have gone.
    #[error("the last output is gone, alerts would go nowhere: the daemon ends")]
    OutputsGone,
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(std::io::Error),
}

impl PipelineError {
    /// Why there are no hooks, if that is what it is about.
    pub fn about_hooks(&self) -> Option<&KernelError> {
        match self {
            Self::Kernel(error) => Some(error),
            Self::NoSource(errors) => Some(&errors.0),
            Self::Fanotify(_)
            | Self::Instance(_)
            | Self::Outputs(_)
            | Self::Blind
            | Self::Status(_)
            | Self::OutputsGone
            | Self::Signals(_) => None,
        }
    }
}

/// The way to attach that is prescribed, if one is.
pub fn attach_mode(attach: Attach) -> Option<AttachMode> {
    match attach {
        Attach::Auto => None,
        Attach::Fentry => Some(AttachMode::Fentry),
        Attach::Kprobe => Some(AttachMode::Kprobe),
    }
}

/// What the settings and the rules mean to the kernel's side.
fn kernel_options(options: &SensorOptions, filters: &Filters) -> kernel::Options {
    kernel::Options {
        attach: attach_mode(options.attach),
        btf: options.btf.clone(),
        ring_bytes: options.ring_bytes.get(),
        actions: filters.actions().collect(),
    }
}

/// Watches the host until a signal ends it.
pub async fn run(
    settings: &Settings,
    loaded: Loaded,
    metrics: &Metrics,
    log: &Log,
) -> Result<(), PipelineError> {
    let _instance = Instance::acquire()?;
    let health = Health::default();
    if let Some(MetricsOptions { listen }) = settings.metrics {
        StatusServer::start(listen, &health, metrics)?;
    }
    let outputs = Outputs::open(&settings.output, &settings.spool, metrics)?;
    for rule in loaded.engine.rules().filter(|rule| rule.id != SELF_TEST_RULE_ID) {
        // Known at 0 before it counts: Prometheus sees no increase from nothing to 1.
        metrics.alerts(&rule.id);
    }
    if settings.sensor.inventory == config::Inventory::Alert {
        metrics.alerts(crate::inventory::RULE_ID);
    }
    let (watcher, input) = source::open(&settings.sensor, &loaded.engine, metrics)?;
    // Only now that everything is hooked: between the two nothing is missed.
    let inventory = inventory::begin(settings.sensor.inventory, &loaded.engine);
    let mut pipeline = Pipeline {
        watcher,
        engine: loaded.engine,
        outcomes: Outcomes::new(settings.sensor.outcome_timeout.get()),
        host: Procfs::new(Path::new("/")),
        outputs,
        metrics: metrics.clone(),
        handles: HashMap::new(),
        start: Instant::now(),
        settled: Vec::new(),
        lost_before: 0,
        for_people: sink::is_for_people(settings.output.stdout.format),
        memory: Memory::default(),
        mounts_due: Some(Duration::ZERO),
        searches: JoinSet::new(),
        inventory,
        inventory_wanted: settings.sensor.inventory,
        health,
        self_test: settings.sensor.self_test.map(|interval| SelfTest::new(interval.get())),
        log,
    };
    let result = pipeline.watch(input).await;
    pipeline.finish().await;
    result
}

struct Pipeline<'l> {
    watcher: Watcher,
    engine: Engine,
    outcomes: Outcomes,
    host: Procfs,
    outputs: Outputs,
    metrics: Metrics,
    /// Counters by rule and what it said, so that no text is made for an event that is known.
    handles: HashMap<(usize, Option<Exclusion>), Handle>,
    start: Instant,
    settled: Vec<Event>,
    /// Signs that had been lost when the ring was last empty.
    lost_before: u64,
    /// Standard output is read by a person.
    for_people: bool,
    memory: Memory,
    /// When to look which file systems are mounted below directories that rules look for.
    mounts_due: Option<Duration>,
    searches: JoinSet<Found>,
    /// What looks for the files that were there.
    inventory: JoinSet<Inventory>,
    inventory_wanted: config::Inventory,
    health: Health,
    self_test: Option<SelfTest>,
    log: &'l Log,
}

impl Pipeline<'_> {
    async fn watch(&mut self, mut input: Input) -> Result<(), PipelineError> {
        let mut diagnostics = self.watcher.take_diagnostics();
        let listen = |kind| signal(kind).map_err(PipelineError::Signals);
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut asked = listen(SignalKind::user_defined1())?;
        let rules = self.engine.rules().filter(|rule| rule.id != SELF_TEST_RULE_ID).count();
        let actions: Vec<_> = self.engine.filters().actions().map(ecs::action).collect();
        if actions.is_empty() {
            tracing::warn!("no rule can fire, so nothing is watched; `ldsentry rules check` says why");
        }
        let (watcher, actions) = (self.watcher.describe(), actions.join(" and "));
        let line = format!("watching {actions} with {watcher} and {rules} rules");
        tracing::info!("{line}");
        notify::ready();
        notify::status(&line);
        self.health.set_watching(true);
        let mut beat = tokio::time::interval(notify::watchdog_interval().map_or(BEAT, |most| BEAT.min(most)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.take_all(&mut input)?;
            let self_test = self.self_test.as_ref().map(SelfTest::due);
            let deadlines = [self.outcomes.deadline(), self.memory.deadline(), self.mounts_due, self_test];
            let deadline = deadlines.into_iter().flatten().min();
            let deadline = deadline.map(|deadline| tokio::time::Instant::from_std(self.start + deadline));
            tokio::select! {
                wakeup = input.wait() => match (wakeup?, &mut self.watcher) {
                    (Wakeup::MountsChanged, Watcher::Fanotify(fanotify)) => fanotify.mounts_changed(),
                    (Wakeup::MountsChanged | Wakeup::Records, _) => {}
                },
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = asked.recv() => self.report(),
                () = self.outputs.all_gone() => return Err(PipelineError::OutputsGone),
                () = pass_on(&mut diagnostics) => {}
                Some(found) = self.searches.join_next() => self.found(found.unwrap_or_default()),
                Some(found) = self.inventory.join_next() => self.tell(found.unwrap_or_default()),
                _ = beat.tick() => self.beat(),
                () = sleep_until(deadline) => {}
            }
        }
        notify::stopping();
        self.health.set_watching(false);
        self.take_all(&mut input)?;
        if let Some(diagnostics) = &mut diagnostics {
            diagnostics.flush();
        }
        Ok(())
    }

    /// Works off everything that is there, and what has waited long enough.
    fn take_all(&mut self, input: &mut Input) -> Result<(), PipelineError> {
        let records = match input {
            Input::Ring(ring, _) => self.take_records(ring),
            Input::Directories { .. } => self.take_notifications()?,
        };
        let (now, lost) = (self.start.elapsed(), self.outcomes_lost());
        self.outcomes.expire(now, lost, &mut self.settled);
        self.raise();
        // Once for all that came together: it waits for the disk.
        self.outputs.flush();
        if self.mounts_due.is_some_and(|due| due <= now) {
            let done = self.watcher.look_at_mounts()?;
            self.mounts_due = (!done).then_some(now + MOUNTS_SETTLE);
        }
        self.test_itself(now)?;
        self.memory.used(records, now);
        if self.memory.expire(now, || self.outputs.is_idle()) {
            memory::give_back();
        }
        Ok(())
    }

    /// Gives how many there were.
    fn take_records(&mut self, ring: &mut Ring) -> u32 {
        let mut records = 0;
        loop {
            // Signs that were lost before the ring was seen empty belong to none of the records that come later.
            let lost = self.outcomes_lost();
            if ring.next(|record| self.take(record)).is_none() {
                self.lost_before = lost;
                break;
            }
            records += 1;
            self.raise();
        }
        records
    }

    /// What fanotify tells is done: there is no outcome to wait for. Gives how much was told.
    fn take_notifications(&mut self) -> Result<u32, PipelineError> {
        let mut records = 0;
        while let Watcher::Fanotify(fanotify) = &mut self.watcher
            && fanotify.read(&mut self.host, &mut self.settled)?
        {
            records += self.settled.len() as u32;
            self.raise();
        }
        Ok(records)
    }

    fn take(&mut self, record: &[u8]) {
        match decode(record) {
            Ok(RawRecord::Event(raw)) => {
                let events = enrich(&raw, &mut self.host);
                let (now, lost) = (self.start.elapsed(), self.outcomes_lost());
                self.outcomes.begin(&raw.fixed, events, now, (self.lost_before, lost), &mut self.settled);
            }
            Ok(RawRecord::Made(made)) => self.outcomes.made(&made, &mut self.settled),
            Ok(RawRecord::Mounts) => self.mounts_due = Some(self.start.elapsed() + MOUNTS_SETTLE),
            Ok(RawRecord::Ended(ended)) => self.outcomes.ended(&ended, &mut self.settled),
            Err(error) => {
                self.metrics.increment(Counter::LostDecode);
                tracing::error!("an event is lost: {error}");
            }
        }
    }

    fn outcomes_lost(&self) -> u64 {
        self.watcher.outcomes_lost()
    }

    fn raise(&mut self) {
        for event in std::mem::take(&mut self.settled) {
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
            self.detect(&event);
            self.look_below(&event);
        }
    }

    /// A directory brings the files in it.
    fn look_below(&mut self, event: &Event) {
        let Some(search) = Search::after(event, Path::new("/proc")) else { return };
        if self.searches.len() < MAX_SEARCHES {
            self.searches.spawn_blocking(|| search.run());
        } else {
            self.not_looked_into("too many directories are being looked into");
        }
    }

    fn found(&mut self, found: Found) {
        self.settled.extend(found.events);
        if let Some(reason) = found.incomplete {
            self.not_looked_into(&reason);
        }
    }

    fn not_looked_into(&self, reason: &str) {
        self.metrics.increment(Counter::LostDirectory);
        tracing::warn!("files can be missed: {reason}");
    }

    fn detect(&mut self, event: &Event) {
        let now = jiff::Timestamp::now();
        let Self { engine, handles, metrics, outputs, self_test, .. } = self;
        // The path that a rule looks for, if one does: rules elsewhere are to see the same.
        let (mut candidate, mut is_own) = (Candidate::default(), false);
        engine.detect_event(event, now, |detection| {
            let rule = engine.rule(detection.rule);
            let excluded = match detection.verdict {
                Verdict::Excluded(exclusion) => Some(exclusion),
                Verdict::Alert | Verdict::NotHonoured(_) => None,
                Verdict::NoMatch(_) | Verdict::NotOffered => return,
            };
            candidate = detection.candidate;
            if rule.id == SELF_TEST_RULE_ID {
                is_own = true;
                if self_test.as_mut().is_some_and(SelfTest::arrived) {
                    clean_up();
                    metrics.self_tests().increment();
                }
                return;
            }
            let clause = || engine.clause(detection.rule, detection.verdict);
            let document = || Document::new(event, engine.table(), detection.candidate).to_json();
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
                outputs.send_suppressed(|| Arc::new(Suppressed::new(rule, document(), &clause())));
                return;
            }
            let document = document();
            let clause = clause();
            let source = alert::Source { document, id: None, index: None, decided_by: &clause, not_honoured };
            let alert: Arc<dyn Record> = Arc::new(Alert::new(rule, source, now));
            outputs.send(&alert);
        });
        if event.outcome != Outcome::Failure && !is_own {
            outputs.send_event(|| {
                Arc::new(SentEvent::new(Document::new(event, engine.table(), candidate).to_json()))
            });
        }
    }

    /// Delivers what is left and prints the counters, which then hold it too.
    async fn finish(mut self) {
        let lost = self.outcomes_lost();
        self.outcomes.finish(lost, &mut self.settled);
        self.raise();
        let deadline = tokio::time::Instant::now() + SEARCH_AT_EXIT;
        while let Ok(Some(found)) = tokio::time::timeout_at(deadline, self.searches.join_next()).await {
            self.found(found.unwrap_or_default());
            self.raise();
        }
        for _ in 0..self.searches.len() {
            self.not_looked_into("a directory was still being looked into when the daemon ended");
        }
        if let Ok(Some(found)) = tokio::time::timeout_at(deadline, self.inventory.join_next()).await {
            self.tell(found.unwrap_or_default());
        }
        let dropped = self.outputs.close(PATIENCE_AT_EXIT);
        if dropped > 0 {
            tracing::error!("{dropped} alerts could not be delivered before the daemon ended");
        }
        self.report();
    }

    /// Shows that the pipeline moves, and what the kernel counted.
    fn beat(&self) {
        self.health.beat();
        self.watcher.count(&self.metrics);
        notify::watchdog();
    }

    /// Prints all counters.
    fn report(&self) {
        self.watcher.count(&self.metrics);
        self.watcher.report();
        let text = if self.for_people { self.metrics.to_text() } else { self.metrics.to_json() };
        self.log.print(&text);
    }
}

async fn pass_on(diagnostics: &mut Option<Diagnostics>) {
    match diagnostics {
        Some(diagnostics) => diagnostics.pass_on().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
