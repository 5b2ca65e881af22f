//! What delivers the events: the hooks, or fanotify where the kernel takes none.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{PipelineError, kernel_options};
use crate::check::Tried;
use crate::config::{Attach, SensorOptions, Source};
use crate::decode::decode_process;
use crate::detect::Engine;
use crate::event::Action;
use crate::fanotify::{Fanotify, FanotifyError, Recall};
use crate::host::boot_ns;
use crate::kernel::{self, Diagnostics, Kernel, KernelError, Left, Opened, Processes, Removed, Ring};
use crate::metrics::{Counter, Metrics};
use crate::prefix::Prefix;

/// What watches. It stops when this is dropped.
pub(super) enum Watcher {
    Hooks(Box<Kernel>),
    Fanotify(Box<Fanotify>),
}

/// Where its records are read.
pub(super) enum Input {
    Ring(Box<Ring>, AsyncFd<OwnedFd>),
    Directories { notifications: AsyncFd<OwnedFd>, mounts: AsyncFd<OwnedFd> },
}

/// A source at work, and what there was before it.
pub(super) struct Begun {
    pub(super) watcher: Watcher,
    pub(super) input: Input,
    pub(super) past: Past,
}

/// What other daemons left in the kernel.
#[derive(Default)]
pub(super) struct Past {
    /// The programs are those that were at work before.
    pub(super) is_same: bool,
    /// Those, and other programs.
    pub(super) left: Left,
    /// Since when this daemon's own programs watch, boot clock.
    pub(super) since_ns: u64,
}

impl From<(Watcher, Input)> for Begun {
    fn from((watcher, input): (Watcher, Input)) -> Self {
        Self { watcher, input, past: Past::default() }
    }
}

/// What there is to do.
pub(super) enum Wakeup {
    Records,
    MountsChanged,
}

/// Opens what the settings ask for; of its own accord, the hooks if the kernel takes them.
pub(super) fn open(
    options: &SensorOptions,
    engine: &Engine,
    metrics: &Metrics,
) -> Result<Begun, PipelineError> {
    match options.source {
        Source::Ebpf => Ok(open_hooks(options, engine)?),
        Source::Fanotify => {
            let opened = open_fanotify(options, (prefixes(engine), actions(engine)))?;
            end_hooks(options);
            Ok(opened.into())
        }
        Source::Auto => match open_hooks(options, engine) {
            // Whoever names a way to attach, or a file, wants to know that it does not work.
            Err(error) if options.attach == Attach::Auto && !is_about_given_file(&error) => {
                Ok(fall_back(error, options, engine, metrics)?.into())
            }
            opened => Ok(opened?),
        },
    }
}

/// Of another daemon, which had them stay.
fn end_hooks(options: &SensorOptions) {
    match options.pins.get().map(kernel::unload).transpose() {
        Ok(None | Some(None)) => {}
        Ok(Some(Some((Removed { links, .. }, unread)))) => tracing::warn!(
            "removed {links} hooks that were to stay for a daemon with hooks, and {unread} bytes of what they collected"
        ),
        Err(error) => tracing::warn!("something stays in the kernel: {error}; `ldsentry unload` removes it"),
    }
}

fn is_about_given_file(error: &KernelError) -> bool {
    matches!(error, KernelError::Offsets(error) if error.is_about_given_file())
}

fn fall_back(
    hooks: KernelError,
    options: &SensorOptions,
    engine: &Engine,
    metrics: &Metrics,
) -> Result<(Watcher, Input), PipelineError> {
    match open_fanotify(options, (prefixes(engine), actions(engine))) {
        Ok(opened) => {
            metrics.increment(Counter::SourceFallback);
            tracing::warn!(
                "the hooks cannot be attached (`ldsentry check` says why): watching with fanotify, which sees less \
                 (docs/sources.md says what)"
            );
            tracing::debug!("the hooks: {hooks}");
            Ok(opened)
        }
        Err(fanotify) => Err(PipelineError::NoSource(Box::new((hooks, fanotify)))),
    }
}

fn open_hooks(options: &SensorOptions, engine: &Engine) -> Result<Begun, KernelError> {
    let filters = engine.filters();
    let Opened { mut kernel, ring, found } = kernel::open(&kernel_options(options, &filters))?;
    kernel.set_filters(&filters)?;
    let since_ns = boot_ns();
    // Only now, so that there is no moment in which nobody watches.
    let mut left = kernel.pin(&ring);
    left.links += found.unwrap_or(0);
    let past = Past { is_same: found.is_some(), left, since_ns };
    let descriptor = ring.descriptor()?;
    Ok(Begun {
        watcher: Watcher::Hooks(Box::new(kernel)),
        input: Input::Ring(Box::new(ring), descriptor),
        past,
    })
}

/// Opens everything there is, whatever the settings ask for, and lets go of it again.
pub fn try_sources(options: &SensorOptions, engine: &Engine) -> Tried {
    Tried {
        hooks: kernel::attempt(&kernel::Options { pins: None, ..kernel_options(options, &engine.filters()) }),
        fanotify: Fanotify::open(prefixes(engine), actions(engine), None).map(drop),
    }
}

/// What rules ask for.
fn actions(engine: &Engine) -> BTreeSet<Action> {
    engine.filters().actions().collect()
}

/// Where the files are that rules ask for. Says which rules do not say it.
fn prefixes(engine: &Engine) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    for (index, rule) in engine.rules().enumerate() {
        if let Some(found) = engine.rule_prefixes(index) {
            prefixes.extend(found);
        } else {
            tracing::warn!(
                "`{}` is not watched: fanotify watches directories, and its query names none that `file.path` begins with",
                rule.name
            );
        }
    }
    prefixes
}

fn open_fanotify(
    options: &SensorOptions,
    (prefixes, actions): (Vec<Prefix>, BTreeSet<Action>),
) -> Result<(Watcher, Input), FanotifyError> {
    let fanotify = Fanotify::open(prefixes, actions, recall(options))?;
    let register = |descriptor: OwnedFd, interest| {
        // SAFETY: the descriptor is owned, so it is open as long as it is registered.
        unsafe { AsyncFd::register_with_interest(descriptor, interest) }
            .map_err(|error| FanotifyError::Read(error.into()))
    };
    let notifications = fanotify.notifications().map_err(FanotifyError::Read)?;
    let notifications = register(notifications, Interest::READABLE)?;
    let mounts = register(fanotify.mounts().map_err(FanotifyError::Mounts)?, Interest::PRIORITY)?;
    Ok((Watcher::Fanotify(Box::new(fanotify)), Input::Directories { notifications, mounts }))
}

/// Has the kernel remember processes, if it takes the programs for it.
fn recall(options: &SensorOptions) -> Option<Recall> {
    match Processes::open(options.btf.as_deref()) {
        Ok(processes) => Some(Box::new(move |pid| {
            let record = processes.get(pid)?;
            decode_process(&record).inspect_err(|error| tracing::error!("of process {pid}: {error}")).ok()
        })),
        Err(error) => {
            tracing::warn!(
                "processes that are gone when fanotify tells what they did will be unknown: {error}"
            );
            None
        }
    }
}

impl Watcher {
    /// Whether the process's capabilities are enough to go on.
    pub(super) fn works(&mut self) -> bool {
        match self {
            Self::Hooks(_) => true,
            Self::Fanotify(fanotify) => fanotify.may_mark(),
        }
    }

    /// What it watches with, for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Hooks(kernel) => format!("{} programs", kernel.mode()),
            Self::Fanotify(fanotify) => format!("fanotify on {} directories", fanotify.directories()),
        }
    }

    /// What new rules ask for and nothing is attached for.
    pub(super) fn unhooked(&self, new: &Engine) -> Vec<Action> {
        match self {
            Self::Hooks(kernel) => kernel.unhooked(new.filters().actions()),
            Self::Fanotify(_) => Vec::new(),
        }
    }

    /// Watches what new rules need instead of what the old ones did.
    pub(super) fn reload(&mut self, new: &Engine) -> Result<(), PipelineError> {
        match self {
            Self::Hooks(kernel) => {
                let filters = new.filters();
                let actions: Vec<_> = filters.actions().collect();
                kernel.attach(&actions)?;
                kernel.set_filters(&filters)?;
                kernel.detach_others(&actions);
            }
            Self::Fanotify(fanotify) => fanotify.watch(prefixes(new), actions(new)),
        }
        Ok(())
    }

    /// Looks for what changed while nobody watched, if it can: the hooks go on by themselves, or what they missed is gone.
    pub(super) fn look_back(&mut self, since: Option<Timestamp>) {
        if let Self::Fanotify(fanotify) = self {
            fanotify.look_back(since);
        }
    }

    /// Whether it goes on collecting when this process ends.
    pub(super) fn stays(&self) -> bool {
        matches!(self, Self::Hooks(kernel) if kernel.stays())
    }

    /// How many links are pinned.
    pub(super) fn links(&self) -> usize {
        if let Self::Hooks(kernel) = self { kernel.links() } else { 0 }
    }

    /// Has it end with this process.
    pub(super) fn unpin(&mut self) {
        if let Self::Hooks(kernel) = self {
            kernel.unpin();
        }
    }

    /// Events that were lost since the start, as far as that is known.
    pub(super) fn lost(&self) -> u64 {
        match self {
            Self::Hooks(kernel) => {
                let counters = kernel.counters();
                counters.events_lost + counters.misses
            }
            Self::Fanotify(fanotify) => fanotify.counters().overflows,
        }
    }

    /// Whether it tells of an action.
    pub(super) fn sees(&self, action: Action) -> bool {
        match self {
            Self::Hooks(_) => true,
            Self::Fanotify(_) => action != Action::Mount,
        }
    }

    /// Tells the filter about mounts. Whether that is done with.
    pub(super) fn look_at_mounts(&mut self) -> Result<bool, KernelError> {
        match self {
            Self::Hooks(kernel) => kernel.look_at_mounts(),
            Self::Fanotify(_) => Ok(true),
        }
    }

    /// What programs in the kernel say about themselves.
    pub(super) fn take_diagnostics(&mut self) -> Option<Diagnostics> {
        match self {
            Self::Hooks(kernel) => kernel.take_diagnostics(),
            Self::Fanotify(_) => None,
        }
    }

    /// Of what the kernel counts, what decides what a missing outcome means.
    pub(super) fn outcomes_lost(&self) -> u64 {
        match self {
            Self::Hooks(kernel) => kernel.outcomes_lost(),
            Self::Fanotify(_) => 0,
        }
    }

    /// Puts what it counted into the metrics.
    pub(super) fn count(&self, metrics: &Metrics) {
        match self {
            Self::Hooks(kernel) => {
                let counters = kernel.counters();
                metrics.counter(Counter::LostRingFull).set(counters.events_lost);
                metrics.counter(Counter::LostProgramMiss).set(counters.misses);
            }
            Self::Fanotify(fanotify) => {
                let counters = fanotify.counters();
                metrics.counter(Counter::LostQueueOverflow).set(counters.overflows);
                metrics.counter(Counter::LostDecode).set(counters.not_understood);
                metrics.counter(Counter::Rescans).set(counters.rescans);
                metrics.counter(Counter::DirectoriesNotWatched).set(counters.refused);
            }
        }
    }

    /// Says what was lost.
    pub(super) fn report(&self) {
        let losses = match self {
            Self::Hooks(kernel) => {
                let counters = kernel.counters();
                vec![
                    (
                        counters.events_lost,
                        "events are lost because the ring was full: raise `sensor.ring_bytes`",
                    ),
                    (
                        counters.misses,
                        "calls of a hook were not seen because the program was already running on the CPU",
                    ),
                    (
                        counters.outcomes_lost,
                        "outcomes are unknown because the ring was full: raise `sensor.ring_bytes`",
                    ),
                    (
                        counters.operations_untracked,
                        "outcomes are unknown because too many operations were under way",
                    ),
                ]
            }
            Self::Fanotify(fanotify) => {
                let counters = fanotify.counters();
                vec![
                    (
                        counters.overflows,
                        "times the queue of fanotify was full: raise `fs.fanotify.max_queued_events`",
                    ),
                    (counters.refused, "directories could not be marked and are not watched"),
                ]
            }
        };
        for (count, what) in losses {
            if count > 0 {
                tracing::warn!("{count} {what}");
            }
        }
    }
}

impl Input {
    /// Waits until there is something to do.
    pub(super) async fn wait(&self) -> Result<Wakeup, PipelineError> {
        match self {
            Self::Ring(_, descriptor) => {
                descriptor.readable().await.map_err(KernelError::Wait)?.clear_ready();
                Ok(Wakeup::Records)
            }
            Self::Directories { notifications, mounts } => tokio::select! {
                ready = notifications.readable() => {
                    ready.map_err(FanotifyError::Read)?.clear_ready();
                    Ok(Wakeup::Records)
                }
                ready = mounts.ready(Interest::PRIORITY) => {
                    ready.map_err(FanotifyError::Mounts)?.clear_ready();
                    Ok(Wakeup::MountsChanged)
                }
            },
        }
    }
}
