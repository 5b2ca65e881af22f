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

/// The number of a structure for that call, as it is compiled into a move, less the structure's place in [`STRUCTURES`].
pub const STRUCTURE: i32 = 0x6ec0_0000;

/// The structures that numbers are cast to, as BTF names them.
pub const STRUCTURES: [&str; 6] = ["timespec64", "dentry", "mount", "task_struct", "file", "path"];
/// Any address of eight bytes: the first of them begins with so many.
pub const EIGHT_BYTES: usize = 0;
/// A directory entry.
pub const DENTRY: usize = 1;
/// A mount.
pub const MOUNT: usize = 2;
/// A task.
pub const TASK: usize = 3;
/// An open file.
pub const FILE: usize = 4;
/// A directory entry and the mount that it is reached through.
pub const PATH: usize = 5;

/// How a kernel makes numbers pointers.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// The number of the function in the kernel's BTF.
    pub function: u32,
    /// Those of [`STRUCTURES`].
    pub structures: [u32; STRUCTURES.len()],
}

/// The instruction for a kernel, if it is one of those: `offsets` of all members, and how it makes numbers pointers, if it can.
pub fn adapt(instruction: u64, offsets: &[u32], cast: Option<Cast>) -> Option<u64> {
    if instruction == CALL {
        return Some(CALL & 0xffff_ffff | u64::from(cast?.function) << 32);
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
        0xb7 if offset == 0 => {
            let place = usize::try_from(i64::from(immediate) - i64::from(STRUCTURE)).ok()?;
            let structure = *cast?.structures.get(place)?;
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
        let cast = Cast { function: 0x1234, structures: [0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b] };
        let adapt = |instruction| adapt(instruction, &offsets, Some(cast));
        assert_eq!(adapt(CALL), Some(0x1234_0000_2085));
        assert_eq!(super::adapt(CALL, &offsets, None), None);
        // `r2 = *(u32 *)(r1 + …)`, `r2 = *(u64 *)(r1 + …)`
        assert_eq!(adapt(0x7003_1261), Some(0x0018_1261));
        assert_eq!(adapt(0x7000_1279), Some(0x0000_1279));
        assert_eq!(adapt(0x6fff_1261), None);
        assert_eq!(adapt(0x7000_1261 + ((MEMBERS.len() as u64) << 16)), None);
        assert_eq!(adapt(1 << 32 | 0x7003_1261), None);
        // `r2 = …`
        assert_eq!(adapt(0x6ec0_0000_0000_02b7), Some(0x56_0000_02b7));
        assert_eq!(super::adapt(0x6ec0_0000_0000_02b7, &offsets, None), None);
        assert_eq!(adapt(0x6ec0_0005_0000_02b7), Some(0x5b_0000_02b7));
        assert_eq!(adapt(0x6ec0_0006_0000_02b7), None);
        assert_eq!(adapt(0x6ebf_ffff_0000_02b7), None);
        // `r2 += …`
        assert_eq!(adapt(0x6dc0_0002_0000_0207), Some(0x10_0000_0207));
        assert_eq!(adapt(0x0000_0002_0000_0207), None);
    }
}
