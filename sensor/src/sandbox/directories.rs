//! Landlock: whoever has taken over the sensor writes to its directories and nowhere else, and executes nothing.
//!
//! Reading is not restricted: what the sensor looks at can be anywhere.

use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};
use rustix::io::Errno;

/// Of this interface (6.2) is all that is used, where the kernel has it.
const NEWEST: ABI = ABI::V3;

/// Restricts this thread and those that it starts. None where the kernel has no Landlock.
pub(super) fn restrict(directories: &[PathBuf]) -> io::Result<Option<i32>> {
    let version = match version() {
        Ok(version) => version,
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let enforced = write_only_to(directories).map_err(io::Error::other)?;
    Ok(enforced.then_some(version))
}

fn write_only_to(directories: &[PathBuf]) -> Result<bool, RulesetError> {
    let writing = AccessFs::from_write(NEWEST);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writing | AccessFs::Execute)?
        .create()?
        .add_rules(directories.iter().filter_map(|directory| {
            // One that is not there cannot be written to either.
            let directory = PathFd::new(directory).ok()?;
            Some(Ok::<_, RulesetError>(PathBeneath::new(directory, writing)))
        }))?;
    let status = ruleset.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Version of the interface; `NOSYS` if the kernel does not have it, `OPNOTSUPP` if it is off.
pub(super) fn version() -> Result<i32, Errno> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the call takes no structure and gives a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    i32::try_from(version)
        .ok()
        .filter(|version| *version > 0)
        .ok_or_else(|| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOSYS))
}
