//! seccomp: what the sensor does not do, it cannot do.
//!
//! Three answers. A system call that only somebody who has taken over the sensor would make ends the process, which the
//! service manager reports. What the sensor may try and must not get (loading programs, sockets where nothing leaves the
//! host) is refused with EPERM. Whatever else is not listed is answered as by a kernel that does not have it (ENOSYS),
//! so that a C library falls back to what is listed.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use rustix::io::Errno;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Nobody makes these by mistake.
const DEADLY: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_reboot,
    libc::SYS_setuid,
    libc::SYS_setresuid,
];

/// What the sensor, its C library and its crates do, the filtered ones below aside.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // Memory.
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise,
    // Threads and time.
    libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address, libc::SYS_gettid,
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_sched_getaffinity, libc::SYS_sched_yield, libc::SYS_membarrier,
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_getrandom, libc::SYS_restart_syscall, libc::SYS_exit, libc::SYS_exit_group,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_uname, libc::SYS_sysinfo,
    libc::SYS_getrusage, libc::SYS_getcpu,
    // Files. Where they may be written to, Landlock says.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_close, libc::SYS_read, libc::SYS_readv, libc::SYS_pread64, libc::SYS_write,
    libc::SYS_writev, libc::SYS_pwrite64, libc::SYS_lseek, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx,
    libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat,
    libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_fcntl, libc::SYS_flock, libc::SYS_fsync, libc::SYS_fdatasync,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_mkdirat, libc::SYS_unlinkat,
    libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_linkat, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2,
    libc::SYS_name_to_handle_at, libc::SYS_fanotify_mark,
    // Waiting.
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_ppoll, libc::SYS_eventfd2,
    libc::SYS_pselect6, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    // Sockets, made by the filtered `socket` below.
    libc::SYS_socketpair, libc::SYS_connect, libc::SYS_bind, libc::SYS_accept4, libc::SYS_listen, libc::SYS_shutdown,
    libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_sendto,
    libc::SYS_sendmsg, libc::SYS_sendmmsg, libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg,
];

/// Calls that only this architecture still has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[i64] = &[
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_poll,
    libc::SYS_epoll_wait, libc::SYS_unlink, libc::SYS_rename, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_link,
    libc::SYS_pipe, libc::SYS_dup2, libc::SYS_time, libc::SYS_select, libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// Of bpf(2), the commands that use what is loaded: a map's elements, and information about it.
const BPF_COMMANDS: [u64; 5] = [1, 2, 3, 4, 15];

/// What a new thread must not get: namespaces of its own.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// What a terminal is asked, and sockets, such as whether all was acknowledged; and that a probe be switched off, at the end.
const IOCTLS: [u64; 7] = [
    libc::TCGETS,
    libc::TIOCOUTQ,
    libc::TIOCGWINSZ,
    libc::FIONBIO,
    libc::FIONREAD,
    libc::FIOCLEX,
    PERF_EVENT_IOC_DISABLE,
];
/// The C library has no name for it: `_IO('$', 1)` in `linux/perf_event.h`.
const PERF_EVENT_IOC_DISABLE: u64 = 0x2401;

/// Families of sockets: on the host alone, and those that lead away from it, or tell the C library how.
const LOCAL: [i32; 1] = [libc::AF_UNIX];
const NETWORK: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Filters what all threads of this process do from now on.
pub(super) fn filter_sensor(network: bool) -> Result<(), Error> {
    let deadly = compile(all(DEADLY), SeccompAction::Allow, SeccompAction::KillProcess)?;
    let mut allowed = all(ALLOWED);
    allowed.extend(all(ALLOWED_HERE));
    let thread = (NAMESPACES | libc::CLONE_THREAD) as u64;
    allowed.extend([
        (libc::SYS_clone, vec![rule([masked(0, thread, libc::CLONE_THREAD as u64)?])?]),
        (libc::SYS_ioctl, one_of(1, &IOCTLS)?),
        (libc::SYS_prctl, one_of(0, &[libc::PR_SET_NAME as u64])?),
        // Its own process: to abort.
        (libc::SYS_tgkill, one_of(0, &[u64::from(std::process::id())])?),
        // Reading limits. A pointer is as long as a register.
        (
            libc::SYS_prlimit64,
            vec![rule([SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?])?],
        ),
    ]);
    let families = if network { &NETWORK[..] } else { &LOCAL };
    let refused = Rules::from([
        (libc::SYS_socket, vec![none_of(0, families.iter().map(|family| *family as u64))?]),
        (libc::SYS_bpf, vec![none_of(0, BPF_COMMANDS)?]),
        (libc::SYS_perf_event_open, Vec::new()),
    ]);
    // These calls are for the other filter to judge.
    allowed.extend(refused.keys().map(|number| (*number, Vec::new())));
    let allowed = compile(allowed, errno(Errno::NOSYS), SeccompAction::Allow)?;
    let refused = compile(refused, SeccompAction::Allow, errno(Errno::PERM))?;
    // The last one leaves nothing with which another could be added.
    for program in [deadly, refused, allowed] {
        seccompiler::apply_filter_all_threads(&program)?;
    }
    Ok(())
}

/// Filters what this process does, which is the one that reads links.
pub(super) fn filter_reader() -> Result<(), Error> {
    let mut allowed = all(&[
        libc::SYS_recvfrom,
        libc::SYS_sendmsg,
        libc::SYS_readlinkat,
        libc::SYS_close,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigreturn,
        libc::SYS_exit_group,
        // Releasing what compiling this filter took.
        libc::SYS_brk,
        libc::SYS_munmap,
    ]);
    // The standard library looks whether what it closes is open.
    allowed.insert(libc::SYS_fcntl, one_of(1, &[libc::F_GETFD as u64])?);
    // With O_PATH a file is neither read nor written.
    let path = libc::O_PATH as u64;
    allowed.insert(libc::SYS_openat, vec![rule([masked(2, path, path)?])?]);
    seccompiler::apply_filter(&compile(allowed, SeccompAction::KillProcess, SeccompAction::Allow)?)
}

fn compile(rules: Rules, otherwise: SeccompAction, action: SeccompAction) -> Result<BpfProgram, Error> {
    let architecture = ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, otherwise, action, architecture)?.try_into()?)
}

fn all(numbers: &[i64]) -> Rules {
    numbers.iter().map(|number| (*number, Vec::new())).collect()
}

fn errno(errno: Errno) -> SeccompAction {
    SeccompAction::Errno(errno.raw_os_error() as u32)
}

/// All conditions hold.
fn rule(conditions: impl Into<Vec<SeccompCondition>>) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into())
}

fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, BackendError> {
    values.iter().map(|value| rule([condition(argument, SeccompCmpOp::Eq, *value)?])).collect()
}

fn none_of(argument: u8, values: impl IntoIterator<Item = u64>) -> Result<SeccompRule, BackendError> {
    let conditions = values.into_iter().map(|value| condition(argument, SeccompCmpOp::Ne, value));
    rule(conditions.collect::<Result<Vec<_>, _>>()?)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, BackendError> {
    condition(argument, SeccompCmpOp::MaskedEq(mask), value)
}

/// On the lower half, which is all of an `int`.
fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}
