//! The BPF type format (BTF), in which a kernel says how its structures are laid out: as much of it as is asked for.
//!
//! The kernel's documentation has the format (`Documentation/bpf/btf.rst`). A kernel has some 150,000 types, and a few dozen are
//! of interest: only where each begins is found out beforehand.

/// Kinds of types.
const ARRAY: u8 = 3;
const INTEGER: u8 = 1;
pub const STRUCTURE: u8 = 4;
const UNION: u8 = 5;
pub const ENUMERATION: u8 = 6;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
pub const FUNCTION: u8 = 12;
const PROTOTYPE: u8 = 13;
const VARIABLE: u8 = 14;
const SECTION: u8 = 15;
const DECLARATION_TAG: u8 = 17;
const TYPE_TAG: u8 = 18;
/// The last one.
const ENUMERATION_64: u8 = 19;

/// Bytes of each type before what belongs to its kind.
const HEAD: usize = 12;
/// Levels of structures within structures, and of other names, that are followed.
const MAX_DEPTH: u32 = 16;

/// Types, and the names in them.
pub struct Btf<'b> {
    /// What comes first, if these are a module's.
    base: Option<&'b Self>,
    types: &'b [u8],
    names: &'b [u8],
    /// Where each type begins.
    places: Vec<u32>,
}

/// A type.
#[derive(Clone, Copy)]
pub struct Type<'b> {
    kind: u8,
    /// Of structures and unions: offsets are 24 bits, and the rest says how wide a bit field is.
    has_bit_fields: bool,
    size_or_number: u32,
    /// What belongs to its kind.
    rest: &'b [u8],
}

impl Type<'_> {
    /// Of structures, in bytes.
    pub fn size(&self) -> u32 {
        self.size_or_number
    }
}

impl<'b> Btf<'b> {
    /// Those of the kernel.
    pub fn parse(bytes: &'b [u8]) -> Result<Self, &'static str> {
        Self::parse_with(bytes, None)
    }

    /// Those of a module, whose numbers go on where the kernel's end.
    pub fn parse_module(bytes: &'b [u8], base: &'b Self) -> Result<Self, &'static str> {
        Self::parse_with(bytes, Some(base))
    }

    fn parse_with(bytes: &'b [u8], base: Option<&'b Self>) -> Result<Self, &'static str> {
        if !bytes.starts_with(&0xeb9f_u16.to_ne_bytes()) {
            return Err("this is no BTF file");
        }
        if bytes.get(2) != Some(&1) {
            return Err("its version is not 1, the only one there is");
        }
        let number = |at| word(bytes, at).ok_or("it is cut off in its header");
        let part = |start: usize, length: usize| {
            let start = number(4)?.checked_add(number(start)?);
            let end = start.and_then(|start| start.checked_add(number(length).ok()?));
            let part = start.zip(end).and_then(|(start, end)| bytes.get(start as usize..end as usize));
            part.ok_or("it is cut off")
        };
        let (types, names) = (part(8, 12)?, part(16, 20)?);
        Ok(Self { base, types, names, places: places(types)? })
    }

    /// The number of the first type.
    fn first(&self) -> u32 {
        // 0 is `void`.
        self.base.map_or(1, Self::end)
    }

    fn end(&self) -> u32 {
        self.first() + self.places.len() as u32
    }

    /// A type by its name, and its number.
    pub fn find(&self, kind: u8, name: &str) -> Option<(u32, Type<'b>)> {
        let own = self.places.iter().position(|&place| {
            word(self.types, place as usize + 4).is_some_and(|info| kind_of(info) == kind)
                && word(self.types, place as usize).is_some_and(|offset| self.is_named(offset, name))
        });
        let own = own.and_then(|index| self.first().checked_add(index as u32));
        match own {
            Some(number) => Some((number, self.get(number)?)),
            None => self.base?.find(kind, name),
        }
    }

    fn get(&self, number: u32) -> Option<Type<'b>> {
        let Some(index) = number.checked_sub(self.first()) else { return self.base?.get(number) };
        let place = *self.places.get(index as usize)? as usize;
        let head = self.types.get(place..)?;
        let info = word(head, 4)?;
        let rest = head.get(HEAD..HEAD + rest(info)?)?;
        let (kind, has_bit_fields) = (kind_of(info), info >> 31 != 0);
        Some(Type { kind, has_bit_fields, size_or_number: word(head, 8)?, rest })
    }

    /// The structure, or union, behind other names for it.
    fn structure(&self, number: u32) -> Option<Type<'b>> {
        let mut found = self.get(number)?;
        for _ in 0..MAX_DEPTH {
            match found.kind {
                STRUCTURE | UNION => return Some(found),
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => found = self.get(found.size_or_number)?,
                _ => return None,
            }
        }
        None
    }

    /// Offset in bits of a member of a structure, by its name and those of the members in it, with dots in between.
    pub fn member(&self, structure: &Type<'b>, path: &str) -> Option<u32> {
        let mut structure = *structure;
        let mut offset = 0_u32;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let (further, number) = self.find_member(&structure, name, MAX_DEPTH)?;
            offset = offset.checked_add(further)?;
            if names.peek().is_some() {
                structure = self.structure(number)?;
            }
        }
        Some(offset)
    }

    /// Offset in bits, and the number of the type, of a member, also one of a nameless structure or union within.
    fn find_member(&self, structure: &Type<'b>, name: &str, depth: u32) -> Option<(u32, u32)> {
        for member in structure.rest.chunks_exact(12) {
            let (own, number, offset) = (word(member, 0)?, word(member, 4)?, word(member, 8)?);
            let offset = if structure.has_bit_fields { offset & 0x00ff_ffff } else { offset };
            if self.is_named(own, name) {
                return Some((offset, number));
            }
            if self.is_named(own, "")
                && depth > 0
                && let Some(inner) = self.structure(number)
                && let Some((further, found)) = self.find_member(&inner, name, depth - 1)
            {
                return Some((offset.checked_add(further)?, found));
            }
        }
        None
    }

    /// The value of a constant of an enumeration.
    pub fn constant(&self, enumeration: &Type<'b>, name: &str) -> Option<u32> {
        let mut constants = enumeration.rest.chunks_exact(8);
        let found = constants.find(|one| word(one, 0).is_some_and(|own| self.is_named(own, name)))?;
        word(found, 4)
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let before = self.base.map_or(0, |base| base.names.len());
        let Some(own) = (offset as usize).checked_sub(before) else {
            return self.base.is_some_and(|base| base.is_named(offset, name));
        };
        let rest = self.names.get(own..).and_then(|rest| rest.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Where each type begins.
fn places(types: &[u8]) -> Result<Vec<u32>, &'static str> {
    let mut places = Vec::with_capacity(types.len() / 24);
    let mut place = 0;
    while place < types.len() {
        let info = word(types, place + 4).ok_or("it is cut off in a type")?;
        let length = rest(info).ok_or("it has types of a kind that ldsentry does not know")?;
        places.push(place as u32);
        place += HEAD + length;
    }
    if place == types.len() { Ok(places) } else { Err("it is cut off in a type") }
}

fn kind_of(info: u32) -> u8 {
    (info >> 24) as u8 & 0x1f
}

/// Bytes that belong to a kind.
fn rest(info: u32) -> Option<usize> {
    let count = (info & 0xffff) as usize;
    Some(match kind_of(info) {
        INTEGER | VARIABLE | DECLARATION_TAG => 4,
        ARRAY => 12,
        STRUCTURE | UNION | SECTION | ENUMERATION_64 => 12 * count,
        ENUMERATION | PROTOTYPE => 8 * count,
        1..=ENUMERATION_64 => 0,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use btf_rs::Type as Other;
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::KERNEL_BTF;

    /// `struct outer { int first; const struct { long second; }; inner third; }`, `inner` being a name for
    /// `struct named { int fourth; }`, and an enumeration and a function.
    fn example() -> Vec<u8> {
        let names = b"\0outer\0first\0second\0third\0inner\0named\0fourth\0numbers\0seven\0run\0";
        let name = |name: &str| {
            let all = [b"\0", name.as_bytes(), b"\0"].concat();
            names.windows(all.len()).position(|window| window == all).unwrap() as u32 + 1
        };
        let head =
            |kind: u8, count: u32, name: u32, number: u32| vec![name, u32::from(kind) << 24 | count, number];
        let types = [
            [head(INTEGER, 0, 0, 4), vec![32]].concat(),
            [head(STRUCTURE, 1, 0, 8), vec![name("second"), 1, 0]].concat(),
            head(CONST, 0, 0, 2),
            [head(STRUCTURE, 1, name("named"), 4), vec![name("fourth"), 1, 32]].concat(),
            head(TYPEDEF, 0, name("inner"), 4),
            [
                head(STRUCTURE, 3, name("outer"), 24),
                vec![name("first"), 1, 0, 0, 3, 64, name("third"), 5, 128],
            ]
            .concat(),
            [head(ENUMERATION, 1, name("numbers"), 4), vec![name("seven"), 7]].concat(),
            head(FUNCTION, 0, name("run"), 0),
        ]
        .concat();
        let length = 4 * types.len() as u32;
        let header = [24, 0, length, length, names.len() as u32];
        let words = header.into_iter().chain(types).flat_map(u32::to_ne_bytes);
        let start = 0xeb9f_u16.to_ne_bytes().into_iter().chain([1, 0]);
        start.chain(words).chain(names.iter().copied()).collect()
    }

    fn offset(btf: &Btf<'_>, path: &str) -> Option<u32> {
        btf.member(&btf.find(STRUCTURE, "outer")?.1, path)
    }

    #[test]
    fn members_are_found_in_nameless_structures_and_behind_other_names() {
        let bytes = example();
        let btf = Btf::parse(&bytes).unwrap();
        let offsets =
            ["first", "second", "third", "third.fourth", "fourth", "fir"].map(|path| offset(&btf, path));
        assert_eq!(offsets, [Some(0), Some(64), Some(128), Some(160), None, None]);
        let (number, numbers) = btf.find(ENUMERATION, "numbers").unwrap();
        assert_eq!(
            (number, btf.constant(&numbers, "seven"), btf.constant(&numbers, "eight")),
            (7, Some(7), None)
        );
        assert_eq!(btf.find(FUNCTION, "run").map(|(number, _)| number), Some(8));
        assert!(btf.find(FUNCTION, "outer").is_none());
    }

    #[test]
    fn a_modules_types_go_on_where_the_kernels_end() {
        let bytes = example();
        let btf = Btf::parse(&bytes).unwrap();
        let module = Btf::parse_module(&bytes, &btf).unwrap();
        // The number of a name that it has itself begins behind the kernel's names; a lower one is one of those.
        assert_eq!(module.find(FUNCTION, "run").map(|(number, _)| number), Some(16));
        assert_eq!(offset(&module, "third.fourth"), Some(160));
    }

    /// What another reader finds in this kernel's.
    #[test]
    fn structures_are_as_others_read_them() {
        let Ok(bytes) = std::fs::read(KERNEL_BTF) else { return };
        let (btf, other) =
            (Btf::parse(&bytes).unwrap(), btf_rs::Btf::from_file(Path::new(KERNEL_BTF)).unwrap());
        for name in
            ["task_struct", "dentry", "inode", "super_block", "mm_struct", "cgroup", "file", "sk_buff"]
        {
            let (number, structure) = btf.find(STRUCTURE, name).unwrap();
            assert!(other.resolve_ids_by_name(name).unwrap().contains(&number), "{name}");
            let Other::Struct(expected) = other.resolve_type_by_id(number).unwrap() else { panic!("{name}") };
            assert_eq!(structure.size() as usize, expected.size());
            for member in &expected.members {
                let member_name = other.resolve_name(member).unwrap();
                if !member_name.is_empty() {
                    assert_eq!(
                        btf.member(&structure, &member_name),
                        Some(member.bit_offset()),
                        "{name}.{member_name}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_nothing_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            length in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let mut bytes = example();
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            if is_cut {
                bytes.truncate(length.index(bytes.len()));
            }
            let Ok(btf) = Btf::parse(&bytes) else { return Ok(()) };
            let module = Btf::parse_module(&bytes, &btf);
            for btf in module.iter().chain([&btf]) {
                for path in ["first", "second", "third.fourth", "none"] {
                    let _ = offset(btf, path);
                }
                if let Some((_, numbers)) = btf.find(ENUMERATION, "numbers") {
                    let _ = btf.constant(&numbers, "seven");
                }
            }
        }
    }
}
