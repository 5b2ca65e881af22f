//! Exclusions are worth what the executable is worth that they rest on: rows 19, 20 and 29.

use anyhow::{Context as _, ensure};
use integration_tests::{Outcome, Scenario};
use serde_json::{Value, json};

use crate::expected::{created, with};
use crate::rules::rule;

const PRELOAD: &str = "/etc/ld.so.preload";
const NAMES: &str = "process.name in ( \"BootTimeChecker\"";

pub(crate) fn scenarios() -> Vec<Scenario> {
    [names(), paths(), layers(), facts()]
        .into_iter()
        .flatten()
        .chain([all_paths(), kernel_thread()])
        .collect()
}

fn by(executable: &str, untrusted: &[&str]) -> Value {
    let untrusted = if untrusted.is_empty() { Value::Null } else { json!(untrusted) };
    with(
        created(PRELOAD),
        json!({"process.executable": executable, "ldsentry.process.executable.untrusted": untrusted}),
    )
}

/// The first words of the clause that is not honoured, and why.
fn not_honoured(clause: &'static str, reason: &'static str) -> impl Fn(&Outcome) -> anyhow::Result<()> {
    move |outcome| {
        let alert = outcome.alerts.first().context("there is no alert")?;
        let found = &alert["ldsentry"]["not_honoured"];
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        ensure!(text("clause").starts_with(clause), "{found} is not about {clause}");
        ensure!(text("reason").contains(reason), "{found} does not say {reason}");
        Ok(())
    }
}

/// What the rule excludes by name.
fn names() -> Vec<Scenario> {
    let here = "/var/lab/trust/name";
    vec![
        Scenario::new(
            "trust/name/owner",
            format!("cp /lab/bin/attack java; chown 1234 java; ./java create {PRELOAD}"),
        )
        .alert(by(&format!("{here}/owner/java"), &["owner"]))
        .check(not_honoured(NAMES, "is not owned by root")),
        Scenario::new(
            "trust/name/writable",
            format!("cp /lab/bin/attack java; chmod 775 java; ./java create {PRELOAD}"),
        )
        .alert(by(&format!("{here}/writable/java"), &["writable"]))
        .check(not_honoured(NAMES, "can be written by its group or by others")),
        Scenario::new(
            "trust/name/unlinked",
            format!("attack from-copy {here}/unlinked/java remove-self create {PRELOAD}"),
        )
        .alert(by(&format!("{here}/unlinked/java"), &["unlinked"]))
        .check(not_honoured(NAMES, "has been unlinked")),
        Scenario::new(
            "trust/name/detached",
            format!(
                "mkdir m; mount -t tmpfs none m; cp /lab/bin/attack m/java; cd m; umount -l .; ./java create {PRELOAD}"
            ),
        )
        .alert(by("java", &["unreachable"]))
        .check(not_honoured(NAMES, "is on a mount that leads nowhere")),
        Scenario::new(
            "trust/name/namespace",
            format!("cp /lab/bin/attack java; unshare --mount ./java create {PRELOAD}"),
        )
        .alert(with(
            by(&format!("{here}/namespace/java"), &["mount_namespace"]),
            json!({"ldsentry.process.in_host_mount_namespace": false}),
        ))
        .check(not_honoured(NAMES, "another mount namespace than the host's")),
        // A memfd of the name is not excluded by the text, nor is a copy of a package manager elsewhere, nor whoever
        // calls itself so.
        Scenario::new("trust/name/memfd", format!("attack from-memfd java create {PRELOAD}"))
            .alert(with(by("/memfd:java", &["writable", "memfd"]), json!({"ldsentry.not_honoured": null}))),
        Scenario::new("trust/name/dpkg", format!("cp /lab/bin/attack dpkg; ./dpkg create {PRELOAD}"))
            .alert(with(by(&format!("{here}/dpkg/dpkg"), &[]), json!({"ldsentry.not_honoured": null}))),
        Scenario::new(
            "trust/name/set_name",
            format!("cp /bin/sh x; printf 'printf java >/proc/$$/comm\\n: >{PRELOAD}\\n' >script; ./x script"),
        )
        .alert(json!({
            "file.path": PRELOAD,
            "process.executable": format!("{here}/set_name/x"),
            "process.name": "x",
            "process.thread.name": "java",
            "ldsentry.not_honoured": null,
        })),
        // Whoever is root already and makes a file of root's is honoured, by design.
        Scenario::new("trust/name/root", format!("cp /lab/bin/attack java; ./java create {PRELOAD}")),
        Scenario::new("trust/name/counted", format!("counters before; {COUNTED}; counters after")).any_alerts().check(
            |outcome| {
                let counted = |when: &str| {
                    let facts = outcome.facts();
                    let counters: Value = serde_json::from_str(facts.get(when).context("no counters")?)?;
                    let counters = counters["counters"].as_object().context("no counters")?;
                    let named = counters.iter().filter(|(name, _)| {
                        name.starts_with("ldsentry_exclusions_not_honoured_total") && name.contains("BootTimeChecker")
                    });
                    anyhow::Ok(named.filter_map(|(_, count)| count.as_u64()).sum::<u64>())
                };
                let (before, after) = (counted("before")?, counted("after")?);
                ensure!(after == before + 1, "{before} and then {after} exclusions are not honoured");
                Ok(())
            },
        ),
    ]
}

const COUNTED: &str = "cp /lab/bin/attack java; chown 1234 java; ./java create /etc/ld.so.preload; wait_for_alert trust/name/counted/java";

/// What the rule excludes by path holds by default for whoever is there.
fn paths() -> Vec<Scenario> {
    vec![Scenario::new(
        "trust/path/snap",
        format!(
            "mkdir -p /snap/x; cp /lab/bin/attack /snap/x/tool; chown 1234 /snap/x/tool; \
             /snap/x/tool create {PRELOAD}; rm -r /snap"
        ),
    )]
}

/// An image's own layer is trusted, what was written on top of it is not.
fn layers() -> Vec<Scenario> {
    let attack = |image: &str, change: &str, program: &str| {
        format!(
            "mkdir lower upper work merged; mkdir lower/etc; cp /lab/bin/attack lower/{image}\n\
             unshare --mount sh -euc 'mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged; \
             {change}; exec chroot merged /{program} create {PRELOAD}'"
        )
    };
    let layer = |executable: &str, untrusted: &[&str], layer: &str| {
        with(
            by(executable, untrusted),
            json!({
                "ldsentry.process.executable.overlay_layer": layer,
                "ldsentry.process.in_host_mount_namespace": false,
            }),
        )
    };
    let not_honoured = || not_honoured(NAMES, "is in the layer of an overlay that is written to");
    vec![
        Scenario::new("trust/layer/lower", attack("java", ":", "java")),
        Scenario::new("trust/layer/tool", attack("tool", ":", "tool")).alert(layer("/tool", &[], "lower")),
        Scenario::new("trust/layer/upper", attack("tool", "cp merged/tool merged/java", "java"))
            .alert(layer("/java", &["overlay_upper"], "upper"))
            .check(not_honoured()),
        // What is changed is copied up.
        Scenario::new("trust/layer/copied_up", attack("java", "touch merged/java", "java"))
            .alert(layer("/java", &["overlay_upper"], "upper"))
            .check(not_honoured()),
    ]
}

/// All that is said of who did it.
fn facts() -> Vec<Scenario> {
    vec![
        Scenario::new("trust/facts/executable", EXECUTABLE).alert(with(
            by("/var/lab/trust/facts/executable/tool", &["owner", "writable"]),
            json!({
                "ldsentry.process.executable.status": "known",
                "ldsentry.process.executable.uid": "1234",
                "ldsentry.process.executable.gid": "5678",
                "ldsentry.process.executable.mode": "0722",
                "ldsentry.process.executable.links": 2,
                "ldsentry.process.executable.inode": "$inode",
                "ldsentry.process.executable.overlay_layer": null,
                "ldsentry.process.in_host_mount_namespace": true,
                "ldsentry.process.mount_namespace": "$namespace",
                "process.thread.capabilities.effective": ["CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"],
            }),
        )),
        Scenario::new("trust/facts/login", LOGIN).alert(with(
            created(PRELOAD),
            json!({
                "user.id": "0",
                "user.name": "root",
                "ldsentry.process.login_user.id": "33",
                "ldsentry.process.login_user.name": "www-data",
                "ldsentry.process.audit_session": "$session",
            }),
        )),
        Scenario::new("trust/facts/parents", PARENTS).alert(with(created(PRELOAD), json!({}))).check(
            |outcome| {
                let alert = outcome.alerts.first().context("there is no alert")?;
                let parents = alert["ldsentry"]["process"]["ancestors"]["executable"]
                    .as_array()
                    .context("no parents")?;
                ensure!(parents.len() == 8, "{parents:?}");
                for (level, parent) in (1..=6).rev().zip(parents) {
                    ensure!(
                        parent == &json!(format!("/var/lab/trust/facts/parents/sh{level}")),
                        "{parents:?}"
                    );
                }
                Ok(())
            },
        ),
    ]
}

const EXECUTABLE: &str = "cp /lab/bin/attack tool; ln tool other; chown 1234:5678 tool; chmod 722 tool
fact inode $(stat --format %i tool); fact namespace $(stat --dereference --format %i /proc/1/ns/mnt)
setpriv --inh-caps -all --bounding-set -all,+dac_override,+sys_admin \
    ./tool create /etc/ld.so.preload";

const LOGIN: &str = "sh -c 'echo 33 >/proc/self/loginuid; echo session=$(cat /proc/self/sessionid); \
    exec attack create /etc/ld.so.preload'";

/// Each level is an executable of its own and waits for the next.
const PARENTS: &str = r"
for level in 1 2 3 4 5 6; do cp /bin/sh sh$level; done
cat >script <<'END'
if [ $1 = 7 ]; then attack create /etc/ld.so.preload; else ./sh$1 script $(($1 + 1)); fi
:
END
./sh1 script 2
";

/// With `trusted_exclusions = "all"`: what root installed below `/snap` stays excluded, what somebody else put there does not.
fn all_paths() -> Scenario {
    Scenario::new("trust/all", format!("{DAEMON}{ALL}")).seconds(180).any_alerts().check(|outcome| {
        let told = told(outcome);
        let expected = [
            (json!("/etc/ld.so.conf.d/snap"), json!("the executable is not owned by root")),
            (json!("/etc/ld.so.conf.d/marker"), Value::Null),
        ];
        ensure!(told == expected, "{told:#?}");
        Ok(())
    })
}

/// The files of the alerts that were printed, and why an exclusion was not honoured.
fn told(outcome: &Outcome) -> Vec<(Value, Value)> {
    let lines = outcome.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let alerts = lines.filter(|line| line.get("file").is_some());
    alerts
        .map(|alert| (alert["file"]["path"].clone(), alert["ldsentry"]["not_honoured"]["reason"].clone()))
        .collect()
}

/// A thread of the kernel's makes the nodes in `/dev`. What it makes is excluded and counted, and raises an alert where paths
/// have to be trusted.
fn kernel_thread() -> Scenario {
    let rule = rule("node", r#"file.name == "loop77" and not process.executable == null"#);
    let script = format!("{DAEMON}mkdir rules\n{rule}\n{KERNEL_THREAD}");
    Scenario::new("trust/kernel_thread", script).seconds(240).check(|outcome| {
        let told = told(outcome);
        // It has a mount namespace of its own, in which the file is in the root directory.
        let [(Value::String(path), reason)] = told.as_slice() else { anyhow::bail!("{told:#?}") };
        ensure!(path.ends_with("/loop77"), "{path}");
        ensure!(reason == "the executable is none: this is a kernel thread", "{reason}");
        let series = [
            r#""ldsentry_alerts_suppressed_total{rule_id=\"node\",clause=\"process.executable == null\"}":1"#,
            r#""ldsentry_events_without_executable_total{reason=\"kernel_thread\"}":"#,
        ];
        let counters =
            outcome.stdout.lines().find(|line| line.starts_with("{\"counters\"")).context("no counters")?;
        for series in series {
            ensure!(counters.contains(series), "no {series} in {counters}");
        }
        ensure!(!counters.contains("reason=\\\"kernel_thread\\\"}\":0"), "{counters}");
        Ok(())
    })
}

/// `daemon_begins NAME SETTING [OPTION]...` starts a daemon beside the lab's. The lock that lets one sensor run on a host is in
/// `/run`. `daemon_ends NAME FILE` ends it once it has told of that file.
const DAEMON: &str = r#"
attach=$(tr '\0' '\n' <"/proc/$LDSENTRY_PID/cmdline" | grep -A 1 -e --attach | tail -n 1)
daemon_begins() {
    name=$1
    printf '[rules]\ntrusted_exclusions = "%s"\n' "$2" >"$name.toml"
    shift 2
    unshare --mount sh -c 'mount -t tmpfs none /run && exec "$@"' sh /lab/bin/ldsentry run --config "$name.toml" \
        --attach "$attach" --output ndjson "$@" >"$name.alerts" 2>"$name.log" &
    eval "$name=$!"
    wait_for "$name.log" 'INFO watching'
}
wait_for() {
    tries=0
    until grep --quiet "$2" "$1"; do
        tries=$((tries + 1))
        if [ $tries -gt 1200 ]; then cat "$1" >&2; exit 1; fi
        sleep 0.05
    done
}
daemon_ends() {
    eval "kill \$$1; wait \$$1"
    cat "$1.alerts"
}
"#;

const ALL: &str = r"
daemon_begins all all
mkdir -p /snap/x
cp /lab/bin/attack /snap/x/tool
/snap/x/tool create /etc/ld.so.conf.d/roots
chown 1234 /snap/x/tool
/snap/x/tool create /etc/ld.so.conf.d/snap
attack create /etc/ld.so.conf.d/marker
wait_for all.alerts ld.so.conf.d/marker
daemon_ends all
rm -r /snap
";

/// `LOOP_CTL_ADD`
const KERNEL_THREAD: &str = r#"
modprobe loop
daemon_begins all all --rules rules
daemon_begins names names --rules rules
perl -e 'open(my $control, "<", "/dev/loop-control") or die "$!"; ioctl($control, 0x4c80, 77) // die "$!"'
wait_for all.alerts /dev/loop77
daemon_ends all
daemon_ends names
grep '^{"counters"' names.log
"#;
