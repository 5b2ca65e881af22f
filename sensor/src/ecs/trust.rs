//! Whether an executable is one that only the host's administrator, or whoever built the image of a container, can have put
//! there. What a document says of it decides the same way in a replay.

use eql::{Array, Value};

use crate::event::{Executable, Layer, Process};

/// What is lacking, and what that means in a sentence that begins with "the executable".
const DOUBTS: [(&str, &str); 10] = [
    ("owner", "is not owned by root"),
    ("writable", "can be written by its group or by others"),
    ("unlinked", "has been unlinked"),
    ("memfd", "is a memfd"),
    ("overlay_upper", "is in the layer of an overlay that is written to"),
    ("overlay_unknown", "is in nobody knows which layer of an overlay"),
    ("mount_namespace", "is in another mount namespace than the host's, and not in an image's layer"),
    ("unreachable", "is on a mount that leads nowhere"),
    ("kernel_thread", "is none: this is a kernel thread"),
    ("unknown", "is not known"),
];

/// All that speaks against an executable, a bit for each of [`DOUBTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Doubts(u16);

impl Doubts {
    pub(super) fn about(process: &Process) -> Self {
        let mut doubts = Self::default();
        let file = match &process.executable {
            Executable::File(file) => file,
            Executable::KernelThread => return doubts.with("kernel_thread", true),
            Executable::Unknown => return doubts.with("unknown", true),
        };
        doubts = doubts
            .with("owner", file.uid != 0)
            .with("writable", file.mode & 0o022 != 0)
            .with("unlinked", file.deleted)
            .with("memfd", file.memfd)
            .with("unreachable", file.path.truncated && !file.memfd);
        match file.layer {
            Some(Layer::Lower) => doubts,
            Some(Layer::Upper) => doubts.with("overlay_upper", true),
            Some(Layer::Unknown) => doubts.with("overlay_unknown", true),
            None => doubts.with("mount_namespace", process.in_host_mount_namespace != Some(true)),
        }
    }

    pub(super) fn as_value(&self) -> Value<'_> {
        if self.0 == 0 { Value::Missing } else { Value::Array(self) }
    }

    fn with(self, doubt: &str, truth: bool) -> Self {
        let bit = DOUBTS.iter().position(|(name, _)| *name == doubt).filter(|_| truth);
        Self(self.0 | bit.map_or(0, |bit| 1 << bit))
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        DOUBTS.iter().enumerate().filter(move |(bit, _)| self.0 & 1 << bit != 0).map(|(_, (name, _))| *name)
    }
}

impl Array for Doubts {
    fn len(&self) -> usize {
        self.0.count_ones() as usize
    }

    fn get(&self, index: usize) -> Value<'_> {
        self.names().nth(index).map_or(Value::Missing, Value::String)
    }
}

/// What a value of `ldsentry.process.executable.untrusted` means, behind "the executable".
pub fn remark(doubt: &str) -> Option<&'static str> {
    DOUBTS.iter().find(|(name, _)| *name == doubt).map(|(_, remark)| *remark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ExecutableFile;
    use crate::testing::event;

    fn doubts(change: impl FnOnce(&mut ExecutableFile)) -> Vec<&'static str> {
        let mut process = event().process;
        process.in_host_mount_namespace = Some(true);
        let Executable::File(file) = &mut process.executable else { panic!() };
        change(file);
        Doubts::about(&process).names().collect()
    }

    #[test]
    fn what_root_installed_is_trusted() {
        assert_eq!(doubts(|_| ()), <[&str; 0]>::default());
        assert_eq!(doubts(|file| file.mode = 0o106_755), <[&str; 0]>::default());
        assert_eq!(doubts(|file| file.layer = Some(Layer::Lower)), <[&str; 0]>::default());
    }

    #[test]
    fn what_others_can_have_made_is_not() {
        assert_eq!(doubts(|file| file.uid = 1000), ["owner"]);
        assert_eq!(doubts(|file| file.mode = 0o100_775), ["writable"]);
        assert_eq!(doubts(|file| file.mode = 0o100_757), ["writable"]);
        assert_eq!(doubts(|file| file.deleted = true), ["unlinked"]);
        assert_eq!(
            doubts(|file| {
                file.memfd = true;
                file.path.truncated = true;
                file.mode = 0o100_777;
            }),
            ["writable", "memfd"]
        );
        assert_eq!(doubts(|file| file.path.truncated = true), ["unreachable"]);
        assert_eq!(doubts(|file| file.layer = Some(Layer::Upper)), ["overlay_upper"]);
        assert_eq!(doubts(|file| file.layer = Some(Layer::Unknown)), ["overlay_unknown"]);
    }

    #[test]
    fn elsewhere_only_an_images_own_layer_is_trusted() {
        let mut process = event().process;
        let mut doubts = |namespace, layer| {
            process.in_host_mount_namespace = namespace;
            let Executable::File(file) = &mut process.executable else { panic!() };
            file.layer = layer;
            Doubts::about(&process).names().collect::<Vec<_>>()
        };
        assert_eq!(doubts(Some(false), None), ["mount_namespace"]);
        assert_eq!(doubts(None, None), ["mount_namespace"]);
        assert_eq!(doubts(Some(false), Some(Layer::Lower)), <[&str; 0]>::default());
        assert_eq!(doubts(Some(false), Some(Layer::Upper)), ["overlay_upper"]);
    }

    #[test]
    fn what_there_is_none_of_is_not_trusted() {
        let mut process = event().process;
        for (executable, doubt) in
            [(Executable::KernelThread, "kernel_thread"), (Executable::Unknown, "unknown")]
        {
            process.executable = executable;
            let doubts = Doubts::about(&process);
            assert_eq!((doubts.names().collect::<Vec<_>>(), doubts.len()), (vec![doubt], 1));
        }
        assert!(DOUBTS.iter().all(|(name, _)| remark(name).is_some()));
    }
}
