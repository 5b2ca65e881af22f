//! The daemon: the only place that knows all stages.

mod absence;
mod error;
mod heartbeat;
mod inventory;
mod raise;
mod records;
mod reload;
mod sandbox;
mod searches;
mod self_test;
mod source;
mod telling;

use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use self::absence::Losses;
pub use self::error::PipelineError;
use self::records::Handover;
pub use self::reload::Reread;
use self::sandbox::Confined;
pub use self::sandbox::written_directories;
use self::searches::Searches;
pub use self::source::try_sources;
use self::source::{Input, Wakeup, Watcher};
use crate::alert::Template;
use crate::config::{self, Attach, SensorOptions, Settings};
use crate::detect::{Engine, Exclusion};
use crate::event::Event;
use crate::filter::Filters;
use crate::host::{Host as _, Procfs, boot_ns};
use crate::instance::Instance;
use crate::inventory::Inventory;
use crate::kernel::{self, AttachMode, Diagnostics, Overlap};
use crate::links;
use crate::load::Loaded;
use crate::log::Log;
use crate::memory::Memory;
use crate::metrics::{Handle, Metrics};
use crate::notify;
use crate::outcome::Outcomes;
use crate::prefix::Prefix;
use crate::presence::Presence;
use crate::rule::Rule;
use crate::self_test::{RULE_ID as SELF_TEST_RULE_ID, SelfTest};
use crate::sink::{self, Outputs, Sent};
use crate::status::{BEAT, Health, StatusServer};

/// How long outputs may take to deliver what is left when the daemon ends.
const PATIENCE_AT_EXIT: Duration = Duration::from_secs(5);

/// How long the last of these may take when the daemon ends.
const SEARCH_AT_EXIT: Duration = Duration::from_secs(1);

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
        pins: options.pins.get().map(Path::to_owned),
        actions: filters.actions().collect(),
    }
}

/// Watches the host until a signal ends it. What `reread` gives replaces settings and rules when another signal asks for it.
pub async fn run(
    settings: Settings,
    loaded: Loaded,
    reread: &Reread<'_>,
    metrics: &Metrics,
    log: &Log,
) -> Result<(), PipelineError> {
    let _instance = Instance::acquire()?;
    let begun_ns = boot_ns();
    let health = Health::default();
    let server = settings.metrics.as_ref().map(|metrics| StatusServer::bind(metrics.listen)).transpose()?;
    let source::Begun { mut watcher, mut input, past } =
        source::open(&settings.sensor, &loaded.engine, metrics)?;
    // Everything is attached, and nothing else that has threads is there yet.
    let confined = sandbox::enter(&settings, &mut watcher);
    if let Some(server) = server {
        server.start(&health, metrics)?;
    }
    let outputs = Outputs::open(&settings.output, &settings.spool, metrics)?;
    if settings.sensor.inventory == config::Inventory::Alert {
        metrics.alerts(crate::inventory::RULE_ID);
    }
    // Only now that everything is hooked: between the two nothing is missed.
    let inventory = inventory::begin(settings.sensor.inventory, &loaded.engine);
    let host = Procfs::of_host();
    let (presence, before) = Presence::open(&host.describe().boot_id);
    let mut pipeline = Pipeline {
        watcher,
        confined,
        prefixes: loaded.engine.prefixes(),
        engine: loaded.engine,
        outcomes: Outcomes::new(settings.sensor.outcome_timeout.get()),
        host,
        outputs,
        metrics: metrics.clone(),
        handles: HashMap::new(),
        templates: HashMap::new(),
        start: Instant::now(),
        settled: Vec::new(),
        lost_before: 0,
        for_people: sink::is_for_people(settings.output.stdout.format),
        memory: Memory::default(),
        mounts_due: Some(Duration::ZERO),
        settled_up_to: VecDeque::new(),
        release_due: None,
        handover: None,
        overlap: Overlap::default(),
        presence,
        losses: Losses::default(),
        seen_ns: before.as_ref().map_or(begun_ns, |before| before.boot_ns),
        absence_due: Duration::ZERO,
        searches: Searches::default(),
        inventory,
        health,
        self_test: None,
        last_heartbeat: None,
        settings,
        reread,
        reloads: 0,
        log,
    };
    pipeline.begin_self_test(loaded.self_test);
    pipeline.count_from_nothing();
    pipeline.report_gap(before.as_ref(), past);
    let result = pipeline.watch(&mut input).await;
    let ending = match &result {
        Ok(ending) => *ending,
        // Whoever starts it afresh is to attach afresh.
        Err(PipelineError::Blind) => Ending::Done,
        Err(_) => Ending::ToBeContinued,
    };
    pipeline.finish(input, ending).await;
    result.map(drop)
}

/// How the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// By the service manager, who may start it again: the kernel goes on collecting.
    ToBeContinued,
    /// By a person at a terminal, or because it is blind: nothing stays.
    Done,
}

struct Pipeline<'l> {
    watcher: Watcher,
    confined: Confined,
    engine: Engine,
    outcomes: Outcomes,
    host: Procfs,
    outputs: Outputs,
    metrics: Metrics,
    /// Counters by rule and what it said, so that no text is made for an event that is known.
    handles: HashMap<(usize, Option<Exclusion>), Handle>,
    /// What is the same in all alerts of a rule, for those that raised one.
    templates: HashMap<usize, Template>,
    start: Instant,
    settled: Vec<Event>,
    /// Signs that had been lost when the ring was last empty.
    lost_before: u64,
    /// Standard output is read by a person.
    for_people: bool,
    memory: Memory,
    /// When to look which file systems are mounted below directories that rules look for.
    mounts_due: Option<Duration>,
    /// Where the files are that rules are about; nothing if they could be anywhere.
    prefixes: Option<Vec<Prefix>>,
    /// Places in the ring before which everything was settled when so much had been sent, the first one first.
    settled_up_to: VecDeque<(usize, Sent)>,
    /// When to try again to give the ring's place back.
    release_due: Option<Duration>,
    handover: Option<Handover>,
    /// What its programs and this daemon's both saw.
    overlap: Overlap,
    presence: Presence,
    losses: Losses,
    /// Until when everything was seen, and was or will be told, boot clock.
    seen_ns: u64,
    /// When to note for the next daemon that this one watches, and to tell of losses.
    absence_due: Duration,
    searches: Searches,
    /// What looks for the files that were there.
    inventory: JoinSet<Inventory>,
    health: Health,
    self_test: Option<SelfTest>,
    /// When the last heartbeat was sent.
    last_heartbeat: Option<Duration>,
    settings: Settings,
    reread: &'l Reread<'l>,
    /// How often settings and rules were to be replaced.
    reloads: u64,
    log: &'l Log,
}

impl Pipeline<'_> {
    async fn watch(&mut self, input: &mut Input) -> Result<Ending, PipelineError> {
        let mut diagnostics = self.watcher.take_diagnostics();
        let listen = |kind| signal(kind).map_err(PipelineError::Signals);
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut asked = listen(SignalKind::user_defined1())?;
        let mut hangup = listen(SignalKind::hangup())?;
        let reader = links::watch_reader().map_err(PipelineError::Reader)?;
        self.say_what_is_watched();
        self.health.set_watching(true);
        let ending;
        let mut beat = self.beat_interval();
        loop {
            self.take_all(input)?;
            let self_test = self.self_test.as_ref().map(SelfTest::due);
            let others = [self.mounts_due, self.release_due, self.handover_due(), self_test];
            let tellers = [self.heartbeat(), Some(self.watch_absence())];
            let deadlines = [self.outcomes.deadline(), self.memory.deadline()].into_iter();
            let deadlines = deadlines.chain(others).chain(tellers);
            let deadline = deadlines.flatten().min();
            let deadline = deadline.map(|deadline| tokio::time::Instant::from_std(self.start + deadline));
            tokio::select! {
                wakeup = input.wait() => match (wakeup?, &mut self.watcher) {
                    (Wakeup::MountsChanged, Watcher::Fanotify(fanotify)) => fanotify.mounts_changed(),
                    (Wakeup::MountsChanged | Wakeup::Records, _) => {}
                },
                _ = terminate.recv() => {
                    ending = Ending::ToBeContinued;
                    break;
                }
                _ = interrupt.recv() => {
                    ending = Ending::Done;
                    break;
                }
                _ = asked.recv() => {
                    // What waits for its outcome wakes nobody.
                    self.take_all(input)?;
                    self.report();
                }
                _ = hangup.recv() => self.reload(input),
                () = ended(reader.as_ref()) => return Err(PipelineError::ReaderGone),
                () = self.outputs.all_gone() => return Err(PipelineError::OutputsGone),
                () = pass_on(&mut diagnostics) => {}
                Some(found) = self.searches.next() => self.found(found),
                Some(found) = self.inventory.join_next() => self.tell(found.unwrap_or_default()),
                () = tick(&mut beat) => self.beat(),
                () = sleep_until(deadline) => {}
            }
        }
        notify::stopping();
        self.health.set_watching(false);
        self.take_all(input)?;
        if let Some(diagnostics) = &mut diagnostics {
            diagnostics.flush();
        }
        Ok(ending)
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.engine.rules().filter(|rule| rule.id != SELF_TEST_RULE_ID)
    }

    /// Delivers what is left and prints the counters, which then hold it too.
    async fn finish(mut self, mut input: Input, ending: Ending) {
        let stays = self.watcher.stays() && ending == Ending::ToBeContinued;
        if !stays {
            let lost = self.outcomes_lost();
            self.outcomes.finish(lost, &mut self.settled);
            self.raise();
        }
        let deadline = tokio::time::Instant::now() + SEARCH_AT_EXIT;
        while let Ok(Some(found)) = tokio::time::timeout_at(deadline, self.searches.next()).await {
            self.found(found);
            self.raise();
        }
        for _ in 0..self.searches.len() {
            self.not_looked_into("a directory was still to be looked into when the daemon ended");
        }
        if let Ok(Some(found)) = tokio::time::timeout_at(deadline, self.inventory.join_next()).await {
            self.tell(found.unwrap_or_default());
        }
        let was_heard = self.outputs.are_working();
        let dropped = self.outputs.close(PATIENCE_AT_EXIT);
        if dropped > 0 {
            tracing::error!("{dropped} alerts could not be delivered before the daemon ended");
        } else if was_heard && let Input::Ring(ring, _) = &mut input {
            // What still waits for its outcome, the next daemon finds in the ring.
            let waiting = self.first_waiting(|position| ring.has(position));
            ring.release(waiting.unwrap_or(ring.position()));
        }
        if !stays {
            self.watcher.unpin();
        }
        self.note_presence();
        self.report();
    }

    /// How often somebody wants to know that the pipeline moves. Where nobody does, an idle daemon sleeps.
    fn beat_interval(&self) -> Option<Interval> {
        let watchdog = notify::watchdog_interval();
        if watchdog.is_none() && self.settings.metrics.is_none() {
            return None;
        }
        let mut interval = tokio::time::interval(watchdog.map_or(BEAT, |most| BEAT.min(most)));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(interval)
    }

    /// Shows that the pipeline moves, and what the kernel counted.
    fn beat(&self) {
        self.health.beat();
        self.watcher.count(&self.metrics);
        notify::watchdog();
    }
}

async fn pass_on(diagnostics: &mut Option<Diagnostics>) {
    match diagnostics {
        Some(diagnostics) => diagnostics.pass_on().await,
        None => std::future::pending().await,
    }
}

/// The process at the other end.
async fn ended(life: Option<&AsyncFd<BorrowedFd<'static>>>) {
    match life {
        Some(life) => drop(life.readable().await),
        None => std::future::pending().await,
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
