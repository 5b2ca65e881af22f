//! The operations that are measured, on files that rules look for and on others.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Names of lengths that no rule's names have.
const UNLIKE: Names = Names {
    length: "other lengths",
    directory: "a-directory-with-a-long-name",
    file: "a-file-with-a-long-name.text",
    renamed: "the-file-with-another-name.text",
};
/// Names as long as `ld.so.conf.d` and `ld.so.preload`, and not these.
const ALIKE: Names = Names {
    length: "same lengths",
    directory: "watched-like",
    file: "watched.other",
    renamed: "renamed.other",
};

struct Names {
    length: &'static str,
    directory: &'static str,
    file: &'static str,
    renamed: &'static str,
}

/// Something to do again and again.
pub(crate) struct Operation {
    pub name: String,
    /// A rule looks for it.
    pub watched: bool,
    /// Does it once, and gives how many instructions it took.
    pub act: Box<dyn FnMut() -> io::Result<u64>>,
}

/// All of them. Directories are made for them and stay.
pub(crate) fn all() -> Result<Vec<Operation>> {
    let mut operations = vec![Operation::new("getpgid", false, || {
        // SAFETY: a call without conditions.
        counted(|| unsafe { libc::getpgid(0) })
    })];
    for (system, top) in [("tmpfs", "/cost/tmpfs"), ("ext4", "/")] {
        let top = Path::new(top);
        for names in [&UNLIKE, &ALIKE] {
            for depth in [1, 8] {
                let directory = (0..depth).fold(top.to_owned(), |path, _| path.join(names.directory));
                fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
                let name = |what: &str| format!("{system}: {what}, {}, depth {depth}", names.length);
                let (file, renamed) = (directory.join(names.file), directory.join(names.renamed));
                if depth == 1 && names.length == UNLIKE.length {
                    operations.extend(on_existing(system, &directory.join("an-existing-file-of-some-kind"))?);
                }
                operations.push(create(name("create and unlink"), false, &file)?);
                operations.push(rename(name("rename"), false, &file, &renamed)?);
            }
        }
        let directory = if system == "tmpfs" { top.to_owned() } else { PathBuf::from("/etc") };
        let (file, other) = (directory.join("ld.so.preload"), directory.join(UNLIKE.file));
        operations.push(create(format!("{system}: create and unlink, watched"), true, &file)?);
        operations.push(rename(format!("{system}: rename, watched"), true, &other, &file)?);
    }
    operations.push(run_program()?);
    Ok(operations)
}

impl Operation {
    fn new(name: impl Into<String>, watched: bool, act: impl FnMut() -> io::Result<u64> + 'static) -> Self {
        Self { name: name.into(), watched, act: Box::new(act) }
    }
}

/// What is done to a file that is there.
fn on_existing(system: &str, path: &Path) -> Result<Vec<Operation>> {
    fs::write(path, "some bytes")?;
    let file = fs::File::options().read(true).write(true).open(path)?;
    let path = c_string(path)?;
    let reading = path.clone();
    let other = file.try_clone()?;
    let mut byte = [0_u8; 1];
    Ok(vec![
        Operation::new(format!("{system}: open to read, close"), false, move || {
            counted(|| open_and_close(&reading, libc::O_RDONLY))
        }),
        Operation::new(format!("{system}: open to write, close"), false, move || {
            counted(|| open_and_close(&path, libc::O_WRONLY))
        }),
        Operation::new(format!("{system}: read"), false, move || {
            // SAFETY: a buffer of the size that is given.
            counted(|| unsafe { libc::pread(file.as_raw_fd(), byte.as_mut_ptr().cast(), 1, 0) as i32 })
        }),
        Operation::new(format!("{system}: write"), false, move || {
            // SAFETY: as above.
            counted(|| unsafe { libc::pwrite(other.as_raw_fd(), byte.as_ptr().cast(), 1, 0) as i32 })
        }),
    ])
}

/// A process begins, executes a program, and ends. The program's own instructions are in it.
fn run_program() -> Result<Operation> {
    let program = c"/bin/true";
    // Else each time other addresses cost other page faults.
    // SAFETY: takes a number, and concerns what is executed from now on.
    if unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as u64) } < 0 {
        return Err(io::Error::last_os_error()).context("turning off random addresses");
    }
    Ok(Operation::new("fork, execute /bin/true, exit", false, move || {
        counted(|| {
            let arguments = [program.as_ptr().cast_mut(), std::ptr::null_mut()];
            let (mut process, mut status) = (0, 0);
            // SAFETY: strings that end in NUL, lists of them that end in null, and numbers to write to.
            unsafe {
                let spawned = libc::posix_spawn(
                    &raw mut process,
                    program.as_ptr(),
                    std::ptr::null(),
                    std::ptr::null(),
                    arguments.as_ptr(),
                    arguments[1..].as_ptr(),
                );
                if spawned == 0 { libc::waitpid(process, &raw mut status, 0) } else { -1 }
            }
        })
    }))
}

fn create(name: String, watched: bool, path: &Path) -> Result<Operation> {
    let path = c_string(path)?;
    Ok(Operation::new(name, watched, move || {
        counted(|| match open_and_close(&path, libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY) {
            // SAFETY: a string that ends in NUL.
            0 => unsafe { libc::unlink(path.as_ptr()) },
            failed => failed,
        })
    }))
}

fn rename(name: String, watched: bool, from: &Path, to: &Path) -> Result<Operation> {
    let (from, to) = (c_string(from)?, c_string(to)?);
    Ok(Operation::new(name, watched, move || {
        if open_and_close(&from, libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY) != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: strings that end in NUL.
        let count = counted(|| unsafe { libc::rename(from.as_ptr(), to.as_ptr()) })?;
        // SAFETY: as above.
        if unsafe { libc::unlink(to.as_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(count)
    }))
}

fn open_and_close(path: &CString, flags: i32) -> i32 {
    // SAFETY: a string that ends in NUL, and a descriptor that is nobody else's.
    unsafe {
        let file: RawFd = libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o644);
        if file < 0 { file } else { libc::close(file) }
    }
}

fn c_string(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).context("a path with a NUL")
}

/// How many instructions it takes to do something.
pub(crate) fn counted(act: impl FnOnce() -> i32) -> io::Result<u64> {
    let before = instructions();
    let result = act();
    let after = instructions();
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(after.wrapping_sub(before)) }
}

/// The guest's time stamp counter, which counts instructions there.
#[cfg(target_arch = "x86_64")]
pub(crate) fn instructions() -> u64 {
    // SAFETY: every processor of this architecture has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn instructions() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
