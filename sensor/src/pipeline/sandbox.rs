//! What the daemon gives up once everything is attached.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::source::Watcher;
use crate::config::{Sandbox, Settings};
use crate::instance::RUN_DIRECTORY;
use crate::sandbox::{self, Needs};

/// Enters the sandbox, unless the settings say not to, and tells what came of it.
pub(super) fn enter(settings: &Settings, watcher: &mut Watcher) {
    if settings.sensor.sandbox == Sandbox::Off {
        tracing::debug!("sensor.sandbox is \"off\": the daemon keeps all its privileges");
        return;
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
    let sandbox = sandbox::enter(needs);
    tracing::info!("sandbox: {sandbox}");
    for missing in &sandbox.missing {
        tracing::warn!("the sandbox is not whole: {missing}");
    }
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
    directories
}
