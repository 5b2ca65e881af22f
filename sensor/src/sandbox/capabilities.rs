//! Capabilities: which are needed is found out by trying, for it depends on the kernel.

use std::io;
use std::path::PathBuf;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// To look into directories of others: a renamed one for the files in it, or those on the way to a rule's path.
const KEPT: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// What has to be kept to use maps, for `works` to be true (marking directories, before 5.13), and to write to `directories`.
pub(super) fn find_needed(
    works: &mut dyn FnMut() -> bool,
    directories: &[PathBuf],
) -> io::Result<CapabilitySet> {
    let all = capabilities(None)?;
    let mut needed = KEPT & all.permitted;
    let with = |effective| set_capabilities(None, CapabilitySets { effective, ..all });
    with(needed)?;
    if !may_use_maps() {
        needed |= CapabilitySet::BPF & all.permitted;
        with(needed)?;
    }
    if !works() {
        needed |= CapabilitySet::SYS_ADMIN & all.permitted;
        with(needed)?;
    }
    let override_owner = CapabilitySet::DAC_OVERRIDE & all.permitted;
    let is_writable = |directory: &PathBuf| {
        !directory.exists()
            || accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    };
    if !directories.iter().all(is_writable) {
        needed |= override_owner;
    }
    with(all.effective)?;
    Ok(needed)
}

/// Before 5.19, `kernel.unprivileged_bpf_disabled` lets only `CAP_BPF` use maps, even those that are open.
fn may_use_maps() -> bool {
    const BPF_MAP_LOOKUP_ELEM: i32 = 1;
    let mut attributes = [0_u8; 64];
    attributes[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
    // SAFETY: a structure of the length that is said, in which the descriptor is none, so that nothing is looked up.
    unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_ELEM, attributes.as_mut_ptr(), attributes.len()) };
    io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
}

/// Gives up all but `kept`, for good: from every set that this thread has.
pub(super) fn keep(kept: CapabilitySet) -> io::Result<()> {
    let kept = kept & capabilities(None)?.permitted;
    // Without CAP_SETPCAP there is nothing to be done about the bounding set, nor anything to be gained from it.
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if !kept.contains(one) && capability_is_in_bounding_set(one).is_ok_and(|is_in| is_in) {
            let _ = remove_capability_from_bounding_set(one);
        }
    }
    let _ = clear_ambient_capability_set();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// As manuals call them.
pub(super) fn names(set: CapabilitySet) -> Vec<&'static str> {
    let known = [
        (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
        (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
    ];
    known.into_iter().filter(|(one, _)| set.contains(*one)).map(|(_, name)| name).collect()
}
