//! What the kernel said becomes an event: texts, names of users, wall-clock times, and the paths in the view of the
//! process.

pub mod container;

use sensor_common::record::{
    Ancestor as RawAncestor, EXECUTABLE_FILE, EXECUTABLE_KERNEL_THREAD, EXECUTABLE_OVERLAY_LOWER,
    EXECUTABLE_OVERLAY_UPPER, EXECUTABLE_UNHASHED, Executable as RawExecutable, FLAG_CUT, FLAG_MORE_MOUNTS,
    KIND_MODIFY, KIND_MOUNT, KIND_MOVE_MOUNT, KIND_PIVOT_ROOT, KIND_RENAME, KIND_UNLINK, KIND_UNMOUNT,
    OVERLAY_MAGIC,
};

use crate::decode::{RawBytes, RawEvent, RawPath};
use crate::event::{
    Action, Ancestor, Device, Event, EventId, Executable, ExecutableFile, File, Layer, Mount, MountOperation,
    Origin, Outcome, Path, Process, Text, User, View,
};
use crate::host::Host;

/// `RENAME_EXCHANGE`.
const EXCHANGE: u32 = 2;
/// `MS_BIND`.
const BIND: u32 = 4096;
/// `MS_MOVE`.
const MOVE: u32 = 8192;
/// Bytes of arguments that are asked for where the kernel side could not read them.
const MAX_ARGUMENTS: usize = 4096;
/// How the kernel says that there is no login user and no session.
const UNSET: u32 = u32::MAX;

/// The events that a record tells: two for an exchange, else one. Their outcome is not known yet.
pub fn enrich(raw: &RawEvent, host: &mut impl Host) -> Vec<Event> {
    host.ask_about(Some(raw.fixed.header.time_ns));
    let process = process(raw, host);
    host.ask_about(None);
    let ancestors =
        raw.ancestors.iter().map(|(ancestor, path)| self::ancestor(ancestor, path, raw.root.as_ref()));
    let fixed = &raw.fixed;
    let header = &fixed.header;
    let action = match header.kind {
        KIND_RENAME => Action::Rename,
        KIND_MODIFY => Action::Modification,
        KIND_UNLINK => Action::Deletion,
        KIND_MOUNT | KIND_MOVE_MOUNT | KIND_UNMOUNT | KIND_PIVOT_ROOT => Action::Mount,
        _ => Action::Creation,
    };
    let is_rename = action == Action::Rename;
    let paths = views(raw, &raw.paths);
    let mut original_paths =
        if raw.original_paths.is_empty() { Vec::new() } else { views(raw, &raw.original_paths) };
    let mount = (action == Action::Mount).then(|| mount(raw, &original_paths));
    let moved_from = if header.kind == KIND_MOVE_MOUNT { original_paths.clone() } else { Vec::new() };
    // A link has no old path: the file is still there. Nor has what rules say of renames to hold for it.
    let linked = match action {
        Action::Creation => original_paths.drain(..).next(),
        Action::Rename | Action::Modification | Action::Deletion | Action::Mount => None,
    };
    if !is_rename {
        original_paths.clear();
    }
    let event = Event {
        id: EventId { boot_ns: header.time_ns, cpu: header.cpu, sequence: header.sequence, part: 0 },
        time: host.wall_clock(header.time_ns),
        action,
        outcome: Outcome::Unknown,
        origin: Origin::Hook,
        file: File {
            paths,
            original_paths,
            mode: Some(fixed.mode),
            device: device(fixed.device),
            inode: Some(fixed.inode).filter(|&inode| inode != 0),
            file_system: raw.file_system.as_deref().map(text),
            target: raw.target.as_deref().filter(|_| mount.is_none()).map(Text::from),
            linked,
            mount,
        },
        process,
        ancestors: ancestors.collect(),
        host: host.describe(),
    };
    let is_exchange = is_rename && fixed.operation_flags & EXCHANGE != 0;
    if !is_exchange && moved_from.is_empty() {
        return vec![event];
    }
    let mut other = event.clone();
    other.id.part = 1;
    if let Some(mount) = &mut other.file.mount {
        // Where it was, it is gone.
        (mount.operation, mount.source) = (MountOperation::Unmount, None);
        other.file.paths = moved_from;
        return vec![event, other];
    }
    std::mem::swap(&mut other.file.paths, &mut other.file.original_paths);
    // Mode and inode are those of the entry that was named first.
    (other.file.mode, other.file.inode) = (None, None);
    vec![event, other]
}

/// What was done to the mounts.
fn mount(raw: &RawEvent, sources: &[Path]) -> Mount {
    let fixed = &raw.fixed;
    let told = || raw.target.as_deref().map(Text::from);
    let (operation, source) = match fixed.header.kind {
        KIND_MOUNT if fixed.operation_flags & BIND != 0 => (MountOperation::Bind, told()),
        KIND_MOUNT if fixed.operation_flags & MOVE != 0 => (MountOperation::Move, told()),
        KIND_MOUNT => (MountOperation::Mount, told()),
        KIND_UNMOUNT => (MountOperation::Unmount, None),
        kind => {
            let source = sources.first().map(|path| Text { text: path.text.clone(), raw: path.raw.clone() });
            (if kind == KIND_PIVOT_ROOT { MountOperation::PivotRoot } else { MountOperation::Move }, source)
        }
    };
    Mount {
        operation,
        source: source.filter(|source| !source.text.is_empty()),
        file_system: raw.mounted.as_deref().map(text).filter(|kind| !kind.is_empty()),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The paths of an entry, the process's own view first and none twice.
fn views(raw: &RawEvent, paths: &[RawPath]) -> Vec<Path> {
    let mut views: Vec<Path> = Vec::new();
    let mut add = |path: Path| {
        if !views.iter().any(|known| known.text == path.text && known.raw == path.raw) {
            views.push(path);
        }
    };
    for path in paths {
        if path.view == View::Process
            && let Some(seen) = below_root(path, raw.root.as_ref())
        {
            add(text_path(&seen, View::Process, false));
            // From the root of the namespace: the host's, if the process has just changed its root directory.
            add(text_path(&path.bytes, View::Host, path.truncated));
        } else {
            add(text_path(&path.bytes, path.view, path.truncated));
        }
    }
    // What could not all be listed may have further paths with the same last names.
    let incomplete = raw.fixed.header.flags & (FLAG_MORE_MOUNTS | FLAG_CUT) != 0;
    if let Some(first) = paths.first()
        && (incomplete || first.bytes.is_empty())
    {
        let name = first.bytes.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        add(text_path(name, View::Other, true));
    }
    if views.is_empty() {
        views.push(text_path(b"", View::Other, true));
    }
    views
}

/// The path as seen from a root directory that is not that of the namespace.
fn below_root(path: &RawPath, root: Option<&RawPath>) -> Option<Vec<u8>> {
    let root = root.filter(|root| !root.truncated && !path.truncated)?;
    let rest = path.bytes.strip_prefix(root.bytes.as_slice())?;
    rest.starts_with(b"/").then(|| rest.to_vec())
}

/// A path as text, with its bytes if they are no text.
pub(crate) fn text_path(bytes: &[u8], view: View, truncated: bool) -> Path {
    let Text { text, raw } = bytes.into();
    Path { text, raw, view, truncated }
}

/// Who did it.
pub(crate) fn process(raw: &RawEvent, host: &mut impl Host) -> Process {
    let fixed = &raw.fixed;
    let pid = (fixed.header.pid_tgid >> 32) as u32;
    let mut executable = executable(&fixed.executable, raw.executable.as_ref(), raw.root.as_ref());
    let mut arguments = raw.arguments.clone().filter(|arguments| !arguments.bytes.is_empty());
    // The kernel side answers nearly always; where it could not, the process may still be there to be asked.
    let missing =
        executable == Executable::Unknown || (arguments.is_none() && executable != Executable::KernelThread);
    if missing && host.process(pid).is_some_and(|stat| stat.is(fixed.start_ns)) {
        if executable == Executable::Unknown {
            executable = host.executable(pid);
        }
        if arguments.is_none() {
            arguments =
                host.command_line(pid, MAX_ARGUMENTS).map(|bytes| RawBytes { bytes, truncated: false });
        }
    }
    let (cgroup, container) = container::of_process(&raw.cgroups);
    let args_truncated = arguments.as_ref().is_some_and(|arguments| arguments.truncated);
    let (args, raw_command_line) = self::arguments(arguments.map(|arguments| arguments.bytes));
    let login = Some(fixed.login_uid).filter(|&uid| uid != UNSET);
    Process {
        pid,
        tid: fixed.header.pid_tgid as u32,
        start_boot_ns: fixed.start_ns,
        start: Some(host.wall_clock(fixed.start_ns)),
        thread_name: thread_name(&fixed.comm),
        executable,
        args,
        raw_command_line,
        args_truncated,
        user: Some(host.user(fixed.uid)),
        group: Some(host.group(fixed.gid)),
        login_user: login.map(|uid| -> User { host.user(uid) }),
        session_id: Some(fixed.session_id).filter(|&id| id != UNSET),
        capabilities: fixed.capabilities,
        cgroup_id: fixed.cgroup,
        cgroup,
        container: container::with_names(container, host),
        mount_namespace: fixed.mount_namespace,
        in_host_mount_namespace: is_hosts(fixed.mount_namespace, host),
        pid_namespace: fixed.pid_namespace,
    }
}

/// Whether a mount namespace is the host's, if both are known.
pub(crate) fn is_hosts(mount_namespace: u32, host: &impl Host) -> Option<bool> {
    host.mount_namespace().filter(|_| mount_namespace != 0).map(|hosts| hosts == mount_namespace)
}

/// One of the processes above.
pub(crate) fn ancestor(raw: &RawAncestor, path: &RawPath, root: Option<&RawPath>) -> Ancestor {
    Ancestor {
        pid: raw.pid,
        start_boot_ns: raw.start_ns,
        thread_name: thread_name(&raw.comm),
        executable: executable(&raw.executable, Some(path), root),
    }
}

fn executable(facts: &RawExecutable, path: Option<&RawPath>, root: Option<&RawPath>) -> Executable {
    if facts.flags & EXECUTABLE_KERNEL_THREAD != 0 {
        return Executable::KernelThread;
    }
    let Some(path) = path.filter(|path| facts.flags & EXECUTABLE_FILE != 0 && !path.bytes.is_empty()) else {
        return Executable::Unknown;
    };
    let memfd = path.truncated && path.bytes.starts_with(b"memfd:") && !path.bytes.contains(&b'/');
    let path = match below_root(path, root) {
        Some(seen) => text_path(&seen, View::Process, false),
        // A memfd has no directory: its name is all there is, and the kernel shows it with a slash.
        None if memfd => text_path(&[b"/", path.bytes.as_slice()].concat(), View::Process, false),
        None => text_path(&path.bytes, View::Process, path.truncated),
    };
    Executable::File(ExecutableFile {
        path,
        deleted: !memfd && (facts.flags & EXECUTABLE_UNHASHED != 0 || facts.links == 0),
        memfd,
        uid: facts.uid,
        gid: facts.gid,
        mode: facts.mode,
        links: facts.links,
        device: device(facts.device),
        inode: facts.inode,
        layer: layer(facts),
    })
}

fn layer(facts: &RawExecutable) -> Option<Layer> {
    if facts.flags & EXECUTABLE_OVERLAY_UPPER != 0 {
        Some(Layer::Upper)
    } else if facts.flags & EXECUTABLE_OVERLAY_LOWER != 0 {
        Some(Layer::Lower)
    } else {
        (facts.fs_magic == OVERLAY_MAGIC).then_some(Layer::Unknown)
    }
}

/// The kernel's own encoding of a device number.
fn device(device: u32) -> Device {
    Device { major: device >> 20, minor: device & 0xf_ffff }
}

fn thread_name(comm: &[u8]) -> Text {
    let end = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len());
    comm[..end].into()
}

/// Arguments, each ended by NUL, of which the last one may have been cut off before its own; and the bytes, if they are
/// not UTF-8.
pub(crate) fn arguments(bytes: Option<Vec<u8>>) -> (Vec<String>, Option<Vec<u8>>) {
    let Some(bytes) = bytes else { return Default::default() };
    let arguments = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|&byte| byte == 0);
    let arguments = arguments.map(|argument| Text::from(argument).text).collect();
    (arguments, str::from_utf8(&bytes).is_err().then_some(bytes))
}

#[cfg(test)]
mod tests;
