//! Kernel structures, each as its address and the members that are read.

use sensor_common::code;

use crate::read::{self, Probed, Read, member, offset};

macro_rules! structures {
    ($($(#[$doc:meta])* $name:ident $(($typed:ident))? {
        $($member:ident: $type:ty = $offset:ident,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq)]
            pub struct $name(pub *const u8);

            impl $name {
                #[allow(dead_code, reason = "not every structure is asked")]
                #[inline(always)]
                pub fn is_null(self) -> bool {
                    self.0.is_null()
                }

                $(
                    /// The same to be read by [`Typed`](crate::read::Typed), whatever is there; only where the kernel
                    /// [can](read::can_cast).
                    #[inline(always)]
                    pub fn typed(self) -> Self {
                        Self(read::cast::<{ code::$typed }>(self.0))
                    }
                )?

                $(
                    #[inline(always)]
                    pub fn $member<R: Read>(self) -> <$type as Member>::Out {
                        <$type as Member>::wrap(R::member::<_, { member!($offset) }>(self.0))
                    }
                )*
            }

            impl Member for $name {
                type Raw = *const u8;
                type Out = Self;
                #[inline(always)]
                fn wrap(raw: *const u8) -> Self {
                    Self(raw)
                }
            }
        )*
    };
}

/// What the mount namespaces are called that hold a mount which is not attached yet, since 6.18; before, 0.
const ANONYMOUS_NAMESPACE: u32 = 0xefff_fff7;

/// A type that a member can have.
pub trait Member {
    type Raw;
    type Out;
    fn wrap(raw: Self::Raw) -> Self::Out;
}

macro_rules! plain {
    ($($type:ty)*) => { $(
        impl Member for $type {
            type Raw = Self;
            type Out = Self;
            #[inline(always)]
            fn wrap(raw: Self) -> Self {
                raw
            }
        }
    )* };
}
plain! { u16 u32 u64 }

/// An address of bytes.
pub struct Bytes;

impl Member for Bytes {
    type Raw = *const u8;
    type Out = *const u8;
    #[inline(always)]
    fn wrap(raw: *const u8) -> *const u8 {
        raw
    }
}

structures! {
    /// A directory entry.
    Dentry (DENTRY) {
        parent: Dentry = dentry_parent,
        name_len: u32 = dentry_name_len,
        name_hash_len: u64 = dentry_name_hash_len,
        name: Bytes = dentry_name,
        inode: Inode = dentry_inode,
        super_block: SuperBlock = dentry_sb,
        hash_link: u64 = dentry_unhashed,
    }
    Inode {
        mode: u16 = inode_mode,
        number: u64 = inode_ino,
        uid: u32 = inode_uid,
        gid: u32 = inode_gid,
        links: u32 = inode_nlink,
        super_block: SuperBlock = inode_sb,
        first_alias: Bytes = inode_aliases,
    }
    SuperBlock {
        device: u32 = sb_dev,
        magic: u64 = sb_magic,
        root: Dentry = sb_root,
        first_mount: Bytes = sb_mounts,
        file_system: FileSystem = sb_type,
    }
    /// The type of a file system.
    FileSystem {
        name: Bytes = file_system_name,
    }
    /// `struct mount`, which holds a `struct vfsmount`.
    Mount (MOUNT) {
        root: Dentry = mount_root,
        parent: Mount = mount_parent,
        mountpoint: Dentry = mount_mountpoint,
        namespace: MountNamespace = mount_namespace,
        group: u32 = mount_group,
        master: Mount = mount_master,
    }
    MountNamespace {
        number: u32 = mnt_namespace_inum,
    }
    PidNamespace {
        number: u32 = pid_namespace_inum,
    }
    Pid {
        level: u32 = pid_level,
    }
    Task (TASK) {
        flags: u32 = task_flags,
        mm: Mm = task_mm,
        tgid: u32 = task_tgid,
        leader: Task = task_leader,
        parent: Task = task_parent,
        start_ns: u64 = task_start,
        fs: Fs = task_fs,
        nsproxy: NsProxy = task_nsproxy,
        cred: Cred = task_cred,
        pid: Pid = task_pid,
        nameidata: NameiData = task_nameidata,
        cgroups: CssSet = task_cgroups,
    }
    /// The cgroups of a process: one in each hierarchy.
    CssSet {
        default: Cgroup = css_set_default,
    }
    /// What a controller has in a cgroup.
    Css {
        cgroup: Cgroup = css_cgroup,
    }
    Cgroup {
        root: Bytes = cgroup_root,
        node: KernfsNode = cgroup_node,
    }
    /// A directory of a file system that the kernel makes up.
    KernfsNode {
        parent: KernfsNode = kernfs_parent,
        name: Bytes = kernfs_name,
    }
    Cred {
        uid: u32 = cred_uid,
        gid: u32 = cred_gid,
        capabilities: u64 = cred_capabilities,
    }
    /// Memory of a process.
    Mm {
        executable: File = mm_exe_file,
        arguments: u64 = mm_arg_start,
        arguments_end: u64 = mm_arg_end,
    }
    /// An open file.
    File (FILE) {
        vfsmount: VfsMount = file_mount,
        dentry: Dentry = file_dentry,
        mode: u32 = file_mode,
        flags: u32 = file_flags,
    }
    VfsMount {}
    /// A directory entry and the mount that it is reached through.
    Path (PATH) {
        vfsmount: VfsMount = path_mount,
        dentry: Dentry = path_dentry,
    }
    /// Root and working directory of a process.
    Fs {
        root_mount: VfsMount = fs_root_mount,
        root_dentry: Dentry = fs_root_dentry,
    }
    NsProxy {
        mount_namespace: MountNamespace = nsproxy_mount_namespace,
    }
    /// A name, its length and its hash.
    Name {
        length: u32 = qstr_len,
        hash_len: u64 = qstr_hash_len,
        text: Bytes = qstr_name,
    }
    /// What a rename is about.
    RenameData {
        old_dentry: Dentry = renamedata_old_dentry,
    }
    /// The state of a path lookup; a task has one while it opens a file.
    NameiData {
        vfsmount: VfsMount = nameidata_mount,
        dentry: Dentry = nameidata_dentry,
        last_len: u32 = nameidata_last_len,
        last_hash_len: u64 = nameidata_last_hash_len,
        last_name: Bytes = nameidata_last_name,
    }
}

impl VfsMount {
    /// The mount around it.
    #[inline(always)]
    pub fn mount(self) -> Mount {
        Mount(self.0.wrapping_sub(offset!(mount_vfsmount) as usize))
    }
}

impl Mount {
    /// Whether it is one of the mounts of a namespace: not detached, never attached, or one that the kernel keeps to itself
    /// (where there is no namespace, or an error for a pointer).
    #[inline(always)]
    pub fn is_in_namespace<R: Read>(self) -> bool {
        let number = self.namespace::<R>().number::<R>();
        number != 0 && number != ANONYMOUS_NAMESPACE
    }
}

impl Inode {
    /// The entry of a directory: it has one at most.
    #[inline(always)]
    pub fn directory_entry(self) -> Dentry {
        let alias = self.first_alias::<Probed>();
        if alias.is_null() {
            return Dentry(alias);
        }
        Dentry(alias.wrapping_sub(offset!(dentry_alias) as usize))
    }
}
