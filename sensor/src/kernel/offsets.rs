//! Where this kernel keeps the members that the programs read, found in its BTF.

use std::path::{Path, PathBuf};

use btf_rs::{Btf, EnumMember, Struct, Type};
use sensor_common::code::Cast;
use sensor_common::offsets::{ABSENT, MEMBERS, Member, Offsets};
use zerocopy::FromBytes as _;

/// Where a kernel shows its own BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The numbers of the controllers of cgroups.
const CONTROLLERS: &str = "cgroup_subsys_id";
/// An overlay's inode around the one that the kernel sees.
const OVERLAY_INODE: &str = "ovl_inode";

/// Levels of structures within structures that are followed.
const MAX_DEPTH: u32 = 16;

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
    if !bytes.starts_with(&0xeb9f_u16.to_ne_bytes()) {
        return Err(unreadable("this is no BTF file".to_owned()));
    }
    let btf = Btf::from_bytes(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let mut offsets = Vec::with_capacity(MEMBERS.len());
    let mut last: Option<(&str, Option<Struct>)> = None;
    for member in MEMBERS {
        // Members of a structure stand together in the list.
        let structure = match last.take() {
            Some((name, structure)) if name == member.structure => structure,
            _ => find_structure(&btf, member.structure),
        };
        let offset = structure.as_ref().and_then(|structure| {
            member.path.split('|').find_map(|path| member_offset(&btf, structure, path))
        });
        last = Some((member.structure, structure));
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

fn find_cast(btf: &Btf) -> Option<Cast> {
    let number = |name: &str, is_wanted: fn(&Type) -> bool| {
        let ids = btf.resolve_ids_by_name(name).ok()?;
        ids.into_iter().find(|id| btf.resolve_type_by_id(*id).is_ok_and(|found| is_wanted(&found)))
    };
    Some(Cast {
        function: number("bpf_rdonly_cast", |found| matches!(found, Type::Func(_)))?,
        structure: number("timespec64", |found| matches!(found, Type::Struct(_)))?,
    })
}

fn find_structure(btf: &Btf, name: &str) -> Option<Struct> {
    btf.resolve_types_by_name(name).ok()?.into_iter().find_map(|r#type| match r#type {
        Type::Struct(structure) => Some(structure),
        _ => None,
    })
}

fn member_offset(btf: &Btf, structure: &Struct, path: &str) -> Option<u32> {
    if let Some((one, other)) = path.split_once('-') {
        return member_offset(btf, structure, one)?.checked_sub(member_offset(btf, structure, other)?);
    }
    if let Some((array, enumerator)) = path.strip_suffix(']').and_then(|path| path.split_once('[')) {
        let index = enumerator_value(btf, enumerator)?;
        return Some(member_offset(btf, structure, array)? + index * size_of::<u64>() as u32);
    }
    let mut names = path.split('.');
    let (mut offset, mut r#type) = find_member(btf, structure, names.next()?, MAX_DEPTH)?;
    for name in names {
        let inner = as_structure(btf, &r#type)?;
        let (further, next) = find_member(btf, &inner, name, MAX_DEPTH)?;
        offset += further;
        r#type = next;
    }
    Some(offset / 8)
}

fn enumerator_value(btf: &Btf, name: &str) -> Option<u32> {
    let enumeration =
        btf.resolve_types_by_name(CONTROLLERS).ok()?.into_iter().find_map(|r#type| match r#type {
            Type::Enum(enumeration) => Some(enumeration),
            _ => None,
        })?;
    let is_it = |name_of: &&EnumMember| btf.resolve_name(*name_of).is_ok_and(|found| found == name);
    enumeration.members.iter().find(is_it).map(EnumMember::val)
}

/// Where an overlay keeps, behind an inode of its own, the entry in the layer that is written to.
///
/// A module has types of its own, if it is loaded, and if this kernel shows them. Where it is not, this is what has stood there
/// in every version since 4.13: the structure is not one that is shuffled.
fn overlay_upper(btf: &Btf, path: &Path, member: &Member) -> Option<u32> {
    let split = Btf::from_split_file(path.with_file_name("overlay"), btf).ok();
    let found = split.and_then(|split| {
        let structure = find_structure(&split, member.structure)?;
        member_offset(&split, &structure, member.path)
    });
    found.or_else(|| Some(find_structure(btf, "inode")?.size() as u32))
}

/// Offset in bits and type of a member, also one of a nameless structure or union within.
fn find_member(btf: &Btf, structure: &Struct, name: &str, depth: u32) -> Option<(u32, Type)> {
    for member in &structure.members {
        let r#type = btf.resolve_chained_type(member).ok()?;
        let own = btf.resolve_name(member).unwrap_or_default();
        if own == name {
            return Some((member.bit_offset(), r#type));
        }
        if own.is_empty()
            && depth > 0
            && let Some(inner) = as_structure(btf, &r#type)
            && let Some((offset, found)) = find_member(btf, &inner, name, depth - 1)
        {
            return Some((member.bit_offset() + offset, found));
        }
    }
    None
}

/// The structure behind typedefs and qualifiers.
fn as_structure(btf: &Btf, r#type: &Type) -> Option<Struct> {
    let mut r#type = r#type.clone();
    for _ in 0..MAX_DEPTH {
        r#type = match r#type {
            Type::Struct(structure) | Type::Union(structure) => return Some(structure),
            other => btf.resolve_chained_type(other.as_btf_type()?).ok()?,
        };
    }
    None
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
