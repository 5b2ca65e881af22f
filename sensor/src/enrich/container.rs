//! Which container a process is in: container engines name its cgroup after it.
//!
//! Each engine has a way of its own, and a different one with systemd's slices and scopes than with plain directories:
//!
//! | engine | plain | systemd |
//! |---|---|---|
//! | Docker | `docker/ID` | `docker-ID.scope` |
//! | containerd, nerdctl | `default/ID` | `nerdctl-ID.scope` |
//! | Kubernetes, containerd | `kubepods/burstable/podUID/ID` | `kubepods-burstable-podU_I_D.slice/cri-containerd-ID.scope` |
//! | Kubernetes, CRI-O | `kubepods/burstable/podUID/crio-ID` | `…/crio-ID.scope`, `…/crio-ID.scope/container` |
//! | Podman | `libpod_parent/libpod-ID` | `machine.slice/libpod-ID.scope/container` |
//!
//! Containers can be within containers: the innermost one counts. Whoever may make cgroups may give them such names, so that this
//! says where to look, and decides nothing.

use crate::event::{Container, ContainerNames, Runtime};
use crate::host::Host;

/// Digits of the id that all of these engines give a container.
const ID_LENGTH: usize = 64;

/// What stands before the id.
const PREFIXES: [(&str, Runtime); 6] = [
    ("docker", Runtime::Docker),
    ("nerdctl", Runtime::Containerd),
    ("cri-containerd", Runtime::Containerd),
    ("containerd", Runtime::Containerd),
    ("crio", Runtime::CriO),
    ("libpod", Runtime::Podman),
];

/// The directories in which containers are that are called by their id alone.
const PARENTS: [(&str, Runtime); 3] =
    [("docker", Runtime::Docker), ("default", Runtime::Containerd), ("libpod_parent", Runtime::Podman)];

/// The cgroup by which the container of a process is known, and the container; without one, the first cgroup.
pub(super) fn of_process(cgroups: &[Vec<u8>]) -> (Option<String>, Option<Container>) {
    of_paths(cgroups.iter().map(|path| String::from_utf8_lossy(path).into_owned()))
}

/// The same for `/proc/PID/cgroup`.
pub(crate) fn of_procfs(text: &str) -> (Option<String>, Option<Container>) {
    // NUMBER:CONTROLLERS:PATH, of which the hierarchy of version 2 has neither number nor controllers and comes last.
    let path = |line: &str| line.splitn(3, ':').nth(2).map(str::to_owned);
    of_paths(text.lines().rev().filter_map(path))
}

/// The container with what the host's files call it.
pub(crate) fn with_names(container: Option<Container>, host: &mut impl Host) -> Option<Container> {
    container.map(|container| Container { names: host.container_names(&container), ..container })
}

fn of_paths(paths: impl Iterator<Item = String>) -> (Option<String>, Option<Container>) {
    let mut first = None;
    for path in paths {
        if let Some(container) = of_cgroup(&path) {
            return (Some(path), Some(container));
        }
        first.get_or_insert(path);
    }
    (first, None)
}

/// The container that a cgroup belongs to, by its path from the root of its hierarchy.
pub fn of_cgroup(path: &str) -> Option<Container> {
    // `SLICE:cri-containerd:ID` is what becomes of a name for systemd where the runtime makes plain directories.
    let mut parent = "";
    let mut pod = None;
    let mut found: Option<Container> = None;
    for component in path.split(['/', ':']) {
        if let Some(uid) = pod_uid(component) {
            pod = Some(uid);
        } else if let Some((id, prefix)) = container_id(component) {
            let by_name = PREFIXES.iter().find(|(name, _)| *name == prefix.unwrap_or(parent));
            let by_parent = PARENTS.iter().find(|(name, _)| prefix.is_none() && *name == parent);
            let runtime = by_name.or(by_parent).map(|(_, runtime)| *runtime);
            let names = ContainerNames::default();
            found = Some(Container { id: id.to_owned(), runtime, pod_uid: pod.clone(), names });
        }
        parent = component;
    }
    found
}

/// The id in the name of a cgroup, and what stands before it. A scope of `conmon`'s is of the container's id too, but what runs in
/// it is on the host.
fn container_id(component: &str) -> Option<(&str, Option<&str>)> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let (prefix, id) = match name.rsplit_once('-') {
        Some((prefix, id)) => (Some(prefix), id),
        None => (None, name),
    };
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let is_monitor = prefix.is_some_and(|prefix| prefix.ends_with("conmon"));
    (is_id && !is_monitor).then_some((id, prefix))
}

/// The uid of the pod whose cgroup has this name: `podUID`, or `kubepods-burstable-podU_I_D.slice`.
fn pod_uid(component: &str) -> Option<String> {
    let name = component.strip_suffix(".slice").unwrap_or(component);
    let (before, uid) = name.rsplit_once("pod")?;
    let is_pod = before.is_empty() || (before.contains("kubepods") && before.ends_with('-'));
    let uid = uid.replace('_', "-");
    // A static pod has a hash instead of a UUID.
    let is_hash = uid.len() == 32 && uid.bytes().all(|digit| digit.is_ascii_hexdigit());
    let is_uuid = uid.len() == 36
        && uid.bytes().enumerate().all(|(index, digit)| match index {
            8 | 13 | 18 | 23 => digit == b'-',
            _ => digit.is_ascii_hexdigit(),
        });
    (is_pod && (is_hash || is_uuid)).then_some(uid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3f4b1c0c5f2ad8d6c31d7b9c2d8be1f60f1a2e3d4c5b6a79887766554433221f";
    const OUTER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const UID: &str = "8f2f6f3c-3a5e-4e0b-9d8c-0c2f5a1b7e44";

    fn spelled_out(path: &str) -> String {
        path.replace("U_I_D", &UID.replace('-', "_"))
            .replace("UID", UID)
            .replace("ID", ID)
            .replace("OUTER", OUTER)
    }

    #[track_caller]
    fn assert_is(path: &str, runtime: Option<Runtime>, pod: Option<&str>) {
        let path = spelled_out(path);
        let expected = Container {
            id: ID.to_owned(),
            runtime,
            pod_uid: pod.map(str::to_owned),
            names: ContainerNames::default(),
        };
        assert_eq!(of_cgroup(&path), Some(expected), "{path}");
    }

    #[test]
    fn docker() {
        let docker = Some(Runtime::Docker);
        assert_is("/docker/ID", docker, None);
        assert_is("/system.slice/docker-ID.scope", docker, None);
        // systemd or a shell within may have made more.
        assert_is("/system.slice/docker-ID.scope/init.scope", docker, None);
        assert_is("/docker/ID/system.slice/ssh.service", docker, None);
        assert_is("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", docker, None);
        // `--cgroup-parent`
        assert_is("/builds/ID", None, None);
    }

    #[test]
    fn containerd_and_nerdctl() {
        let containerd = Some(Runtime::Containerd);
        assert_is("/default/ID", containerd, None);
        assert_is("/system.slice/nerdctl-ID.scope", containerd, None);
        assert_is(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-ID.scope",
            containerd,
            None,
        );
        assert_is("/system.slice/containerd-ID.scope", containerd, None);
    }

    #[test]
    fn podman() {
        let podman = Some(Runtime::Podman);
        assert_is("/machine.slice/libpod-ID.scope", podman, None);
        assert_is("/machine.slice/libpod-ID.scope/container", podman, None);
        assert_is("/libpod_parent/libpod-ID", podman, None);
        assert_is(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            podman,
            None,
        );
        assert_is("/machine.slice/machine-libpod_pod_OUTER.slice/libpod-ID.scope", podman, None);
        assert_is("/libpod_parent/OUTER/libpod-ID", podman, None);
    }

    #[test]
    fn kubernetes() {
        for (pod, is_systemd) in [
            ("/kubepods/burstable/podUID", false),
            ("/kubepods/besteffort/podUID", false),
            // Guaranteed
            ("/kubepods/podUID", false),
            ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice", true),
            ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_I_D.slice", true),
            ("/kubepods.slice/kubepods-podU_I_D.slice", true),
            ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_I_D.slice", true),
        ] {
            let layouts: &[(&str, Option<Runtime>)] = if is_systemd {
                &[
                    ("cri-containerd-ID.scope", Some(Runtime::Containerd)),
                    ("crio-ID.scope", Some(Runtime::CriO)),
                    ("crio-ID.scope/container", Some(Runtime::CriO)),
                    ("docker-ID.scope", Some(Runtime::Docker)),
                ]
            } else {
                &[("ID", None), ("crio-ID", Some(Runtime::CriO))]
            };
            for (container, runtime) in layouts {
                assert_is(&format!("{pod}/{container}"), *runtime, Some(UID));
            }
        }
        // kubelet has slices, containerd was not told so.
        assert_is(
            "/system.slice/containerd.service/kubepods-burstable-podU_I_D.slice:cri-containerd:ID",
            Some(Runtime::Containerd),
            Some(UID),
        );
        // A static pod
        let hash = "b73f9f2e1d0c4b5a69788796a5b4c3d2";
        assert_is(&format!("/kubepods/burstable/pod{hash}/ID"), None, Some(hash));
    }

    #[test]
    fn the_innermost_container_counts() {
        assert_is(
            "/docker/OUTER/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_I_D.slice/cri-containerd-ID.scope",
            Some(Runtime::Containerd),
            Some(UID),
        );
        // Docker in a pod
        assert_is("/kubepods/podUID/OUTER/docker/ID", Some(Runtime::Docker), Some(UID));
    }

    #[test]
    fn what_runs_on_the_host_is_in_no_container() {
        for path in [
            "/",
            "",
            "/init.scope",
            "/system.slice/docker.service",
            "/system.slice/containerd.service",
            "/user.slice/user-1000.slice/session-3.scope",
            "/machine.slice/libpod-conmon-ID.scope",
            "/kubepods.slice/kubepods-podU_I_D.slice/crio-conmon-ID.scope",
            "/kubepods/burstable/podUID",
            // Too short, too long, not of digits
            "/docker/3f4b1c0c5f2a",
            "/docker/ID0",
            "/docker/IDg",
        ] {
            let path = spelled_out(path);
            assert_eq!(of_cgroup(&path), None, "{path}");
        }
    }

    #[test]
    fn of_several_hierarchies_the_one_that_tells_counts() {
        let id = |container: Option<Container>| container.map(|container| container.id);
        // Version 1: the hierarchy of version 2 is there and is not used.
        let text =
            format!("12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/docker.service\n");
        let (path, container) = of_procfs(&text);
        assert_eq!((path, id(container)), (Some(format!("/docker/{ID}")), Some(ID.to_owned())));
        let (path, container) = of_procfs("0::/user.slice/a:b\n");
        assert_eq!((path.as_deref(), container), (Some("/user.slice/a:b"), None));
        assert_eq!(of_procfs(""), (None, None));
        let kernel = [b"/".to_vec(), format!("/docker/{ID}").into_bytes()];
        assert_eq!(id(of_process(&kernel).1), Some(ID.to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", pieces in prop::collection::vec("[-/:_.a-fpod]|libpod|kubepods|[0-9a-f]{64}", 0..12)) {
            of_procfs(&text);
            of_cgroup(&pieces.concat());
        }
    }
}
