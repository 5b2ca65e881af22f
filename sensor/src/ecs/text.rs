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
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The names of the capabilities whose bits are set; a number for a bit that has no name yet.
pub(crate) fn capabilities(bits: u64) -> Vec<String> {
    (0..u64::BITS)
        .filter(|bit| bits & (1 << bit) != 0)
        .map(|bit| {
            CAPABILITIES.get(bit as usize).map_or_else(|| format!("{bit}"), |name| format!("CAP_{name}"))
        })
        .collect()
}

/// In the order of their bits (`linux/capability.h`).
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::{capabilities, directory, extension, file_name};

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
    fn capabilities_have_names() {
        assert_eq!(capabilities(1 | 1 << 21 | 1 << 50), ["CAP_CHOWN", "CAP_SYS_ADMIN", "50"]);
    }
}
