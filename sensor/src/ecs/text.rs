//! Parts of paths, and values that ECS wants as text.

use crate::event::Device;

/// What follows the last `/`; the whole text if there is none.
pub(crate) fn file_name(path: &str) -> Option<&str> {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    (!name.is_empty()).then_some(name)
}

/// What precedes the last `/`.
pub(crate) fn directory(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        ("", _) => Some("/"),
        (directory, _) => Some(directory),
    }
}

/// What follows the last dot of a name. Nothing, as in Elastic Defend, if the name has no dot, only a leading one, or
/// ends in it.
pub(crate) fn extension(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

/// `file.type` for `st_mode`.
pub(crate) fn file_type(mode: u32) -> Option<&'static str> {
    Some(match mode & libc::S_IFMT {
        libc::S_IFREG => "file",
        libc::S_IFDIR => "dir",
        libc::S_IFLNK => "symlink",
        libc::S_IFIFO => "fifo",
        libc::S_IFSOCK => "socket",
        libc::S_IFCHR => "char_device",
        libc::S_IFBLK => "block_device",
        _ => return None,
    })
}

/// `file.mode` for `st_mode`: four octal digits.
pub(crate) fn octal(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}

/// A device as its two numbers.
pub(crate) fn device(device: Device) -> String {
    format!("{}:{}", device.major, device.minor)
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = vec![0; bytes.len() * 2];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)]));
    }
    String::from_utf8(text).unwrap_or_default()
}

/// The names of the capabilities whose bits are set; a number for a bit that has no name yet.
pub(crate) fn capabilities(bits: u64) -> Vec<&'static str> {
    let names = CAPABILITIES.iter().enumerate();
    names.filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name).collect()
}

/// In the order of their bits (`linux/capability.h`).
const CAPABILITIES: [&str; 64] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    // The kernel has no names for these yet.
    "41",
    "42",
    "43",
    "44",
    "45",
    "46",
    "47",
    "48",
    "49",
    "50",
    "51",
    "52",
    "53",
    "54",
    "55",
    "56",
    "57",
    "58",
    "59",
    "60",
    "61",
    "62",
    "63",
];

#[cfg(test)]
mod tests {
    use super::{capabilities, directory, extension, file_name, hex};

    #[test]
    fn an_extension_follows_the_last_dot_unless_that_leads_or_ends_the_name() {
        for (name, wanted) in [
            ("a.conf", Some("conf")),
            ("a.tar.gz", Some("gz")),
            ("ld.so.preload", Some("preload")),
            (".bashrc", None),
            (".#8:5203253Z9Q47q", None),
            (".ld.so.preload.swp", Some("swp")),
            ("x.", None),
            ("x", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(extension(name), wanted, "{name}");
        }
    }

    #[test]
    fn a_path_has_a_name_and_a_directory() {
        assert_eq!((directory("/etc/a"), file_name("/etc/a")), (Some("/etc"), Some("a")));
        assert_eq!((directory("/a"), file_name("/a")), (Some("/"), Some("a")));
        assert_eq!((directory("a"), file_name("a")), (None, Some("a")));
        assert_eq!(file_name("/"), None);
    }

    #[test]
    fn each_byte_has_two_digits() {
        assert_eq!(hex(&[0, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }

    #[test]
    fn capabilities_have_names() {
        assert_eq!(capabilities(1 | 1 << 21 | 1 << 50), ["CAP_CHOWN", "CAP_SYS_ADMIN", "50"]);
        assert_eq!(capabilities(1 << 40 | 1 << 41 | 1 << 63), ["CAP_CHECKPOINT_RESTORE", "41", "63"]);
    }
}
