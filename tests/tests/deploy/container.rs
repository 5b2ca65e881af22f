//! The image under runc, with exactly what the `DaemonSet` asks for.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Alone, lookup};
use serde_json::{Value, json};
use xtask::command::{output, workspace};
use xtask::dist::{image, version};
use xtask::kubernetes::Kubernetes;
use xtask::lab::{Payload, Series};

/// Where the guest has the files of `ConfigMaps`.
const CONFIG_MAPS: &str = "/run/configmaps";
/// What container runtimes hide from containers that are not privileged.
const MASKED: [&str; 9] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[test]
fn the_image_sees_the_host_and_other_containers() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let binaries = super::daemon()?;
    let mut payload = Payload::new()?;
    // Without its symbols, as it is given to others.
    let daemon = directory.path().join("ldsentry");
    output(Command::new("strip").arg("-o").arg(&daemon).arg(binaries.path("ldsentry")))?;
    let archive = directory.path().join("image.tar");
    image::write(&daemon, "amd64", version(), &archive)?;
    let layout = directory.path().join("layout");
    std::fs::create_dir(&layout)?;
    output(Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&layout))?;
    let bundle = directory.path().join("bundle");
    let tag = format!("{}:{}", layout.display(), version());
    output(Command::new("umoci").args(["unpack", "--image", &tag]).arg(&bundle))?;
    let rootfs = directory.path().join("rootfs.tar");
    let mut pack = Command::new("tar");
    output(
        pack.arg("--create")
            .arg("--file")
            .arg(&rootfs)
            .arg("--directory")
            .arg(bundle.join("rootfs"))
            .arg("."),
    )?;
    payload.add("rootfs.tar", &std::fs::read(rootfs)?, 0o644)?;

    let objects = Kubernetes::prepare()?.objects(&workspace().join("deploy/kubernetes/base"))?;
    let of_kind = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let entrypoint: Value = serde_json::from_slice(&std::fs::read(bundle.join("config.json"))?)?;
    let pod = &of_kind("DaemonSet").first().context("there is no DaemonSet")?["spec"]["template"]["spec"];
    let config = runtime_config(pod, &entrypoint["process"]["args"])?;
    payload.add("sensor.json", &serde_json::to_vec_pretty(&config)?, 0o644)?;
    for map in of_kind("ConfigMap") {
        let name = map["metadata"]["name"].as_str().context("a ConfigMap has no name")?;
        payload.add(&format!("configmaps/{name}/.keep"), b"", 0o644)?;
        for (file, text) in map["data"].as_object().into_iter().flatten() {
            let text = text.as_str().context("a ConfigMap holds something else than text")?;
            payload.add(&format!("configmaps/{name}/{file}"), text.as_bytes(), 0o644)?;
        }
    }

    let alone = Alone { binaries: &binaries, payload: &payload, systemd: false, before_systemd: "" };
    let said = alone.run(Series::V6_12, include_str!("container.sh"))?;
    let facts: BTreeMap<_, _> = said.lines().filter_map(|line| line.split_once('=')).collect();
    let alerts: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let alert = |path: &str| {
        let about = |alert: &&Value| lookup(alert, "file.path") == Some(&Value::from(path));
        alerts.iter().find(about).with_context(|| format!("no alert for {path}:\n{said}"))
    };
    let host = alert("/etc/ld.so.conf.d/on-the-host.conf")?;
    let other = alert("/etc/ld.so.preload")?;
    for alert in [host, other] {
        // The container has no /etc/passwd, no machine id and another name.
        ensure!(lookup(alert, "user.name") == Some(&"root".into()), "{alert:#}");
        ensure!(
            lookup(alert, "host.id") == facts.get("machine_id").map(|id| json!(id)).as_ref(),
            "{alert:#}"
        );
        ensure!(lookup(alert, "host.name") == Some(&"node-7".into()), "{alert:#}");
    }
    ensure!(lookup(host, "container.id").is_none(), "{host:#}");
    for (field, expected) in [
        ("container.id", facts.get("container").copied()),
        ("container.name", Some("web")),
        ("orchestrator.namespace", Some("team-a")),
        ("orchestrator.resource.name", Some("shop-6b8f9d5c7-xk2lp")),
        ("orchestrator.resource.id", facts.get("pod").copied()),
    ] {
        ensure!(
            lookup(other, field).and_then(Value::as_str) == expected,
            "{field} is not {expected:?}: {other:#}"
        );
    }
    Ok(())
}

/// What a kubelet would have runc do for the pod's only container.
fn runtime_config(pod: &Value, entrypoint: &Value) -> Result<Value> {
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    let add = security["capabilities"]["add"].as_array().context("no capabilities")?;
    ensure!(security["capabilities"]["drop"] == json!(["ALL"]), "capabilities are left: {security}");
    ensure!(security["privileged"] == false, "{security}");
    let capabilities: Vec<_> =
        add.iter().filter_map(Value::as_str).map(|name| format!("CAP_{name}")).collect();
    let program = entrypoint.as_array().and_then(|words| words.first()).cloned();
    let arguments = container["args"].as_array().cloned().unwrap_or_default();
    let arguments: Vec<_> = program.into_iter().chain(arguments).collect();

    let mut mounts = standard_mounts();
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let volumes = pod["volumes"].as_array().context("no volumes")?;
        let volume =
            volumes.iter().find(|volume| volume["name"] == mount["name"]).context("no such volume")?;
        let source = match (&volume["hostPath"]["path"], &volume["configMap"]["name"]) {
            (Value::String(path), _) => path.clone(),
            (_, Value::String(name)) => format!("{CONFIG_MAPS}/{name}"),
            _ => anyhow::bail!("a volume of an unexpected kind: {volume}"),
        };
        let access = if mount["readOnly"] == true { "ro" } else { "rw" };
        mounts.push(json!({"destination": mount["mountPath"], "type": "bind", "source": source,
            "options": ["rbind", "rprivate", access]}));
    }
    let mut namespaces = vec!["mount", "network", "ipc", "uts", "cgroup"];
    if pod["hostPID"] != true {
        namespaces.push("pid");
    }
    let namespaces: Vec<_> = namespaces.into_iter().map(|kind| json!({"type": kind})).collect();
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "args": arguments,
            "env": ["PATH=/usr/bin"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": security["allowPrivilegeEscalation"] == false,
        },
        "root": {"path": "rootfs", "readonly": security["readOnlyRootFilesystem"]},
        "hostname": "ldsentry-x7k2p",
        "mounts": mounts,
        "linux": {
            "cgroupsPath": "/kubepods/sensor",
            "namespaces": namespaces,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "resources": {"memory": {"limit": 128 << 20}},
        },
    }))
}

/// What every container gets.
fn standard_mounts() -> Vec<Value> {
    let plain = ["nosuid", "noexec", "nodev"];
    [
        ("/proc", "proc", &plain[..]),
        ("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ("/dev/mqueue", "mqueue", &plain),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
    .map(|(destination, kind, options)| {
        json!({"destination": destination, "type": kind, "source": kind, "options": options})
    })
    .to_vec()
}
