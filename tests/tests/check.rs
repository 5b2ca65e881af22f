//! `ldsentry check` on this host, whatever host that is: it answers for what it tried, and names what is at fault.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the answer")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use integration_tests::command_line::{Said, ldsentry, run};
use serde_json::Value;

/// There is one daemon a host: tests that start it take turns.
static DAEMON: Mutex<()> = Mutex::new(());

fn report(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

fn finding<'a>(report: &'a Value, id: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("no `{id}` in {report}"))
}

/// Some of these tests are about what root can do, or cannot do any more.
fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("{test} is skipped: it needs root");
    }
    root
}

#[test]
fn the_exit_code_says_what_the_report_says() {
    let said = run(["check", "--format", "json"], "");
    let report = report(&said);
    let watchable = report["watchable"].as_bool().unwrap();
    assert_eq!(said.code, Some(if watchable { 0 } else { 3 }), "{said:?}");
    assert_eq!(watchable, report["source"].is_string());
    assert_eq!(report["source"] == "ebpf", report["attach"].is_string());
    let missing: Vec<&Value> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["status"] == "missing")
        .collect();
    assert_eq!(watchable, missing.is_empty(), "{report}");
    for finding in missing {
        assert!(finding["meaning"].is_string() && finding["remedy"].is_string(), "{finding}");
    }

    let letter = run(["check"], "");
    assert_eq!((letter.code, letter.stderr.as_str()), (said.code, ""));
    let verdict = if watchable { "This host can be watched" } else { "This host cannot be watched" };
    assert!(letter.stdout.starts_with(verdict), "{}", letter.stdout);
}

/// `run` refuses in the same words, and with the same exit code.
#[test]
fn a_daemon_that_cannot_watch_says_why() {
    if !is_root("a_daemon_that_cannot_watch_says_why") {
        return;
    }
    let report = report(&run(["check", "--format", "json"], ""));
    if report["attach"].is_string() {
        eprintln!("a_daemon_that_cannot_watch_says_why is skipped: this host can be hooked");
        return;
    }
    let _turn = DAEMON.lock();
    let said = run(["run", "--source", "ebpf"], "");
    assert_eq!(said.code, Some(3), "{said:?}");
    for id in ["fentry", "kprobe"] {
        let finding = finding(&report, id);
        for part in ["found", "meaning", "remedy"] {
            assert!(said.stderr.contains(finding[part].as_str().unwrap()), "{finding}\n{}", said.stderr);
        }
    }
}

#[test]
fn missing_capabilities_are_named() {
    if !is_root("missing_capabilities_are_named") {
        return;
    }
    for (kept, missing) in [("-all", &["CAP_BPF", "CAP_PERFMON"][..]), ("-all,+bpf", &["CAP_PERFMON"])] {
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", &format!("--bounding-set={kept}")]).arg(ldsentry());
        let output = command.args(["check", "--format", "json"]).stderr(Stdio::inherit()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let privileges = finding(&report, "privileges");
        assert_eq!(privileges["status"], "missing");
        for (capability, named) in [("CAP_BPF", missing.contains(&"CAP_BPF")), ("CAP_PERFMON", true)] {
            assert_eq!(privileges["found"].as_str().unwrap().contains(capability), named, "{privileges}");
        }
    }
}

#[test]
fn a_faulty_configuration_is_told_and_the_host_checked_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.toml");
    fs::write(&file, "[rules]\ndirz = []\n").unwrap();
    let said = run(["check", "--format", "json", "--config", file.to_str().unwrap()], "");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("c.toml:2") && said.stderr.contains("dirz"), "{}", said.stderr);
    let report = report(&said);
    assert_eq!(finding(&report, "configuration")["status"], "missing");
    assert_ne!(finding(&report, "maps")["found"], "");

    fs::write(&file, "[rules]\ndirs = [\"nowhere\"]\n").unwrap();
    let said = run(["check", "--config", file.to_str().unwrap()], "");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("nowhere") && said.stdout.contains("missing  rules that load"), "{said:?}");
}

/// Who can change what decides, decides. Whoever only tries rules on events is not held up.
#[test]
fn files_that_others_can_change_are_refused_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let (file, rules) = (directory.path().join("c.toml"), directory.path().join("rules"));
    fs::create_dir(&rules).unwrap();
    let rule = "../rules/linux/persistence/dynamic_linker_creation_or_modification.toml";
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(rule), rules.join("rule.toml")).unwrap();
    fs::write(&file, "[rules]\ndirs = [\"rules\"]\n").unwrap();
    for (exposed, mode, safe) in [(&file, 0o664, 0o644), (&rules, 0o757, 0o755)] {
        fs::set_permissions(exposed, fs::Permissions::from_mode(mode)).unwrap();
        let remedy = format!("chmod go-w {}", exposed.display());
        let arguments = ["--config", file.to_str().unwrap()];
        let said = run(["run"].iter().chain(&arguments), "");
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stderr.contains(&remedy), "{said:?}");
        let said = run(["check", "--format", "json"].iter().chain(&arguments), "");
        assert_eq!(said.code, Some(1), "{said:?}");
        assert_eq!(finding(&report(&said), "files")["remedy"], remedy.as_str());
        for command in [&["rules", "check"][..], &["replay"]] {
            let said = run(command.iter().chain(&arguments), "");
            assert_eq!(said.code, Some(0), "{command:?}: {said:?}");
        }
        fs::set_permissions(exposed, fs::Permissions::from_mode(safe)).unwrap();
    }
}

#[test]
fn a_file_that_is_no_btf_is_named_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("other");
    fs::write(&other, "\u{7f}ELF").unwrap();
    let root = is_root("`run --btf` in a_file_that_is_no_btf_is_named_with_the_remedy");
    let _turn = DAEMON.lock();
    for path in [other.to_str().unwrap(), "/nonexistent/btf"] {
        for command in ["check", "run"].into_iter().take(if root { 2 } else { 1 }) {
            let said = run([command, "--btf", path], "");
            assert_eq!(said.code, Some(1), "{command}: {said:?}");
            for part in ["error:", path, "BTFHub", "pahole"] {
                assert!(said.stderr.contains(part), "{command}: `{part}` is not in {}", said.stderr);
            }
        }
    }
}

/// The kernel's own BTF given as a file is as good as found.
#[test]
fn the_kernels_own_btf_may_be_given() {
    let own = "/sys/kernel/btf/vmlinux";
    if !fs::exists(own).unwrap() {
        eprintln!("the_kernels_own_btf_may_be_given is skipped: this kernel has none");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("btf");
    fs::copy(own, &copy).unwrap();
    let with = report(&run(["check", "--format", "json", "--btf", copy.to_str().unwrap()], ""));
    assert_eq!(finding(&with, "btf")["status"], "ok");
    let without = report(&run(["check", "--format", "json"], ""));
    for id in ["maps", "fentry", "kprobe"] {
        assert_eq!(finding(&with, id)["status"], finding(&without, id)["status"], "{id}");
    }
}
