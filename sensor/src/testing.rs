//! What tests of several modules share.

use std::path::Path;
use std::process::{Command, Stdio};

/// Fails if docs/`name` is not `expected`; with `UPDATE_DOCS` in the environment, writes it instead.
#[track_caller]
pub(crate) fn assert_document_is_current(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/{name} is stale: run `UPDATE_DOCS=1 cargo test -p sensor` and commit it"
    );
}

/// The ignored test `name` of this crate as a process of its own, for what a process has only once.
pub(crate) fn rerun(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--quiet"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}
