//! Which container a process was in is known by its cgroup, although both are gone.

use integration_tests::Scenario;
use serde_json::json;

use crate::expected::{created, with};

const ID: &str = "3f4b1c0c5f2ad8d6c31d7b9c2d8be1f60f1a2e3d4c5b6a79887766554433221f";
const PRELOAD: &str = "/etc/ld.so.preload";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let pod = "8f2f6f3c-3a5e-4e0b-9d8c-0c2f5a1b7e44";
    let slice = format!("kubepods-burstable-pod{}.slice", pod.replace('-', "_"));
    let path =
        format!("/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{ID}.scope/init.scope");
    vec![
        Scenario::new("cgroup/version_2", attack_in("/sys/fs/cgroup", &path)).alert(with(
            created(PRELOAD),
            json!({
                "container.id": ID,
                "container.runtime": "containerd",
                "orchestrator.type": "kubernetes",
                "orchestrator.resource.type": "pod",
                "orchestrator.resource.id": pod,
                "kubernetes.pod.uid": pod,
                "ldsentry.process.cgroup": path,
            }),
        )),
        Scenario::new("cgroup/host", attack_in("/sys/fs/cgroup", "/system.slice/ssh.service")).alert(with(
            created(PRELOAD),
            json!({
                "container.id": null,
                "container.runtime": null,
                "orchestrator.type": null,
                "ldsentry.process.cgroup": "/system.slice/ssh.service",
            }),
        )),
    ]
}

/// An attack by a process in a cgroup of its own, of which nothing is left.
fn attack_in(hierarchy: &str, path: &str) -> String {
    format!(
        "cgroup=\"{hierarchy}{path}\"\nmkdir -p \"$cgroup\"\n\
         (echo 0 >\"$cgroup/cgroup.procs\"; exec attack create {PRELOAD})\n\
         while [ \"$cgroup\" != \"{hierarchy}\" ]; do rmdir \"$cgroup\"; cgroup=${{cgroup%/*}}; done"
    )
}
