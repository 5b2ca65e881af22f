//! New rules for a daemon that runs: hooks that it did not have are attached, and rules that are wrong change nothing.

use anyhow::ensure;
use integration_tests::Scenario;

use crate::lifecycle::OWN_LOCK;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new("lifecycle/running_reload", format!("{OWN_LOCK}{RELOAD}")).seconds(240).check(
        |outcome| {
            let (before, after) = (outcome.number("before")?, outcome.number("after")?);
            ensure!(before > 0 && after > before, "{before} programs before the reload, {after} after it");
            Ok(())
        },
    )]
}

const RELOAD: &str = r#"
rule() {
    printf '[rule]\nname = "%s"\nrule_id = "%s"\ndescription = "d"\ntype = "eql"\nrisk_score = 1\nseverity = "low"\n' $1 $1
    printf "query = '''file where event.action == \"%s\" and file.name == \"%s\"'''\n" $2 $1
}
alerts_of() {
    grep -c "\"kibana.alert.rule.rule_id\":\"$1\"" out || true
}
mkdir rules
rule made creation >rules/made.toml
launch --rules rules
wait_for watching err
fact before "$(held prog_id)"
: >made
wait_for '"kibana.alert.rule.rule_id":"made"' out
: >other
mv other renamed
rule renamed rename >rules/renamed.toml
ldsentry reload
fact after "$(held prog_id)"
: >other
mv other renamed
wait_for '"kibana.alert.rule.rule_id":"renamed"' out
echo nonsense >rules/broken.toml
fails ldsentry reload
rm made
: >made
tries=0
until [ "$(alerts_of made)" = 2 ]; do
    tries=$((tries + 1))
    test $tries -lt 600
    sleep 0.05
done
test "$(alerts_of renamed)" = 1
end TERM
test $code = 0
released
"#;
