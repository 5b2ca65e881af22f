//! Who did it: `process.*` and the facts about its executable.

use eql::Value;
use sha2::{Digest as _, Sha256};

use super::identity::{add_parts, identity_from};
use super::trust::Doubts;
use super::{Document, Field, flag, integer, known, nonzero, optional, text};
use crate::event::{Ancestor, Executable, ExecutableFile, Layer, Origin, Path, Runtime};

/// The executable and its name where fanotify told of the event and they could not be learned.
pub const UNKNOWN: &str = "unknown";

impl Document<'_> {
    pub(super) fn process(&self, field: Field) -> Value<'_> {
        let process = &self.event.process;
        let parent = self.event.ancestors.first();
        let file = file(&process.executable);
        match field {
            Field::ProcessPid => nonzero(process.pid.into()),
            Field::ProcessEntityId if process.start_boot_ns == 0 => Value::Missing,
            Field::ProcessEntityId => self.text(field, || self.entity_id(process.pid, process.start_boot_ns)),
            Field::ProcessStart => match process.start {
                Some(start) => self.text(field, || start.to_string()),
                None => Value::Missing,
            },
            // Missing would fall under an exclusion by `== null`, which is about what has no executable.
            Field::ProcessExecutable | Field::ProcessName if self.is_executable_unknown() => {
                Value::String(UNKNOWN)
            }
            Field::ProcessExecutable => path(&process.executable),
            Field::ProcessName => name(&process.executable),
            Field::ProcessCommandLine if process.args.is_empty() => Value::Missing,
            Field::ProcessCommandLine => self.text(field, || process.args.join(" ")),
            Field::ProcessArgs => Value::Array(&process.args),
            Field::ProcessArgsCount if process.args.is_empty() || process.args_truncated => Value::Missing,
            Field::ProcessArgsCount => integer(process.args.len() as u64),
            Field::ProcessThreadId => nonzero(process.tid.into()),
            Field::ProcessThreadName => known(&process.thread_name.text),
            Field::ProcessCapabilities => self.names(field, || text::capabilities(process.capabilities)),
            Field::ProcessParentPid => parent.map_or(Value::Missing, |parent| integer(parent.pid.into())),
            // Hashed once for both.
            Field::ProcessParentEntityId => match self.process(Field::ProcessAncestry) {
                Value::Array(ids) => ids.get(0),
                _ => Value::Missing,
            },
            Field::ProcessParentExecutable => {
                parent.map_or(Value::Missing, |parent| path(&parent.executable))
            }
            Field::ProcessParentName => parent.map_or(Value::Missing, |parent| name(&parent.executable)),
            Field::ProcessParentThreadName => optional(parent.map(|parent| parent.thread_name.text.as_str())),
            Field::ProcessAncestry => {
                self.ancestors(field, |ancestor| self.entity_id(ancestor.pid, ancestor.start_boot_ns))
            }
            Field::OwnExecutableStatus => Value::String(match process.executable {
                Executable::File(_) => "known",
                Executable::KernelThread => "kernel_thread",
                Executable::Unknown => "unknown",
            }),
            Field::OwnExecutableTruncated => flag(file.is_some_and(|file| file.path.truncated)),
            Field::OwnExecutableRawPath => self.raw(field, file.map(|file| &file.path)),
            Field::OwnExecutableDeleted => flag(file.is_some_and(|file| file.deleted)),
            Field::OwnExecutableMemfd => flag(file.is_some_and(|file| file.memfd)),
            Field::OwnExecutableUid => self.fact(field, |file| file.uid.to_string()),
            Field::OwnExecutableGid => self.fact(field, |file| file.gid.to_string()),
            Field::OwnExecutableMode => self.fact(field, |file| text::octal(file.mode)),
            Field::OwnExecutableLinks => file.map_or(Value::Missing, |file| integer(file.links.into())),
            Field::OwnExecutableDevice => self.fact(field, |file| text::device(file.device)),
            Field::OwnExecutableInode => self.fact(field, |file| file.inode.to_string()),
            Field::OwnExecutableLayer => {
                optional(file.and_then(|file| file.layer).map(|layer| match layer {
                    Layer::Lower => "lower",
                    Layer::Upper => "upper",
                    Layer::Unknown => "unknown",
                }))
            }
            Field::OwnExecutableUntrusted => self.doubts.get_or_init(|| Doubts::about(process)).as_value(),
            Field::OwnProcessRawCommandLine => self.bytes(field, process.raw_command_line.as_ref()),
            Field::OwnProcessRawThreadName => self.bytes(field, process.thread_name.raw.as_ref()),
            Field::OwnProcessArgsTruncated => flag(process.args_truncated),
            Field::OwnAncestorsPid => self.ancestors(field, |ancestor| ancestor.pid.to_string()),
            Field::OwnAncestorsExecutable => self.ancestors(field, |ancestor| match file_of(ancestor) {
                Some(file) => file.path.text.clone(),
                None => format!("[{}]", ancestor.thread_name.text),
            }),
            Field::OwnAncestorsRawExecutable => self.raw_ancestors(field),
            Field::OwnLoginUserId => match &process.login_user {
                Some(user) => self.text(field, || user.id.to_string()),
                None => Value::Missing,
            },
            Field::OwnLoginUserName => {
                optional(process.login_user.as_ref().and_then(|user| user.name.as_deref()))
            }
            Field::OwnSessionId => process.session_id.map_or(Value::Missing, |id| integer(id.into())),
            Field::OwnCgroupId => nonzero(process.cgroup_id),
            Field::OwnCgroup => optional(process.cgroup.as_deref()),
            Field::OwnMountNamespace => nonzero(process.mount_namespace.into()),
            Field::OwnInHostMountNamespace => {
                process.in_host_mount_namespace.map_or(Value::Missing, Value::Bool)
            }
            Field::OwnPidNamespace => nonzero(process.pid_namespace.into()),
            _ => self.container(field),
        }
    }

    fn container(&self, field: Field) -> Value<'_> {
        let Some(container) = &self.event.process.container else { return Value::Missing };
        let (pod, names) = (container.pod_uid.as_deref(), &container.names);
        match field {
            Field::ContainerId => known(&container.id),
            Field::ContainerName => optional(names.container.as_deref()),
            Field::ContainerImage => optional(names.image.as_deref()),
            Field::OrchestratorResourceName | Field::KubernetesPodName => optional(names.pod.as_deref()),
            Field::OrchestratorNamespace | Field::KubernetesNamespace => optional(names.namespace.as_deref()),
            Field::KubernetesContainerName => optional(pod.and(names.container.as_deref())),
            Field::ContainerRuntime => optional(container.runtime.map(|runtime| match runtime {
                Runtime::Docker => "docker",
                Runtime::Containerd => "containerd",
                Runtime::CriO => "cri-o",
                Runtime::Podman => "podman",
            })),
            Field::OrchestratorType => optional(pod.map(|_| "kubernetes")),
            Field::OrchestratorResourceType => optional(pod.map(|_| "pod")),
            Field::OrchestratorResourceId | Field::KubernetesPodUid => optional(pod),
            _ => Value::Missing,
        }
    }

    /// Stable for a process on a boot of a host, whoever asks and whenever.
    fn entity_id(&self, pid: u32, start_boot_ns: u64) -> String {
        let host = &self.event.host;
        let common =
            self.processes.get_or_init(|| add_parts(Sha256::new(), &["process", &host.id, &host.boot_id]));
        identity_from(common, &[&pid.to_string(), &start_boot_ns.to_string()])
    }

    /// Where the source is fanotify, a process that is gone is the usual case, and no sign of a kernel thread.
    fn is_executable_unknown(&self) -> bool {
        self.event.process.executable == Executable::Unknown && self.event.origin != Origin::Hook
    }

    fn fact(&self, field: Field, make: impl FnOnce(&ExecutableFile) -> String) -> Value<'_> {
        match file(&self.event.process.executable) {
            Some(file) => self.text(field, || make(file)),
            None => Value::Missing,
        }
    }

    /// The bytes of all, if those of one are not UTF-8: so each is in its place.
    fn raw_ancestors(&self, field: Field) -> Value<'_> {
        let files = || self.event.ancestors.iter().map(file_of);
        if files().flatten().all(|file| file.path.raw.is_none()) {
            return Value::Missing;
        }
        let bytes = |path: &Path| text::hex(path.raw.as_deref().unwrap_or(path.text.as_bytes()));
        self.list(field, || {
            files().map(|file| file.map_or_else(String::new, |file| bytes(&file.path))).collect()
        })
    }

    fn ancestors(&self, field: Field, make: impl Fn(&Ancestor) -> String) -> Value<'_> {
        if self.event.ancestors.is_empty() {
            return Value::Missing;
        }
        self.list(field, || self.event.ancestors.iter().map(make).collect())
    }
}

fn file(executable: &Executable) -> Option<&ExecutableFile> {
    match executable {
        Executable::File(file) => Some(file),
        Executable::KernelThread | Executable::Unknown => None,
    }
}

fn file_of(ancestor: &Ancestor) -> Option<&ExecutableFile> {
    file(&ancestor.executable)
}

fn path(executable: &Executable) -> Value<'_> {
    optional(file(executable).map(|file| file.path.text.as_str()))
}

fn name(executable: &Executable) -> Value<'_> {
    optional(file(executable).and_then(|file| text::file_name(&file.path.text)))
}
