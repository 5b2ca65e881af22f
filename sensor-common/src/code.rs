//! What the daemon writes into the programs' code before loading: offsets, which differ from kernel to kernel, and the number of a
//! function. To load an offset from a constant costs as much again as the load that it is for.

use crate::offsets::MEMBERS;

/// `bpf_rdonly_cast` (from 6.2 on) makes a number a pointer that can be loaded through, at no cost. The call, as it is
/// compiled: nothing else in the object is like it.
pub const CALL: u64 = 0x7dc0_de01_0000_2085;

/// The offset in a load of a member, as it is compiled, less the member's place in [`MEMBERS`]. No structure of the programs
/// is that long.
pub const LOADED: i16 = 0x7000;

/// The same in an addition.
pub const ADDED: i32 = 0x6dc0_0000;

/// The number of a structure that begins with eight bytes, for that call, as it is compiled into a move.
pub const STRUCTURE: i32 = 0x6ec0_0000;

/// `r0 = r1`: what takes the place of the call where the kernel has no such function, in code that is then never run.
const NO_CALL: u64 = 0x10bf;

/// How a kernel makes numbers pointers.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// The number of the function in the kernel's BTF.
    pub function: u32,
    /// That of a structure that begins with eight bytes.
    pub structure: u32,
}

/// The instruction for a kernel, if it is one of those: `offsets` of all members, and how it makes numbers pointers, if it can.
pub fn adapt(instruction: u64, offsets: &[u32], cast: Option<Cast>) -> Option<u64> {
    if instruction == CALL {
        return Some(cast.map_or(NO_CALL, |cast| CALL & 0xffff_ffff | u64::from(cast.function) << 32));
    }
    let member =
        |place: i64| offsets.get(usize::try_from(place).ok()?).filter(|_| place < MEMBERS.len() as i64);
    let (offset, immediate) = ((instruction >> 16) as i16, (instruction >> 32) as i32);
    match instruction as u8 {
        // Loads of 4, 2 and 8 bytes.
        0x61 | 0x69 | 0x79 if immediate == 0 => {
            let found = *member(i64::from(offset) - i64::from(LOADED))?;
            // A member that this kernel does not have is not loaded; the verifier refuses one that is too far.
            Some(instruction & !0xffff_0000 | u64::from(found.min(0x7fff)) << 16)
        }
        // `register = number`
        0xb7 if offset == 0 && immediate == STRUCTURE => {
            let structure = cast.map_or(0, |cast| cast.structure);
            Some(instruction & 0xffff_ffff | u64::from(structure) << 32)
        }
        // `register += number`
        0x07 if offset == 0 => {
            let found = *member(i64::from(immediate) - i64::from(ADDED))?;
            Some(instruction & 0xffff_ffff | u64::from(found.min(0x7fff_ffff)) << 32)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn only_what_stands_for_something_is_adapted() {
        let offsets: std::vec::Vec<u32> = (0..MEMBERS.len() as u32).map(|place| place * 8).collect();
        let adapt =
            |instruction| adapt(instruction, &offsets, Some(Cast { function: 0x1234, structure: 0x56 }));
        assert_eq!(adapt(CALL), Some(0x1234_0000_2085));
        assert_eq!(super::adapt(CALL, &offsets, None), Some(0x10bf));
        // `r2 = *(u32 *)(r1 + …)`, `r2 = *(u64 *)(r1 + …)`
        assert_eq!(adapt(0x7003_1261), Some(0x0018_1261));
        assert_eq!(adapt(0x7000_1279), Some(0x0000_1279));
        assert_eq!(adapt(0x6fff_1261), None);
        assert_eq!(adapt(0x7000_1261 + ((MEMBERS.len() as u64) << 16)), None);
        assert_eq!(adapt(1 << 32 | 0x7003_1261), None);
        // `r2 = …`
        assert_eq!(adapt(0x6ec0_0000_0000_02b7), Some(0x56_0000_02b7));
        assert_eq!(super::adapt(0x6ec0_0000_0000_02b7, &offsets, None), Some(0x02b7));
        assert_eq!(adapt(0x6ec0_0001_0000_02b7), None);
        // `r2 += …`
        assert_eq!(adapt(0x6dc0_0002_0000_0207), Some(0x10_0000_0207));
        assert_eq!(adapt(0x0000_0002_0000_0207), None);
    }
}
