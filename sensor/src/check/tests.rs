use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::io::Errno;

use super::*;
use crate::config::Source;
use crate::fanotify::FanotifyError;
use crate::kernel::{AttachMode, KERNEL_BTF, KernelError, OffsetError, Step};

/// A host where everything is as it should be.
fn healthy() -> Facts {
    Facts {
        release: "6.12.57-cloud-amd64".to_owned(),
        uid: 0,
        capabilities: 0x1ff_ffff_ffff,
        initial_user_namespace: true,
        seccomp: false,
        lockdown: Lockdown::None,
        security_modules: Some(["lockdown", "capability", "apparmor", "bpf"].map(str::to_owned).to_vec()),
        kprobes: true,
        missing_functions: Vec::new(),
        perf_event_paranoid: 3,
        tracer_off: false,
        landlock: Some(4),
        system_call_filters: true,
        selinux_enforces: false,
        apparmor_profile: None,
        memlock: None,
        btf: Btf::Kernel,
    }
}

fn site() -> Site {
    Site {
        configuration: Ok(Some("/etc/ldsentry/ldsentry.toml".into())),
        rules: Ok(1),
        exposed: Vec::new(),
        directories: vec![("/run/ldsentry".into(), None)],
        source: Source::Auto,
        attach: None,
        pins: Some(("/sys/fs/bpf/ldsentry".into(), None)),
    }
}

fn refused(mode: AttachMode, step: Step, errno: i32) -> KernelError {
    let error = std::io::Error::from_raw_os_error(errno);
    let (errno, reason) = (Some(Errno::from_raw_os_error(errno)), error.to_string());
    KernelError::Program { mode, function: "vfs_rename", step, errno, reason }
}

fn maps_refused(errno: i32) -> KernelError {
    let io_error = std::io::Error::from_raw_os_error(errno);
    let error = aya::maps::MapError::CreateError { name: "EVENTS".to_owned(), io_error };
    aya::EbpfError::from(error).into()
}

fn silent(mode: AttachMode) -> KernelError {
    KernelError::Silent { mode, operation: "created", directory: "/run".into() }
}

type Result<T> = std::result::Result<T, KernelError>;

/// fanotify is refused too: what it does instead of hooks has tests of its own.
fn attempts(fentry: Result<()>, kprobe: Result<()>) -> Tried {
    let hooks = Ok(vec![(AttachMode::Fentry, fentry), (AttachMode::Kprobe, kprobe)]);
    Tried { hooks, fanotify: Err(FanotifyError::Refused(Errno::PERM.into())) }
}

fn with_fanotify(tried: Tried) -> Tried {
    Tried { fanotify: Ok(()), ..tried }
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EINVAL: i32 = 22;
const ENOTSUPP: i32 = 524;

/// What stands behind an error on a host that differs from the healthy one.
fn cause(change: impl FnOnce(&mut Facts), error: &KernelError) -> String {
    let mut facts = healthy();
    change(&mut facts);
    explain(error, &facts).join("\n")
}

#[test]
fn a_healthy_host() {
    let report = Report::new(&site(), &healthy(), &with_fanotify(attempts(Ok(()), Ok(()))));
    assert!(report.watchable);
    insta::assert_snapshot!(report);
}

/// As in some virtual machines: every capability, no lockdown that matters, and a no all the same.
#[test]
fn a_kernel_with_a_policy_of_its_own_and_without_kprobes() {
    let facts = Facts {
        lockdown: Lockdown::Integrity,
        kprobes: false,
        security_modules: Some(["lockdown", "capability"].map(str::to_owned).to_vec()),
        ..healthy()
    };
    let fentry = refused(AttachMode::Fentry, Step::Load, EPERM);
    let kprobe = refused(AttachMode::Kprobe, Step::Attach, ENOENT);
    let report = Report::new(&site(), &facts, &attempts(Err(fentry), Err(kprobe)));
    assert!(!report.watchable);
    insta::assert_snapshot!(report);
    insta::assert_json_snapshot!(report);
}

#[test]
fn no_root() {
    let facts = Facts {
        uid: 1000,
        capabilities: 0,
        lockdown: Lockdown::Unknown,
        security_modules: None,
        ..healthy()
    };
    let report = Report::new(&site(), &facts, &attempts(Err(maps_refused(EPERM)), Err(maps_refused(EPERM))));
    insta::assert_snapshot!(report);
}

#[test]
fn locked_down_for_confidentiality() {
    let facts = Facts { lockdown: Lockdown::Confidentiality, ..healthy() };
    let fentry = refused(AttachMode::Fentry, Step::Load, EINVAL);
    let kprobe = refused(AttachMode::Kprobe, Step::Load, EINVAL);
    insta::assert_snapshot!(Report::new(&site(), &facts, &attempts(Err(fentry), Err(kprobe))));
}

#[test]
fn no_btf() {
    let error =
        OffsetError { path: KERNEL_BTF.into(), reason: "No such file or directory (os error 2)".to_owned() };
    let tried = Tried { hooks: Err(error), ..attempts(Ok(()), Ok(())) };
    insta::assert_snapshot!(Report::new(&site(), &healthy(), &tried));
}

#[test]
fn btf_of_another_kernel() {
    let facts = Facts { btf: Btf::Given("/boot/5.10.btf".into()), ..healthy() };
    let attempts = attempts(Err(silent(AttachMode::Fentry)), Err(silent(AttachMode::Kprobe)));
    insta::assert_snapshot!(Report::new(&site(), &facts, &attempts));
}

#[test]
fn kprobes_do_where_fentry_does_not() {
    let fentry = refused(AttachMode::Fentry, Step::Attach, ENOTSUPP);
    let report = Report::new(&site(), &healthy(), &attempts(Err(fentry), Ok(())));
    assert_eq!((report.watchable, report.attach), (true, Some(AttachMode::Kprobe)));
    insta::assert_snapshot!(report);
}

#[test]
fn a_way_to_attach_that_is_prescribed_and_does_not_work() {
    let site = Site { attach: Some(AttachMode::Fentry), ..site() };
    let fentry = refused(AttachMode::Fentry, Step::Attach, ENOTSUPP);
    let report = Report::new(&site, &healthy(), &attempts(Err(fentry), Ok(())));
    assert!(!report.watchable);
    insta::assert_snapshot!(report);
}

#[test]
fn fanotify_does_where_hooks_do_not() {
    let refused = || {
        let fentry = refused(AttachMode::Fentry, Step::Load, EPERM);
        let kprobe = refused(AttachMode::Kprobe, Step::Attach, ENOENT);
        with_fanotify(attempts(Err(fentry), Err(kprobe)))
    };
    let facts = Facts { kprobes: false, ..healthy() };
    let report = Report::new(&site(), &facts, &refused());
    assert_eq!((report.watchable, report.source, report.attach), (true, Some(Source::Fanotify), None));
    insta::assert_snapshot!(report);

    // Not if the hooks, or one way to attach them, are asked for: then `run` takes nothing else.
    for site in [Site { source: Source::Ebpf, ..site() }, Site { attach: Some(AttachMode::Kprobe), ..site() }]
    {
        let report = Report::new(&site, &facts, &refused());
        assert_eq!((report.watchable, report.source), (false, None), "{site:?}");
    }
    let error = OffsetError { path: "/boot/btf".into(), reason: "this is no BTF file".to_owned() };
    let tried = Tried { hooks: Err(error), fanotify: Ok(()) };
    assert!(!Report::new(&site(), &facts, &tried).watchable, "a file that was named is not passed over");
}

#[test]
fn fanotify_can_be_asked_for() {
    let site = Site { source: Source::Fanotify, ..site() };
    let report = Report::new(&site, &healthy(), &with_fanotify(attempts(Ok(()), Ok(()))));
    assert_eq!((report.watchable, report.source, report.attach), (true, Some(Source::Fanotify), None));
    let report = Report::new(&site, &healthy(), &attempts(Ok(()), Ok(())));
    assert!(!report.watchable);
    insta::assert_snapshot!(report);
}

#[test]
fn a_configuration_at_fault_on_a_healthy_host() {
    let site = Site {
        configuration: Err("c.toml:3:1: dirz: unknown key".to_owned()),
        rules: Err("error: one\n --> a.toml:1\nerror: two".to_owned()),
        ..site()
    };
    let report = Report::new(&site, &healthy(), &attempts(Ok(()), Ok(())));
    assert!(!report.watchable);
    insta::assert_snapshot!(report);
}

#[test]
fn files_that_others_can_change() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.toml");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let exposed = vec![crate::guard::check(&file).unwrap_err()];
    let report =
        Report::new(&Site { exposed, ..site() }, &healthy(), &with_fanotify(attempts(Ok(()), Ok(()))));
    assert!(!report.watchable, "`run` does not start with them");
    let letter = report.to_string().replace(directory.path().to_str().unwrap(), "/etc/ldsentry");
    let part = letter.split("Linux 5.10").next().unwrap();
    insta::assert_snapshot!(part);
}

/// None of it is in the way, and all of it is told with what to do.
#[test]
fn half_an_installation_on_an_odd_host() {
    let facts = Facts {
        release: "5.10.0-21-amd64".to_owned(),
        landlock: None,
        selinux_enforces: true,
        memlock: Some(65536),
        capabilities: 0x1ff_feff_ffff,
        ..healthy()
    };
    let fault = |text: &str| Some(text.to_owned());
    let directories = vec![
        ("/var/log/ldsentry".into(), fault("No such file or directory (os error 2)")),
        ("/run/ldsentry".into(), fault("Read-only file system (os error 30)")),
    ];
    let site = Site { configuration: Ok(None), directories, ..site() };
    let report = Report::new(&site, &facts, &with_fanotify(attempts(Ok(()), Ok(()))));
    assert!(report.watchable);
    insta::assert_snapshot!(report);
    let facts = Facts { apparmor_profile: Some("docker-default".to_owned()), ..healthy() };
    let refused = || refused(AttachMode::Fentry, Step::Load, 13);
    let report = Report::new(&site, &facts, &attempts(Err(refused()), Err(refused())));
    let policy = report.findings.iter().find(|finding| finding.id == "mandatory_access").unwrap();
    assert!(
        policy.remedy.as_ref().is_some_and(|remedy| remedy.contains("apparmor=unconfined")),
        "{policy:?}"
    );
}

#[test]
fn a_kernel_that_is_too_old() {
    let facts = Facts {
        release: "4.19.0-27-amd64".to_owned(),
        security_modules: Some(vec!["capability".to_owned()]),
        ..healthy()
    };
    let report =
        Report::new(&site(), &facts, &attempts(Err(maps_refused(EINVAL)), Err(maps_refused(EINVAL))));
    insta::assert_snapshot!(report);
}

#[test]
fn kernels_by_their_release() {
    for (release, too_old) in [
        ("5.9.16", true),
        ("5.10.0-21-amd64", false),
        ("6.1.0", false),
        ("10.0", false),
        ("4.19", true),
        ("", false),
        ("odd", false),
    ] {
        let facts = Facts { release: release.to_owned(), ..healthy() };
        assert_eq!(facts.is_too_old(), too_old, "{release}");
    }
}

/// One line for each thing that can stand behind a refusal: the first that applies is the one to name.
#[test]
fn causes_of_refusals() {
    let fentry = |step, errno| refused(AttachMode::Fentry, step, errno);
    let kprobe = |step, errno| refused(AttachMode::Kprobe, step, errno);
    let nothing = |_: &mut Facts| {};
    let causes = [
        (
            "one capability is missing",
            cause(|facts| facts.capabilities = 1 << 38, &fentry(Step::Load, EPERM)),
        ),
        ("CAP_SYS_ADMIN does too", cause(|facts| facts.capabilities = 1 << 21, &fentry(Step::Load, EPERM))),
        ("rootless", cause(|facts| facts.initial_user_namespace = false, &maps_refused(EPERM))),
        (
            "confidentiality",
            cause(|facts| facts.lockdown = Lockdown::Confidentiality, &kprobe(Step::Attach, EPERM)),
        ),
        ("seccomp", cause(|facts| facts.seccomp = true, &fentry(Step::Load, EPERM))),
        ("a security module", cause(nothing, &fentry(Step::Load, EPERM))),
        ("no kprobes", cause(|facts| facts.kprobes = false, &kprobe(Step::Attach, ENOENT))),
        (
            "no function",
            cause(|facts| facts.missing_functions = vec!["vfs_rename"], &kprobe(Step::Attach, ENOENT)),
        ),
        ("no trampolines", cause(nothing, &fentry(Step::Attach, ENOTSUPP))),
        ("paranoid", cause(|facts| facts.capabilities = 3 << 38, &kprobe(Step::Attach, 13))),
        ("busy", cause(nothing, &fentry(Step::Attach, 16))),
        ("tracer off", cause(|facts| facts.tracer_off = true, &silent(AttachMode::Kprobe))),
        ("silent", cause(nothing, &silent(AttachMode::Kprobe))),
        ("no memory", cause(nothing, &maps_refused(12))),
        ("the verifier", cause(nothing, &fentry(Step::Load, 13))),
        (
            "another kernel's BTF",
            cause(
                |facts| facts.btf = Btf::Given("/boot/btf".into()),
                &KernelError::NoMode(vec![fentry(Step::Load, 13), silent(AttachMode::Kprobe)]),
            ),
        ),
        ("no file", cause(nothing, &KernelError::SelfTest(Errno::ROFS.into()))),
        ("unknown", cause(nothing, &maps_refused(EINVAL))),
        (
            "both ways",
            cause(
                |facts| facts.capabilities = 0,
                &KernelError::NoMode(vec![fentry(Step::Load, EPERM), kprobe(Step::Load, EPERM)]),
            ),
        ),
    ];
    let lines: Vec<String> = causes.iter().map(|(name, cause)| format!("{name}: {cause}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn facts_are_read_from_the_files_of_the_kernel() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/self/status", "Name:\tx\nUid:\t0\t1000\t0\t0\nCapEff:\t000000c000000000\nSeccomp:\t2\n");
    write("proc/self/uid_map", "         0     100000      65536\n");
    write("proc/sys/kernel/osrelease", "5.10.0-21-amd64\n");
    write("proc/sys/kernel/ftrace_enabled", "0\n");
    write("proc/self/attr/current", "docker-default (enforce)\n");
    write(
        "proc/self/limits",
        "Limit  Soft Limit  Hard Limit\nMax locked memory         8388608              8388608              bytes\n",
    );
    write("proc/sys/kernel/perf_event_paranoid", "3\n");
    write("sys/kernel/security/lsm", "lockdown,capability,bpf");
    write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    write("sys/bus/event_source/devices/kprobe/type", "8\n");
    write(
        "proc/kallsyms",
        "0000000000000000 T vfs_rename\n0000000000000000 t security_inode_rename\n\
         0000000000000000 T security_inode_create_x\t[module]\n",
    );
    // Landlock is asked for by a call.
    let facts = Facts { landlock: None, ..Facts::read(root.path(), Some(Path::new("/boot/btf"))) };
    insta::assert_debug_snapshot!(facts);
}

#[test]
fn a_host_that_shows_nothing_is_judged_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let facts = Facts::read(root.path(), None);
    assert_eq!((facts.lockdown, facts.missing_functions.len()), (Lockdown::Unknown, 0));
    let report = Report::new(&site(), &facts, &attempts(Ok(()), Ok(())));
    assert!(report.watchable, "what works is not talked out of it");
}

#[test]
fn every_finding_is_documented() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/check.md")).unwrap();
    for Finding { id, requirement, .. } in
        Report::new(&site(), &healthy(), &attempts(Ok(()), Ok(()))).findings
    {
        assert!(
            document.contains(&format!("| `{id}` | {requirement} |")),
            "docs/check.md does not have `{id}`"
        );
    }
}
