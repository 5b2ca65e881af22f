//! The image under runc, with exactly what the `DaemonSet` asks for, with an output, and the system calls that container runtimes
//! leave it.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Alone, lookup};
use serde_json::{Value, json};
use xtask::command::{output, workspace};
use xtask::dist::{image, version};
use xtask::kubernetes::Kubernetes;
use xtask::lab::{Payload, Series};
use xtask::servers::Servers;

/// Where the guest has the files of `ConfigMaps` and `Secrets`.
const VOLUMES: &str = "/run/volumes";
/// What is in the overlay's place of the server, and where the guest has one: in the container's network.
const SERVER: (&str, &str) = ("https://elasticsearch.example.com:9200", "http://127.0.0.1:9200");
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

/// What `containerd` and Docker leave only to `CAP_SYS_ADMIN`, and podman, whose profile is taken for theirs, to everybody.
const OF_ADMINISTRATORS: [&str; 13] = [
    "clone3",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "setns",
    "umount",
    "umount2",
    "unshare",
];

/// All flags of clone(2) that make namespaces.
const NAMESPACES: u32 = 0x7e02_0000;

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

    let overlay = workspace().join("deploy/kubernetes/overlays/elasticsearch");
    let objects = Kubernetes::prepare()?.objects(&overlay)?;
    let of_kind = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let entrypoint: Value = serde_json::from_slice(&std::fs::read(bundle.join("config.json"))?)?;
    let pod = &of_kind("DaemonSet").first().context("there is no DaemonSet")?["spec"]["template"]["spec"];
    let config = runtime_config(pod, &entrypoint["process"]["args"])?;
    payload.add("sensor.json", &serde_json::to_vec_pretty(&config)?, 0o644)?;
    let mut servers = 0;
    for (kind, directory) in [("ConfigMap", "configmaps"), ("Secret", "secrets")] {
        for object in of_kind(kind) {
            let name = object["metadata"]["name"].as_str().context("an object has no name")?;
            // As kustomize calls it, without the hash of what is in it.
            let (name, _) = name.rsplit_once('-').context("a name without a hash")?;
            payload.add(&format!("{directory}/{name}/.keep"), b"", 0o644)?;
            for (file, text) in object["data"].as_object().into_iter().flatten() {
                let text = text.as_str().context("it holds something else than text")?;
                servers += text.matches(SERVER.0).count();
                let text = text.replace(SERVER.0, SERVER.1);
                payload.add(&format!("{directory}/{name}/{file}"), text.as_bytes(), 0o644)?;
            }
        }
    }
    ensure!(servers == 1, "{} is there {servers} times", SERVER.0);
    let limit = memory_limit(pod)?;
    payload.add("memory_limit", limit.to_string().as_bytes(), 0o644)?;

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
    ensure!(security["seccompProfile"]["type"] == "RuntimeDefault", "{security}");
    let program = entrypoint.as_array().and_then(|words| words.first()).cloned();
    let arguments = container["args"].as_array().cloned().unwrap_or_default();
    let arguments: Vec<_> = program.into_iter().chain(arguments).collect();

    let mut mounts = standard_mounts();
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let volumes = pod["volumes"].as_array().context("no volumes")?;
        let volume =
            volumes.iter().find(|volume| volume["name"] == mount["name"]).context("no such volume")?;
        let named = [&volume["configMap"]["name"], &volume["secret"]["secretName"]]
            .into_iter()
            .find_map(Value::as_str);
        let source = match (volume["hostPath"]["path"].as_str(), named.and_then(|name| name.rsplit_once('-')))
        {
            (Some(path), _) => path.to_owned(),
            (None, Some((name, _hash))) => format!("{VOLUMES}/{name}"),
            (None, None) => anyhow::bail!("a volume of an unexpected kind: {volume}"),
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
    let mut environment = vec!["PATH=/usr/bin".to_owned()];
    for variable in container["env"].as_array().into_iter().flatten() {
        let part = |key: &str| variable[key].as_str().context("a variable without a value");
        environment.push(format!("{}={}", part("name")?, part("value")?));
    }
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "args": arguments,
            "env": environment,
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
            "seccomp": default_seccomp(&capabilities)?,
            "resources": {"memory": {"limit": memory_limit(pod)?}},
        },
    }))
}

/// In bytes.
fn memory_limit(pod: &Value) -> Result<u64> {
    let limit = pod["containers"][0]["resources"]["limits"]["memory"].as_str().context("no limit")?;
    let mebibytes: u64 = limit.strip_suffix("Mi").context("a limit in another unit")?.parse()?;
    Ok(mebibytes << 20)
}

/// The seccomp filter of a container with these capabilities. Debian has the file of podman's; where the profiles of containerd 1.7 and
/// Docker 24 differ from it in what the daemon could do, it is made to be as theirs.
fn default_seccomp(capabilities: &[String]) -> Result<Value> {
    let has = |name: &str| capabilities.iter().any(|own| own == name);
    let text = std::fs::read(Servers::prepare()?.seccomp_profile())?;
    let profile: Value = serde_json::from_slice(&text).context("reading the seccomp profile")?;
    let names = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut calls = Vec::new();
    for call in profile["syscalls"].as_array().context("a profile without system calls")? {
        let (with, without) = (names(&call["includes"]["caps"]), names(&call["excludes"]["caps"]));
        let arches = names(&call["includes"]["arches"]);
        let applies = with.iter().all(|name| has(name))
            && !without.iter().any(|name| has(name))
            && (arches.is_empty() || arches.iter().any(|name| name == "amd64"));
        if !applies {
            continue;
        }
        let mut names = names(&call["names"]);
        names.retain(|name| {
            let name = name.as_str();
            !OF_ADMINISTRATORS.contains(&name) && !["bpf", "perf_event_open", "clone"].contains(&name)
        });
        if !names.is_empty() {
            let mut rule = json!({"names": names, "action": call["action"]});
            for key in ["args", "errnoRet"].into_iter().filter(|key| !call[*key].is_null()) {
                rule[key] = call[key].clone();
            }
            calls.push(rule);
        }
    }
    for (name, capability) in [("bpf", "CAP_BPF"), ("perf_event_open", "CAP_PERFMON")] {
        if has(capability) {
            calls.push(json!({"names": [name], "action": "SCMP_ACT_ALLOW"}));
        } else {
            calls.push(json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}));
        }
    }
    let no_namespace = json!({"index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"});
    calls.push(json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [no_namespace]}));
    Ok(json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": calls,
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
