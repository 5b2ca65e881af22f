//! The answer: each requirement with what was found.

use std::path::PathBuf;

use serde::Serialize;

use super::cause::{Cause, list};
use super::facts::{Btf, Facts, Lockdown};
use crate::config::Source;
use crate::fanotify::FanotifyError;
use crate::guard::Exposed;
use crate::kernel::{AttachMode, Attempt, KernelError, OffsetError};

/// Whether this host can be watched, and why.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether `ldsentry run` would watch this host.
    pub watchable: bool,
    /// What would deliver the events.
    pub source: Option<Source>,
    /// How the hooks would be attached.
    pub attach: Option<AttachMode>,
    /// The kernel's release.
    pub kernel: String,
    /// The requirements, in the order in which they build on one another.
    pub findings: Vec<Finding>,
}

/// A requirement, and what was found.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Its name, for programs.
    pub id: &'static str,
    /// Whether it is met.
    pub status: Status,
    /// What is required.
    pub requirement: &'static str,
    /// What was found.
    pub found: String,
    /// What that means, unless everything is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Whether a requirement is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Ok,
    /// It is not, or not known to be, and the host can be watched all the same.
    Note,
    /// It is not, and stands in the way.
    Missing,
}

/// What only securityfs tells.
const UNKNOWN: &str = "not known: securityfs is not mounted, and only root may look without";

/// What docs/sources.md says at length.
const UNSEEN: &str = "Not seen with it: mounts over a path, operations that failed, other mount namespaces (containers), what is \
    behind a symbolic link in a path, the old path of a file renamed from a directory that no rule names, rules whose \
    `file.path` begins with no directory, file systems without file handles. Seen late: who did it, as far as that is still \
    known, writes, and what was put into a new directory at once. docs/sources.md has all of it.";

/// What the operator set up.
#[derive(Debug)]
pub struct Site {
    /// The configuration file, `None` if there is none; or what is wrong with it.
    pub configuration: Result<Option<PathBuf>, String>,
    /// How many rules there are; or what is wrong with them.
    pub rules: Result<usize, String>,
    /// Those of its files that others could change.
    pub exposed: Vec<Exposed>,
    /// Directories that are to be written to, and what is wrong with them, if something is.
    pub directories: Vec<(PathBuf, Option<String>)>,
    /// What is to deliver the events.
    pub source: Source,
    /// How to attach, if that is prescribed.
    pub attach: Option<AttachMode>,
    /// Where the programs are to stay when the daemon ends, and why they cannot, if so; `None` if they are not to.
    pub pins: Option<(PathBuf, Option<String>)>,
}

/// What came of trying everything.
#[derive(Debug)]
pub struct Tried {
    /// The hooks, in each way to attach; or why that could not be tried.
    pub hooks: Result<Vec<Attempt>, OffsetError>,
    /// fanotify.
    pub fanotify: Result<(), FanotifyError>,
}

impl Report {
    /// Judges a host by what is known of it and what came of trying.
    pub fn new(site: &Site, facts: &Facts, tried: &Tried) -> Self {
        let host = Host { site, facts, tried };
        let mut findings = vec![host.configuration(), host.rules(), host.files()];
        findings.extend([host.kernel(), host.privileges(), host.lockdown(), host.btf(), host.maps()]);
        findings.extend(AttachMode::ALL.map(|mode| host.programs(mode)));
        findings.extend([host.pins(), host.fanotify(), host.lsm()]);
        findings.extend([host.policies(), host.sandbox(), host.directories()]);
        let (source, attach) = (host.source(), host.attach());
        let set_up = site.configuration.is_ok() && site.rules.is_ok() && site.exposed.is_empty();
        let watchable = source.is_some() && set_up;
        Self { watchable, source, attach, kernel: facts.release.clone(), findings }
    }
}

impl Finding {
    fn new(id: &'static str, requirement: &'static str, status: Status, found: impl Into<String>) -> Self {
        Self { id, status, requirement, found: found.into(), meaning: None, remedy: None }
    }

    fn meaning(mut self, meaning: impl Into<String>) -> Self {
        self.meaning = Some(meaning.into());
        self
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    fn cause(self, cause: &Cause, facts: &Facts) -> Self {
        self.meaning(cause.meaning(facts)).remedy(cause.remedy())
    }
}

struct Host<'a> {
    site: &'a Site,
    facts: &'a Facts,
    tried: &'a Tried,
}

impl Host<'_> {
    fn results(&self) -> &[Attempt] {
        self.tried.hooks.as_deref().unwrap_or_default()
    }

    fn works(&self, mode: AttachMode) -> bool {
        self.results().iter().any(|(tried, result)| *tried == mode && result.is_ok())
    }

    /// How `run` would attach.
    fn attach(&self) -> Option<AttachMode> {
        if self.site.source == Source::Fanotify {
            return None;
        }
        let wanted =
            AttachMode::ALL.into_iter().filter(|mode| self.site.attach.is_none_or(|one| one == *mode));
        wanted.into_iter().find(|mode| self.works(*mode))
    }

    /// What `run` would watch with.
    fn source(&self) -> Option<Source> {
        // A file that somebody named and that is no good is not passed over.
        let passable = !self.tried.hooks.as_ref().is_err_and(OffsetError::is_about_given_file);
        match self.attach() {
            Some(_) => Some(Source::Ebpf),
            None if self.takes_fanotify() && passable && self.tried.fanotify.is_ok() => {
                Some(Source::Fanotify)
            }
            None => None,
        }
    }

    /// Whether `run` would be content with fanotify.
    fn takes_fanotify(&self) -> bool {
        match self.site.source {
            Source::Auto => self.site.attach.is_none(),
            Source::Fanotify => true,
            Source::Ebpf => false,
        }
    }

    /// What is lacking stands in the way only if it shows.
    fn lacking(&self) -> Status {
        if self.source().is_some() { Status::Note } else { Status::Missing }
    }

    fn configuration(&self) -> Finding {
        let finding =
            |status, found| Finding::new("configuration", "a configuration without mistakes", status, found);
        match &self.site.configuration {
            Ok(Some(path)) => finding(Status::Ok, path.display().to_string()),
            Ok(None) => finding(Status::Ok, "no file, so the defaults".to_owned()),
            Err(error) => finding(Status::Missing, error.clone())
                .meaning("`ldsentry run` does not start with it. What follows is by the defaults.")
                .remedy("Correct it: docs/config.md has every key."),
        }
    }

    fn rules(&self) -> Finding {
        let finding = |status, found| Finding::new("rules", "rules that load", status, found);
        match &self.site.rules {
            Ok(count) => finding(Status::Ok, format!("{count} rule{}", if *count == 1 { "" } else { "s" })),
            Err(errors) => finding(Status::Missing, errors.clone())
                .meaning("`ldsentry run` does not start with them.")
                .remedy("Correct them: `ldsentry rules check` says the same."),
        }
    }

    fn files(&self) -> Finding {
        let finding = |status, found: String| {
            Finding::new("files", "configuration, rules and secrets that others cannot change", status, found)
        };
        let lines = |line: fn(&Exposed) -> String| -> String {
            self.site.exposed.iter().map(line).collect::<Vec<_>>().join("\n")
        };
        if self.site.exposed.is_empty() {
            return finding(Status::Ok, "only root or this user can".to_owned());
        }
        finding(Status::Missing, lines(Exposed::matter))
            .meaning(
                "Whoever can change them decides what is reported. `ldsentry run` does not start with them.",
            )
            .remedy(lines(Exposed::remedy))
    }

    fn kernel(&self) -> Finding {
        let old = self.facts.is_too_old();
        let status = if old { self.lacking() } else { Status::Ok };
        let finding = Finding::new("kernel", "Linux 5.10 or later", status, &self.facts.release);
        if old { finding.cause(&Cause::TooOld, self.facts) } else { finding }
    }

    fn privileges(&self) -> Finding {
        let facts = self.facts;
        let missing = facts.missing_capabilities();
        let found = if missing.is_empty() {
            format!("user {} with them", facts.uid)
        } else {
            format!("user {} without {}", facts.uid, list(&missing))
        };
        let finding =
            |status, found| Finding::new("privileges", "root, or CAP_BPF and CAP_PERFMON", status, found);
        if !missing.is_empty() {
            finding(self.lacking(), found).cause(&Cause::Capabilities(missing), facts)
        } else if !facts.initial_user_namespace {
            let found = format!("{found}, in a user namespace of its own");
            finding(self.lacking(), found).cause(&Cause::UserNamespace, facts)
        } else if facts.seccomp && self.attach().is_none() {
            finding(Status::Note, format!("{found}, under a seccomp filter")).cause(&Cause::Seccomp, facts)
        } else if !facts.sees_others() {
            finding(Status::Note, format!("{found}, without CAP_SYS_PTRACE"))
                .meaning("The host's mount namespace cannot be told from others: alerts have the path as the process sees it, and no other.")
                .remedy("Give it CAP_SYS_PTRACE too.")
        } else {
            finding(Status::Ok, found)
        }
    }

    fn lockdown(&self) -> Finding {
        let finding =
            |status, found: &str| Finding::new("lockdown", "no lockdown for confidentiality", status, found);
        match self.facts.lockdown {
            Lockdown::None => finding(Status::Ok, "none"),
            Lockdown::Integrity => finding(Status::Ok, "integrity"),
            Lockdown::Confidentiality => {
                finding(self.lacking(), "confidentiality").cause(&Cause::Lockdown, self.facts)
            }
            Lockdown::Unknown => {
                finding(Status::Note, UNKNOWN).remedy("mount -t securityfs securityfs /sys/kernel/security")
            }
        }
    }

    fn btf(&self) -> Finding {
        let finding =
            |status, found| Finding::new("btf", "the kernel's type information (BTF)", status, found);
        match &self.tried.hooks {
            Ok(_) => finding(
                Status::Ok,
                match &self.facts.btf {
                    Btf::Kernel => "the kernel's own".to_owned(),
                    Btf::Given(path) => path.display().to_string(),
                },
            ),
            Err(error) => finding(self.lacking(), format!("{}: {}", error.path.display(), error.reason))
                .meaning(
                    "Where the kernel keeps what an event consists of is not known, so no hook can read it.",
                )
                .remedy(capitalized(error.remedy())),
        }
    }

    fn maps(&self) -> Finding {
        let finding =
            |status, found: String| Finding::new("maps", "eBPF maps and a ring buffer", status, found);
        let refused = self.results().iter().find_map(|(_, result)| match result {
            Err(error @ (KernelError::Load(_) | KernelError::Map { .. })) => Some(error),
            _ => None,
        });
        match refused {
            Some(error) => {
                finding(self.lacking(), error.to_string()).cause(&Cause::of(error, self.facts), self.facts)
            }
            None if self.results().is_empty() => finding(Status::Note, "not tried without BTF".to_owned()),
            None if self.facts.lacks_locked_memory() => finding(
                Status::Note,
                format!("the kernel makes them; {} bytes may be locked", self.facts.memlock.unwrap_or_default()),
            )
            .meaning("Before Linux 5.11 maps count as locked memory: a larger ring can be refused.")
            .remedy("LimitMEMLOCK=infinity in a systemd unit, `ulimit -l unlimited`, --ulimit memlock=-1 for a container."),
            None => finding(Status::Ok, "the kernel makes them".to_owned()),
        }
    }

    fn programs(&self, mode: AttachMode) -> Finding {
        let (id, requirement) = match mode {
            AttachMode::Fentry => ("fentry", "fentry programs, or else kprobes"),
            AttachMode::Kprobe => ("kprobe", "kprobes, or else fentry programs"),
        };
        let finding = |status, found: String| Finding::new(id, requirement, status, found);
        let result = self.results().iter().find(|(tried, _)| *tried == mode).map(|(_, result)| result);
        let prescribed = self.site.attach == Some(mode);
        let status = match self.site.attach {
            // What is not asked for need not work.
            _ if self.site.source == Source::Fanotify => Status::Note,
            Some(other) if other != mode => Status::Note,
            _ => self.lacking(),
        };
        match result {
            Some(Ok(())) => finding(Status::Ok, "attached, and seen to report a file".to_owned()),
            Some(Err(KernelError::Load(_) | KernelError::Map { .. })) => {
                finding(Status::Note, "not tried without maps".to_owned())
            }
            Some(Err(error)) => {
                let cause = Cause::of(error, self.facts);
                let finding = finding(status, error.to_string()).meaning(cause.meaning(self.facts));
                let other = AttachMode::ALL.into_iter().find(|other| self.works(*other));
                match other {
                    Some(other) if prescribed => finding
                        .remedy(format!("Let `sensor.attach` be \"auto\" or \"{other}\", which works.")),
                    // Nothing has to be done.
                    Some(_) => finding,
                    None => finding.remedy(cause.remedy()),
                }
            }
            None => finding(Status::Note, "not tried without BTF".to_owned()),
        }
    }

    /// Whether the hooks can outlive the daemon.
    fn pins(&self) -> Finding {
        const MEANING: &str = "When the daemon ends, the hooks end with it: what happens until it starts again is not seen. The next \
            start raises an alert that says from when to when that was.";
        let finding = |status, found: String| {
            let requirement = "a BPF file system, for hooks that outlive the daemon";
            Finding::new("pins", requirement, status, found)
        };
        match &self.site.pins {
            None => finding(Status::Note, "`sensor.pins` is \"off\"".to_owned()).meaning(MEANING),
            Some((directory, None)) => finding(Status::Ok, directory.display().to_string()),
            Some((_, Some(reason))) => finding(Status::Note, reason.clone()).meaning(MEANING).remedy(
                "mount -t bpf bpf /sys/fs/bpf, and let the daemon write there: in a container it takes the host's /sys/fs/bpf as a \
                 volume, in a systemd unit ReadWritePaths=/sys/fs/bpf.",
            ),
        }
    }

    fn fanotify(&self) -> Finding {
        let finding = |status, found: String| {
            Finding::new("fanotify", "fanotify, where there are no hooks", status, found)
        };
        let error = match &self.tried.fanotify {
            Ok(()) if self.takes_fanotify() => {
                let finding = finding(Status::Ok, "tells of a file in a directory of its own".to_owned());
                return if self.source() == Some(Source::Fanotify) {
                    finding.meaning(UNSEEN)
                } else {
                    finding
                };
            }
            Ok(()) => return finding(Status::Ok, "works, and is not asked for".to_owned()),
            Err(error) => error,
        };
        if self.source().is_some() || !self.takes_fanotify() {
            return finding(Status::Note, error.to_string());
        }
        let finding = finding(Status::Missing, error.to_string());
        match error {
            FanotifyError::NothingToWatch => finding
                .meaning("fanotify watches directories, and no rule's `file.path` begins with one.")
                .remedy("See that the hooks can be attached, or name a directory in a rule."),
            _ if !self.facts.may_watch_directories() => finding
                .meaning(
                    "To watch directories with fanotify takes CAP_SYS_ADMIN in the host's user namespace.",
                )
                .remedy("Run it as root, or give it CAP_SYS_ADMIN."),
            _ if AttachMode::ALL.iter().any(|mode| self.works(*mode)) => finding
                .meaning("It is asked for, so hooks do not take its place.")
                .remedy("Let `sensor.source` be \"auto\": hooks can be attached."),
            _ => finding
                .meaning("There is nothing left to watch with.")
                .remedy("See that the hooks can be attached: that is the better way anyway."),
        }
    }

    fn lsm(&self) -> Finding {
        let finding = |status, found: String| {
            Finding::new("bpf_lsm", "`bpf` among the security modules: not used yet", status, found)
        };
        match &self.facts.security_modules {
            Some(modules) if modules.iter().any(|name| name == "bpf") => {
                finding(Status::Ok, modules.join(","))
            }
            Some(modules) => finding(Status::Note, modules.join(","))
                .meaning("BPF LSM programs would load here and never run. Nothing of ldsentry is one.")
                .remedy("Nothing. To have it, add `bpf` to lsm= on the kernel's command line."),
            None => finding(Status::Note, UNKNOWN.to_owned()),
        }
    }
}

impl Host<'_> {
    /// What may refuse on top of capabilities.
    fn policies(&self) -> Finding {
        let finding = |status, found: String| {
            Finding::new("mandatory_access", "no policy of SELinux or AppArmor against it", status, found)
        };
        let found = match (self.facts.selinux_enforces, &self.facts.apparmor_profile) {
            (true, _) => "SELinux enforces its policy".to_owned(),
            (false, Some(profile)) => format!("AppArmor enforces the profile `{profile}` on this process"),
            (false, None) => return finding(Status::Ok, "none is enforced on this process".to_owned()),
        };
        // What was tried just now was not refused.
        if self.source().is_some() && !self.facts.selinux_enforces {
            return finding(Status::Ok, found);
        }
        let (meaning, remedy) = if self.facts.selinux_enforces {
            (
                "A service runs in a domain of its own, not in that of your shell: bpf and perf_event there, reading other processes \
                 in /proc, and writing to the outputs' directories can be refused although `check` succeeds here.",
                "Run `check` as the service does: `systemd-run --wait --pipe ldsentry check`. Denials: `ausearch -m avc -c ldsentry`; \
                 `audit2allow` makes a module of them.",
            )
        } else {
            (
                "The profile can refuse bpf, perf_event_open, ptrace and mounts, as container runtimes' own profiles do.",
                "Run the container with apparmor=unconfined, or a profile that allows them. Denials are in the kernel's log \
                 (`apparmor=\"DENIED\"`).",
            )
        };
        finding(Status::Note, found).meaning(meaning).remedy(remedy)
    }

    /// What `run` gives up, if the kernel takes it.
    fn sandbox(&self) -> Finding {
        let finding = |status, found: String| {
            Finding::new(
                "sandbox",
                "Landlock and seccomp, to give up what is no longer needed",
                status,
                found,
            )
        };
        match (self.facts.landlock, self.facts.system_call_filters) {
            (Some(version), true) => finding(Status::Ok, format!("Landlock {version}, and seccomp")),
            (landlock, seccomp) => {
                let missing: Vec<&str> = [("Landlock", landlock.is_some()), ("seccomp", seccomp)]
                    .into_iter()
                    .filter_map(|(name, there)| (!there).then_some(name))
                    .collect();
                finding(Status::Note, format!("the kernel has no {}", missing.join(" and no ")))
                    .meaning(
                        "The daemon watches all the same. Whoever takes it over can do more: docs/privileges.md says what is left.",
                    )
                    .remedy(
                        "Landlock came with Linux 5.13 and has to be among the security modules: add `landlock` to lsm= on the \
                         kernel's command line.",
                    )
            }
        }
    }

    fn directories(&self) -> Finding {
        let finding = |status, found: String| {
            Finding::new("directories", "directories that can be written to", status, found)
        };
        let faulty: Vec<String> = self
            .site
            .directories
            .iter()
            .filter_map(|(path, fault)| Some(format!("{}: {}", path.display(), fault.as_ref()?)))
            .collect();
        if faulty.is_empty() {
            let all: Vec<String> =
                self.site.directories.iter().map(|(path, _)| path.display().to_string()).collect();
            return finding(Status::Ok, all.join(", "));
        }
        finding(Status::Note, faulty.join("\n"))
            .meaning(
                "What belongs there is not written: alerts, those that wait for the network, or (/run/ldsentry) the self-test and the \
                 answer of `ldsentry reload`.",
            )
            .remedy("Make it, for root alone (`install -d -m 0750 DIRECTORY`), or correct the configuration. A read-only root: mount a tmpfs or a volume there.")
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).chain(['.']).collect()
}
