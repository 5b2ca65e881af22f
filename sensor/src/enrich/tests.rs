use proptest::prelude::*;
use sensor_common::record::{
    KIND_CREATE, KIND_LINK, KIND_SYMLINK, SECTION_ARGUMENTS, SECTION_EXECUTABLE, SECTION_FLAG_TRUNCATED,
    SECTION_MOUNTED, SECTION_ORIGINAL_PATH, SECTION_PATH, SECTION_ROOT, SECTION_TARGET, VIEW_HOST,
    VIEW_PROCESS,
};

use super::*;
use crate::alert::lookup;
use crate::decode::tests::Recorder;
use crate::ecs::{Candidate, Document, FieldTable, hex};
use crate::host::ProcessStat;
use crate::host::fake::{FakeHost, FakeProcess};

fn creation() -> Recorder {
    let mut recorder = Recorder::new(KIND_CREATE);
    recorder.fixed.executable.flags = EXECUTABLE_FILE;
    recorder.fixed.executable.links = 1;
    recorder.fixed.comm = *b"evil\0garbage\0\0\0\0";
    recorder.section(SECTION_EXECUTABLE, 0, 0, b"evil\0tmp\0").section(
        SECTION_ARGUMENTS,
        0,
        0,
        b"./evil\0\0-x\xff\0",
    )
}

fn texts(paths: &[Path]) -> Vec<(&str, View)> {
    paths.iter().map(|path| (path.text.as_str(), path.view)).collect()
}

#[test]
fn a_link_has_no_old_path_but_what_it_links_to() {
    let link = Recorder::new(KIND_LINK).section(SECTION_PATH, 0, 0, b"ld.so.preload\0etc\0").section(
        SECTION_ORIGINAL_PATH,
        0,
        0,
        b"x.dpkg-new\0tmp\0",
    );
    let event = enrich(&link.event(), &mut FakeHost::default()).remove(0);
    assert_eq!(event.action, Action::Creation);
    assert_eq!(event.file.original_paths, [], "an exclusion of renames would take it for one");
    assert_eq!(event.file.linked.unwrap().text, "/tmp/x.dpkg-new");
    let symlink = Recorder::new(KIND_SYMLINK).section(SECTION_PATH, 0, 0, b"ld.so.preload\0etc\0").section(
        SECTION_TARGET,
        0,
        0,
        b"../tmp/x\0",
    );
    let event = enrich(&symlink.event(), &mut FakeHost::default()).remove(0);
    assert_eq!((event.action, event.file.target), (Action::Creation, Some("../tmp/x".into())));
    assert_eq!(event.file.linked, None);
}

#[test]
fn each_kind_of_record_is_an_action() {
    for (kind, action) in [
        (KIND_CREATE, Action::Creation),
        (KIND_RENAME, Action::Rename),
        (KIND_MODIFY, Action::Modification),
        (KIND_UNLINK, Action::Deletion),
        (KIND_MOUNT, Action::Mount),
        (KIND_UNMOUNT, Action::Mount),
        (KIND_PIVOT_ROOT, Action::Mount),
    ] {
        let mut recorder = Recorder::new(kind).section(SECTION_PATH, 0, 0, b"x\0");
        recorder.fixed.inode = 5;
        let event = enrich(&recorder.event(), &mut FakeHost::default()).remove(0);
        assert_eq!((event.action, event.file.inode), (action, Some(5)));
    }
}

#[test]
fn a_mount_says_what_is_there_now_and_one_that_moves_is_gone_elsewhere() {
    let events = |kind, flags, source: &[u8]| {
        let mut recorder = Recorder::new(kind)
            .section(SECTION_PATH, 0, 0, b"etc\0")
            .section(SECTION_MOUNTED, 0, 0, b"tmpfs\0")
            .section(SECTION_TARGET, 0, 0, b"none\0");
        if !source.is_empty() {
            recorder = recorder.section(SECTION_ORIGINAL_PATH, 0, 0, source);
        }
        recorder.fixed.operation_flags = flags;
        let events = enrich(&recorder.event(), &mut FakeHost::default());
        events
            .into_iter()
            .map(|event| (event.file.paths[0].text.clone(), event.file.mount.unwrap(), event.file.target))
            .collect::<Vec<_>>()
    };
    let mount = |operation, source: Option<&str>| Mount {
        operation,
        source: source.map(Text::from),
        file_system: Some("tmpfs".to_owned()),
    };
    for (flags, operation) in
        [(0, MountOperation::Mount), (BIND, MountOperation::Bind), (MOVE, MountOperation::Move)]
    {
        assert_eq!(
            events(KIND_MOUNT, flags, b""),
            [("/etc".to_owned(), mount(operation, Some("none")), None)]
        );
    }
    assert_eq!(
        events(KIND_MOVE_MOUNT, 0, b"x\0mnt\0"),
        [
            ("/etc".to_owned(), mount(MountOperation::Move, Some("/mnt/x")), None),
            ("/mnt/x".to_owned(), mount(MountOperation::Unmount, None), None),
        ]
    );
    assert_eq!(events(KIND_MOVE_MOUNT, 0, b"").len(), 1, "a new mount was nowhere");
    assert_eq!(events(KIND_PIVOT_ROOT, 0, b"new\0").len(), 1);
}

#[test]
fn a_creation_keeps_what_the_kernel_said() {
    let raw = creation().section(SECTION_PATH, VIEW_PROCESS, 0, b"ld.so.preload\0etc\0").event();
    let events = enrich(&raw, &mut FakeHost::default());
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(texts(&event.file.paths), [("/etc/ld.so.preload", View::Process)]);
    assert_eq!((event.process.pid, event.process.tid), (7, 8));
    assert_eq!(event.process.thread_name, "evil".into());
    assert_eq!(event.process.args, ["./evil", "", "-x\u{fffd}"]);
    assert_eq!(event.process.raw_command_line.as_deref(), Some(b"./evil\0\0-x\xff\0".as_slice()));
    let Executable::File(file) = &event.process.executable else { panic!() };
    assert_eq!((file.path.text.as_str(), file.deleted, file.memfd), ("/tmp/evil", false, false));
}

#[test]
fn a_changed_root_is_taken_away_and_the_whole_path_is_kept() {
    let raw = creation()
        .section(SECTION_PATH, VIEW_PROCESS, 0, b"ld.so.preload\0etc\0jail\0srv\0")
        .section(SECTION_PATH, VIEW_HOST, 0, b"ld.so.preload\0etc\0jail\0srv\0")
        .section(SECTION_ROOT, 0, 0, b"jail\0srv\0")
        .event();
    let event = &enrich(&raw, &mut FakeHost::default())[0];
    assert_eq!(
        texts(&event.file.paths),
        [("/etc/ld.so.preload", View::Process), ("/srv/jail/etc/ld.so.preload", View::Host)]
    );
}

#[test]
fn a_directory_that_only_begins_like_the_root_is_not_below_it() {
    let raw = creation()
        .section(SECTION_PATH, VIEW_PROCESS, 0, b"x\0jailbreak\0srv\0")
        .section(SECTION_ROOT, 0, 0, b"jail\0srv\0")
        .event();
    let event = &enrich(&raw, &mut FakeHost::default())[0];
    assert_eq!(texts(&event.file.paths), [("/srv/jailbreak/x", View::Process)]);
}

#[test]
fn a_process_that_is_still_there_is_asked_for_what_is_missing() {
    let args_with_process_started_at = |start| {
        let mut recorder = Recorder::new(KIND_CREATE);
        recorder.fixed.start_ns = 1_000;
        let raw = recorder.section(SECTION_PATH, VIEW_PROCESS, 0, b"x\0").event();
        let process = FakeProcess {
            stat: ProcessStat::fake("evil", 1, start),
            command_line: b"evil\0--fast\0".to_vec(),
            executable: Executable::Unknown,
        };
        let mut host = FakeHost { processes: [(7, process)].into(), ..FakeHost::default() };
        enrich(&raw, &mut host).remove(0).process.args
    };
    assert_eq!(args_with_process_started_at(1_000), ["evil", "--fast"]);
    assert!(args_with_process_started_at(2_000).is_empty(), "another process has the pid by now");
}

#[test]
fn an_exchange_is_two_events() {
    let mut recorder = Recorder::new(KIND_RENAME);
    recorder.fixed.operation_flags = EXCHANGE;
    let raw = recorder
        .section(SECTION_PATH, VIEW_PROCESS, 0, b"b\0")
        .section(SECTION_ORIGINAL_PATH, VIEW_PROCESS, 0, b"a\0")
        .event();
    let events = enrich(&raw, &mut FakeHost::default());
    let ways: Vec<_> = events
        .iter()
        .map(|event| (event.file.original_paths[0].text.as_str(), event.file.paths[0].text.as_str()))
        .collect();
    assert_eq!(ways, [("/a", "/b"), ("/b", "/a")]);
    assert_ne!(events[0].id.to_string(), events[1].id.to_string());
}

#[test]
fn paths_that_may_not_be_all_leave_room_for_others() {
    let mut recorder = creation();
    recorder.fixed.header.flags |= FLAG_MORE_MOUNTS;
    let raw = recorder.section(SECTION_PATH, VIEW_HOST, 0, b"ld.so.preload\0x\0").event();
    let event = &enrich(&raw, &mut FakeHost::default())[0];
    assert!(event.file.paths.iter().any(|path| path.truncated && path.text == "ld.so.preload"), "{event:?}");
}

#[test]
fn a_memfd_and_a_deleted_file_say_so() {
    let mut recorder = Recorder::new(KIND_CREATE);
    recorder.fixed.executable.flags = EXECUTABLE_FILE | EXECUTABLE_UNHASHED;
    let raw = recorder.section(SECTION_EXECUTABLE, 0, SECTION_FLAG_TRUNCATED, b"memfd:x\0").event();
    let Executable::File(memfd) = enrich(&raw, &mut FakeHost::default()).remove(0).process.executable else {
        panic!()
    };
    assert_eq!(
        (memfd.path.text.as_str(), memfd.memfd, memfd.deleted, memfd.path.truncated),
        ("/memfd:x", true, false, false)
    );

    let mut recorder = Recorder::new(KIND_CREATE);
    recorder.fixed.executable.flags = EXECUTABLE_FILE | EXECUTABLE_UNHASHED;
    let raw = recorder.section(SECTION_EXECUTABLE, 0, 0, b"x\0tmp\0").event();
    let Executable::File(file) = enrich(&raw, &mut FakeHost::default()).remove(0).process.executable else {
        panic!()
    };
    assert_eq!((file.path.text.as_str(), file.memfd, file.deleted), ("/tmp/x", false, true));
}

#[test]
fn a_kernel_thread_has_no_executable_and_what_is_not_said_is_unknown() {
    let mut recorder = Recorder::new(KIND_CREATE);
    recorder.fixed.executable.flags = EXECUTABLE_KERNEL_THREAD;
    let event = enrich(&recorder.event(), &mut FakeHost::default()).remove(0);
    assert_eq!(event.process.executable, Executable::KernelThread);
    let event = enrich(&Recorder::new(KIND_CREATE).event(), &mut FakeHost::default()).remove(0);
    assert_eq!(event.process.executable, Executable::Unknown);
    assert!(event.file.paths[0].truncated, "a path that was not told could be any");
}

/// Bytes that are often no text.
fn bytes(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![1..=255_u8, Just(b'a'), Just(0xc3), Just(0xa9)], length)
        .prop_filter("a name", |bytes| !bytes.contains(&b'/'))
}

proptest! {
    #[test]
    fn whatever_it_is_called_the_document_has_the_bytes(
        name in bytes(1..20), target in bytes(1..20), first in bytes(1..20), second in bytes(0..20), comm in bytes(1..16),
    ) {
        let arguments = [first.as_slice(), b"\0", &second, b"\0"].concat();
        let mut recorder = Recorder::new(KIND_SYMLINK);
        recorder.fixed.executable.flags = EXECUTABLE_FILE;
        recorder.fixed.comm = [0; 16];
        recorder.fixed.comm[..comm.len()].copy_from_slice(&comm);
        let raw = recorder
            .section(SECTION_PATH, VIEW_PROCESS, 0, &[&name, b"\0etc\0".as_slice()].concat())
            .section(SECTION_TARGET, 0, 0, &[&target, b"\0".as_slice()].concat())
            .section(SECTION_EXECUTABLE, 0, 0, &[&name, b"\0tmp\0".as_slice()].concat())
            .section(SECTION_ARGUMENTS, 0, 0, &arguments)
            .event();
        let event = enrich(&raw, &mut FakeHost::default()).remove(0);
        let table = FieldTable::default();
        let document = Document::new(&event, &table, Candidate::default()).to_json();
        let has = |field: &str, raw: &str, bytes: &[u8]| {
            let text = |field| lookup(&document, field).and_then(serde_json::Value::as_str);
            match str::from_utf8(bytes) {
                Ok(readable) => text(field) == Some(readable) && text(raw).is_none(),
                Err(_) => text(raw) == Some(&hex(bytes)),
            }
        };
        let path = |directory: &[u8]| [directory, &name].concat();
        prop_assert!(has("file.path", "ldsentry.file.raw_path", &path(b"/etc/")));
        prop_assert!(has("file.target_path", "ldsentry.file.raw_target_path", &target));
        prop_assert!(has("process.executable", "ldsentry.process.executable.raw_path", &path(b"/tmp/")));
        prop_assert!(has("process.thread.name", "ldsentry.process.raw_thread_name", &comm));
        let raw = "ldsentry.process.raw_command_line";
        if str::from_utf8(&arguments).is_ok() {
            let readable = [&first, b" ".as_slice(), &second].concat();
            prop_assert!(has("process.command_line", raw, &readable));
        } else {
            prop_assert!(has("process.command_line", raw, &arguments));
        }
    }
}
