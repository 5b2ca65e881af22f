//! The two ways to read kernel memory, and the constants that say where.

use core::arch::asm;
use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::helpers::{bpf_get_current_task, bpf_get_current_task_btf};
use sensor_common::code::{ADDED, CALL, EIGHT_BYTES, LOADED, STRUCTURE};
use sensor_common::offsets::Offsets;

/// Filled in by the daemon before loading: constants to the verifier.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::ABSENT;

/// Inode number of the host's mount namespace; filled in by the daemon.
#[unsafe(no_mangle)]
static HOST_MOUNT_NAMESPACE: u32 = 0;

/// Not 0 if no end of an operation goes unseen: fexit, and not kretprobes, of which only so many can be at work. Filled in by the
/// daemon.
#[unsafe(no_mangle)]
static ENDS_FOR_CERTAIN: u32 = 0;

/// The place of a member in `offsets::MEMBERS`.
macro_rules! member {
    ($field:ident) => {
        core::mem::offset_of!(sensor_common::offsets::Offsets, $field) / size_of::<u32>()
    };
}
pub(crate) use member;

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

#[inline(always)]
pub fn ends_for_certain() -> bool {
    // SAFETY: a static; volatile because the daemon changes it after compilation.
    unsafe { core::ptr::read_volatile(&raw const ENDS_FOR_CERTAIN) != 0 }
}

/// How a program reads members of kernel structures.
pub trait Read {
    /// Reads a member, which is named by its place in `offsets::MEMBERS`; zero where that is not possible.
    fn member<T: Copy, const MEMBER: usize>(base: *const u8) -> T;

    /// The current task.
    fn current() -> *const u8;
}

/// Plain loads through pointers whose type the verifier knows: for arguments of fentry programs, numbers that were cast
/// (`kernel::Dentry::typed` and its like), and what they lead to.
pub struct Typed;

impl Read for Typed {
    #[inline(always)]
    fn member<T: Copy, const MEMBER: usize>(base: *const u8) -> T {
        let value: u64;
        // SAFETY: the daemon writes the member's offset into the load. The verifier admits it only where the pointer's type has
        // a member of this size there, and the kernel turns a fault into a zero.
        unsafe {
            match size_of::<T>() {
                2 => asm!(
                    "{value} = *(u16 *)({base} + {place})",
                    value = out(reg) value,
                    base = in(reg) base,
                    place = const LOADED as usize + MEMBER,
                    options(pure, readonly, nostack)
                ),
                4 => asm!(
                    "{value} = *(u32 *)({base} + {place})",
                    value = out(reg) value,
                    base = in(reg) base,
                    place = const LOADED as usize + MEMBER,
                    options(pure, readonly, nostack)
                ),
                _ => asm!(
                    "{value} = *(u64 *)({base} + {place})",
                    value = out(reg) value,
                    base = in(reg) base,
                    place = const LOADED as usize + MEMBER,
                    options(pure, readonly, nostack)
                ),
            }
            core::mem::transmute_copy(&value)
        }
    }

    #[inline(always)]
    fn current() -> *const u8 {
        // SAFETY: a helper without conditions.
        unsafe { bpf_get_current_task_btf() as *const u8 }
    }
}

/// Calls a function that is generic in the way to read with the cheaper one that the kernel has, and with its structures, the
/// first arguments, for that.
macro_rules! cheapest {
    ($function:ident($($structure:expr),+; $($other:expr),*)) => {
        if $crate::read::can_cast() {
            $function::<$crate::read::Typed>($($structure.typed(),)+ $($other),*)
        } else {
            $function::<$crate::read::Probed>($($structure,)+ $($other),*)
        }
    };
}
pub(crate) use cheapest;

/// Any address, by way of [`probe`].
pub struct Probed;

impl Read for Probed {
    #[inline(always)]
    fn member<T: Copy, const MEMBER: usize>(base: *const u8) -> T {
        let address: *const u8;
        // SAFETY: an addition, into which the daemon writes the member's offset.
        unsafe {
            asm!(
                "{address} += {place}",
                address = inlateout(reg) base => address,
                place = const ADDED as usize + MEMBER,
                options(pure, nomem, nostack),
            );
        }
        probe(address)
    }

    #[inline(always)]
    fn current() -> *const u8 {
        // SAFETY: a helper without conditions.
        unsafe { bpf_get_current_task() as *const u8 }
    }
}

/// Reads any address; zero where that is not possible.
///
/// Where the kernel can make a number a pointer, this is a load, else a call of a helper, which takes five times as long.
#[inline(always)]
pub fn probe<T: Copy>(address: *const u8) -> T {
    if size_of::<T>() <= 8 && can_cast() {
        load(address)
    } else if size_of::<T>() == 16 && can_cast() {
        let words: [u64; 2] = [load(address), load(address.wrapping_add(8))];
        // SAFETY: as long as both, and a number as they are.
        unsafe { core::mem::transmute_copy(&words) }
    } else {
        probe_by_helper(address)
    }
}

/// The same for up to eight bytes, only where the kernel [can](can_cast) make a number a pointer.
#[inline(always)]
pub fn load<T: Copy>(address: *const u8) -> T {
    // SAFETY: the kernel turns a fault into a zero, and the verifier admits what is within the eight bytes.
    unsafe { core::ptr::read_volatile(cast::<EIGHT_BYTES>(address).cast()) }
}

/// Whether this is for kernels that make numbers pointers to their structures. Not a constant of the daemon's: the verifier removes
/// what is not needed so slowly that it would double its time.
#[inline(always)]
pub const fn can_cast() -> bool {
    cfg!(feature = "cast")
}

/// One of `code::STRUCTURES`, by its number in this kernel's BTF.
#[inline(always)]
fn structure<const PLACE: usize>() -> u64 {
    let structure: u64;
    // SAFETY: the daemon writes the number into the instruction. Not pure: to keep it for the next read costs more than to have it
    // again.
    unsafe {
        asm!(
            "{structure} = {place}",
            structure = out(reg) structure,
            place = const STRUCTURE as usize + PLACE,
            options(nomem, nostack)
        );
    }
    structure
}

/// The helper itself puts zeros where it cannot read: to look at its result would give the verifier two ways to go on from
/// each read, and up to 6.2 it would take each of them to the end.
#[inline(always)]
fn probe_by_helper<T: Copy>(address: *const u8) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address, and writes all of the value in any case.
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address.cast());
        value.assume_init()
    }
}

/// The address as a pointer to one of `code::STRUCTURES`, whatever is there; only where the kernel [can](can_cast).
#[inline(always)]
pub fn cast<const PLACE: usize>(address: *const u8) -> *const u8 {
    let pointer: *const u8;
    // SAFETY: a call, which the compiler does not know by itself. It does nothing to memory.
    unsafe {
        asm!(
            ".quad {call}",
            call = const CALL,
            inlateout("r1") address => _,
            inlateout("r2") structure::<PLACE>() => _,
            lateout("r0") pointer,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(pure, nomem, nostack),
        );
    }
    pointer
}
