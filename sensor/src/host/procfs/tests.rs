use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};

use super::*;

/// A process that waits until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn start(executable: &Path, argument: &[u8]) -> Self {
        let argument = std::ffi::OsStr::from_bytes(argument);
        let mut command = Command::new(executable);
        command.arg("-").arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A child that another test is starting may still have the file open for writing, as it was here.
        let mut child = loop {
            match command.spawn() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                result => break result.unwrap(),
            }
        };
        // `cat -` says that it runs by giving back its input, and then waits for more.
        child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A copy of a program that waits for its input.
fn program(path: &Path) -> PathBuf {
    fs::copy("/bin/cat", path).unwrap();
    path.to_owned()
}

fn executable(pid: u32) -> event::ExecutableFile {
    match Procfs::new(Path::new("/")).executable(pid) {
        event::Executable::File(file) => file,
        other => panic!("{other:?}"),
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_process_is_described_with_its_parent_and_arguments() {
    let directory = directory();
    let path = program(&directory.path().join("program"));
    let sleeper = Sleeper::start(&path, b"a\xffb c");
    let mut host = Procfs::new(Path::new("/"));
    let stat = host.process(sleeper.pid()).unwrap();
    assert_eq!(stat.comm, b"program");
    assert_eq!(stat.ppid, std::process::id());
    assert!(!stat.kernel_thread);
    let own_start = host.process(std::process::id()).unwrap().start_boot_ns;
    assert!(stat.start_boot_ns >= own_start);

    let command_line = host.command_line(sleeper.pid(), 4096).unwrap();
    assert_eq!(command_line, [path.as_os_str().as_bytes(), b"\0-\0a\xffb c\0"].concat());
    assert_eq!(host.command_line(sleeper.pid(), 5).unwrap(), command_line[..5]);
}

#[test]
fn an_executable_keeps_its_path_when_it_is_deleted() {
    let directory = directory();
    let path = program(&directory.path().join("program"));
    let metadata = fs::metadata(&path).unwrap();
    let sleeper = Sleeper::start(&path, b"x");

    let file = executable(sleeper.pid());
    assert_eq!(file.path.text, path.to_str().unwrap());
    assert!(!file.deleted && !file.memfd && !file.path.truncated);
    assert_eq!(
        (file.inode, file.uid, file.mode, file.links),
        (metadata.ino(), metadata.uid(), metadata.mode(), 1)
    );

    fs::remove_file(&path).unwrap();
    let file = executable(sleeper.pid());
    assert_eq!(file.path.text, path.to_str().unwrap());
    assert!(file.deleted && !file.memfd);
    assert_eq!(file.links, 0);
}

#[test]
fn a_file_may_be_called_deleted() {
    let directory = directory();
    let path = program(&directory.path().join("program (deleted)"));
    let sleeper = Sleeper::start(&path, b"x");
    let file = executable(sleeper.pid());
    assert_eq!(file.path.text, path.to_str().unwrap());
    assert!(!file.deleted);
}

#[test]
fn an_executable_path_that_is_not_utf_8_keeps_its_bytes() {
    let directory = directory();
    let path = program(&directory.path().join(std::ffi::OsStr::from_bytes(b"n\xffme")));
    let sleeper = Sleeper::start(&path, b"x");
    let file = executable(sleeper.pid());
    assert_eq!(file.path.raw.as_deref(), Some(path.as_os_str().as_bytes()));
    assert!(file.path.text.ends_with("n\u{fffd}me"));
}

#[test]
fn a_memfd_is_no_file_in_a_directory() {
    let memfd = rustix::fs::memfd_create("payload", rustix::fs::MemfdFlags::empty()).unwrap();
    let mut memfd = File::from(memfd);
    memfd.write_all(&fs::read("/bin/cat").unwrap()).unwrap();
    // What is open for writing cannot be executed.
    let read_only = File::open(format!("/proc/self/fd/{}", memfd.as_raw_fd())).unwrap();
    drop(memfd);
    let path = PathBuf::from(format!("/proc/self/fd/{}", read_only.as_raw_fd()));
    let sleeper = Sleeper::start(&path, b"x");
    let file = executable(sleeper.pid());
    assert!(file.memfd && file.deleted);
    assert_eq!(file.path.text, "/memfd:payload");
}

#[test]
fn processes_that_are_gone_are_unknown_and_kernel_threads_run_no_file() {
    let mut host = Procfs::new(Path::new("/"));
    let mut child = Command::new("/bin/true").spawn().unwrap();
    child.wait().unwrap();
    assert_eq!(host.executable(child.id()), event::Executable::Unknown);
    assert_eq!(host.process(child.id()), None);
    assert_eq!(host.command_line(child.id(), 10), None);
    // In a container there is no kthreadd to look at.
    if host.process(2).is_some_and(|process| process.comm == b"kthreadd") {
        assert_eq!(host.executable(2), event::Executable::KernelThread);
    }
}

#[test]
fn the_host_is_described_from_its_root_directory() {
    let directory = directory();
    let root = directory.path();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::write(
        root.join("etc/os-release"),
        "# comment\nNAME=\"Rocky \\\"Linux\\\"\"\nID=rocky\nID_LIKE='rhel centos'\nVERSION_ID=9.4\nVERSION=\nPRETTY_NAME=\"Rocky Linux 9.4\"\n",
    )
    .unwrap();
    fs::write(root.join("etc/passwd"), "ann:x:1000:1000::/:\n").unwrap();
    fs::write(root.join("etc/group"), "staff:x:50:\n").unwrap();
    fs::write(root.join("etc/hostname"), "node-7\n").unwrap();

    let mut host = Procfs::new(root);
    let description = host.describe();
    assert_eq!(description.id, "0123456789abcdef0123456789abcdef");
    assert_eq!(description.os_name.as_deref(), Some("Rocky \"Linux\""));
    assert_eq!(description.os_platform.as_deref(), Some("rocky"));
    assert_eq!(description.os_family.as_deref(), Some("rhel"));
    assert_eq!(description.os_version.as_deref(), Some("9.4"));
    assert_eq!(description.os_full.as_deref(), Some("Rocky Linux 9.4"));
    assert_eq!(description.hostname, "node-7");
    assert!(!description.kernel.is_empty());
    assert_eq!(host.user(1000).name.as_deref(), Some("ann"));
    assert_eq!(host.user(1).name, None);
    assert_eq!(host.group(50).name.as_deref(), Some("staff"));
}

#[test]
fn a_host_without_an_identity_is_known_by_its_name() {
    let directory = directory();
    fs::create_dir_all(directory.path().join("etc")).unwrap();
    fs::write(directory.path().join("etc/machine-id"), "uninitialized\n").unwrap();
    let description = Procfs::new(directory.path()).describe();
    assert_eq!(description.id, description.hostname);
    assert_eq!(description.os_name, None);
}

#[test]
fn this_host_has_a_boot_id() {
    let description = Procfs::new(Path::new("/")).describe();
    assert_eq!(description.boot_id.len(), 36, "{description:?}");
}
