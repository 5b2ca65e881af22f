//! Other ways to a new entry: rows 4 to 6.

use integration_tests::Scenario;
use serde_json::json;

use crate::expected::{created, with};

const PRELOAD: &str = "/etc/ld.so.preload";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let scenario = |name: &str, script: &str| Scenario::new(format!("link/{name}"), script);
    vec![
        scenario("hard_link", "echo /x.so >/etc/prepared; attack link /etc/prepared /etc/ld.so.preload")
            .alert(with(
                created(PRELOAD),
                json!({"file.type": "file", "ldsentry.file.linked_path": "/etc/prepared"}),
            )),
        // What the rule excludes by the old name of a rename is no excuse for a link.
        scenario(
            "from_a_name_of_dpkg",
            "echo >/etc/x.dpkg-new; attack link /etc/x.dpkg-new /etc/ld.so.preload",
        )
        .alert(with(created(PRELOAD), json!({"ldsentry.file.linked_path": "/etc/x.dpkg-new"}))),
        scenario("unnamed_file", "attack link-unnamed /etc/ld.so.preload").alert(created(PRELOAD)),
        scenario("unnamed_file_through_proc", "attack link-unnamed-through-proc /etc/ld.so.preload")
            .alert(created(PRELOAD)),
        scenario("symbolic_link", "attack symlink /tmp/anything /etc/ld.so.preload").alert(with(
            created(PRELOAD),
            json!({"file.type": "symlink", "file.target_path": "/tmp/anything"}),
        )),
        scenario(
            "symbolic_link_to_a_hostile_name",
            r#"attack symlink "$(printf 'a\n\377"\\')" /etc/ld.so.preload"#,
        )
        .alert(with(created(PRELOAD), json!({"file.target_path": "a\n\u{fffd}\"\\"}))),
        // In the directory: a pipe at /etc/ld.so.preload stops every program that starts.
        scenario("named_pipe", "attack mkfifo /etc/ld.so.conf.d/pipe")
            .alert(with(created("/etc/ld.so.conf.d/pipe"), json!({"file.type": "fifo"}))),
        scenario(
            "onto_existing",
            "touch new old; ! attack link new old; ! attack symlink new old; ! attack mkfifo old; rm new old",
        ),
        scenario("unwatched", "touch a; attack link a b; attack symlink a c; attack mkfifo d"),
    ]
}
