//! `ldsentry check` on hosts that lack one thing: it says which, and `run` does what it promises.

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Outcome, Scenario};
use serde_json::{Value, json};

use crate::lifecycle::OWN_LOCK;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "check/nothing_is_missing",
            format!("{CHECK}before=$(bpf-objects)\ncheck all ldsentry\n{RELEASED}"),
        )
        .check(|outcome| {
            works_with(outcome, "all", "ebpf", Some("fentry"))?;
            let report = report(outcome, "all")?;
            for finding in report["findings"].as_array().into_iter().flatten() {
                ensure!(finding["status"] == "ok", "{finding}");
            }
            Ok(())
        }),
        Scenario::new("check/capabilities", format!("{CHECK}{CAPABILITIES}")).check(|outcome| {
            for (name, lacking) in
                [("none", "without CAP_BPF and CAP_PERFMON"), ("bpf", "without CAP_PERFMON")]
            {
                ensure!(outcome.number(&format!("code_{name}"))? == 3, "{name}");
                says(outcome, name, "privileges", "found", lacking)?;
            }
            // Debian's kernels ask for more where kprobes are concerned.
            works_with(outcome, "both", "ebpf", Some("fentry"))?;
            says(outcome, "both", "kprobe", "meaning", "kernel.perf_event_paranoid is 3")?;
            works_with(outcome, "admin", "ebpf", Some("fentry"))?;
            ensure!(outcome.number("code_rootless")? == 3);
            says(outcome, "rootless", "privileges", "found", "in a user namespace of its own")
        }),
        // It has all capabilities, and may use few of them.
        Scenario::new("check/apparmor", format!("{CHECK}{APPARMOR}")).check(|outcome| {
            ensure!(outcome.number("code_confined")? == 3, "it can watch");
            says(
                outcome,
                "confined",
                "mandatory_access",
                "found",
                "AppArmor enforces the profile `confined`",
            )?;
            says(outcome, "confined", "mandatory_access", "remedy", "a profile that allows them")?;
            let denied = outcome.number("denied")?;
            ensure!(denied > 0, "the kernel's log has no denials, as the remedy says that it has");
            // What a profile allows is not refused for being confined.
            works_with(outcome, "allowed", "ebpf", Some("fentry"))?;
            says(outcome, "allowed", "mandatory_access", "found", "AppArmor enforces the profile `allowed`")
        }),
        // Programs are attached, and the kernel does not call them. It does again for the lab's daemon.
        Scenario::new("check/tracer_off", format!("{CHECK}{TRACER_OFF}"))
            .alert(json!({"file.path": "/etc/ld.so.preload"}))
            .check(|outcome| {
                works_with(outcome, "off", "fanotify", None)?;
                says(outcome, "off", "fentry", "meaning", "kernel.ftrace_enabled = 0")
            }),
        // fentry names functions by the kernel's own BTF, kprobes do with a file.
        Scenario::new("check/no_btf", format!("{OWN_LOCK}{CHECK}{NO_BTF}"))
            .alert(json!({"file.path": "/etc/ld.so.preload"}))
            .check(|outcome| {
                works_with(outcome, "without", "fanotify", None)?;
                says(outcome, "without", "btf", "remedy", "--btf FILE")?;
                works_with(outcome, "given", "ebpf", Some("kprobe"))?;
                says(outcome, "given", "fentry", "found", "the kernel's own BTF")
            }),
    ]
}

fn report(outcome: &Outcome, name: &str) -> Result<Value> {
    let facts = outcome.facts();
    let line = facts.get(name).with_context(|| format!("the script did not print {name}=…"))?;
    serde_json::from_str(line).with_context(|| format!("reading {line}"))
}

/// The host can be watched in this way, and the exit code says so.
fn works_with(outcome: &Outcome, name: &str, source: &str, attach: Option<&str>) -> Result<()> {
    let report = report(outcome, name)?;
    let code = outcome.number(&format!("code_{name}"))?;
    ensure!(code == 0 && report["watchable"] == true, "{name}: {code}, {report}");
    ensure!(report["source"] == source && report["attach"].as_str() == attach, "{name}: {report}");
    Ok(())
}

fn says(outcome: &Outcome, name: &str, id: &str, part: &str, words: &str) -> Result<()> {
    let report = report(outcome, name)?;
    let findings = report["findings"].as_array().context("a report without findings")?;
    let finding = findings.iter().find(|finding| finding["id"] == id).with_context(|| format!("no {id}"))?;
    ensure!(finding[part].as_str().is_some_and(|text| text.contains(words)), "{name}: {finding}");
    Ok(())
}

/// Prints a report as the fact of that name, and its exit code.
const CHECK: &str = r#"
check() {
    name=$1
    shift
    "$@" check --format json >report && code=0 || code=$?
    fact "code_$name" $code
    fact "$name" "$(tr -d '\n' <report)"
}
"#;

const RELEASED: &str = r#"
tries=0
until [ "$(bpf-objects)" = "$before" ]; do
    tries=$((tries + 1))
    test $tries -lt 200
    sleep 0.05
done
"#;

const CAPABILITIES: &str = "
as() { capabilities=$1; shift; setpriv --inh-caps=-all --bounding-set=\"-all$capabilities\" ldsentry \"$@\"; }
check none as ''
check bpf as ,+bpf
check both as ,+bpf,+perfmon
check admin as ,+sys_admin
check rootless unshare --user --map-root-user ldsentry
";

const APPARMOR: &str = r#"
mountpoint -q /sys/kernel/security || mount -t securityfs none /sys/kernel/security
trap 'apparmor_parser --remove profiles' EXIT
cat >profiles <<'END'
profile confined { file, network, signal, ptrace, unix, capability dac_read_search, capability sys_ptrace, }
profile allowed { file, network, signal, ptrace, unix, mount, umount, capability, }
END
apparmor_parser --replace profiles
check confined aa-exec --profile=confined -- ldsentry
fact denied "$(dmesg | grep 'apparmor="DENIED"' | grep -c 'capname="\(bpf\|sys_admin\|perfmon\)"')"
check allowed aa-exec --profile=allowed -- ldsentry
"#;

const TRACER_OFF: &str = "
trap 'sysctl -q kernel.ftrace_enabled=1' EXIT
sysctl -q kernel.ftrace_enabled=0
check off ldsentry
sysctl -q kernel.ftrace_enabled=1
attack create /etc/ld.so.preload
";

const NO_BTF: &str = r#"
cp /sys/kernel/btf/vmlinux btf
mount --bind /dev/null /sys/kernel/btf/vmlinux
check without ldsentry
given() { ldsentry "$@" --btf btf; }
check given given
attach="attach auto"
launch --btf btf
wait_for 'with kprobe programs' err
attack create /etc/ld.so.preload
wait_for /etc/ld.so.preload out
end TERM
test $code = 0
released
"#;
