//! What each field says and when it is there, for the reference (docs/fields.md). ECS documents its own fields at length; this
//! is what they mean here.

use super::Field;

impl Field {
    /// When a document has the field, and what it says.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Timestamp => (
                "always",
                "when it happened; in an alert, when the alert was raised (`kibana.alert.original_time` has the other)",
            ),
            Self::Message => ("always", "`ldsentry file event`"),
            Self::EventKind => ("always", "`event`; in an alert `signal`"),
            Self::EventCategory => ("always", "`file`"),
            Self::EventType => ("always", "`creation`, `deletion`, or `change` for everything else"),
            Self::EventAction => ("always", "`creation`, `rename`, `modification`, `deletion` or `mount`"),
            Self::EventOutcome => ("always", "`success`, `failure`, or `unknown`, which rules take for done"),
            Self::EventId => {
                ("always", "the same however often it is delivered; unique for a boot of a host")
            }
            Self::EventSequence => ("always", "the count of events on the CPU that saw it"),
            Self::EventCreated => ("always", "when it happened"),
            Self::EventModule | Self::EventProvider | Self::AgentType => ("always", "`ldsentry`"),
            Self::EventDataset => ("always", "`ldsentry.file`"),
            Self::FilePath => (
                "always",
                "the path that a rule matched; else as the process sees it, from its root directory",
            ),
            Self::FileName => ("always", "what follows the last `/`"),
            Self::FileExtension => (
                "the name has a dot that is neither its first nor its last character",
                "what follows the last dot",
            ),
            Self::FileDirectory => ("always", "what precedes the name"),
            Self::FileType => {
                ("if known", "`file`, `dir`, `symlink`, `fifo`, `socket`, `char_device`, `block_device`")
            }
            Self::FileMode => ("if known", "permissions, in octal digits"),
            Self::FileInode => ("if there was one when it was seen", "inode number"),
            Self::FileDevice => ("always", "device number of the file system"),
            Self::FileTargetPath => ("symbolic links", "where the link leads to, as it was given"),
            Self::FileOriginalPath => ("renames, if known", "where the file was before"),
            Self::FileOriginalName => ("with the old path", "its last part"),
            Self::FileOriginalExtension => ("as `file.extension`, for the old name", "its extension"),
            Self::ProcessPid => ("if known", "process id in the host's pid namespace"),
            Self::ProcessEntityId => ("if known", "the same for a process of a boot of a host in all events"),
            Self::ProcessStart => ("if known", "when it started"),
            Self::ProcessExecutable => (
                "not for kernel threads",
                "path of the file that runs, also if it is deleted; `unknown` where fanotify told of the event and the process was gone",
            ),
            Self::ProcessName => (
                "with the executable",
                "the last part of the executable's path, not what the process calls itself",
            ),
            Self::ProcessCommandLine => ("if known", "the arguments, joined by blanks"),
            Self::ProcessArgs => ("if known", "the arguments"),
            Self::ProcessArgsCount => ("if all arguments were captured", "how many"),
            Self::ProcessThreadId => ("from hooks", "thread id"),
            Self::ProcessThreadName => ("if known", "what the thread calls itself (`comm`)"),
            Self::ProcessCapabilities => ("if there are some", "effective capabilities"),
            Self::ProcessParentPid => ("if known", "process id of the parent"),
            Self::ProcessParentEntityId => ("if known", "as `process.entity_id`"),
            Self::ProcessParentExecutable => ("if known", "as `process.executable`"),
            Self::ProcessParentName => ("with its executable", "as `process.name`"),
            Self::ProcessParentThreadName => ("if known", "what the parent calls itself"),
            Self::ProcessAncestry => {
                ("if known", "`entity_id` of the parent, its parent and so on, up to eight")
            }
            Self::UserId => ("if known", "effective user"),
            Self::UserName | Self::OwnLoginUserName => ("the host's `/etc/passwd` has the id", "its name"),
            Self::GroupId => ("if known", "effective group"),
            Self::GroupName => ("the host's `/etc/group` has the id", "its name"),
            Self::ContainerId => (
                "the cgroup's name tells of a container",
                "its id; whoever may make cgroups may give one such a name",
            ),
            Self::ContainerRuntime => {
                ("the cgroup's name tells", "`docker`, `containerd`, `cri-o`, `podman`")
            }
            Self::ContainerName => {
                ("the host's files tell", "what it is called in its pod, or by its engine")
            }
            Self::ContainerImage => ("the host's files tell", "as the container was made with"),
            Self::OrchestratorResourceName | Self::KubernetesPodName => {
                ("the node's files tell", "the pod's name")
            }
            Self::OrchestratorNamespace | Self::KubernetesNamespace => {
                ("the node's files tell", "the pod's namespace")
            }
            Self::KubernetesContainerName => ("in a pod, the node's files tell", "as `container.name`"),
            Self::OrchestratorType => ("in a pod", "`kubernetes`"),
            Self::OrchestratorResourceType => ("in a pod", "`pod`"),
            Self::OrchestratorResourceId | Self::KubernetesPodUid => ("in a pod", "the pod's uid"),
            Self::HostId => ("there is a `/etc/machine-id`", "machine id"),
            Self::HostBootId => ("always", "the kernel's id of this boot"),
            Self::HostName | Self::HostHostname => ("always", "the host's name"),
            Self::HostArchitecture => ("always", "as `uname -m` has it"),
            Self::HostOsType => ("always", "`linux`"),
            Self::HostOsKernel => ("always", "release and build, as `uname -rv` has them"),
            Self::HostOsPlatform => ("os-release has it", "`ID`"),
            Self::HostOsFamily => ("os-release has it", "the first of `ID_LIKE`, else `ID`"),
            Self::HostOsName | Self::HostOsVariant => ("os-release has it", "`NAME`"),
            Self::HostOsVersion => ("os-release has it", "`VERSION_ID`"),
            Self::HostOsFull => ("os-release has it", "`PRETTY_NAME`"),
            Self::AgentVersion => ("always", "version of ldsentry"),
            Self::AgentId => ("always", "made from the machine id"),
            Self::EcsVersion => ("always", "version of ECS"),
            Self::DataStreamType => ("always", "`logs`"),
            Self::DataStreamDataset => (
                "always",
                "`ldsentry.file`; in an alert `ldsentry.alerts`; in Elasticsearch that of the stream",
            ),
            Self::DataStreamNamespace => ("always", "`default`; in Elasticsearch that of the stream"),
            Self::OwnOrigin => ("always", "how it was learned of: [sources.md](sources.md) has the values"),
            Self::OwnFileView => (
                "always",
                "whose path `file.path` is: `process`, `host`, or `other` (a container that the process reached into)",
            ),
            Self::OwnFileTruncated => {
                ("if so", "`file.path` has no beginning: the way to the root was too long")
            }
            Self::OwnFileAssumedDirectory => (
                "a rule can only match so",
                "the path was truncated, and this is the directory in which it would be what the rule looks for",
            ),
            Self::OwnFileRawPath => ("the path is not UTF-8", "its bytes in hexadecimal digits"),
            Self::OwnFilePathsProcess => ("several paths", "those in the view of the process"),
            Self::OwnFilePathsHost => ("several paths", "those in the view of the host"),
            Self::OwnFilePathsOther => ("several paths", "those in other mount namespaces"),
            Self::OwnFileOriginalTruncated => ("if so", "the old path has no beginning"),
            Self::OwnFileOriginalRawPath => ("the old path is not UTF-8", "its bytes in hexadecimal digits"),
            Self::OwnFileRawTargetPath => {
                ("`file.target_path` is not UTF-8", "its bytes in hexadecimal digits")
            }
            Self::OwnFileLinkedPath => ("hard links", "the path of the file that got another name"),
            Self::OwnFileRawLinkedPath => ("that path is not UTF-8", "its bytes in hexadecimal digits"),
            Self::OwnFileSystem => ("if known", "type of the file system"),
            Self::OwnMountOperation => ("mounts", "`mount`, `bind`, `move`, `unmount` or `pivot_root`"),
            Self::OwnMountSource => {
                ("mounts, if there is one", "what was mounted: as `mount` was told, or where it was before")
            }
            Self::OwnMountRawSource => ("that is not UTF-8", "its bytes in hexadecimal digits"),
            Self::OwnMountFileSystem => ("mounts, if known", "type of the file system that was mounted"),
            Self::OwnExecutableStatus => ("always", "`known`, `kernel_thread`, or `unknown`"),
            Self::OwnExecutableTruncated => ("if so", "`process.executable` has no beginning"),
            Self::OwnExecutableRawPath => {
                ("the executable's path is not UTF-8", "its bytes in hexadecimal digits")
            }
            Self::OwnExecutableDeleted => ("if so", "the executable has been unlinked"),
            Self::OwnExecutableMemfd => ("if so", "the executable never was in a directory (`memfd_create`)"),
            Self::OwnExecutableUid => ("the executable is known", "its owner"),
            Self::OwnExecutableGid => ("the executable is known", "its group"),
            Self::OwnExecutableMode => ("the executable is known", "its permissions"),
            Self::OwnExecutableLinks => ("the executable is known", "how many names it has"),
            Self::OwnExecutableDevice => ("the executable is known", "device number of its file system"),
            Self::OwnExecutableInode => ("the executable is known", "its inode number"),
            Self::OwnExecutableLayer => {
                ("the executable is on an overlay", "in which of its layers: `lower`, `upper`, or `unknown`")
            }
            Self::OwnExecutableUntrusted => (
                "the executable is not trusted",
                "what speaks against it: [exclusions.md](exclusions.md) has the values",
            ),
            Self::OwnProcessRawCommandLine => (
                "the arguments are not UTF-8",
                "their bytes in hexadecimal digits, each argument ended by a NUL byte",
            ),
            Self::OwnProcessRawThreadName => {
                ("`process.thread.name` is not UTF-8", "its bytes in hexadecimal digits")
            }
            Self::OwnProcessArgsTruncated => ("if so", "there were more arguments than were captured"),
            Self::OwnAncestorsPid => ("if known", "process ids of the parent, its parent and so on"),
            Self::OwnAncestorsExecutable => (
                "if known",
                "their executables; what they call themselves, in brackets, where that is not known",
            ),
            Self::OwnAncestorsRawExecutable => (
                "the path of one of them is not UTF-8",
                "the bytes of each in hexadecimal digits, nothing where it is not known",
            ),
            Self::OwnLoginUserId => {
                ("somebody logged in", "who: the audit login uid, which su and sudo keep")
            }
            Self::OwnSessionId => ("somebody logged in", "audit session"),
            Self::OwnCgroupId => ("if known", "id of the cgroup (version 2)"),
            Self::OwnCgroup => {
                ("if known", "path of the cgroup: the one that tells of a container, else that of version 2")
            }
            Self::OwnMountNamespace => ("if known", "inode number of the mount namespace"),
            Self::OwnInHostMountNamespace => ("if known", "whether that is the host's"),
            Self::OwnPidNamespace => ("if known", "inode number of the pid namespace"),
        }
    }
}
