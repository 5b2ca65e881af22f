//! One booted kernel.

use std::fmt;
use std::fs;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tempfile::TempDir;

use super::{Binaries, Frame, Kernel, Kind, Payload, Plan, ReadError, Root, Series, cache, root};
use crate::architecture::Architecture;
use crate::command::{program, tail};

/// From power-on to the agent's first words; an emulated kernel takes 3 s on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_mins(3);
/// The agent has limits of its own for everything it waits for, and tells when one is reached.
pub const SILENCE_LIMIT: Duration = Duration::from_mins(7);
/// Everything but what is slow to emulate.
const CPU: &str = "max,-la57,-avx,-avx2,-smap,-smep";
/// The same. Addresses are signed, in a way that is not the architecture's own and as good for tests.
const ARM_CPU: &str = "max,pauth-impdef=on,sve=off,lpa2=off";
/// Guests that run at once: each has two virtual processors, and so has the smallest machine that this is for.
const SLOTS: usize = 2;

/// What to boot.
#[derive(Debug)]
pub struct GuestOptions<'a> {
    /// The kernel's series.
    pub series: Series,
    /// Where the agent is.
    pub binaries: &'a Binaries,
    /// Files for the guest.
    pub payload: &'a Payload,
    /// What the agent does.
    pub plan: &'a Plan,
}

/// What a guest runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Two processors, in the time of this machine.
    Plain,
    /// One processor whose time is the number of its instructions: a nanosecond each, whatever else this machine does. When it has
    /// nothing to do, the next thing to do is at once.
    Counted,
}

/// One booted kernel. It is gone when this is dropped.
#[derive(Debug)]
pub struct Guest {
    series: Series,
    qemu: Child,
    /// The agent powers the guest off when this closes, so that no guest outlives who booted it.
    _lifeline: Option<ChildStdin>,
    frames: Receiver<Result<Frame, ReadError>>,
    files: TempDir,
    _slot: fs::File,
}

/// What a script said, and how it ended.
#[derive(Debug)]
pub struct Transcript {
    /// Its exit code.
    pub code: String,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Transcript {
    /// The output of a script that succeeded.
    pub fn success(self) -> Result<String> {
        let Self { code, stdout, stderr } = self;
        ensure!(
            code == "0",
            "the script's exit code is {code}\n--- output:\n{stdout}\n--- errors:\n{stderr}"
        );
        Ok(stdout)
    }
}

impl Guest {
    /// Boots a guest, and waits until its agent answers.
    pub fn boot(options: &GuestOptions<'_>) -> Result<Self> {
        Self::boot_on(Machine::Plain, Root::Tests, options)
    }

    /// The same on another machine, with another root.
    pub fn boot_on(machine: Machine, root: Root, options: &GuestOptions<'_>) -> Result<Self> {
        let slot = take_slot()?;
        let files = tempfile::tempdir().context("making a directory for a guest")?;
        let mut command = qemu(machine, root, options, &files)?;
        let console = format!("file:{}", files.path().join("console").display());
        command.args(["-serial", &console, "-chardev", "stdio,id=agent,signal=off"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(fs::File::create(files.path().join("qemu"))?);
        let mut qemu = command
            .spawn()
            .with_context(|| format!("starting {}", emulator(options.binaries.architecture())))?;
        let lifeline = qemu.stdin.take();
        let stdout = qemu.stdout.take().context("QEMU has no standard output")?;
        let frames = read_frames(stdout);
        let guest = Self { series: options.series, qemu, _lifeline: lifeline, frames, files, _slot: slot };
        let hello = guest.next_within(BOOT_LIMIT)?;
        if hello.kind != Kind::Hello {
            bail!("{}", guest.explain(&format!("began with {:?}: {}", hello.kind, hello.text())));
        }
        Ok(guest)
    }

    /// Boots a guest whose console is this terminal, and waits for its end.
    pub fn shell(options: &GuestOptions<'_>) -> Result<()> {
        let _slot = take_slot()?;
        let files = tempfile::tempdir().context("making a directory for a guest")?;
        let mut command = qemu(Machine::Plain, Root::Tests, options, &files)?;
        command.args(["-serial", "mon:stdio", "-chardev", "null,id=agent"]);
        crate::command::run(&mut command)
    }

    /// The next frame.
    pub fn next_frame(&self) -> Result<Frame> {
        self.next_within(SILENCE_LIMIT)
    }

    /// What one script says, once it has ended. `silence` is how long the guest may say nothing.
    pub fn transcript(&self, silence: Duration) -> Result<Transcript> {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        loop {
            let frame = self.next_within(silence)?;
            match frame.kind {
                Kind::ScriptStdout => stdout.push_str(&frame.text()),
                Kind::ScriptStderr => stderr.push_str(&frame.text()),
                Kind::End => return Ok(Transcript { code: frame.text(), stdout, stderr }),
                Kind::Done => bail!("{}", self.explain("ended without the script's end")),
                Kind::Hello
                | Kind::Ready
                | Kind::DaemonStdout
                | Kind::DaemonStderr
                | Kind::DaemonExit
                | Kind::Begin
                | Kind::Failed => {}
            }
        }
    }

    fn next_within(&self, limit: Duration) -> Result<Frame> {
        match self.frames.recv_timeout(limit) {
            Ok(Ok(frame)) if frame.kind == Kind::Failed => bail!("{}", self.explain(&frame.text())),
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(ReadError::NotAFrame(line))) => bail!("{}", self.explain(&format!("sent `{line}`"))),
            Ok(Err(ReadError::Io(error))) => bail!("{}", self.explain(&format!("cannot be read: {error}"))),
            Ok(Err(ReadError::Closed)) | Err(RecvTimeoutError::Disconnected) => {
                let error = anyhow!(self.explain("ended before its time"));
                let is_stale = self.read("console").contains("int3: 0000");
                Err(if is_stale { error.context(StaleBreakpoint) } else { error })
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("{}", self.explain(&format!("said nothing for {} s", limit.as_secs())))
            }
        }
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.files.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn explain(&self, what: &str) -> String {
        let read = |name: &str| tail(self.read(name).trim_end(), 30);
        let mut message = format!("the {} guest: {what}", self.series.name());
        for (name, text) in [("console", read("console")), ("QEMU", read("qemu"))] {
            if !text.is_empty() {
                message = format!("{message}\n--- {name}'s last lines:\n{text}");
            }
        }
        message
    }
}

/// The kernel hit a breakpoint that it had taken away: a fault of QEMU before 8.1, which can go on with old code for a moment where
/// one processor changes the code of another. Kernels do so whenever a hook is attached.
#[derive(Debug)]
pub struct StaleBreakpoint;

impl fmt::Display for StaleBreakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the emulator ran code that was changed")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.qemu.kill().ok();
        self.qemu.wait().ok();
    }
}

fn qemu(machine: Machine, root: Root, options: &GuestOptions<'_>, files: &TempDir) -> Result<Command> {
    let architecture = options.binaries.architecture();
    let (kernel, root) = prepare(architecture, options.series, root)?;
    let initramfs = files.path().join("initramfs");
    options.payload.pack(&options.binaries.agent(), &kernel, options.plan, &initramfs)?;
    let mut command = program(&emulator(architecture));
    // Emulation throughout: /dev/kvm is not everywhere, and where it is it does not boot every kernel.
    match machine {
        Machine::Plain => command.args(["-accel", "tcg,thread=multi", "-smp", "2"]),
        Machine::Counted => {
            command.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"])
        }
    };
    let console = match architecture {
        Architecture::Amd64 => {
            command.args(["-cpu", CPU]);
            "ttyS0"
        }
        Architecture::Arm64 => {
            command.args(["-machine", "virt", "-cpu", ARM_CPU]);
            "ttyAMA0"
        }
    };
    command.args(["-m", "1024"]);
    command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(&initramfs);
    command.args(["-append", &format!("console={console} quiet panic=-1")]);
    command.arg("-drive").arg(drive(&root)).args(["-device", "virtio-blk-pci,drive=root"]);
    command.args(["-device", "virtio-serial-pci"]);
    command.args(["-device", "virtserialport,chardev=agent,name=ldsentry.lab"]);
    Ok(command)
}

/// Gets what a guest of this kernel needs; one at a time, since they share a cache.
pub(super) fn prepare(architecture: Architecture, series: Series, root: Root) -> Result<(Kernel, PathBuf)> {
    let lock = lock_file("prepare")?;
    lock.lock().context("waiting for another run that prepares the lab")?;
    Ok((Kernel::get(architecture, series)?, root::image(architecture, root)?))
}

fn emulator(architecture: Architecture) -> String {
    format!("qemu-system-{}", architecture.machine())
}

fn drive(image: &std::path::Path) -> String {
    // A comma in a value is written twice.
    let file = image.display().to_string().replace(',', ",,");
    format!("file={file},if=none,id=root,format=raw,snapshot=on")
}

/// Waits until one more guest may run on this machine.
fn take_slot() -> Result<fs::File> {
    for number in 0..SLOTS {
        let slot = lock_file(&format!("slot-{number}"))?;
        if slot.try_lock().is_ok() {
            return Ok(slot);
        }
    }
    let slot = lock_file(&format!("slot-{}", std::process::id() as usize % SLOTS))?;
    slot.lock()?;
    Ok(slot)
}

fn lock_file(name: &str) -> Result<fs::File> {
    let directory = cache();
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let path = directory.join(format!("{name}.lock"));
    fs::File::create(&path).with_context(|| format!("opening {}", path.display()))
}

fn read_frames(stdout: impl std::io::Read + Send + 'static) -> Receiver<Result<Frame, ReadError>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stdout);
        loop {
            let frame = Frame::read_from(&mut stream);
            let last = frame.is_err();
            if sender.send(frame).is_err() || last {
                return;
            }
        }
    });
    receiver
}
