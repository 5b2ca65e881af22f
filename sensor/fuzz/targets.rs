//! What is fuzzed: nothing may panic, whatever is in a rule file, and whoever wrote it is told where it is wrong.

use sensor::detect::Engine;
use sensor::rule::{Diagnostic, Parsed, Rule};

/// A rule file: read, compiled, checked, pushed down.
pub fn rule(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    match Rule::parse("rule.toml", source) {
        Parsed::Rule(rule, warnings) => {
            check(&warnings);
            match Engine::new(vec![*rule], Vec::new()) {
                Ok(engine) => {
                    check(&engine.warnings());
                    let never_fires = engine.filters().actions().next().is_none();
                    assert!(
                        !never_fires || !engine.warnings().is_empty(),
                        "a rule that never fires is warned of"
                    );
                }
                Err(errors) => check(&errors),
            }
        }
        Parsed::Skipped(skipped) => assert!(!skipped.reason.is_empty()),
        Parsed::Invalid(errors) => {
            assert!(!errors.is_empty());
            check(&errors);
        }
    }
}

/// What is shown is short, and steers no terminal.
fn check(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let shown = diagnostic.to_string();
        assert!(shown.len() < 8_000, "{shown}");
        assert!(!shown.chars().any(|character| character.is_control() && character != '\n'), "{shown:?}");
    }
}
