//! The contract that every output keeps, and what only one of them can run into.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use super::*;
use crate::config::{FileMode, FileOptions, Format};

mod change;
mod elasticsearch;
mod fields;
mod http;
mod network;
mod suppressed;
mod syslog;
pub(super) mod trouble;

const PATIENCE: Duration = Duration::from_mins(1);
const TUNING: Tuning =
    Tuning { capacity: 8, retry: Duration::from_millis(5), longest_retry: Duration::from_millis(20) };

#[derive(Debug)]
struct TestAlert {
    id: String,
    padding: usize,
}

impl Record for TestAlert {
    fn id(&self) -> &str {
        &self.id
    }

    fn to_line(&self) -> String {
        format!("{{\"id\":\"{}\",\"padding\":\"{}\"}}", self.id, "x".repeat(self.padding))
    }

    fn to_pretty(&self, _color: bool) -> String {
        format!("alert {}\n", self.id)
    }
}

fn alert(number: usize) -> Arc<dyn Record> {
    large_alert(number, 0)
}

fn large_alert(number: usize, padding: usize) -> Arc<dyn Record> {
    Arc::new(TestAlert { id: number.to_string(), padding })
}

/// As the spool hands it out.
fn spooled(alert: &Arc<dyn Record>) -> Arc<spool::Spooled> {
    Arc::new(spool::Spooled { time: 0, id: alert.id().to_owned(), line: alert.to_line(), is_summary: false })
}

/// The id in a line of NDJSON, which must be valid.
fn id_of(line: &str) -> usize {
    let document: serde_json::Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
    document["id"].as_str().unwrap().parse().unwrap()
}

fn ids_in(path: &Path) -> Vec<usize> {
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "the last of {} bytes is no line end", text.len());
    text.lines().map(id_of).collect()
}

/// Waits for what another thread brings about, and shows what there is instead if it never does.
#[track_caller]
fn wait_for<T: PartialEq + fmt::Debug>(expected: &T, mut now: impl FnMut() -> T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = now();
        if found == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "waited for {expected:?}, found {found:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl From<Box<dyn Sink>> for Sinks {
    fn from(sink: Box<dyn Sink>) -> Self {
        Self { local: vec![sink], network: Vec::new() }
    }
}

impl From<Box<dyn NetworkSink>> for Sinks {
    fn from(sink: Box<dyn NetworkSink>) -> Self {
        Self { local: Vec::new(), network: vec![sink] }
    }
}

/// Outputs with a spool of their own.
struct Started {
    outputs: Outputs,
    _directory: tempfile::TempDir,
}

impl Started {
    fn send(&self, alert: &Arc<dyn Record>) {
        self.outputs.send(alert);
        self.outputs.flush();
    }

    fn close(self, patience: Duration) -> u64 {
        self.outputs.close(patience)
    }
}

fn start(sinks: impl Into<Sinks>, metrics: &Metrics) -> Started {
    try_start(sinks, metrics).unwrap()
}

fn start_local(local: Vec<Box<dyn Sink>>, metrics: &Metrics) -> Started {
    start(Sinks { local, network: Vec::new() }, metrics)
}

fn try_start(sinks: impl Into<Sinks>, metrics: &Metrics) -> Result<Started, OutputsError> {
    let directory = tempfile::tempdir().unwrap();
    let outputs = Outputs::start(sinks.into(), &spool_options(directory.path()), metrics, TUNING)?;
    Ok(Started { outputs, _directory: directory })
}

fn spool_options(directory: &Path) -> SpoolOptions {
    SpoolOptions {
        path: directory.join("spool.redb"),
        dead_letters: directory.join("dead-letters.ndjson"),
        ..SpoolOptions::default()
    }
}

/// An output under test and its far end.
trait Rig {
    fn sinks(&self) -> Sinks;
    fn name(&self) -> &'static str;
    /// The next alert to arrive; waits for it.
    fn receive(&mut self) -> usize;
    /// Makes the output take nothing.
    fn obstruct(&mut self);
}

struct PipeRig {
    writer: OwnedFd,
    reader: BufReader<PipeReader>,
}

impl PipeRig {
    fn new() -> Self {
        let (reader, writer) = io::pipe().unwrap();
        Self { writer: writer.into(), reader: BufReader::new(reader) }
    }
}

impl PipeRig {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(StdoutSink::redirected(Format::Ndjson, self.writer.try_clone().unwrap().into()))
    }
}

impl Rig for PipeRig {
    fn sinks(&self) -> Sinks {
        self.sink().into()
    }

    fn name(&self) -> &'static str {
        "stdout"
    }

    fn receive(&mut self) -> usize {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        id_of(&line)
    }

    fn obstruct(&mut self) {
        // Fills the pipe.
        let mut writer = File::from(self.writer.try_clone().unwrap());
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while io::Write::write(&mut writer, &[b'x'; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
    }
}

struct FileRig {
    directory: tempfile::TempDir,
    received: usize,
}

impl FileRig {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), received: 0 }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("out/alerts.ndjson")
    }

    fn sink(&self) -> Box<dyn Sink> {
        fs::create_dir_all(self.directory.path().join("out")).unwrap();
        Box::new(file_sink(&self.path()))
    }
}

impl Rig for FileRig {
    fn sinks(&self) -> Sinks {
        self.sink().into()
    }

    fn name(&self) -> &'static str {
        "file"
    }

    fn receive(&mut self) -> usize {
        self.received += 1;
        let (path, received) = (self.path(), self.received);
        wait_for(&true, || ids_in(&path).len() >= received);
        ids_in(&path)[received - 1]
    }

    fn obstruct(&mut self) {
        fs::remove_dir_all(self.directory.path().join("out")).unwrap();
    }
}

fn file_options(path: &Path) -> FileOptions {
    FileOptions {
        path: path.to_owned(),
        mode: FileMode::PRIVATE,
        rotate_bytes: None,
        rotate_age: None,
        rotate_keep: 2.try_into().unwrap(),
    }
}

fn file_sink(path: &Path) -> FileSink {
    FileSink::new(&file_options(path))
}

fn rigs() -> Vec<Box<dyn Rig>> {
    vec![
        Box::new(PipeRig::new()),
        Box::new(FileRig::new()),
        Box::new(elasticsearch::ElasticsearchRig::new()),
        Box::new(syslog::SyslogRig::new()),
        Box::new(http::WebhookRig::new()),
        Box::new(http::AlertmanagerRig::new()),
    ]
}

#[test]
fn contract_each_alert_arrives_at_once_and_in_order() {
    for mut rig in rigs() {
        let metrics = Metrics::default();
        let counters = metrics.output(rig.name());
        let outputs = start(rig.sinks(), &metrics);
        for number in 0..100 {
            outputs.send(&alert(number));
            assert_eq!(rig.receive(), number, "without anything sent after it");
        }
        assert_eq!(outputs.close(PATIENCE), 0);
        assert_eq!((counters.delivered.get(), counters.dropped.get(), counters.errors.get()), (100, 0, 0));
    }
}

/// Delivers an alert for each permission.
struct Permitted(mpsc::Receiver<()>);

impl Sink for Permitted {
    fn name(&self) -> &'static str {
        "permitted"
    }

    fn open(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn deliver(&mut self, _alert: &dyn Record) -> Result<(), SinkError> {
        self.0.recv().unwrap();
        Ok(())
    }
}

#[test]
fn what_was_sent_first_can_be_done_with_while_more_waits() {
    let (permit, permitted) = mpsc::channel();
    let outputs = start_local(vec![Box::new(Permitted(permitted))], &Metrics::default());
    outputs.send(&alert(0));
    let first = outputs.outputs.sent().unwrap();
    outputs.send(&alert(1));
    let both = outputs.outputs.sent().unwrap();
    assert!(!first.is_done());
    permit.send(()).unwrap();
    wait_for(&true, || first.is_done());
    assert!(!both.is_done() && !outputs.outputs.has_all_safe());
    permit.send(()).unwrap();
    wait_for(&true, || both.is_done());
}

#[test]
fn contract_closing_delivers_what_waits() {
    for mut rig in rigs() {
        let metrics = Metrics::default();
        let outputs = start(rig.sinks(), &metrics);
        (0..TUNING.capacity).for_each(|number| outputs.send(&alert(number)));
        assert_eq!(outputs.close(PATIENCE), 0);
        (0..TUNING.capacity).for_each(|number| assert_eq!(rig.receive(), number));
    }
}

#[test]
fn contract_an_obstructed_output_delays_no_other_and_counts_what_it_does_not_deliver() {
    for mut rig in rigs() {
        let metrics = Metrics::default();
        let mut other = FileRig::new();
        let counters = metrics.output(rig.name());
        let waiting = metrics.output_waiting(rig.name());
        // Told apart from the one under test by its counters: both may be files.
        let other_metrics = Metrics::default();
        let outputs = start(rig.sinks(), &metrics);
        let others = start(other.sinks(), &other_metrics);
        rig.obstruct();
        let count = 10 * TUNING.capacity;
        for number in 0..count {
            outputs.send(&alert(number));
            others.send(&alert(number));
            assert_eq!(other.receive(), number);
        }
        outputs.close(Duration::ZERO);
        let (dropped, waiting) = (counters.dropped.get(), waiting.get());
        assert_eq!((counters.delivered.get(), dropped + waiting), (0, count as u64));
        assert!(dropped == 0 || waiting == 0, "what is on disk is not dropped");
        others.close(PATIENCE);
    }
}

#[test]
fn outputs_in_one_set_do_not_wait_for_each_other() {
    let metrics = Metrics::default();
    let (mut pipe, mut file) = (PipeRig::new(), FileRig::new());
    let outputs = start_local(vec![pipe.sink(), file.sink()], &metrics);
    pipe.obstruct();
    for number in 0..10 * TUNING.capacity {
        outputs.send(&alert(number));
        assert_eq!(file.receive(), number);
    }
    outputs.close(Duration::ZERO);
}

#[tokio::test]
async fn a_closed_pipe_ends_that_output_and_no_other() {
    let metrics = Metrics::default();
    let (pipe, mut file) = (PipeRig::new(), FileRig::new());
    let outputs = start_local(vec![pipe.sink(), file.sink()], &metrics);
    drop(pipe.reader);
    for number in 0..10 {
        outputs.send(&alert(number));
        assert_eq!(file.receive(), number);
    }
    let counters = metrics.output("stdout");
    wait_for(&10, || counters.dropped.get());
    assert_eq!((counters.delivered.get(), counters.errors.get()), (0, 1));
    let all_gone = tokio::time::timeout(Duration::from_millis(10), outputs.outputs.all_gone()).await;
    assert!(all_gone.is_err(), "the file still works");
    assert_eq!(outputs.close(PATIENCE), 0);
}

#[tokio::test]
async fn when_the_only_output_is_gone_that_is_known() {
    let metrics = Metrics::default();
    let pipe = PipeRig::new();
    let outputs = start_local(vec![pipe.sink()], &metrics);
    drop(pipe.reader);
    outputs.send(&alert(0));
    tokio::time::timeout(PATIENCE, outputs.outputs.all_gone()).await.unwrap();
}

#[test]
fn a_closed_pipe_says_what_to_do() {
    let pipe = PipeRig::new();
    let mut sink = pipe.sink();
    drop(pipe.reader);
    let error = sink.deliver(alert(0).as_ref()).unwrap_err();
    insta::assert_snapshot!(error, @"cannot write to standard output: Broken pipe (os error 32); whoever read it has gone: start ldsentry again with a reader that stays, or use [output.file]");
}

#[test]
fn a_non_blocking_pipe_loses_nothing() {
    let metrics = Metrics::default();
    let pipe = PipeRig::new();
    rustix::io::ioctl_fionbio(&pipe.writer, true).unwrap();
    let outputs = start_local(vec![pipe.sink()], &metrics);
    drop(pipe.writer);
    // More than a pipe holds.
    (0..4).for_each(|number| outputs.send(&large_alert(number, 100_000)));
    let reader =
        std::thread::spawn(move || pipe.reader.lines().map(|line| id_of(&line.unwrap())).collect::<Vec<_>>());
    assert_eq!(outputs.close(PATIENCE), 0);
    assert_eq!(reader.join().unwrap(), [0, 1, 2, 3]);
}

#[test]
fn a_missing_directory_is_an_error_that_stops_no_other_output() {
    let metrics = Metrics::default();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/alerts.ndjson");
    let mut pipe = PipeRig::new();
    let outputs = start_local(vec![pipe.sink(), Box::new(file_sink(&path))], &metrics);
    outputs.send(&alert(1));
    assert_eq!(pipe.receive(), 1);
    let counters = metrics.output("file");
    wait_for(&true, || counters.errors.get() > 2);
    // The alert was kept.
    fs::create_dir(path.parent().unwrap()).unwrap();
    wait_for(&vec![1], || ids_in(&path));
    assert_eq!(outputs.close(PATIENCE), 0);
}

#[test]
fn outputs_that_cannot_work_are_refused_at_start() {
    let metrics = Metrics::default();
    let none = try_start(Sinks::default(), &metrics).err().unwrap();
    insta::assert_snapshot!(none, @"no output is on, alerts would go nowhere; set `enabled = true` in [output.stdout] or add [output.file] to the configuration");

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    Command::new("mkfifo").arg(directory.path().join("fifo")).status().unwrap();
    let paths = ["missing/alerts.ndjson", "", "file/alerts.ndjson", "fifo"];
    let messages = paths.map(|path| {
        let sink: Box<dyn Sink> = Box::new(file_sink(&directory.path().join(path)));
        let error = try_start(sink, &metrics).err().unwrap().to_string();
        error.replace(directory.path().to_str().unwrap(), "DIR")
    });
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_file_is_made_for_its_owner_alone_and_appended_to() {
    let metrics = Metrics::default();
    let rig = FileRig::new();
    for number in 0..2 {
        let outputs = start_local(vec![rig.sink()], &metrics);
        outputs.send(&alert(number));
        outputs.close(PATIENCE);
    }
    assert_eq!(ids_in(&rig.path()), [0, 1]);
    assert_eq!(fs::metadata(rig.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_renamed_removed_or_truncated_is_followed() {
    let metrics = Metrics::default();
    let rig = FileRig::new();
    let outputs = start_local(vec![rig.sink()], &metrics);
    let deliver = |number| {
        outputs.send(&alert(number));
        let path = rig.path();
        wait_for(&Some(number), || ids_in(&path).last().copied());
    };
    let path = FileRig::path;
    deliver(0);
    let rotated = rig.directory.path().join("out/alerts.ndjson.1");
    fs::rename(path(&rig), &rotated).unwrap();
    deliver(1);
    assert_eq!((ids_in(&rotated), ids_in(&path(&rig))), (vec![0], vec![1]));
    fs::remove_file(path(&rig)).unwrap();
    deliver(2);
    assert_eq!(ids_in(&path(&rig)), [2]);
    // What logrotate's copytruncate does.
    File::options().write(true).open(path(&rig)).unwrap().set_len(0).unwrap();
    deliver(3);
    assert_eq!(fs::read(path(&rig)).unwrap()[0], b'{', "no hole before the alert");
    assert_eq!(outputs.close(PATIENCE), 0);
}

#[test]
fn a_full_file_is_set_aside_with_whole_alerts_and_a_fresh_one_is_private_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.ndjson");
    let rotated = |number: u32| directory.path().join(format!("alerts.ndjson.{number}"));
    let two_lines = 2 * (alert(0).to_line().len() as u64 + 1);
    let mut sink = FileSink::new(&FileOptions {
        rotate_bytes: Some(two_lines.try_into().unwrap()),
        ..file_options(&path)
    });
    for number in 0..5 {
        sink.deliver(alert(number).as_ref()).unwrap();
    }
    assert_eq!(ids_in(&path), [4]);
    assert_eq!((ids_in(&rotated(1)), ids_in(&rotated(2))), (vec![2, 3], vec![0, 1]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // A size that was reached before the daemon started counts too.
    let mut sink =
        FileSink::new(&FileOptions { rotate_bytes: Some(1.try_into().unwrap()), ..file_options(&path) });
    sink.deliver(alert(5).as_ref()).unwrap();
    assert_eq!((ids_in(&path), ids_in(&rotated(1)), ids_in(&rotated(2))), (vec![5], vec![4], vec![2, 3]));
}

#[test]
fn an_old_file_is_set_aside_even_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.ndjson");
    file_sink(&path).deliver(alert(0).as_ref()).unwrap();
    let Ok(made) = fs::metadata(&path).unwrap().created() else {
        return eprintln!("skipped: this file system does not say when a file was made");
    };
    wait_for(&true, || made.elapsed().is_ok_and(|age| age >= Duration::from_millis(10)));
    let age = crate::config::Span::try_from("10ms".to_owned()).unwrap();
    let mut sink = FileSink::new(&FileOptions { rotate_age: Some(age), ..file_options(&path) });
    sink.deliver(alert(1).as_ref()).unwrap();
    assert_eq!(ids_in(&path), [1]);
    assert_eq!(ids_in(&directory.path().join("alerts.ndjson.1")), [0]);
}

#[test]
fn a_file_that_cannot_be_set_aside_grows_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.ndjson");
    // Nothing can be renamed over a directory.
    fs::create_dir_all(directory.path().join("alerts.ndjson.1/occupied")).unwrap();
    let mut sink = FileSink::new(&FileOptions {
        rotate_bytes: Some(1.try_into().unwrap()),
        rotate_keep: 1.try_into().unwrap(),
        ..file_options(&path)
    });
    (0..3).for_each(|number| sink.deliver(alert(number).as_ref()).unwrap());
    assert_eq!(ids_in(&path), [0, 1, 2]);
}

#[test]
fn the_end_of_a_file_is_repaired_before_anything_follows() {
    let cases: [(&[u8], &str); 7] = [
        (b"", ""),
        (b"{\"id\":\"7\"}\n", "{\"id\":\"7\"}\n"),
        (b"{\"id\":\"7\"}\n{\"id\":\"8", "{\"id\":\"7\"}\n"),
        (b"{\"id\":", ""),
        (b"{\"id\":\"7\"}", "{\"id\":\"7\"}\n"),
        (b"not ours", "not ours\n"),
        (b"a\n\xff", "a\n\u{fffd}\n"),
    ];
    for (before, kept) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alerts.ndjson");
        fs::write(&path, before).unwrap();
        file_sink(&path).deliver(alert(9).as_ref()).unwrap();
        let after = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        assert_eq!(
            after,
            format!("{kept}{}\n", alert(9).to_line()),
            "after {:?}",
            String::from_utf8_lossy(before)
        );
    }
}

#[test]
fn a_long_unfinished_line_is_found_across_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.ndjson");
    let whole = large_alert(1, 300_000).to_line();
    fs::write(&path, format!("{whole}\n{}", &whole[..200_000])).unwrap();
    file_sink(&path).deliver(alert(2).as_ref()).unwrap();
    assert_eq!(ids_in(&path), [1, 2]);
}

/// A small file system of its own, which can really be full.
pub(super) struct SmallDisk(pub(super) tempfile::TempDir);

impl SmallDisk {
    /// `None` for users that may not mount.
    pub(super) fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(directory.path())
            .output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: a tmpfs cannot be mounted here");
        }
        mounted.then_some(Self(directory))
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("filler");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        while io::Write::write(&mut file, &[b'x'; 1024]).is_ok() {}
        path
    }

    /// `ro` or `rw`.
    pub(super) fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap().success());
    }

    /// Makes room at once. A removed file would keep its own while a program that another test is starting has it open.
    fn empty(filler: &Path) {
        File::options().write(true).truncate(true).open(filler).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_keeps_whole_lines_and_what_waits_arrives_when_there_is_space() {
    let Some(disk) = SmallDisk::mount() else { return };
    let metrics = Metrics::default();
    let counters = metrics.output("file");
    let path = disk.0.path().join("alerts.ndjson");
    let mut pipe = PipeRig::new();
    let outputs = start_local(vec![Box::new(file_sink(&path)), pipe.sink()], &metrics);
    outputs.send(&alert(0));
    wait_for(&vec![0], || ids_in(&path));
    let filler = disk.fill();

    // Longer than what is left of the file's last page, so that a part of it can be written.
    for number in 1..4 {
        outputs.send(&large_alert(number, 10_000));
        assert_eq!(pipe.receive(), number - 1);
    }
    wait_for(&true, || counters.errors.get() > 2);
    SmallDisk::empty(&filler);
    wait_for(&vec![0, 1, 2, 3], || ids_in(&path));
    assert_eq!(outputs.close(PATIENCE), 0);
    assert_eq!((counters.delivered.get(), counters.dropped.get()), (4, 0));
}

#[test]
fn a_full_disk_at_the_end_is_counted() {
    let Some(disk) = SmallDisk::mount() else { return };
    let metrics = Metrics::default();
    let path = disk.0.path().join("alerts.ndjson");
    let outputs = start_local(vec![Box::new(file_sink(&path))], &metrics);
    let _filler = disk.fill();
    (0..3).for_each(|number| outputs.send(&large_alert(number, 10_000)));
    assert_eq!(outputs.close(PATIENCE), 3);
    assert_eq!(metrics.output("file").dropped.get(), 3);
    assert_eq!(ids_in(&path), [0_usize; 0]);
}

#[test]
fn a_full_disk_leaves_whole_lines_after_each_attempt() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path().join("alerts.ndjson");
    let mut sink = file_sink(&path);
    sink.deliver(alert(0).as_ref()).unwrap();
    let filler = disk.fill();
    // The file's last page has room for a part of it.
    let too_long = large_alert(1, 10_000);
    let mut message = String::new();
    for _ in 0..3 {
        let error = sink.deliver(too_long.as_ref()).unwrap_err().to_string();
        message = error.replace(disk.0.path().to_str().unwrap(), "DIR");
        assert_eq!(ids_in(&path), [0]);
    }
    insta::assert_snapshot!(message, @"cannot write to the file for alerts DIR/alerts.ndjson: No space left on device (os error 28); free space on the file system of DIR");
    SmallDisk::empty(&filler);
    sink.deliver(too_long.as_ref()).unwrap();
    assert_eq!(ids_in(&path), [0, 1]);
}

#[test]
fn standard_output_on_a_full_disk_goes_on_where_it_stopped() {
    let Some(disk) = SmallDisk::mount() else { return };
    let metrics = Metrics::default();
    let counters = metrics.output("stdout");
    let path = disk.0.path().join("stdout");
    let filler = disk.fill();
    let output = File::options().create(true).append(true).open(&path).unwrap();
    // Room for a part of the alert.
    let file = File::options().write(true).open(&filler).unwrap();
    file.set_len(file.metadata().unwrap().len() - 8192).unwrap();
    drop(file);
    let outputs = start_local(vec![Box::new(StdoutSink::redirected(Format::Ndjson, output))], &metrics);
    (1..3).for_each(|number| outputs.send(&large_alert(number, 20_000)));
    wait_for(&true, || counters.errors.get() > 2);
    assert!(fs::metadata(&path).unwrap().len() > 0, "a part was written");
    SmallDisk::empty(&filler);
    wait_for(&2, || counters.delivered.get());
    assert_eq!(ids_in(&path), [1, 2]);
    assert_eq!(outputs.close(PATIENCE), 0);
}

#[test]
fn people_get_the_pretty_form_only_if_they_ask_or_look() {
    let render = |format| {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = StdoutSink::redirected(format, OwnedFd::from(writer).into());
        sink.deliver(alert(1).as_ref()).unwrap();
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(render(Format::Pretty), "alert 1\n");
    assert_eq!(render(Format::Ndjson), alert(1).to_line() + "\n");
}
