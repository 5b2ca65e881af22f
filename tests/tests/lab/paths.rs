//! One entry, many paths: rows 13 and 18, and mounts and roots of its own.

use anyhow::{Context as _, ensure};
use integration_tests::{Scenario, lookup};
use serde_json::{Value, json};

use crate::expected::{created, digits, renamed, with};

const PRELOAD: &str = "/etc/ld.so.preload";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = aliases();
    scenarios.extend(roots());
    scenarios.extend(hostile_names());
    scenarios.extend(hostile_programs());
    scenarios.extend(long_paths());
    scenarios
}

/// Another way to the same entry.
fn aliases() -> Vec<Scenario> {
    vec![
        Scenario::new("alias/dots_and_slashes", "attack create /etc//ld.so.conf.d/./../ld.so.preload")
            .alert(created(PRELOAD)),
        Scenario::new("alias/relative", "cd /etc; attack create ld.so.preload").alert(created(PRELOAD)),
        Scenario::new("alias/symlinked_directory", "ln -s /etc alias; attack create alias/ld.so.preload")
            .alert(created(PRELOAD)),
        Scenario::new("alias/proc_self_cwd", "cd /etc; attack create /proc/self/cwd/ld.so.preload")
            .alert(created(PRELOAD)),
        Scenario::new("alias/proc_pid_root", "attack create /proc/$$/root/etc/ld.so.preload")
            .alert(created(PRELOAD)),
        Scenario::new(
            "alias/proc_self_fd",
            "exec 3</etc/ld.so.conf.d; attack create /proc/self/fd/3/../ld.so.preload",
        )
        .alert(created(PRELOAD)),
        // A copy of the mount that is attached nowhere: the entry is still the one in `/etc`.
        Scenario::new("alias/detached_mount", "attack create-in-detached /etc ld.so.preload")
            .alert(created(PRELOAD)),
        Scenario::new(
            "alias/conf_d_bound_elsewhere",
            "mkdir alias; mount --bind /etc/ld.so.conf.d alias; attack create alias/evil.conf; \
             umount alias",
        )
        .alert(created("/etc/ld.so.conf.d/evil.conf")),
        Scenario::new(
            "alias/link_through_bind_mount",
            "mkdir alias; mount --bind /etc alias; touch alias/new; \
             attack link alias/new alias/ld.so.preload; umount alias; rm /etc/new",
        )
        .alert(created(PRELOAD)),
        // As the process sees it the file is in `alias`; in the host's namespace it is also what it is.
        Scenario::new(
            "alias/bind_mount",
            "mkdir alias; mount --bind /etc alias; attack create alias/ld.so.preload; umount alias",
        )
        .alert(created(PRELOAD)),
        Scenario::new(
            "alias/rename_through_bind_mount",
            "mkdir alias; mount --bind /etc alias; touch alias/new; \
             attack rename alias/new alias/ld.so.preload; umount alias",
        )
        .alert(renamed("/etc/new", PRELOAD)),
    ]
}

/// The path is the one that the process sees, whatever its root and mounts are.
fn roots() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "root/chroot",
            "file_system tmpfs; within tmpfs /bin/attack create /etc/ld.so.preload; \
             rm /mnt/tmpfs/etc/ld.so.preload",
        )
        .alert(with(
            created(PRELOAD),
            json!({
                "process.executable": "/bin/attack",
                "ldsentry.file.view": "process",
                "ldsentry.file.paths.host": ["/mnt/tmpfs/etc/ld.so.preload"],
            }),
        )),
        // Reaching into a root from outside is an operation on another path.
        Scenario::new(
            "root/from_outside",
            "file_system tmpfs; attack create /mnt/tmpfs/etc/ld.so.preload; \
             rm /mnt/tmpfs/etc/ld.so.preload",
        ),
        Scenario::new("root/mount_namespace", "unshare --mount attack create /etc/ld.so.preload")
            .alert(created(PRELOAD)),
        // Its files' own directories have no name that is looked for: row 14.
        Scenario::new(
            "root/conf_d_of_its_own",
            "unshare --mount sh -eu -c 'mount -t tmpfs none /etc/ld.so.conf.d; attack create /etc/ld.so.conf.d/x'",
        )
        .alert(created("/etc/ld.so.conf.d/x")),
        Scenario::new(
            "root/conf_d_of_its_own_by_the_new_interface",
            "unshare --mount sh -eu -c 'attack mount-tmpfs /etc/ld.so.conf.d >/dev/null; \
             attack create /etc/ld.so.conf.d/x'",
        )
        .alert(created("/etc/ld.so.conf.d/x")),
        Scenario::new(
            "root/conf_d_bound",
            "mkdir other; unshare --mount sh -eu -c 'mount --bind other /etc/ld.so.conf.d; touch other/new; \
             attack rename /etc/ld.so.conf.d/new /etc/ld.so.conf.d/x'",
        )
        .any_alerts()
        .check(|outcome| {
            let path = |alert: &Value| lookup(alert, "file.path").cloned();
            let last = outcome.alerts.last().and_then(path);
            ensure!(last == Some(json!("/etc/ld.so.conf.d/x")), "the last alert is for {last:?}");
            Ok(())
        }),
        Scenario::new(
            "root/etc_of_its_own",
            "unshare --mount sh -eu -c 'mount -t tmpfs none /etc; attack create /etc/ld.so.preload'",
        )
        .alert(created(PRELOAD)),
        Scenario::new(
            "root/user_namespace",
            "file_system tmpfs; chmod 1777 /mnt/tmpfs/etc; \
             setpriv --reuid 1234 --regid 1234 --clear-groups unshare --user --map-root-user \
             chroot /mnt/tmpfs /bin/attack create /etc/ld.so.preload; rm /mnt/tmpfs/etc/ld.so.preload",
        )
        .alert(with(created(PRELOAD), json!({"process.executable": "/bin/attack", "user.id": "1234"}))),
    ]
}

/// Bytes that break naive output.
fn hostile_names() -> Vec<Scenario> {
    let hostile = |name: &str, printf: &str, path: &str| {
        Scenario::new(
            format!("hostile/{name}"),
            format!(r#"attack create "$(printf '/etc/ld.so.conf.d/{printf}')""#),
        )
        .alert(created(path))
    };
    let long = "n".repeat(255);
    vec![
        hostile("quotes", r"\047\042\134{}", r#"/etc/ld.so.conf.d/'"\{}"#),
        hostile("newline", r#"a\nb{"x":1}"#, "/etc/ld.so.conf.d/a\nb{\"x\":1}"),
        hostile("control_bytes", r"\001\033[2J\177", "/etc/ld.so.conf.d/\u{1}\u{1b}[2J\u{7f}"),
        hostile("utf8", "\u{e9}\u{1f980}", "/etc/ld.so.conf.d/\u{e9}\u{1f980}"),
        hostile("longest_name", &long, &format!("/etc/ld.so.conf.d/{long}")),
        // Not UTF-8: shown with replacement characters, and byte for byte beside it.
        Scenario::new("hostile/not_utf8", r#"attack create "$(printf '/etc/ld.so.conf.d/\377\200x')""#)
            .alert(with(
                created("/etc/ld.so.conf.d/\u{fffd}\u{fffd}x"),
                json!({"ldsentry.file.raw_path": "2f6574632f6c642e736f2e636f6e662e642fff8078"}),
            )),
        Scenario::new("hostile/target", r#"attack symlink "$(printf '/tmp/\377')" /etc/ld.so.preload"#)
            .alert(with(
                created(PRELOAD),
                json!({
                    "file.target_path": "/tmp/\u{fffd}",
                    "ldsentry.file.raw_target_path": digits(b"/tmp/\xff"),
                }),
            )),
        Scenario::new(
            "hostile/linked",
            r#"name=$(printf 'l\377'); : >"$name"; attack link "$name" /etc/ld.so.preload"#,
        )
        .alert(with(
            created(PRELOAD),
            json!({
                "ldsentry.file.linked_path": "/var/lab/hostile/linked/l\u{fffd}",
                "ldsentry.file.raw_linked_path": digits(b"/var/lab/hostile/linked/l\xff"),
            }),
        )),
        Scenario::new("hostile/random_names", RANDOM_NAMES).any_alerts().check(|outcome| {
            let expected: Vec<&str> =
                outcome.stdout.lines().filter_map(|line| line.strip_prefix("path=")).collect();
            let found: Vec<String> =
                outcome.alerts.iter().map(|alert| bytes_of(alert, "file.path", "file")).collect();
            ensure!(found == expected, "{found:#?} are not {expected:#?}");
            let originals = outcome.alerts.iter().skip(1).step_by(2);
            let originals = originals.map(|alert| bytes_of(alert, "file.Ext.original.path", "file.original"));
            ensure!(originals.eq(expected.iter().step_by(2).copied()), "the old paths are others");
            Ok(())
        }),
    ]
}

/// Programs that are called so, or called with such arguments.
fn hostile_programs() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "hostile/arguments",
            r#"sh -c 'echo pid=$$; echo /x >/etc/ld.so.preload' "$(printf 'a\nb\377\042')" ''"#,
        )
        .alert(json!({
            "process.pid": "$pid",
            "process.args": [
                "sh", "-c", "echo pid=$$; echo /x >/etc/ld.so.preload", "a\nb\u{fffd}\"", "",
            ],
            "ldsentry.process.raw_command_line":
                digits(b"sh\0-c\0echo pid=$$; echo /x >/etc/ld.so.preload\0a\nb\xff\"\0\0"),
        })),
        Scenario::new(
            "hostile/executable",
            r#"name=$(printf 'e\n"\377'); cp /lab/bin/attack "$name"; "./$name" create /etc/ld.so.preload"#,
        )
        .alert(with(
            created(PRELOAD),
            json!({
                "process.executable": "/var/lab/hostile/executable/e\n\"\u{fffd}",
                "ldsentry.process.executable.raw_path": digits(b"/var/lab/hostile/executable/e\n\"\xff"),
            }),
        )),
        Scenario::new(
            "hostile/parent",
            r#"name=$(printf 'p\377'); cp /bin/sh "$name"
               "./$name" -c 'attack create /etc/ld.so.preload; :'"#,
        )
        .alert(with(
            created(PRELOAD),
            json!({"process.parent.executable": "/var/lab/hostile/parent/p\u{fffd}"}),
        ))
        .check(|outcome| {
            let parents = outcome
                .alerts
                .first()
                .and_then(|alert| lookup(alert, "ldsentry.process.ancestors.raw_executable"));
            let parent = parents.and_then(|parents| parents.get(0)).and_then(Value::as_str);
            ensure!(parent == Some(&digits(b"/var/lab/hostile/parent/p\xff")), "the parent is {parent:?}");
            Ok(())
        }),
        Scenario::new(
            "hostile/thread_name",
            r#"perl -e '$0 = "t\n\xff\"{}"; print "pid=$$\n"; open(F, ">", "/etc/ld.so.preload")'"#,
        )
        .alert(json!({
            "process.pid": "$pid",
            "process.thread.name": "t\n\u{fffd}\"{}",
            "ldsentry.process.raw_thread_name": digits(b"t\n\xff\"{}"),
        })),
        Scenario::new(
            "hostile/environment",
            r#"env "$(printf 'A\n\377="}\n{')=" attack create /etc/ld.so.preload"#,
        )
        .alert(created(PRELOAD)),
        Scenario::new(
            "hostile/many_arguments",
            "sh -c 'echo pid=$$; : >/etc/ld.so.preload' $(seq 100000 120000)",
        )
        .alert(json!({"process.pid": "$pid", "ldsentry.process.args_truncated": true}))
        .check(|outcome| {
            let arguments = outcome.alerts.first().and_then(|alert| lookup(alert, "process.args"));
            let arguments = arguments.and_then(Value::as_array).context("no arguments")?;
            ensure!(arguments.len() > 100 && arguments[4] == "100001", "{} arguments", arguments.len());
            Ok(())
        }),
    ]
}

/// The bytes of a path as hexadecimal digits.
fn bytes_of(alert: &Value, field: &str, raw: &str) -> String {
    let text = |field: &str| lookup(alert, field).and_then(Value::as_str).map(str::to_owned);
    text(&format!("ldsentry.{raw}.raw_path"))
        .unwrap_or_else(|| digits(text(field).unwrap_or_default().as_bytes()))
}

/// All bytes that a name can have, and all lengths; each file is made, and renamed to another such name.
const RANDOM_NAMES: &str = r#"perl -e '
srand(20261126);
sub name {
    my $name = join("", map { my $byte = 1 + int(rand(254)); chr($byte < 47 ? $byte : $byte + 1) } 1 .. 3 + int(rand(253)));
    "/etc/ld.so.conf.d/$name"
}
for (1 .. 40) {
    my ($one, $other) = (name(), name());
    open(my $file, ">", $one) or die $!;
    rename($one, $other) or die $!;
    print "path=", unpack("H*", $_), "\n" for $one, $other;
}'"#;

/// A path that cannot be walked to its end is told from one that can.
fn long_paths() -> Vec<Scenario> {
    let deep = |depth: usize| "/d".repeat(depth);
    let long = format!("/{}", "l".repeat(200)).repeat(12);
    vec![
        Scenario::new("long/deep", "attack create-deep /etc/ld.so.conf.d d 20 evil")
            .alert(created(&format!("/etc/ld.so.conf.d{}/evil", deep(20)))),
        Scenario::new(
            "long/long_names",
            format!("attack create-deep /etc/ld.so.conf.d {} 12 evil", "l".repeat(200)),
        )
        .alert(created(&format!("/etc/ld.so.conf.d{long}/evil"))),
        // Short ones are copied in another way.
        Scenario::new(
            "long/names_of_each_length",
            "name=; while [ ${#name} -lt 41 ]; do name=n$name; attack create /etc/ld.so.conf.d/$name >/dev/null; done",
        )
        .any_alerts()
        .check(|outcome| {
            let found: Vec<_> = outcome.alerts.iter().map(|alert| lookup(alert, "file.path").cloned()).collect();
            let expected = (1..=41).map(|length| Some(json!(format!("/etc/ld.so.conf.d/{}", "n".repeat(length)))));
            ensure!(found.iter().cloned().eq(expected), "{found:#?}");
            Ok(())
        }),
        // Longer than any path that a system call takes.
        right_or_truncated("long/beyond_path_max", &"l".repeat(250), 20),
        right_or_truncated("long/beyond_any_walk", "d", 300),
        // Nobody can tell that it is not in a directory that a rule is about.
        Scenario::new("long/could_be_watched", "attack create-deep . d 300 evil").alert(json!({
            "ldsentry.file.truncated": true,
            "ldsentry.file.assumed_directory": "/etc/ld.so.conf.d/",
            "file.name": "evil",
            "process.pid": "$pid",
        })),
        // A name that is looked for, in a directory that is known not to be the one.
        Scenario::new("long/is_not_watched", "attack create-deep . d 20 ld.so.preload"),
    ]
}

/// The whole path, or its end and the mark that says so; reported in either case.
fn right_or_truncated(name: &str, directory: &str, depth: usize) -> Scenario {
    let script = format!("attack create-deep /etc/ld.so.conf.d {directory} {depth} evil");
    let whole = format!("/etc/ld.so.conf.d{}/evil", format!("/{directory}").repeat(depth));
    Scenario::new(name, script).any_alerts().check(move |outcome| {
        let [alert] = outcome.alerts.as_slice() else {
            anyhow::bail!("{} alerts, not 1", outcome.alerts.len());
        };
        let path = lookup(alert, "file.path").and_then(|path| path.as_str()).context("no path")?;
        if lookup(alert, "ldsentry.file.truncated").is_some() {
            let assumed = lookup(alert, "ldsentry.file.assumed_directory").and_then(|path| path.as_str());
            let end = path.strip_prefix(assumed.unwrap_or_default()).unwrap_or(path);
            ensure!(whole.ends_with(end) && end.ends_with("/evil"), "{path} is no end of {whole}");
        } else {
            ensure!(path == whole, "{path} is not {whole}");
        }
        Ok(())
    })
}
