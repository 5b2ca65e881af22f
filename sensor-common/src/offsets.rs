//! Where the members of kernel structures are in the running kernel: found by the daemon in the kernel's BTF, read by
//! the programs as constants.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The offset of a member that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// A member whose offset the programs need.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// The structure, as BTF names it.
    pub structure: &'static str,
    /// The member; dots lead into members that are structures themselves. `name[enumerator]` is an element of an array of
    /// pointers, `one|other` a member that was renamed, `one-other` how far it is behind another.
    pub path: &'static str,
    /// The programs can do without it.
    pub optional: bool,
}

macro_rules! offsets {
    ($($field:ident: $structure:literal $path:literal $($optional:ident)?,)*) => {
        /// Offsets in bytes, in the order of [`MEMBERS`].
        #[repr(C)]
        #[derive(Debug, Clone, Copy)]
        #[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
        #[expect(missing_docs, reason = "MEMBERS names the structure and member of each")]
        pub struct Offsets { $(pub $field: u32,)* }

        impl Offsets {
            /// No member is known.
            pub const ABSENT: Self = Self { $($field: ABSENT,)* };
        }

        /// What each field of [`Offsets`] is the offset of.
        pub const MEMBERS: &[Member] = &[
            $(Member { structure: $structure, path: $path, optional: offsets!(@optional $($optional)?) },)*
        ];
    };
    (@optional optional) => { true };
    (@optional) => { false };
}

offsets! {
    dentry_parent: "dentry" "d_parent",
    dentry_name_len: "dentry" "d_name.len",
    dentry_name_hash_len: "dentry" "d_name.hash_len",
    dentry_name: "dentry" "d_name.name",
    dentry_inode: "dentry" "d_inode",
    dentry_sb: "dentry" "d_sb",
    dentry_unhashed: "dentry" "d_hash.pprev",
    dentry_alias: "dentry" "d_u.d_alias",
    inode_mode: "inode" "i_mode",
    inode_ino: "inode" "i_ino",
    inode_uid: "inode" "i_uid",
    inode_gid: "inode" "i_gid",
    inode_nlink: "inode" "i_nlink",
    inode_sb: "inode" "i_sb",
    inode_aliases: "inode" "i_dentry.first",
    sb_dev: "super_block" "s_dev",
    sb_magic: "super_block" "s_magic",
    sb_root: "super_block" "s_root",
    sb_mounts: "super_block" "s_mounts",
    sb_type: "super_block" "s_type",
    file_system_name: "file_system_type" "name",
    mount_vfsmount: "mount" "mnt",
    mount_root: "mount" "mnt.mnt_root",
    mount_parent: "mount" "mnt_parent",
    mount_mountpoint: "mount" "mnt_mountpoint",
    mount_namespace: "mount" "mnt_ns",
    mount_group: "mount" "mnt_group_id",
    mount_master: "mount" "mnt_master",
    mount_instance: "mount" "mnt_instance" optional,
    mount_next: "mount" "mnt_next_for_sb" optional,
    mnt_namespace_inum: "mnt_namespace" "ns.inum",
    pid_namespace_inum: "pid_namespace" "ns.inum",
    pid_level: "pid" "level",
    pid_numbers: "pid" "numbers",
    upid_ns: "upid" "ns",
    task_flags: "task_struct" "flags",
    task_mm: "task_struct" "mm",
    task_tgid: "task_struct" "tgid",
    task_leader: "task_struct" "group_leader",
    task_parent: "task_struct" "real_parent",
    task_start: "task_struct" "start_boottime",
    task_comm: "task_struct" "comm",
    task_fs: "task_struct" "fs",
    task_nsproxy: "task_struct" "nsproxy",
    task_cred: "task_struct" "cred",
    task_pid: "task_struct" "thread_pid",
    task_nameidata: "task_struct" "nameidata",
    task_login_uid: "task_struct" "loginuid" optional,
    task_session_id: "task_struct" "sessionid" optional,
    task_cgroups: "task_struct" "cgroups",
    css_set_default: "css_set" "dfl_cgrp",
    css_set_pids: "css_set" "subsys[pids_cgrp_id]" optional,
    css_set_memory: "css_set" "subsys[memory_cgrp_id]" optional,
    css_cgroup: "cgroup_subsys_state" "cgroup",
    cgroup_root: "cgroup" "root",
    cgroup_node: "cgroup" "kn",
    kernfs_parent: "kernfs_node" "__parent|parent",
    kernfs_name: "kernfs_node" "name",
    overlay_upper: "ovl_inode" "__upperdentry-vfs_inode" optional,
    cred_uid: "cred" "euid",
    cred_gid: "cred" "egid",
    cred_capabilities: "cred" "cap_effective",
    mm_exe_file: "mm_struct" "exe_file",
    mm_arg_start: "mm_struct" "arg_start",
    mm_arg_end: "mm_struct" "arg_end",
    file_mount: "file" "f_path.mnt",
    file_dentry: "file" "f_path.dentry",
    file_mode: "file" "f_mode",
    file_flags: "file" "f_flags",
    path_mount: "path" "mnt",
    path_dentry: "path" "dentry",
    fs_root_mount: "fs_struct" "root.mnt",
    fs_root_dentry: "fs_struct" "root.dentry",
    nsproxy_mount_namespace: "nsproxy" "mnt_ns",
    nameidata_mount: "nameidata" "path.mnt",
    nameidata_dentry: "nameidata" "path.dentry",
    nameidata_last_len: "nameidata" "last.len",
    nameidata_last_hash_len: "nameidata" "last.hash_len",
    nameidata_last_name: "nameidata" "last.name",
    qstr_len: "qstr" "len",
    qstr_hash_len: "qstr" "hash_len",
    qstr_name: "qstr" "name",
    renamedata_old_dentry: "renamedata" "old_dentry" optional,
}
