#![no_std]
#![no_main]
//! The eBPF programs.

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
