//! Why a way to attach did not work, said so that something can be done about it.

use rustix::io::Errno;

use super::facts::{Btf, Facts, Lockdown};
use crate::kernel::{AttachMode, KernelError, Step};

/// What the kernel answers, inside and nowhere else, where it has no such thing.
const ENOTSUPP: Errno = Errno::from_raw_os_error(524);

/// What stands behind an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    Capabilities(Vec<&'static str>),
    UserNamespace,
    Lockdown,
    Paranoid,
    Seccomp,
    TooOld,
    NoKprobes,
    NoFunction(&'static str),
    NoTrampolines,
    NoKernelBtf,
    TracerOff,
    Busy(&'static str),
    OtherBtf(String),
    Silent,
    NoTestFile,
    NoMemory,
    Verifier,
    /// Refused, and by none of what is known to refuse.
    Policy,
    Unknown,
}

impl Cause {
    pub(super) fn of(error: &KernelError, facts: &Facts) -> Self {
        match error {
            KernelError::Silent { .. } if facts.tracer_off => Self::TracerOff,
            KernelError::Silent { .. } => Self::of_misfit(facts, Self::Silent),
            KernelError::SelfTest(_) => Self::NoTestFile,
            KernelError::NoKernelBtf(_) => Self::NoKernelBtf,
            KernelError::Load(_) | KernelError::Map { .. } => Self::of_maps(error.errno(), facts),
            KernelError::Program { mode, function, step, errno, .. } => {
                Self::of_program(*mode, function, *step, *errno, facts)
            }
            KernelError::Offsets(_)
            | KernelError::NoMode(_)
            | KernelError::Diagnostics(_)
            | KernelError::Pins(_)
            | KernelError::Adopt(_)
            | KernelError::NoRing
            | KernelError::NotTogether
            | KernelError::Wait(_) => Self::Unknown,
        }
    }

    fn of_maps(errno: Option<Errno>, facts: &Facts) -> Self {
        match errno {
            Some(Errno::PERM) => Self::of_refusal(facts),
            Some(Errno::NOMEM) => Self::NoMemory,
            _ if facts.is_too_old() => Self::TooOld,
            _ => Self::Unknown,
        }
    }

    fn of_program(
        mode: AttachMode,
        function: &'static str,
        step: Step,
        errno: Option<Errno>,
        facts: &Facts,
    ) -> Self {
        match (mode, step, errno) {
            _ if facts.missing_functions.contains(&function) => Self::NoFunction(function),
            (AttachMode::Kprobe, Step::Attach, _) if !facts.kprobes => Self::NoKprobes,
            (AttachMode::Kprobe, Step::Attach, Some(Errno::ACCESS))
                if facts.needs_admin_for_perf() && facts.missing_capabilities().is_empty() =>
            {
                Self::Paranoid
            }
            (_, _, Some(Errno::PERM)) | (_, Step::Attach, Some(Errno::ACCESS)) => Self::of_refusal(facts),
            // The helper that reads memory is then missing.
            (_, Step::Load, _) if facts.lockdown == Lockdown::Confidentiality => Self::Lockdown,
            _ if facts.is_too_old() => Self::TooOld,
            (AttachMode::Fentry, _, Some(ENOTSUPP | Errno::NOTSUP)) => Self::NoTrampolines,
            (_, Step::Attach, Some(Errno::BUSY)) => Self::Busy(function),
            (_, Step::Load, Some(Errno::NOMEM)) => Self::NoMemory,
            (_, Step::Load, Some(_)) => Self::of_misfit(facts, Self::Verifier),
            _ => Self::Unknown,
        }
    }

    /// With offsets out of a file the file comes first: a verifier that knows types sees what is wrong with them, and
    /// what does not see it reads elsewhere.
    fn of_misfit(facts: &Facts, own: Self) -> Self {
        match &facts.btf {
            Btf::Given(path) => Self::OtherBtf(path.display().to_string()),
            Btf::Kernel => own,
        }
    }

    /// What refuses, the surest first.
    fn of_refusal(facts: &Facts) -> Self {
        let missing = facts.missing_capabilities();
        if !missing.is_empty() {
            Self::Capabilities(missing)
        } else if !facts.initial_user_namespace {
            Self::UserNamespace
        } else if facts.lockdown == Lockdown::Confidentiality {
            Self::Lockdown
        } else if facts.seccomp {
            Self::Seccomp
        } else {
            Self::Policy
        }
    }

    /// What it means.
    pub(super) fn meaning(&self, facts: &Facts) -> String {
        match self {
            Self::Capabilities(missing) => {
                format!("This process lacks {}: the kernel takes no tracing programs from it.", list(missing))
            }
            Self::UserNamespace => "This process has its capabilities in a user namespace of its own, as in a rootless \
                 container. The kernel asks for those of the host."
                .to_owned(),
            Self::Lockdown => "The kernel is locked down for confidentiality: it has no kprobes then, and no program may \
                 read its memory."
                .to_owned(),
            Self::Paranoid => format!(
                "kernel.perf_event_paranoid is {}: above 2 this kernel lets only CAP_SYS_ADMIN attach kprobes.",
                facts.perf_event_paranoid
            ),
            Self::Seccomp => "A seccomp filter is on this process, as container runtimes put one. It answers EPERM to bpf \
                 and perf_event_open, or what is behind it does."
                .to_owned(),
            Self::TooOld => format!("Linux {} is older than 5.10, the oldest that ldsentry is for.", facts.release),
            Self::NoKprobes => "The kernel is built without kprobes (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS): there is no \
                 /sys/bus/event_source/devices/kprobe."
                .to_owned(),
            Self::NoFunction(name) => {
                format!("The kernel has no function `{name}`: it is built without CONFIG_SECURITY, or has it inlined.")
            }
            Self::NoTrampolines => "The kernel has no BPF trampolines. They came with 5.5 on x86-64 and with 6.4 on arm64, \
                 and need CONFIG_FUNCTION_TRACER."
                .to_owned(),
            Self::NoKernelBtf => {
                "fentry names functions by their number in the kernel's own BTF. A file does not stand in for that."
                    .to_owned()
            }
            Self::TracerOff => {
                "The kernel's function tracer is off (kernel.ftrace_enabled = 0): functions do not call what is \
                 attached to them."
                    .to_owned()
            }
            Self::Busy(name) => {
                format!("Something else has taken the entry of `{name}`, a live patch or another tracer.")
            }
            Self::OtherBtf(path) => {
                format!("The programs do not fit this kernel. {path} may be the BTF of another one.")
            }
            Self::Silent => "The programs are in place and the kernel does not run them: something has switched them \
                 off."
                .to_owned(),
            Self::NoTestFile => "Programs can be attached and stay silent. ldsentry believes them only once it has seen \
                 them report a file of its own."
                .to_owned(),
            Self::NoMemory => "The kernel has no memory for the ring buffer and the other maps.".to_owned(),
            Self::Verifier => "The kernel's verifier does not accept the program. That is a fault of ldsentry, not of \
                 this host."
                .to_owned(),
            Self::Policy => policy(facts),
            Self::Unknown => "What the kernel answered is all that is known.".to_owned(),
        }
    }

    /// What to do.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Capabilities(_) => {
                "Run it as root, or give it these capabilities: AmbientCapabilities= in a systemd unit, --cap-add for a \
                 container."
            }
            Self::UserNamespace => {
                "Run it on the host, or in a container that shares the host's user namespace (--userns=host)."
            }
            Self::Lockdown => {
                "Boot with lockdown=integrity on the kernel's command line, or without lockdown. It cannot be lowered while \
                 the system runs."
            }
            Self::Paranoid => "Give it CAP_SYS_ADMIN, or `sysctl kernel.perf_event_paranoid=2`.",
            Self::Seccomp => {
                "Let the container's seccomp profile allow bpf and perf_event_open, or run the container privileged."
            }
            Self::TooOld => "Use a newer kernel: 6.1 and 6.12 are those that ldsentry is tested on.",
            Self::NoKprobes | Self::NoFunction(_) => {
                "Use a kernel with these options, as the distributions' kernels have them."
            }
            Self::NoTrampolines => "kprobes do as well. Else use a newer kernel.",
            Self::NoKernelBtf => "kprobes do as well. Else use a kernel with CONFIG_DEBUG_INFO_BTF=y.",
            Self::TracerOff => "sysctl kernel.ftrace_enabled=1",
            Self::Busy(_) => "kprobes may do: --attach kprobe. Else remove what has taken it.",
            Self::OtherBtf(_) => {
                "Give the BTF of the running kernel, or leave --btf out where the kernel has its own."
            }
            Self::Silent => "Look whether /sys/kernel/debug/kprobes/enabled and kernel.ftrace_enabled are 1.",
            Self::NoTestFile => "Let it create files in one of /run, /dev/shm, /tmp and /var/tmp.",
            Self::NoMemory => "Free some, or make the ring smaller (`sensor.ring_bytes`).",
            Self::Verifier | Self::Unknown => "Report it, with what `ldsentry check --format json` prints.",
            Self::Policy => {
                "No setting of this host changes that if it is the kernel's own doing. Run ldsentry on a distribution's \
                 kernel, or ask who provides this one to allow BPF tracing programs."
            }
        }
    }
}

/// Refused, although nothing that can be seen refuses.
fn policy(facts: &Facts) -> String {
    let lockdown = match facts.lockdown {
        Lockdown::Unknown => "lockdown is not known",
        Lockdown::None => "no lockdown is in force",
        Lockdown::Integrity => "lockdown is at integrity, which in a stock kernel does not forbid it",
        Lockdown::Confidentiality => "lockdown is at confidentiality",
    };
    let modules = facts.security_modules.iter().flatten();
    let suspects: Vec<&str> = modules
        .map(String::as_str)
        .filter(|name| ["apparmor", "selinux", "smack", "tomoyo"].contains(name))
        .collect();
    let others = if suspects.is_empty() {
        String::new()
    } else {
        format!(", or a policy of {} does (its denials are in the audit log)", list(&suspects))
    };
    format!(
        "This process has the capabilities for it, is in the host's user namespace and under no seccomp filter, and \
         {lockdown}. So the kernel forbids such programs by a policy of its own, as those of some virtual machines \
         do{others}."
    )
}

/// What stands behind an error and what to do about it, a sentence or two for each way to attach that was tried.
pub fn explain(error: &KernelError, facts: &Facts) -> Vec<String> {
    let errors = match error {
        KernelError::NoMode(errors) => errors.as_slice(),
        // It says itself what to do.
        KernelError::Offsets(_) => return Vec::new(),
        other => std::slice::from_ref(other),
    };
    let mut causes: Vec<(Cause, Vec<String>)> = Vec::new();
    for error in errors {
        let cause = Cause::of(error, facts);
        let mode = error.mode().map(|mode| mode.to_string());
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, modes)) => modes.extend(mode),
            None => causes.push((cause, mode.into_iter().collect())),
        }
    }
    let sentence = |(cause, modes): &(Cause, Vec<String>)| {
        let modes = if modes.is_empty() { String::new() } else { format!("{}: ", list(modes)) };
        format!("{modes}{} {}", cause.meaning(facts), cause.remedy())
    };
    causes.iter().map(sentence).collect()
}

/// `a, b and c`.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
