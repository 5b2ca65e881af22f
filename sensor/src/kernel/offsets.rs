//! Where this kernel keeps the members that the programs read, found in its BTF.

use std::path::{Path, PathBuf};

use sensor_common::code::{Cast, STRUCTURES};
use sensor_common::offsets::{ABSENT, MEMBERS, Member, Offsets};
use zerocopy::FromBytes as _;

use super::btf::{self, Btf, Type};

/// Where a kernel shows its own BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The numbers of the controllers of cgroups.
const CONTROLLERS: &str = "cgroup_subsys_id";
/// An overlay's inode around the one that the kernel sees.
const OVERLAY_INODE: &str = "ovl_inode";

/// Why the offsets are not known.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the kernel's type information (BTF) from {}: {reason}; {}", path.display(), self.remedy())]
pub struct OffsetError {
    /// Where it was sought.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl OffsetError {
    /// Whether a file is at fault that somebody named, and not the kernel.
    pub fn is_about_given_file(&self) -> bool {
        self.path != Path::new(KERNEL_BTF)
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        if self.is_about_given_file() {
            "give the BTF of the running kernel, as BTFHub has it for distributions' kernels or `pahole \
             --btf_encode_detached FILE vmlinux` makes it, or leave --btf (sensor.btf) out where the kernel has its own"
        } else {
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y, or give this kernel's BTF with --btf FILE (BTFHub has those \
             of distributions' kernels)"
        }
    }
}

/// What there is to know of a kernel before programs are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// Where members are.
    pub offsets: Offsets,
    /// How numbers are made pointers, if they can be.
    pub cast: Option<Cast>,
}

/// Reads a BTF file and looks up every member of `sensor_common::offsets`, and what else is of use.
pub fn read(path: &Path) -> Result<Kernel, OffsetError> {
    let unreadable = |reason: String| OffsetError { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let btf = Btf::parse(&bytes).map_err(|reason| unreadable(reason.to_owned()))?;
    let mut offsets = Vec::with_capacity(MEMBERS.len());
    let mut last: Option<(&str, Option<Type<'_>>)> = None;
    for member in MEMBERS {
        // Members of a structure stand together in the list.
        let structure = match last {
            Some((name, structure)) if name == member.structure => structure,
            _ => find_structure(&btf, member.structure),
        };
        last = Some((member.structure, structure));
        let offset = structure.and_then(|structure| {
            member.path.split('|').find_map(|path| member_offset(&btf, &structure, path))
        });
        match offset {
            Some(offset) => offsets.push(offset),
            None if member.structure == OVERLAY_INODE => {
                offsets.push(overlay_upper(&btf, path, member).unwrap_or(ABSENT));
            }
            None if member.optional => offsets.push(ABSENT),
            None => {
                let Member { structure, path, .. } = member;
                return Err(unreadable(format!(
                    "it has no member `{path}` in `struct {structure}`, so it is not of a kernel that ldsentry knows"
                )));
            }
        }
    }
    let bytes: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_ne_bytes()).collect();
    let offsets = Offsets::read_from_bytes(&bytes).map_err(|error| unreadable(error.to_string()))?;
    // Numbers of a file need not be those of the kernel.
    Ok(Kernel { offsets, cast: if path == Path::new(KERNEL_BTF) { find_cast(&btf) } else { None } })
}

fn find_cast(btf: &Btf<'_>) -> Option<Cast> {
    let (function, _) = btf.find(btf::FUNCTION, "bpf_rdonly_cast")?;
    let mut structures = [0; STRUCTURES.len()];
    for (number, name) in structures.iter_mut().zip(STRUCTURES) {
        (*number, _) = btf.find(btf::STRUCTURE, name)?;
    }
    Some(Cast { function, structures })
}

fn find_structure<'b>(btf: &Btf<'b>, name: &str) -> Option<Type<'b>> {
    Some(btf.find(btf::STRUCTURE, name)?.1)
}

/// In bytes.
fn member_offset<'b>(btf: &Btf<'b>, structure: &Type<'b>, path: &str) -> Option<u32> {
    if let Some((one, other)) = path.split_once('-') {
        return member_offset(btf, structure, one)?.checked_sub(member_offset(btf, structure, other)?);
    }
    if let Some((array, constant)) = path.strip_suffix(']').and_then(|path| path.split_once('[')) {
        let (_, controllers) = btf.find(btf::ENUMERATION, CONTROLLERS)?;
        let index = btf.constant(&controllers, constant)?.checked_mul(size_of::<u64>() as u32)?;
        return member_offset(btf, structure, array)?.checked_add(index);
    }
    Some(btf.member(structure, path)? / 8)
}

/// Where an overlay keeps, behind an inode of its own, the entry in the layer that is written to.
///
/// A module has types of its own, if it is loaded, and if this kernel shows them. Where it is not, this is what has stood there
/// in every version since 4.13: the structure is not one that is shuffled.
fn overlay_upper(btf: &Btf<'_>, path: &Path, member: &Member) -> Option<u32> {
    let bytes = std::fs::read(path.with_file_name("overlay")).unwrap_or_default();
    let of_module = Btf::parse_module(&bytes, btf).ok().and_then(|module| {
        let structure = find_structure(&module, member.structure)?;
        member_offset(&module, &structure, member.path)
    });
    of_module.or_else(|| Some(find_structure(btf, "inode")?.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_btf_is_refused_with_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello").unwrap();
        let error = read(file.path()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()) && error.contains("no BTF"), "{error}");
    }

    #[test]
    fn truncated_btf_is_refused_and_does_not_panic() {
        let Ok(bytes) = std::fs::read(KERNEL_BTF) else { return };
        for length in [2, 3, 23, 24, 100, bytes.len() / 2, bytes.len() - 1] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &bytes[..length]).unwrap();
            assert!(read(file.path()).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn this_kernels_own_btf_has_every_member() {
        if Path::new(KERNEL_BTF).exists() {
            read(Path::new(KERNEL_BTF)).unwrap();
        }
    }
}
