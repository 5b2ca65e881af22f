//! Other rules than the built-in one, each scenario with a daemon of its own beside the lab's: what rules let pass the
//! kernel's filter, and which hooks they need.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Outcome, Scenario};
use serde_json::{Value, json};

use crate::expected::with;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        mounted_directory(),
        only_creations(),
        only_changes(),
        not_pushed_down(),
        suppressed(),
        sixty_rules(),
        soundness(),
    ]
}

/// `/etc/ld.so.conf.d` is a mount of its own: another file system, and then a directory with another name.
fn mounted_directory() -> Scenario {
    let alert = |action: &str, path: &str| json!({"event.action": action, "event.outcome": "success", "file.path": path});
    let conf = |name: &str| format!("/etc/ld.so.conf.d/{name}");
    Scenario::new("rules/mounted_directory", MOUNTED).alerts([
        alert("creation", &conf("in_tmpfs")),
        alert("rename", &conf("deep/renamed")),
        alert("creation", &conf("bound")),
        alert("rename", &conf("bound2")),
        // The file is there too, whatever name it was made by.
        alert("creation", &conf("beside")),
        with(alert("rename", &conf("beside2")), json!({"file.Ext.original.path": conf("beside")})),
    ])
}

/// Rules about creations only: renames are not hooked.
fn only_creations() -> Scenario {
    let rules = rule("made", r#"event.action == "creation" and file.name : "made*""#);
    let script = format!(
        "{DAEMON}\n{rules}\ndaemon_begins a\n: >made; : >other; mv other made-not\n\
         fact programs \"$(cat /proc/$a/fdinfo/* 2>/dev/null | grep -c '^prog_type:')\"\ndaemon_ends a"
    );
    Scenario::new("rules/only_creations", script).check(|outcome| {
        ensure!(
            outcome.number("programs")? == 11,
            "{} programs are loaded, not 8 for creations and 3 for mounts",
            outcome.number("programs")?
        );
        ensure!(outcome.stdout.contains("watching creation with"), "the daemon does not say what it watches");
        expect(outcome, &["made creation /var/lab/rules/only_creations/made"])
    })
}

/// Rules about what is there: creations and renames are not hooked.
fn only_changes() -> Scenario {
    let rules = rule("changed", r#"event.action in ("modification", "deletion") and file.name : "watched*""#);
    let script = format!(
        "{DAEMON}\n{rules}\ndaemon_begins a\n: >watched; : >other; mv other watched2; cat watched; : >other\n\
         attack open-for-writing watched; attack open-and-empty watched2; : >watched3; attack truncate watched3; rm watched watched2\n\
         fact programs \"$(cat /proc/$a/fdinfo/* 2>/dev/null | grep -c '^prog_type:')\"\ndaemon_ends a"
    );
    Scenario::new("rules/only_changes", script).check(|outcome| {
        ensure!(
            outcome.number("programs")? == 8,
            "{} programs are loaded, not 3 for modifications, 2 for deletions and 3 for mounts",
            outcome.number("programs")?
        );
        let here = "/var/lab/rules/only_changes";
        expect(
            outcome,
            &[
                &format!("changed modification {here}/watched"),
                &format!("changed modification {here}/watched2"),
                &format!("changed modification {here}/watched3"),
                &format!("changed deletion {here}/watched"),
                &format!("changed deletion {here}/watched2"),
            ],
        )
    })
}

/// Names that the kernel cannot look for are found all the same, and only where a rule is about them.
fn not_pushed_down() -> Scenario {
    let rules = [
        rule("hook", r#"file.path : "*.git/hooks/*""#),
        rule("within", r#"event.action == "creation" and file.path : "*/lab/*secret*""#),
        rule("regex", r#"event.action == "rename" and file.name regex "x[0-9]+""#),
    ]
    .concat();
    let script = format!(
        "{DAEMON}\n{rules}\ndaemon_begins a\nmkdir -p some.git/hooks\n\
         : >some.git/hooks/pre-commit; : >my-secret-file; : >plain; mv plain x12; mv x12 y12\ndaemon_ends a"
    );
    Scenario::new("rules/not_pushed_down", script).check(|outcome| {
        let here = "/var/lab/rules/not_pushed_down";
        expect(
            outcome,
            &[
                &format!("hook creation {here}/some.git/hooks/pre-commit"),
                &format!("within creation {here}/my-secret-file"),
                &format!("regex rename {here}/x12"),
            ],
        )
    })
}

/// What a rule excludes is written where it was asked for, with the clause.
fn suppressed() -> Scenario {
    let rules =
        rule("mine", r#"file.name : "mine*" and not (process.name == "touch" or file.extension == "bak")"#);
    let script = format!(
        "{DAEMON}\n{rules}\nprintf '[output.suppressed]\\npath = \"%s/suppressed\"\\n' \"$PWD\" >>ldsentry.toml\n\
         daemon_begins a\n: >mine1; touch mine2; : >mine.bak; : >other\ndaemon_ends a\ncat suppressed"
    );
    Scenario::new("rules/suppressed", script).check(|outcome| {
        expect(outcome, &["mine creation /var/lab/rules/suppressed/mine1"])?;
        let events = outcome.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let clauses: Vec<_> = events
            .filter_map(|event| {
                Some((event["file"]["name"].clone(), event["ldsentry"].get("suppressed")?["clause"].clone()))
            })
            .collect();
        let expected = [("mine2", r#"process.name == "touch""#), ("mine.bak", r#"file.extension == "bak""#)];
        let expected = expected.map(|(name, clause)| (json!(name), json!(clause)));
        ensure!(clauses == expected, "suppressed are {clauses:?}");
        Ok(())
    })
}

/// As many rules as Elastic has about files, of their size.
fn sixty_rules() -> Scenario {
    Scenario::new("rules/sixty", format!("{DAEMON}\n{SIXTY}")).check(|outcome| {
        ensure!(outcome.stdout.contains("and 60 rules"), "the daemon does not run 60 rules");
        expect(
            outcome,
            &[
                "number60 creation /srv/d60-7/file",
                "number7 creation /opt/app7/etc/120.conf",
                "number7 rename /opt/app7/etc/119.conf",
            ],
        )
    })
}

/// What passes the filter is compared with what happened: a second daemon has the same rules and one more, because of
/// which everything passes.
fn soundness() -> Scenario {
    let rules: String = SOUNDNESS_RULES.iter().map(|(id, condition)| rule(id, condition)).collect();
    let script = format!("{DAEMON}\n{rules}\n{SOUNDNESS}");
    Scenario::new("rules/soundness", script).check(|outcome| {
        let (filtered, everything) = (alerts(outcome, 'a')?, alerts(outcome, 'b')?);
        let (all, expected): (BTreeMap<_, _>, BTreeMap<_, _>) =
            everything.into_iter().partition(|(alert, _)| alert.starts_with("everything "));
        let operations = outcome.number("operations")?;
        ensure!(all.values().sum::<u64>() >= operations, "not all of {operations} operations were seen");
        let missed: Vec<_> =
            expected.iter().filter(|(alert, count)| filtered.get(*alert) != Some(*count)).collect();
        ensure!(missed.is_empty(), "the filter dismissed: {missed:#?}");
        ensure!(filtered == expected, "alerts for nothing: {filtered:#?}");
        for (id, _) in SOUNDNESS_RULES {
            let matched = expected.keys().any(|alert| alert.starts_with(&format!("{id} ")));
            ensure!(matched, "rule {id} matched nothing");
        }
        Ok(())
    })
}

/// Makes a rule's file.
pub(crate) fn rule(id: &str, condition: &str) -> String {
    format!(
        "cat >rules/{id}.toml <<'END'\n[rule]\nname = \"{id}\"\nrule_id = \"{id}\"\ndescription = \"test\"\n\
         type = \"eql\"\nlanguage = \"eql\"\nrisk_score = 1\nseverity = \"low\"\n\
         query = '''file where {condition}'''\nEND\n"
    )
}

/// What a scenario's daemon reported, and how often.
fn alerts(outcome: &Outcome, daemon: char) -> Result<BTreeMap<String, u64>> {
    let mut alerts = BTreeMap::new();
    for line in outcome.stdout.lines() {
        if let Some(alert) = line.strip_prefix(daemon).and_then(|line| line.strip_prefix(": ")) {
            *alerts.entry(alert.to_owned()).or_default() += 1;
        }
    }
    let ended = format!("{daemon} ended");
    outcome.stdout.lines().any(|line| line == ended).then_some(alerts).context("the daemon did not end well")
}

/// Exactly these alerts came from the daemon `a`, once each.
pub(crate) fn expect(outcome: &Outcome, expected: &[&str]) -> Result<()> {
    let expected: BTreeMap<String, u64> = expected.iter().map(|alert| ((*alert).to_owned(), 1)).collect();
    let alerts = alerts(outcome, 'a')?;
    ensure!(alerts == expected, "the alerts are {alerts:#?}");
    Ok(())
}

const MOUNTED: &str = "
here=/etc/ld.so.conf.d
mount -t tmpfs none $here
: >$here/in_tmpfs
mkdir $here/deep
mv $here/in_tmpfs $here/deep/renamed
umount $here
mkdir named_otherwise
mount --bind named_otherwise $here
: >$here/bound
mv $here/bound $here/bound2
: >named_otherwise/beside
mv named_otherwise/beside named_otherwise/beside2
umount $here
";

/// `daemon_begins NAME [RULES]` starts a daemon that attaches as the lab's does, `daemon_ends NAME` stops it and prints
/// its alerts. The lock that lets one sensor run on a host is in `/run`.
pub(crate) const DAEMON: &str = r#"
mkdir -p rules
attach=$(tr '\0' '\n' <"/proc/$LDSENTRY_PID/cmdline" | grep -A 1 -e --attach | tail -n 1)
printf '[sensor]\nring_bytes = 16777216\n' >ldsentry.toml
daemon_begins() {
    unshare --mount sh -c 'mount -t tmpfs none /run && exec "$@"' sh /lab/bin/ldsentry run --config ldsentry.toml \
        --rules "${2:-rules}" --attach "$attach" --output ndjson >"$1.alerts" 2>"$1.log" &
    eval "$1=$!"
    tries=0
    until grep 'watching' "$1.log"; do
        tries=$((tries + 1))
        if [ $tries -gt 1200 ] || ! kill -0 $!; then
            cat "$1.log" >&2
            return 1
        fi
        sleep 0.05
    done
}
daemon_ends() {
    eval "kill \$$1; wait \$$1"
    perl -ne '
        my ($rule) = /rule\.parameters":\{.*?"rule_id":"([^"]*)"/;
        my ($action) = /"action":"([^"]*)"/;
        my ($path) = /"file":\{"path":"([^"]*)"/;
        print "'"$1"': $rule $action $path\n";
    ' "$1.alerts"
    echo "$1 ended"
}
"#;

const SIXTY: &str = r#"
for number in $(seq 60); do
    {
        printf '[rule]\nname = "n"\nrule_id = "number%s"\ndescription = "d"\ntype = "eql"\n' "$number"
        printf 'risk_score = 1\nseverity = "low"\nquery = '"'''"'file where event.type != "deletion" and ('
        for entry in $(seq 120); do
            printf 'file.path : "/opt/app%s/etc/%s.conf" or ' "$number" "$entry"
        done
        for entry in $(seq 10); do
            printf 'file.path : "/srv/d%s-%s/*" or ' "$number" "$entry"
        done
        printf 'file.name == "exact%s") and not process.name in ("dpkg"' "$number"
        for entry in $(seq 120); do
            printf ', "installer%s"' "$entry"
        done
        printf ")'''\n"
    } >"rules/$number.toml"
done
daemon_begins a
mkdir -p /srv/d60-7 /opt/app7/etc /opt/app61/etc
: >/srv/d60-7/file
: >/opt/app7/etc/120.conf
mv /opt/app7/etc/120.conf /opt/app7/etc/119.conf
: >/opt/app7/etc/121.conf
: >/opt/app61/etc/1.conf
daemon_ends a
"#;

const SOUNDNESS_RULES: [(&str, &str); 11] = [
    ("mounted", r#"file.path : "/srv/lab/conf.d/*""#),
    ("bound", r#"file.path : "/srv/lab/bound.d/*""#),
    ("hooks", r#"file.path like "*/.git/hooks/*""#),
    ("extension", r#"file.extension in ("so", "service")"#),
    ("library", r#"file.name : "lib*""#),
    ("backup", r#"file.name like "*~""#),
    ("original", r#"event.action == "rename" and file.Ext.original.name : "target""#),
    (
        "exact",
        r#"event.type == "creation" and file.path in ("/srv/lab/Target", "/run/lab-soundness/Target")"#,
    ),
    ("negated", r#"not (file.name != "ld-secret" and file.extension != "conf")"#),
    ("function", r#"endsWith~(file.path, "x.conf") or startsWith(file.path, "/srv/lab/other/")"#),
    ("either", r#"file.name == "a" or (event.type == "change" and file.path : ("*/B/*", "/*.SO"))"#),
];

const SOUNDNESS: &str = r#"
cp -r rules more
sed -e 's/"mounted"/"everything"/' -e 's/where .*/where process.name != "nothing"'"'''"'/' rules/mounted.toml >more/everything.toml
mkdir -p /srv/lab/conf.d /srv/lab/bound.d /srv/lab/other bind/source
file_system ext4
mount --bind bind/source /srv/lab/bound.d
daemon_begins a
daemon_begins b more
mount -t tmpfs none /srv/lab/conf.d
cat >operations.pl <<'END'
use strict;
use File::Path;
srand(20261124);
sub one { $_[int(rand(@_))] }
my @roots = qw(/srv/lab /srv/lab/conf.d /srv/lab/bound.d /srv/lab/other bind/source . /mnt/ext4 /run/lab-soundness);
my ($operations, @files) = 0;
sub path {
    my $directory = one(@roots) . join('', map { '/' . one(qw(a B .git .git/hooks Conf.D)) } 1 .. int(rand(3)));
    # A file may be in the way.
    eval { File::Path::make_path($directory); 1 } or return path();
    my $name = one('', 'lib', 'LIB', 'x', 'ld-') . one('', 'secret', 'x', 'Target') . one('', '.so', '.SO', '.conf', '.service', '~');
    "$directory/" . (rand() < 0.2 ? one('Target', 'Target', 'target', 'ld-secret', 'a') : length $name ? $name : 'a');
}
for (1 .. 600) {
    my $path = path();
    if (@files && rand() < 0.4) {
        my $old = splice @files, int(rand(@files)), 1;
        # Not across file systems.
        rename($old, $path) or next;
    } elsif (@files && rand() < 0.2) {
        next if -e $path;
        rand() < 0.5 ? symlink('target', $path) : link(one(@files), $path) or next;
    } else {
        next if -e $path;
        open(my $file, '>', $path) or next;
    }
    push @files, $path;
    $operations++;
}
print "operations=$operations\n";
END
perl operations.pl
daemon_ends a
daemon_ends b
cat b.log >&2
umount /srv/lab/bound.d /srv/lab/conf.d
rm -rf /run/lab-soundness
"#;
