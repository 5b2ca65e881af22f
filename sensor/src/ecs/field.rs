//! The fields of our documents, by their ECS names.

/// Declares [`Field`] with the name of each, in the order in which documents show them.
macro_rules! fields {
    ($($variant:ident $name:literal,)*) => {
        /// A field that the sensor fills. `ldsentry.*` are its own, beside ECS.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is documented by ECS under its name")]
        pub enum Field {
            $($variant,)*
        }

        impl Field {
            /// All fields, in the order in which documents show them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name with dots.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The levels above it, with dots between them, and what it is called there.
            pub(super) fn place(self) -> (&'static str, &'static str) {
                const PLACES: &[(&str, &str)] = &[$(place($name),)*];
                PLACES[self as usize]
            }

            /// The field of that name, if the sensor fills it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

/// What precedes the last dot of a name, and what follows it.
pub(super) const fn place(name: &'static str) -> (&'static str, &'static str) {
    let mut end = name.len();
    while end > 0 {
        end -= 1;
        if name.as_bytes()[end] == b'.' {
            let (levels, key) = name.split_at(end);
            return (levels, key.split_at(1).1);
        }
    }
    ("", name)
}

fields! {
    Timestamp "@timestamp",
    Message "message",
    EventKind "event.kind",
    EventCategory "event.category",
    EventType "event.type",
    EventAction "event.action",
    EventOutcome "event.outcome",
    EventId "event.id",
    EventSequence "event.sequence",
    EventCreated "event.created",
    EventModule "event.module",
    EventDataset "event.dataset",
    EventProvider "event.provider",
    FilePath "file.path",
    FileName "file.name",
    FileExtension "file.extension",
    FileDirectory "file.directory",
    FileType "file.type",
    FileMode "file.mode",
    FileInode "file.inode",
    FileDevice "file.device",
    FileTargetPath "file.target_path",
    FileOriginalPath "file.Ext.original.path",
    FileOriginalName "file.Ext.original.name",
    FileOriginalExtension "file.Ext.original.extension",
    ProcessPid "process.pid",
    ProcessEntityId "process.entity_id",
    ProcessStart "process.start",
    ProcessExecutable "process.executable",
    ProcessName "process.name",
    ProcessCommandLine "process.command_line",
    ProcessArgs "process.args",
    ProcessArgsCount "process.args_count",
    ProcessThreadId "process.thread.id",
    ProcessThreadName "process.thread.name",
    ProcessCapabilities "process.thread.capabilities.effective",
    ProcessParentPid "process.parent.pid",
    ProcessParentEntityId "process.parent.entity_id",
    ProcessParentExecutable "process.parent.executable",
    ProcessParentName "process.parent.name",
    ProcessParentThreadName "process.parent.thread.name",
    ProcessAncestry "process.Ext.ancestry",
    UserId "user.id",
    UserName "user.name",
    GroupId "group.id",
    GroupName "group.name",
    ContainerId "container.id",
    ContainerName "container.name",
    ContainerImage "container.image.name",
    ContainerRuntime "container.runtime",
    OrchestratorType "orchestrator.type",
    OrchestratorResourceType "orchestrator.resource.type",
    OrchestratorResourceId "orchestrator.resource.id",
    OrchestratorResourceName "orchestrator.resource.name",
    OrchestratorNamespace "orchestrator.namespace",
    KubernetesPodUid "kubernetes.pod.uid",
    KubernetesPodName "kubernetes.pod.name",
    KubernetesNamespace "kubernetes.namespace",
    KubernetesContainerName "kubernetes.container.name",
    HostId "host.id",
    HostBootId "host.boot.id",
    HostName "host.name",
    HostHostname "host.hostname",
    HostArchitecture "host.architecture",
    HostOsType "host.os.type",
    HostOsKernel "host.os.kernel",
    HostOsPlatform "host.os.platform",
    HostOsFamily "host.os.family",
    HostOsName "host.os.name",
    HostOsVersion "host.os.version",
    HostOsFull "host.os.full",
    HostOsVariant "host.os.Ext.variant",
    AgentType "agent.type",
    AgentVersion "agent.version",
    AgentId "agent.id",
    EcsVersion "ecs.version",
    DataStreamType "data_stream.type",
    DataStreamDataset "data_stream.dataset",
    DataStreamNamespace "data_stream.namespace",
    OwnOrigin "ldsentry.origin",
    OwnFileView "ldsentry.file.view",
    OwnFileTruncated "ldsentry.file.truncated",
    OwnFileAssumedDirectory "ldsentry.file.assumed_directory",
    OwnFileRawPath "ldsentry.file.raw_path",
    OwnFilePathsProcess "ldsentry.file.paths.process",
    OwnFilePathsHost "ldsentry.file.paths.host",
    OwnFilePathsOther "ldsentry.file.paths.other",
    OwnFileOriginalTruncated "ldsentry.file.original.truncated",
    OwnFileOriginalRawPath "ldsentry.file.original.raw_path",
    OwnFileRawTargetPath "ldsentry.file.raw_target_path",
    OwnFileLinkedPath "ldsentry.file.linked_path",
    OwnFileRawLinkedPath "ldsentry.file.raw_linked_path",
    OwnFileSystem "ldsentry.file.file_system",
    OwnMountOperation "ldsentry.mount.operation",
    OwnMountSource "ldsentry.mount.source",
    OwnMountRawSource "ldsentry.mount.raw_source",
    OwnMountFileSystem "ldsentry.mount.file_system",
    OwnExecutableStatus "ldsentry.process.executable.status",
    OwnExecutableTruncated "ldsentry.process.executable.truncated",
    OwnExecutableRawPath "ldsentry.process.executable.raw_path",
    OwnExecutableDeleted "ldsentry.process.executable.deleted",
    OwnExecutableMemfd "ldsentry.process.executable.memfd",
    OwnExecutableUid "ldsentry.process.executable.uid",
    OwnExecutableGid "ldsentry.process.executable.gid",
    OwnExecutableMode "ldsentry.process.executable.mode",
    OwnExecutableLinks "ldsentry.process.executable.links",
    OwnExecutableDevice "ldsentry.process.executable.device",
    OwnExecutableInode "ldsentry.process.executable.inode",
    OwnExecutableLayer "ldsentry.process.executable.overlay_layer",
    OwnExecutableUntrusted "ldsentry.process.executable.untrusted",
    OwnProcessRawCommandLine "ldsentry.process.raw_command_line",
    OwnProcessRawThreadName "ldsentry.process.raw_thread_name",
    OwnProcessArgsTruncated "ldsentry.process.args_truncated",
    OwnAncestorsPid "ldsentry.process.ancestors.pid",
    OwnAncestorsExecutable "ldsentry.process.ancestors.executable",
    OwnAncestorsRawExecutable "ldsentry.process.ancestors.raw_executable",
    OwnLoginUserId "ldsentry.process.login_user.id",
    OwnLoginUserName "ldsentry.process.login_user.name",
    OwnSessionId "ldsentry.process.audit_session",
    OwnCgroupId "ldsentry.process.cgroup_id",
    OwnCgroup "ldsentry.process.cgroup",
    OwnMountNamespace "ldsentry.process.mount_namespace",
    OwnInHostMountNamespace "ldsentry.process.in_host_mount_namespace",
    OwnPidNamespace "ldsentry.process.pid_namespace",
}

/// Which [`Field`] each number of an [`eql::Fields`] stands for: names are looked up once, not for every event.
#[derive(Debug, Clone, Default)]
pub struct FieldTable(Vec<Option<Field>>);

impl FieldTable {
    /// The table for `fields`. It knows nothing of names that are added later.
    pub fn new(fields: &eql::Fields) -> Self {
        Self(fields.iter().map(|(_, name)| Field::from_name(name)).collect())
    }

    /// The field that `id` stands for, if the sensor fills it.
    pub fn get(&self, id: eql::FieldId) -> Option<Field> {
        self.0.get(id.index()).copied().flatten()
    }
}
