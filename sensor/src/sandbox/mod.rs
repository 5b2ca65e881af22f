//! What the sensor gives up once everything is attached, so that whoever takes it over has little: capabilities, the right
//! to gain any, system calls, and writing outside its own directories. docs/privileges.md says what is kept and why.
//!
//! It is entered before there are threads; what a thread that is there already (the log's) has is taken from it by itself
//! ([`confine_helper`]), or by the kernel for all threads (the system calls).

mod capabilities;
mod directories;
mod system_calls;

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

/// What a sensor will do in its sandbox.
#[expect(missing_debug_implementations, reason = "a closure has nothing to show")]
pub struct Needs<'w> {
    /// Directories to write to.
    pub directories: Vec<PathBuf>,
    /// Connections to other hosts.
    pub network: bool,
    /// Whether the sensor can use what it has attached, as the process's capabilities are now.
    pub works: &'w mut dyn FnMut() -> bool,
}

/// What came of entering.
#[derive(Debug, Default)]
pub struct Sandbox {
    /// Capabilities that are kept.
    pub capabilities: Vec<&'static str>,
    /// Version of Landlock's interface, where the kernel has it: writing is for the directories alone, and execution for
    /// nobody.
    pub landlock: Option<i32>,
    /// The system calls are filtered.
    pub system_calls: bool,
    /// What could not be done, and what follows.
    pub missing: Vec<String>,
}

/// Enters the sandbox, as far as the kernel has one.
pub fn enter(needs: Needs<'_>) -> Sandbox {
    let Needs { directories, network, works } = needs;
    let mut sandbox = Sandbox::default();
    let mut missing = Vec::new();
    let mut miss = |what: &str, error: &dyn fmt::Display| missing.push(format!("{what}: {error}"));
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        miss("new privileges can be gained", &error);
    }
    let kept = capabilities::find_needed(works, &directories);
    match kept.and_then(|kept| capabilities::keep(kept).map(|()| kept)) {
        Ok(kept) => sandbox.capabilities = capabilities::names(kept),
        Err(error) => miss("all capabilities are kept", &error),
    }
    match directories::restrict(&directories) {
        Ok(Some(version)) => sandbox.landlock = Some(version),
        Ok(None) => {
            let why = "the kernel has no Landlock (it came with 5.13), or it is not among its security modules: add \
                       `landlock` to lsm= on the kernel's command line";
            miss("files anywhere can be written to", &why);
        }
        Err(error) => miss("files anywhere can be written to", &error),
    }
    match system_calls::filter_sensor(network) {
        Ok(()) => sandbox.system_calls = true,
        Err(error) => miss("system calls are not filtered", &error),
    }
    sandbox.missing = missing;
    sandbox
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept =
            if self.capabilities.is_empty() { "none".to_owned() } else { self.capabilities.join(", ") };
        write!(f, "capabilities {kept}")?;
        if let Some(version) = self.landlock {
            write!(f, "; writes only to its directories (Landlock {version})")?;
        }
        if self.system_calls {
            f.write_str("; system calls filtered")?;
        }
        Ok(())
    }
}

/// Takes everything from the thread that calls this: it may write to what is open, and that is all.
pub fn confine_helper() {
    // What is missing, the sensor says when it enters the sandbox itself.
    let _ = rustix::thread::set_no_new_privs(true);
    let _ = capabilities::keep(CapabilitySet::empty());
    let _ = directories::restrict(&[]);
}

/// Takes everything from this process but what [`crate::links`] needs, as far as the kernel does that. Gives what could not
/// be taken, and why.
pub(crate) fn confine_reader() -> Vec<String> {
    let mut missing = Vec::new();
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        missing.push(format!("ldsentry-reader can gain new privileges: {error}"));
    }
    if let Err(error) = capabilities::keep(CapabilitySet::SYS_PTRACE) {
        missing.push(format!("ldsentry-reader keeps all capabilities: {error}"));
    }
    if let Err(error) = system_calls::filter_reader() {
        missing.push(format!("the system calls of ldsentry-reader are not filtered: {error}"));
    }
    missing
}

/// Version of Landlock's interface, if the kernel has it and it is on.
pub fn landlock_version() -> Option<i32> {
    directories::version().ok()
}

/// Whether the kernel filters system calls.
pub fn has_system_call_filters() -> bool {
    Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
}
