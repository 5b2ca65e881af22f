//! New rules for a daemon that runs without its sandbox: hooks that it did not have are attached, those that no rule needs any more
//! are detached, and rules that are wrong change nothing. With its sandbox, see `sandbox/reload`.

use anyhow::ensure;
use integration_tests::Scenario;

use crate::lifecycle::OWN_LOCK;
use crate::pins::OWN_PINS;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("lifecycle/running_reload", format!("{OWN_LOCK}{RULE}{RULES}{RELOAD}"))
            .seconds(240)
            .check(|outcome| {
                let (before, after) = (outcome.number("before")?, outcome.number("after")?);
                ensure!(
                    before > 0 && after > before,
                    "{before} programs before the reload, {after} after it"
                );
                Ok(())
            }),
        Scenario::new("lifecycle/pins_reload", format!("{OWN_LOCK}{OWN_PINS}{RULE}{RULES}{DETACHED}"))
            .seconds(240),
    ]
}

/// Prints a rule of one name, which is the rule's too, and one action.
pub(crate) const RULE: &str = r#"
rule() {
    printf '[rule]\nname = "%s"\nrule_id = "%s"\ndescription = "d"\ntype = "eql"\nrisk_score = 1\nseverity = "low"\n' $1 $1
    printf "query = '''file where event.action == \"%s\" and file.name == \"%s\"'''\n" $2 $1
}
"#;

/// One rule to begin with, and a daemon that may attach what a reload asks for.
const RULES: &str = r#"
mkdir rules
rule made creation >rules/made.toml
printf '[sensor]\nsandbox = "off"\n' >config.toml
"#;

const RELOAD: &str = r#"
alerts_of() {
    grep -c "\"kibana.alert.rule.rule_id\":\"$1\"" out || true
}
launch --config config.toml --rules rules
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

/// What no rule needs any more is detached, pinned or not; what one needs again is attached again, also by a daemon that goes on
/// with what another one left.
const DETACHED: &str = r#"
rename_it() {
    : >other
    mv other renamed
    wait_for '"kibana.alert.rule.rule_id":"renamed"' out
}
rule renamed rename >rules/renamed.toml
start --config config.toml --rules rules
rename_it
all=$(held link_id)
set=$(echo $pins/abi*)
test -e $set/links/inode_rename
rm rules/renamed.toml
ldsentry reload
test "$(held link_id)" -lt $all
test ! -e $set/links/inode_rename -a ! -e $set/links/renamed
test -e $set/links/inode_create
: >made
wait_for '"kibana.alert.rule.rule_id":"made"' out
rule renamed rename >rules/renamed.toml
ldsentry reload
test "$(held link_id)" = $all
rename_it
rm rules/renamed.toml
stop TERM
start --config config.toml --rules rules
test ! -e $set/links/inode_rename
rule renamed rename >rules/renamed.toml
ldsentry reload
test "$(held link_id)" = $all
rename_it
stop TERM
start --config config.toml --rules rules
test "$(held link_id)" = $all
rename_it
rm rules/renamed.toml
ldsentry reload
test ! -e $set/links/inode_rename
stop INT
fails grep -e 'cannot go on' -e 'stays attached' -e 'attaching anew' log
lines 0 gaps
released
"#;
