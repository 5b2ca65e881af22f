//! As many rules as asked for, each of the size that Elastic's rules about Linux files have: a few paths, names or
//! extensions, and an exclusion by a list of over 100 executables.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// What package managers and the like are called; the lists of real rules are of this kind.
const EXCLUDED: [&str; 12] = [
    "dpkg",
    "rpm",
    "yum",
    "dnf",
    "apt",
    "snapd",
    "puppet",
    "chef-client",
    "podman",
    "dockerd",
    "apk",
    "pacman",
];
const BELOW: [&str; 10] = [
    "/bin",
    "/usr/bin",
    "/sbin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/lib/snapd",
    "/opt/bin",
    "/usr/libexec",
    "/lib",
    "/opt/sbin",
];

/// Writes `count` rules into `directory`.
pub fn write(directory: &Path, count: usize) -> io::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    (0..count).try_for_each(|number| fs::write(directory.join(format!("{number:02}.toml")), rule(number)))
}

fn rule(number: usize) -> String {
    // One is about what the built-in rule is about.
    let also = if number == 1 { r#", "/etc/ld.so.preload""# } else { "" };
    let subject = match number % 5 {
        0 => format!(
            r#"file.path : ("/etc/service{number}.d/*", "/usr/lib/service{number}/*.conf", "/etc/service{number}.conf")"#
        ),
        1 => format!(
            r#"file.path in ("/etc/file{number}", "/usr/local/etc/file{number}", "/root/.file{number}rc"{also})"#
        ),
        2 => format!(
            r#"file.name in ("name{number}", ".name{number}") and file.path like ("/home/*", "/root/*")"#
        ),
        3 => format!(r#"file.extension in ("ext{number}", "e{number}") and file.path like "/lib*""#),
        _ => format!(r#"file.path like ("*/.tool{number}/hooks/*", "/usr/share/tool{number}/?*.d/*")"#),
    };
    let actions = if number.is_multiple_of(2) { r#"("creation", "rename")"# } else { r#"("creation")"# };
    let mut executables = String::new();
    for (index, directory) in BELOW.iter().enumerate() {
        for name in EXCLUDED {
            // Writing to a string cannot fail.
            let _ = write!(executables, "\"{directory}/{name}{}\", ", index * number);
        }
    }
    format!(
        r#"[rule]
name = "Rule {number}"
description = "For a benchmark"
rule_id = "00000000-0000-0000-0000-{number:012}"
type = "eql"
language = "eql"
risk_score = 21
severity = "low"
query = '''
file where host.os.type == "linux" and event.action in {actions} and process.executable != null and
{subject} and not (
  process.executable in ({executables}"./usr/bin/podman") or
  process.executable like ("/snap/*", "/nix/store/*", "/var/lib/dpkg/*", "/tmp/vmis.??????/install/*") or
  file.extension in ("swp", "swpx", "swx", "dpkg-remove") or
  file.Ext.original.extension == "dpkg-new" or
  process.name like~ ("ssm-agent-worker", "platform-python*", "executor", "crio") or
  (process.name == "sed" and file.name : "sed*")
)
'''
"#
    )
}
