//! `/proc/PID/mountinfo`: what is mounted where.

use crate::event::Device;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Its number.
    pub id: u64,
    /// The file system.
    pub device: Device,
    /// Where it is, seen from the root directory of the process whose file it is.
    pub point: Vec<u8>,
    /// The file system's type.
    pub file_system: String,
}

/// The mounts that such a file names.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Mount> {
    text.split(|&byte| byte == b'\n').filter_map(mount)
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = device(fields.nth(1)?)?;
    let point = unescape(fields.nth(1)?);
    // A variable number of optional fields, then a hyphen.
    let file_system = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount { id, device, point, file_system: String::from_utf8_lossy(file_system).into_owned() })
}

/// Undoes the kernel's octal escapes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let code = if let (b'\\', Some(digits)) = (*first, after.get(..3)) {
            std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok())
        } else {
            None
        };
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    plain
}

fn device(field: &[u8]) -> Option<Device> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_has_its_device_mount_point_and_type_whatever_is_between() {
        let line = b"36 35 98:7 /mnt1 /mnt\\040a\\134b rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue";
        let mount = mount(line).unwrap();
        assert_eq!((mount.id, mount.point.as_slice()), (36, &b"/mnt a\\b"[..]));
        assert_eq!(mount.device, Device { major: 98, minor: 7 });
        assert_eq!(mount.file_system, "ext3");
        let lines = b"36 35 98:0 /mnt1 /mnt2 rw - tmpfs none rw\nno mount\n37 35 98:0 / / rw - ext4 x rw\n";
        assert_eq!(parse(lines).map(|mount| mount.file_system).collect::<Vec<_>>(), ["tmpfs", "ext4"]);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(prop::sample::select(b" \\-0179a/:".to_vec()), 0..60)) {
            mount(&line);
        }
    }
}
