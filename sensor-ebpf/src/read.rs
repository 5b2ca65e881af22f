//! The two ways to read kernel memory, and the constants that say where.

use aya_ebpf::helpers::{bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel};
use sensor_common::offsets::Offsets;

/// Filled in by the daemon before loading: constants to the verifier.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::ABSENT;

/// Inode number of the host's mount namespace; filled in by the daemon.
#[unsafe(no_mangle)]
static HOST_MOUNT_NAMESPACE: u32 = 0;

/// An offset in this kernel.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a field of a static; volatile because the daemon changes it after compilation.
        unsafe { core::ptr::read_volatile(&raw const $crate::read::offsets().$field) }
    };
}
pub(crate) use offset;

#[inline(always)]
pub fn offsets() -> &'static Offsets {
    &OFFSETS
}

#[inline(always)]
pub fn host_mount_namespace() -> u32 {
    // SAFETY: a static; volatile because the daemon changes it after compilation.
    unsafe { core::ptr::read_volatile(&raw const HOST_MOUNT_NAMESPACE) }
}

/// How a program reads members of kernel structures.
pub trait Read {
    /// Reads a member at an offset; zero where that is not possible.
    fn read<T: Copy + Zero>(base: *const u8, offset: u32) -> T;

    /// The current task.
    fn current() -> *const u8;
}

/// A value that stands for what could not be read.
pub trait Zero {
    const ZERO: Self;
}

impl Zero for u16 {
    const ZERO: Self = 0;
}
impl Zero for u32 {
    const ZERO: Self = 0;
}
impl Zero for u64 {
    const ZERO: Self = 0;
}
impl Zero for *const u8 {
    const ZERO: Self = core::ptr::null();
}

/// Plain loads through pointers whose type the verifier knows: for arguments of fentry programs and what they lead to.
pub struct Typed;

impl Read for Typed {
    #[inline(always)]
    fn read<T: Copy + Zero>(base: *const u8, offset: u32) -> T {
        // SAFETY: the verifier admits the load only where the pointer's type has a member of this size at the offset,
        // and the kernel turns a fault into a zero.
        unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
    }

    #[inline(always)]
    fn current() -> *const u8 {
        // SAFETY: a helper without conditions.
        unsafe { bpf_get_current_task_btf() as *const u8 }
    }
}

/// The helper that reads any address.
pub struct Probed;

impl Read for Probed {
    #[inline(always)]
    fn read<T: Copy + Zero>(base: *const u8, offset: u32) -> T {
        probe(base.wrapping_add(offset as usize))
    }

    #[inline(always)]
    fn current() -> *const u8 {
        // SAFETY: a helper without conditions.
        unsafe { bpf_get_current_task() as *const u8 }
    }
}

/// Reads any address; zero where that is not possible.
#[inline(always)]
pub fn probe<T: Copy + Zero>(address: *const u8) -> T {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(address.cast::<T>()) }.unwrap_or(T::ZERO)
}
