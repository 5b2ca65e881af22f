use proptest::prelude::*;
use sensor_common::record::{Executable, FLAG_VIA_OPEN};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::*;

/// Puts records together as the kernel side does.
pub(crate) struct Recorder {
    pub(crate) fixed: EventRecord,
    sections: Vec<u8>,
}

impl Recorder {
    pub(crate) fn new(kind: u8) -> Self {
        let mut fixed = EventRecord::new_zeroed();
        fixed.header.kind = kind;
        fixed.header.abi = ABI;
        fixed.header.flags = FLAG_VIA_OPEN;
        fixed.header.pid_tgid = 7 << 32 | 8;
        Self { fixed, sections: Vec::new() }
    }

    pub(crate) fn section(mut self, kind: u8, view: u8, flags: u16, content: &[u8]) -> Self {
        let head = Section { length: content.len() as u32, kind, view, flags };
        self.sections.extend(head.as_bytes());
        self.sections.extend(content);
        self.sections.resize(self.sections.len().next_multiple_of(8), 0);
        self
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.fixed.header.length = (size_of::<EventRecord>() + self.sections.len()) as u32;
        [self.fixed.as_bytes(), &self.sections].concat()
    }

    pub(crate) fn event(self) -> RawEvent {
        match decode(&self.bytes()) {
            Ok(RawRecord::Event(event)) => *event,
            other => panic!("{other:?}"),
        }
    }
}

fn whole() -> Vec<u8> {
    let ancestor = Ancestor {
        start_ns: 1,
        pid: 2,
        reserved: 0,
        comm: *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        executable: Executable::new_zeroed(),
    };
    Recorder::new(KIND_RENAME)
        .section(SECTION_PATH, VIEW_PROCESS, 0, b"ld.so.preload\0etc\0")
        .section(SECTION_PATH, VIEW_OTHER, SECTION_FLAG_TRUNCATED, b"ld.so.preload\0etc\0/\0")
        .section(SECTION_ORIGINAL_PATH, VIEW_PROCESS, 0, b"x\0tmp\0")
        .section(SECTION_ROOT, 0, 0, b"")
        .section(SECTION_EXECUTABLE, 0, 0, b"sh\0bin\0usr\0")
        .section(SECTION_ARGUMENTS, 0, SECTION_FLAG_TRUNCATED, b"sh\0-c")
        .section(SECTION_FILE_SYSTEM, 0, 0, b"ext4\0")
        .section(SECTION_ANCESTOR, 0, 0, &[ancestor.as_bytes(), b"init\0sbin\0"].concat())
        .bytes()
}

#[test]
fn a_whole_record_is_understood() {
    let Ok(RawRecord::Event(event)) = decode(&whole()) else { panic!() };
    let texts = |paths: &[RawPath]| paths.iter().map(|path| path.bytes.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&event.paths), [&b"/etc/ld.so.preload"[..], b"etc/ld.so.preload"]);
    assert_eq!((event.paths[0].truncated, event.paths[1].truncated), (false, true));
    assert_eq!(texts(&event.original_paths), [b"/tmp/x"]);
    assert_eq!(event.root, None);
    assert_eq!(event.executable.unwrap().bytes, b"/usr/bin/sh");
    assert_eq!(event.arguments, Some(RawBytes { bytes: b"sh\0-c".to_vec(), truncated: true }));
    assert_eq!(event.file_system.unwrap(), b"ext4");
    assert_eq!((event.ancestors[0].0.pid, event.ancestors[0].1.bytes.as_slice()), (2, &b"/sbin/init"[..]));
}

#[test]
fn every_truncation_is_an_error_and_none_panics() {
    let whole = whole();
    for length in 0..whole.len() {
        assert!(decode(&whole[..length]).is_err(), "{length} bytes");
        // Also where the header agrees with the length.
        let mut cut = whole[..length].to_vec();
        if length >= 4 {
            cut[..4].copy_from_slice(&(length as u32).to_ne_bytes());
        }
        let _ = decode(&cut);
    }
}

fn process() -> Vec<u8> {
    let ancestor = Ancestor {
        start_ns: 1,
        pid: 2,
        reserved: 0,
        comm: *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        executable: Executable::new_zeroed(),
    };
    Recorder::new(KIND_PROCESS)
        .section(SECTION_EXECUTABLE, 0, 0, b"sh\0bin\0usr\0")
        .section(SECTION_ANCESTOR, 0, SECTION_FLAG_TRUNCATED, ancestor.as_bytes())
        .section(SECTION_ARGUMENTS, 0, 0, b"sh\0-c\0a long command\0")
        .bytes()
}

#[test]
fn a_kept_process_is_understood_as_far_as_it_goes() {
    let whole = process();
    // What was there before it is still behind it.
    let kept = [whole.as_slice(), b"stale\0\0\0"].concat();
    let event = decode_process(&kept).unwrap();
    assert_eq!(event.executable.unwrap().bytes, b"/usr/bin/sh");
    assert_eq!((event.ancestors[0].0.pid, event.ancestors[0].1.bytes.as_slice()), (2, &b""[..]));
    assert_eq!(
        event.arguments.unwrap(),
        RawBytes { bytes: b"sh\0-c\0a long command\0".to_vec(), truncated: false }
    );

    let cut = decode_process(&whole[..whole.len() - 18]).unwrap();
    assert_eq!(cut.arguments.unwrap(), RawBytes { bytes: b"sh\0-c\0".to_vec(), truncated: true });
    for length in 0..whole.len() {
        let cut = decode_process(&whole[..length]);
        assert_eq!(cut.is_ok(), length >= size_of::<EventRecord>(), "{length} bytes");
    }
    let event = Recorder::new(KIND_CREATE).bytes();
    assert_eq!(decode_process(&event).unwrap_err(), DecodeError::Kind { kind: KIND_CREATE });
}

#[test]
fn other_versions_kinds_and_sections_are_named() {
    let change = |offset: usize, value: u8| {
        let mut bytes = whole();
        bytes[offset] = value;
        decode(&bytes).unwrap_err()
    };
    assert_eq!(change(5, 9), DecodeError::Abi { abi: 9 });
    assert_eq!(change(4, 99), DecodeError::Kind { kind: 99 });
    let first = size_of::<EventRecord>();
    assert_eq!(change(first + 4, 77), DecodeError::Section { kind: 77, view: 0 });
    assert_eq!(change(first + 5, 3), DecodeError::Section { kind: SECTION_PATH, view: 3 });
}

proptest! {
    #[test]
    fn nothing_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&bytes);
        let _ = decode_process(&bytes);
    }

    #[test]
    fn nothing_panics_on_a_kept_process_with_a_flaw(position in 0..process().len(), value: u8) {
        let mut bytes = process();
        bytes[position] = value;
        let _ = decode_process(&bytes);
    }

    #[test]
    fn nothing_panics_on_a_record_with_a_flaw(position in 0..whole().len(), value: u8) {
        let mut bytes = whole();
        bytes[position] = value;
        let _ = decode(&bytes);
    }

    /// The kernel's components, last one first, give the path that they were taken from.
    #[test]
    fn components_give_the_path(names in proptest::collection::vec("[^/\0]{1,9}", 1..12)) {
        let content: Vec<u8> = names.iter().rev().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
        let event = Recorder::new(KIND_CREATE).section(SECTION_PATH, 0, 0, &content).event();
        let path = format!("/{}", names.join("/"));
        prop_assert_eq!(&event.paths[0].bytes, path.as_bytes());
    }
}
