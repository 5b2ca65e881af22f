//! A sensor that no longer sees says so on every output, and ends: the self-test.

use integration_tests::Scenario;
use serde_json::json;

use crate::lifecycle::OWN_LOCK;

pub(crate) fn scenarios() -> Vec<Scenario> {
    // The lab's daemon reports what this one sees in the end too.
    let watched = json!({"file.path": "/etc/ld.so.conf.d/watched"});
    vec![Scenario::new("lifecycle/running_blind", format!("{OWN_LOCK}{BLIND}")).seconds(240).alert(watched)]
}

/// It sees its first tests; then somebody changes its filter in the kernel.
const BLIND: &str = r#"
printf '[sensor]\nself_test = "100ms"\n[output.file]\npath = "%s/alerts"\n' "$PWD" >ldsentry.toml
launch --config ldsentry.toml
wait_for watching err
seen() {
    kill -USR1 $daemon
    perl -ne '$n = $1 if /"ldsentry_self_tests_total":(\d+)/; END { print $n // 0 }' err
}
tries=0
until [ "$(seen)" -ge 3 ]; do
    tries=$((tries + 1))
    test $tries -lt 600
    sleep 0.05
done
test ! -s out
bpf-objects blind $daemon
wait $daemon && code=0 || code=$?
test $code = 4
grep -q 'does not see its own test, so it sees nothing' err
for output in out alerts; do
    test "$(wc -l <$output)" = 1
    grep -q '"kibana.alert.rule.name":"ldsentry does not see its own test"' $output
done
released
# Started afresh, it sees again.
launch --config ldsentry.toml
wait_for watching err
attack create /etc/ld.so.conf.d/watched >/dev/null
wait_for /etc/ld.so.conf.d/watched out
end TERM
test $code = 0
released
"#;
