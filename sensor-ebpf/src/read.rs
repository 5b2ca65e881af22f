//! The two ways to read kernel memory, and the constants that say where.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::helpers::{bpf_get_current_task, bpf_get_current_task_btf};
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
    fn read<T: Copy>(base: *const u8, offset: u32) -> T;

    /// The current task.
    fn current() -> *const u8;
}

/// Plain loads through pointers whose type the verifier knows: for arguments of fentry programs and what they lead to.
pub struct Typed;

impl Read for Typed {
    #[inline(always)]
    fn read<T: Copy>(base: *const u8, offset: u32) -> T {
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
    fn read<T: Copy>(base: *const u8, offset: u32) -> T {
        probe(base.wrapping_add(offset as usize))
    }

    #[inline(always)]
    fn current() -> *const u8 {
        // SAFETY: a helper without conditions.
        unsafe { bpf_get_current_task() as *const u8 }
    }
}

/// Reads any address; zero where that is not possible. The helper itself puts the zeros: to look at its result would give
/// the verifier two ways to go on from each read, and up to 6.2 it would take each of them to the end.
#[inline(always)]
pub fn probe<T: Copy>(address: *const u8) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address, and writes all of the value in any case.
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address.cast());
        value.assume_init()
    }
}
