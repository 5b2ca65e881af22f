//! The dynamic linker's other files: row 27.

use integration_tests::Scenario;
use serde_json::json;

use crate::expected::{created, modified, mounted, renamed, with};

const CACHE: &str = "/etc/ld.so.cache";
const LOADER: &str = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let here = "/var/lab/loader";
    let scenario = |name: &str, script: &str| Scenario::new(format!("loader/{name}"), script);
    let of =
        |alert| with(alert, json!({"kibana.alert.rule.name": "Dynamic Linker Cache or Loader Replacement"}));
    vec![
        scenario("cache_replaced", &format!("cp -p {CACHE} new; attack rename new {CACHE}"))
            .alert(of(renamed(&format!("{here}/cache_replaced/new"), CACHE))),
        scenario("cache_changed", &format!("attack open-for-writing {CACHE}")).alert(of(modified(CACHE))),
        scenario("loader_replaced", &format!("cp -p {LOADER} new; attack rename new {LOADER}"))
            .alert(of(renamed(&format!("{here}/loader_replaced/new"), LOADER))),
        scenario(
            "loader_linked_elsewhere",
            &format!(
                "ln -s {LOADER} /usr/lib64/new; attack rename /usr/lib64/new /lib64/ld-linux-x86-64.so.2"
            ),
        )
        .alert(of(renamed("/usr/lib64/new", "/usr/lib64/ld-linux-x86-64.so.2"))),
        scenario(
            "loader_mounted_over",
            &format!("cp -p {LOADER} new; unshare --mount mount --bind new {LOADER}"),
        )
        .alert(of(mounted(LOADER, "bind"))),
        scenario("musl_path", "attack create /etc/ld-musl-x86_64.path; rm /etc/ld-musl-x86_64.path")
            .alert(of(created("/etc/ld-musl-x86_64.path"))),
        scenario(
            "musl_linked",
            "echo >/usr/lib/new; attack link /usr/lib/new /lib/ld-musl-x86_64.so.1; \
             rm /usr/lib/new /lib/ld-musl-x86_64.so.1",
        )
        .alert(of(created("/usr/lib/ld-musl-x86_64.so.1"))),
        // By who should.
        scenario("ldconfig", "rm /etc/ld.so.cache; ldconfig; test -e /etc/ld.so.cache; ldconfig"),
        scenario("dpkg", DPKG),
        scenario(
            "unwatched",
            "cp /etc/ld.so.cache .; cp /lib64/ld-linux-x86-64.so.2 .; mkdir lib; touch lib/ld-2.31.so",
        ),
    ]
}

/// A package with a loader, installed, upgraded and removed, as dpkg does it with libc's.
const DPKG: &str = r#"
for version in 1 2; do
    rm -rf tree
    mkdir -p tree/DEBIAN tree/usr/lib
    printf 'Package: libdemo-loader\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@localhost>\nDescription: a test\n' \
        "$version" >tree/DEBIAN/control
    echo "$version" >tree/usr/lib/ld-linux-armhf.so.3
    dpkg-deb --build --root-owner-group -Znone tree "libdemo_$version.deb" >/dev/null
    dpkg --install "libdemo_$version.deb"
    grep "$version" /usr/lib/ld-linux-armhf.so.3
done
dpkg --purge libdemo-loader
"#;
