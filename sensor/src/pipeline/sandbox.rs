//! What the daemon gives up once everything is attached.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::source::Watcher;
use crate::config::{Sandbox, Settings};
use crate::instance::RUN_DIRECTORY;
use crate::links;
use crate::sandbox::{self, Needs};

/// Directories that the service manager made for the daemon, as systemd.exec(5) names them. What is not written there yet, can be
/// after a reload.
const OF_SERVICE_MANAGER: [&str; 2] = ["STATE_DIRECTORY", "LOGS_DIRECTORY"];

/// What the daemon can do no more.
#[derive(Debug, Default)]
pub(super) struct Confined {
    /// Nothing else is attached.
    pub(super) attaches_nothing: bool,
    /// The only directories that are written to, without links in their paths.
    writes_to: Option<Vec<PathBuf>>,
}

impl Confined {
    /// Of the directories that these settings want to write to, one that cannot be.
    pub(super) fn refuses(&self, settings: &Settings) -> Option<PathBuf> {
        let writes_to = self.writes_to.as_ref()?;
        settings.written_directories().into_iter().find(|directory| {
            // What is wrong with one that is not there, the output says.
            directory.canonicalize().is_ok_and(|real| !writes_to.iter().any(|own| real.starts_with(own)))
        })
    }
}

/// Enters the sandbox, unless the settings say not to, and tells what came of it.
pub(super) fn enter(settings: &Settings, watcher: &mut Watcher) -> Confined {
    if settings.sensor.sandbox == Sandbox::Off {
        tracing::info!("sensor.sandbox is \"off\": the daemon keeps all its privileges");
        return Confined::default();
    }
    let needs = Needs {
        directories: directories(settings, watcher),
        network: settings.output.has_network(),
        works: &mut || watcher.works(),
    };
    for directory in needs.directories.iter().filter(|directory| !directory.is_dir()) {
        tracing::warn!(
            "{} is not there: what is to be written there will be refused, even if it is made later; make it, and restart",
            directory.display()
        );
    }
    let real = needs.directories.iter().filter_map(|directory| directory.canonicalize().ok()).collect();
    let sandbox = sandbox::enter(needs);
    tracing::info!("sandbox: {sandbox}");
    for missing in sandbox.missing.iter().chain(links::kept_by_reader()) {
        tracing::warn!("the sandbox is not whole (docs/privileges.md says what it takes): {missing}");
    }
    Confined { attaches_nothing: true, writes_to: sandbox.landlock.map(|_| real) }
}

/// Where the daemon writes to, and what is wrong with it, if something is.
pub fn written_directories(settings: &Settings) -> Vec<(PathBuf, Option<String>)> {
    let mut directories = settings.written_directories();
    directories.push(RUN_DIRECTORY.into());
    let judge = |directory: PathBuf| {
        // The daemon makes these two itself.
        let is_made = directory.as_os_str() == RUN_DIRECTORY
            || (settings.output.has_network() && settings.spool.path.parent() == Some(&directory));
        let place = if is_made && !directory.exists() { directory.parent() } else { None };
        let place = place.unwrap_or(&directory).to_owned();
        let access = Access::WRITE_OK | Access::EXEC_OK;
        let fault = match rustix::fs::accessat(CWD, &place, access, AtFlags::EACCESS) {
            Ok(()) if place.is_dir() => None,
            Ok(()) => Some("it is no directory".to_owned()),
            // Beyond one that is made there can be more.
            Err(Errno::NOENT) if is_made => None,
            Err(error) => Some(std::io::Error::from(error).to_string()),
        };
        (directory, fault)
    };
    directories.into_iter().map(judge).collect()
}

/// Where it writes from now on.
fn directories(settings: &Settings, watcher: &Watcher) -> Vec<PathBuf> {
    if settings.output.has_network()
        && let Some(directory) = settings.spool.path.parent()
    {
        // What is wrong with it, the spool says.
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    }
    let mut directories = settings.written_directories();
    directories.extend(Some(PathBuf::from(RUN_DIRECTORY)).filter(|directory| directory.is_dir()));
    // What is pinned is removed again: that of another version, and all of it if nothing is to stay.
    directories.extend(settings.sensor.pins.get().filter(|_| watcher.stays()).map(Path::to_owned));
    for variable in OF_SERVICE_MANAGER {
        let made = std::env::var_os(variable).unwrap_or_default();
        directories.extend(std::env::split_paths(&made).filter(|directory| directory.is_dir()));
    }
    directories
}
