//! Exclusions that rest on an executable which anybody could have made.

use eql::{FieldId, Value};

use crate::ecs::Field;

/// Which exclusions are only honoured for a trusted executable: one of root's that nobody else can write, and that is where it was
/// installed. `ldsentry.process.executable.untrusted` says what an executable lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrustedExclusions {
    /// None: the text of a rule alone decides.
    Off,
    /// Those by name, which everybody can give to a file.
    #[default]
    Names,
    /// Those by name or by path.
    All,
}

impl TrustedExclusions {
    /// The fields that are not to be relied upon where an executable is not trusted.
    pub(super) fn doubtful(self) -> &'static [Field] {
        match self {
            Self::Off => &[],
            Self::Names => &[Field::ProcessName],
            Self::All => &[Field::ProcessName, Field::ProcessExecutable],
        }
    }
}

/// A document that says something else in some fields: no predicate holds on what was there, and `== null` does not hold on what
/// was not there.
pub(super) struct Without<'d, D: ?Sized> {
    pub(super) document: &'d D,
    pub(super) fields: &'d [FieldId],
}

impl<D: eql::Document + ?Sized> eql::Document for Without<'_, D> {
    fn field(&self, id: FieldId) -> Value<'_> {
        let value = self.document.field(id);
        match value {
            _ if !self.fields.contains(&id) => value,
            Value::Missing => Value::String(""),
            _ => Value::Missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TrustedExclusions::{All, Names, Off};
    use super::*;
    use crate::detect::{Engine, Exception, Exclusion, Verdict};
    use crate::event::{Event, Executable};
    use crate::rule::{Embedded, Parsed, Rule, RuleSet};
    use crate::testing::{event, executable, path};

    fn seed(trusted: TrustedExclusions) -> Engine {
        Engine::trusting(RuleSet::builtin().rules, Vec::new(), trusted).unwrap()
    }

    fn rule(condition: &str) -> Rule {
        let source = format!(
            "[rule]\nname = \"test\"\nrule_id = \"test\"\ntype = \"eql\"\nrisk_score = 1\nseverity = \"low\"\nquery = \
             '''file where {condition}'''\n"
        );
        match Rule::parse("test.toml", &source) {
            Parsed::Rule(rule, _) => *rule,
            other => panic!("{other:?}"),
        }
    }

    fn verdict(engine: &Engine, event: &Event) -> Verdict {
        let mut found = Verdict::NotOffered;
        engine.detect_event(event, jiff::Timestamp::UNIX_EPOCH, |detection| found = detection.verdict);
        found
    }

    /// Whether a creation by `executable`, owned by that user, raises an alert, and the clause that is not honoured.
    fn alert(engine: &Engine, path: &str, owner: u32) -> (bool, String) {
        let mut event = event();
        event.process.executable = executable(path);
        let Executable::File(file) = &mut event.process.executable else { panic!() };
        file.uid = owner;
        let verdict = verdict(engine, &event);
        (verdict.is_alert(), engine.not_honoured(0, verdict).unwrap_or_default().to_owned())
    }

    #[test]
    fn a_name_excludes_only_what_root_installed() {
        for (trusted, alerts) in [(Off, false), (Names, true), (All, true)] {
            let engine = seed(trusted);
            assert_eq!(alert(&engine, "/opt/x/java", 0), (false, String::new()), "{trusted:?}");
            let (alerted, clause) = alert(&engine, "/opt/x/java", 1000);
            assert_eq!(alerted, alerts, "{trusted:?}");
            assert!(!alerts || clause.starts_with("process.name in ( \"BootTimeChecker\""), "{clause}");
        }
    }

    #[test]
    fn a_path_excludes_only_what_root_installed_if_that_is_wanted() {
        for (trusted, alerts) in [(Off, false), (Names, false), (All, true)] {
            let engine = seed(trusted);
            for path in ["/snap/x/y", "/usr/bin/dpkg"] {
                assert!(!alert(&engine, path, 0).0);
                assert_eq!(alert(&engine, path, 1000).0, alerts, "{path}, {trusted:?}");
            }
        }
    }

    #[test]
    fn what_has_no_executable_alerts_if_paths_must_be_trusted() {
        for executable in [Executable::KernelThread, Executable::Unknown] {
            let mut event = event();
            event.process.executable = executable;
            assert!(matches!(verdict(&seed(Off), &event), Verdict::Excluded(Exclusion::Clause(_))));
            assert!(matches!(verdict(&seed(Names), &event), Verdict::Excluded(Exclusion::Clause(_))));
            let engine = seed(All);
            let verdict = verdict(&engine, &event);
            assert_eq!(engine.not_honoured(0, verdict), Some("process.executable == null"));
        }
    }

    /// What says nothing about the executable goes on to exclude.
    #[test]
    fn other_exclusions_hold_whoever_did_it() {
        let engine = seed(All);
        let mut event = event();
        event.process.executable = executable("/snap/x/java");
        let Executable::File(file) = &mut event.process.executable else { panic!() };
        file.uid = 1000;
        event.file.paths = vec![path("/etc/ld.so.conf.d/.x.swp")];
        let verdict = verdict(&engine, &event);
        let clause = engine.clause(0, verdict);
        assert!(clause.starts_with("file.extension in"), "{clause}");
    }

    #[test]
    fn a_part_of_a_clause_is_enough_to_rest_on_a_name() {
        let alerts = |condition: &str| {
            let engine = Engine::trusting(vec![rule(condition)], Vec::new(), Names).unwrap();
            [0, 1000].map(|owner| alert(&engine, "/usr/bin/sed", owner).0)
        };
        assert_eq!(alerts(r#"file.path != null and not process.name == "sed""#), [false, true]);
        assert_eq!(
            alerts(r#"file.path != null and not (process.name : "s*" and file.name : "ld*")"#),
            [false, true]
        );
        // As a condition of its own.
        assert_eq!(alerts(r#"file.path != null and process.name != "sed""#), [false, true]);
        assert_eq!(alerts(r#"file.path != null and process.name not in ("a", "sed")"#), [false, true]);
        // It holds without the name.
        assert_eq!(
            alerts(r#"file.path != null and not ((process.name == "sed" or file.name : "ld*"))"#),
            [false, false]
        );
        assert_eq!(alerts(r#"file.path != null and not process.name != "dpkg""#), [false, false]);
        // What the rule looks for is looked for, whatever is excluded.
        assert_eq!(alerts(r#"process.name == "sed" and not process.name : "s*""#), [false, true]);
        assert_eq!(alerts(r#"process.name == "sed""#), [true, true]);
        assert_eq!(alerts(r#"process.name == "perl""#), [false, false]);
    }

    /// It was written for this very host by somebody who can say more in it.
    #[test]
    fn an_operators_exception_holds_as_it_is_written() {
        let excluded = |condition: &str| {
            let exception = Exception {
                name: "known".to_owned(),
                rules: vec!["test".to_owned()],
                query: eql::Query::parse_condition(condition).unwrap(),
                reason: String::new(),
                expires: None,
                location: Embedded::new("ldsentry.toml", condition, 0..condition.len()),
            };
            let rule = rule("file.path != null");
            let engine = Engine::trusting(vec![rule], vec![exception], All).unwrap();
            [0, 1000].map(|owner| !alert(&engine, "/usr/bin/sed", owner).0)
        };
        assert_eq!(excluded(r#"process.name == "sed""#), [true, true]);
        let careful = r#"process.name == "sed" and ldsentry.process.executable.untrusted == null"#;
        assert_eq!(excluded(careful), [true, false]);
    }
}
