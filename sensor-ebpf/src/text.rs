//! Copying the kernel's texts, which end in NUL.

use core::arch::asm;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;

use crate::read::{can_cast, load};

const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
/// What a bit that is the lowest of its byte is multiplied by for the highest byte to say which byte that is.
const PLACES: u64 = 0x0001_0203_0405_0607;

/// Copies a text with its NUL, of which there may be no more than `most` bytes, and gives how many there are; not above 0 if it
/// cannot be read. The verifier must know that there is room for `most` bytes.
#[inline(always)]
pub fn copy(target: *mut u8, text: *const u8, most: u32) -> i64 {
    if can_cast() {
        let length = copy_short(target, text);
        // An empty one can be one that cannot be read.
        if length > 1 {
            return length as i64;
        }
    }
    // SAFETY: the caller's for the target, and the helper checks the source.
    unsafe { bpf_probe_read_kernel_str(target.cast(), most, text.cast()) }
}

/// Copies a text of fewer than 32 bytes by words, as most are, for which the helper takes five times as long. Up to seven bytes
/// behind it are copied too: what cannot be read is zero. 0 if it is longer.
#[inline(always)]
fn copy_short(target: *mut u8, text: *const u8) -> u64 {
    macro_rules! word {
        ($place:literal) => {
            let word: u64 = load(text.wrapping_add($place));
            // SAFETY: there is room. In one piece: the compiler would store bytes.
            unsafe {
                asm!(
                    concat!("*(u64 *)({target} + ", $place, ") = {word}"),
                    target = in(reg) target,
                    word = in(reg) word,
                    options(nostack)
                );
            }
            // The lowest bit that is set is the highest one of the first byte that is 0.
            let zeros = word.wrapping_sub(EACH_BYTE) & !word & (EACH_BYTE << 7);
            if zeros != 0 {
                let first = (zeros & zeros.wrapping_neg()) >> 7;
                return $place + 1 + (first.wrapping_mul(PLACES) >> 56);
            }
        };
    }
    word!(0);
    word!(8);
    word!(16);
    word!(24);
    0
}
