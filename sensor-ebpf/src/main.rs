//! The programs that run in the kernel.
//!
//! Hooks see what is about to happen (`create`, `link`, `rename`, `modify`, `unlink`), and others whether it did (also in `pending`). Each exists
//! for fentry and for kprobe; what differs between those is in `read`. The way of an event through the files: a hook, `filter`,
//! then `event`, which collects into a `record` what `path`, `mounts` and `task` find. Where the kernel takes no hooks,
//! `process` alone keeps track of who runs what.
#![no_std]
#![expect(unstable_features, reason = "inline assembly for BPF is unstable")]
#![feature(asm_experimental_arch)]
#![no_main]

mod cgroup;
mod create;
mod diagnostics;
mod event;
mod filter;
mod kernel;
mod link;
mod maps;
mod modify;
mod mount;
mod mounts;
mod path;
mod pending;
mod place;
mod process;
mod read;
mod record;
mod rename;
mod task;
mod text;
mod unlink;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that could come here.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
