//! Bytes that fanotify delivers become notifications. Nothing is trusted, nothing panics.
//!
//! A notification is a head of fixed length and information records behind it, whose lengths they say themselves.

use std::os::fd::RawFd;

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// `FANOTIFY_METADATA_VERSION`.
const VERSION: u8 = 3;
/// Bytes of the id of a file system.
pub(super) const FILE_SYSTEM_ID: usize = 8;

/// `struct fanotify_event_metadata`.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct Metadata {
    event_length: u32,
    version: u8,
    reserved: u8,
    own_length: u16,
    mask: u64,
    fd: i32,
    pid: i32,
}

/// `struct fanotify_event_info_header`.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct InfoHeader {
    info_type: u8,
    pad: u8,
    length: u16,
}

/// The head of a `struct file_handle`.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct HandleHeader {
    bytes: u32,
    kind: i32,
}

/// What happened, as the kernel tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notification<'b> {
    /// `FAN_*`.
    pub(super) mask: u64,
    /// The process in the daemon's pid namespace; 0 if it has no number there.
    pub(super) pid: u32,
    /// A descriptor of the process, open from now on: whoever takes the notification owns it.
    pub(super) pidfd: Option<RawFd>,
    /// The entry that the event is about.
    pub(super) entry: Option<Entry<'b>>,
    /// Renames: the entry as it was called before, if the directory it was in is marked.
    pub(super) original: Option<Entry<'b>>,
    /// The file itself: file system and handle.
    pub(super) target: Option<&'b [u8]>,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'b> {
    /// The directory: file system and handle.
    pub(super) directory: &'b [u8],
    /// The name.
    pub(super) name: &'b [u8],
}

/// Why bytes are no notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotificationError {
    #[error("a notification of {length} bytes ends within its {part}")]
    Short { length: usize, part: &'static str },
    #[error("a notification of {length} bytes says that it has {said}")]
    Length { length: usize, said: u32 },
    #[error("a notification has version {version} of the format, not {VERSION}")]
    Version { version: u8 },
}

/// The notifications in a buffer that was read at once. After an error in one the next follows, if its length makes
/// sense.
pub(super) struct Notifications<'b>(pub(super) &'b [u8]);

impl<'b> Iterator for Notifications<'b> {
    type Item = Result<Notification<'b>, NotificationError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let length = self.0.len();
        let Ok((metadata, _)) = Metadata::read_from_prefix(self.0) else {
            self.0 = &[];
            return Some(Err(NotificationError::Short { length, part: "head" }));
        };
        let said = metadata.event_length;
        let own = usize::try_from(said).ok().filter(|said| *said >= size_of::<Metadata>());
        let Some((bytes, rest)) = own.and_then(|own| self.0.split_at_checked(own)) else {
            self.0 = &[];
            return Some(Err(NotificationError::Length { length, said }));
        };
        self.0 = rest;
        Some(notification(metadata, bytes))
    }
}

fn notification(metadata: Metadata, bytes: &[u8]) -> Result<Notification<'_>, NotificationError> {
    if metadata.version != VERSION {
        return Err(NotificationError::Version { version: metadata.version });
    }
    let short = |part| NotificationError::Short { length: bytes.len(), part };
    let mut records = bytes.get(usize::from(metadata.own_length)..).ok_or(short("head"))?;
    let pid = u32::try_from(metadata.pid).unwrap_or(0);
    let mut notification = Notification { mask: metadata.mask, pid, ..Notification::default() };
    while !records.is_empty() {
        let (header, _) = InfoHeader::read_from_prefix(records).map_err(|_| short("record's head"))?;
        let (record, rest) = records.split_at_checked(usize::from(header.length)).ok_or(short("record"))?;
        let content = record.get(size_of::<InfoHeader>()..).ok_or(short("record's head"))?;
        match header.info_type {
            libc::FAN_EVENT_INFO_TYPE_FID => notification.target = Some(handle(content, short)?.0),
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME | libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => {
                notification.entry = Some(entry(content, short)?);
            }
            libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => {
                notification.original = Some(entry(content, short)?);
            }
            libc::FAN_EVENT_INFO_TYPE_PIDFD => {
                let (pidfd, _) = i32::read_from_prefix(content).map_err(|_| short("record"))?;
                notification.pidfd = Some(pidfd).filter(|pidfd| *pidfd >= 0);
            }
            // A later kernel's.
            _ => {}
        }
        records = rest;
    }
    Ok(notification)
}

/// Splits off the id of a file system with the handle behind it.
fn handle(
    content: &[u8],
    short: impl Fn(&'static str) -> NotificationError,
) -> Result<(&[u8], &[u8]), NotificationError> {
    let header = content.get(FILE_SYSTEM_ID..).and_then(|rest| HandleHeader::read_from_prefix(rest).ok());
    let (header, _) = header.ok_or_else(|| short("handle's head"))?;
    let length = usize::try_from(header.bytes)
        .ok()
        .and_then(|bytes| bytes.checked_add(FILE_SYSTEM_ID + size_of::<HandleHeader>()));
    length.and_then(|length| content.split_at_checked(length)).ok_or_else(|| short("handle"))
}

fn entry(
    content: &[u8],
    short: impl Fn(&'static str) -> NotificationError,
) -> Result<Entry<'_>, NotificationError> {
    let (directory, rest) = handle(content, &short)?;
    let end = rest.iter().position(|&byte| byte == 0).ok_or_else(|| short("name"))?;
    Ok(Entry { directory, name: &rest[..end] })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = (4 + content.len()).next_multiple_of(4);
        let mut bytes = [&[kind, 0], (length as u16).to_ne_bytes().as_slice(), content].concat();
        bytes.resize(length, 0);
        bytes
    }

    fn id(handle: &[u8]) -> Vec<u8> {
        let length = handle.len() as u32;
        [b"fsid-eig".as_slice(), &length.to_ne_bytes(), &1_i32.to_ne_bytes(), handle].concat()
    }

    fn named(kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
        record(kind, &[id(handle).as_slice(), name, b"\0"].concat())
    }

    fn notification(mask: u64, records: &[Vec<u8>]) -> Vec<u8> {
        let records = records.concat();
        [
            (24 + records.len() as u32).to_ne_bytes().as_slice(),
            &[VERSION, 0],
            &24_u16.to_ne_bytes(),
            &mask.to_ne_bytes(),
            &libc::FAN_NOFD.to_ne_bytes(),
            &4242_i32.to_ne_bytes(),
            &records,
        ]
        .concat()
    }

    fn rename() -> Vec<u8> {
        notification(
            libc::FAN_RENAME,
            &[
                named(libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, b"old-parent", b"x"),
                named(libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, b"new", b"ld.so.preload"),
                record(libc::FAN_EVENT_INFO_TYPE_FID, &id(b"file")),
                record(libc::FAN_EVENT_INFO_TYPE_PIDFD, &7_i32.to_ne_bytes()),
                record(200, b"of a later kernel"),
            ],
        )
    }

    fn creation() -> Vec<u8> {
        notification(
            libc::FAN_CREATE,
            &[
                named(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, b"etc", b"\xff\n"),
                record(libc::FAN_EVENT_INFO_TYPE_PIDFD, &libc::FAN_NOPIDFD.to_ne_bytes()),
            ],
        )
    }

    #[test]
    fn a_rename_has_both_names_and_the_process() {
        let bytes = [rename(), creation()].concat();
        let found: Vec<_> = Notifications(&bytes).map(Result::unwrap).collect();
        assert_eq!(
            found,
            [
                Notification {
                    mask: libc::FAN_RENAME,
                    pid: 4242,
                    pidfd: Some(7),
                    entry: Some(Entry { directory: &id(b"new"), name: b"ld.so.preload" }),
                    original: Some(Entry { directory: &id(b"old-parent"), name: b"x" }),
                    target: Some(&id(b"file")),
                },
                Notification {
                    mask: libc::FAN_CREATE,
                    pid: 4242,
                    entry: Some(Entry { directory: &id(b"etc"), name: b"\xff\n" }),
                    ..Notification::default()
                },
            ]
        );
    }

    #[test]
    fn an_overflow_has_no_records() {
        let bytes = notification(libc::FAN_Q_OVERFLOW, &[]);
        let found: Vec<_> = Notifications(&bytes).map(Result::unwrap).collect();
        assert_eq!(found[0].mask, libc::FAN_Q_OVERFLOW);
        assert_eq!(found[0].entry, None);
    }

    #[test]
    fn every_truncation_is_an_error_and_ends() {
        let whole = rename();
        for length in 1..whole.len() {
            let found: Vec<_> = Notifications(&whole[..length]).collect();
            assert!(matches!(found.as_slice(), [Err(_)]), "{length} bytes: {found:?}");
            // Also where the head agrees with the length: then it ends with a record, or within one.
            let mut cut = whole[..length].to_vec();
            if length >= 4 {
                cut[..4].copy_from_slice(&(length as u32).to_ne_bytes());
            }
            assert!(Notifications(&cut).count() <= 1);
        }
    }

    #[test]
    fn one_that_is_not_understood_does_not_hide_the_next() {
        let mut other = rename();
        other[4] = 9;
        let bytes = [other, creation()].concat();
        let found: Vec<_> = Notifications(&bytes).collect();
        assert_eq!(found[0], Err(NotificationError::Version { version: 9 }));
        assert!(found[1].is_ok());
    }

    proptest! {
        #[test]
        fn nothing_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            Notifications(&bytes).for_each(drop);
        }

        #[test]
        fn nothing_panics_on_notifications_with_a_flaw(position in 0..rename().len(), value: u8) {
            let mut bytes = [rename(), creation()].concat();
            bytes[position] = value;
            prop_assert!(Notifications(&bytes).count() <= bytes.len());
        }
    }
}
