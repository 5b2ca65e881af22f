//! What a security module refuses after the hooks have run has not happened: row 23.

use anyhow::{Result, ensure};
use integration_tests::{Outcome, Scenario};

use crate::loss::increase;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("refused/create", "fails denied attack create /etc/ld.so.preload").check(is_eperm),
        Scenario::new("refused/create_new", "fails denied attack create-new /etc/ld.so.conf.d/x")
            .check(is_eperm),
        Scenario::new("refused/mknod", "fails denied attack mknod /etc/ld.so.preload").check(is_eperm),
        // The rename's own end says that it failed; a creation's failure is only what follows from nothing having followed.
        Scenario::new(
            "refused/rename",
            "touch new; counters before; fails denied attack rename new /etc/ld.so.preload; counters_after 1",
        )
        .check(is_eperm)
        .check(|outcome| {
            let failed = increase(outcome, "ldsentry_events_total{outcome=\"failure\"}")?;
            ensure!(failed == 1, "{failed} failures were seen");
            Ok(())
        }),
        // To the same process only: others create what they like meanwhile.
        Scenario::new(
            "refused/one_process_only",
            "fails denied sh -c 'attack create /etc/ld.so.conf.d/a && : >/etc/ld.so.conf.d/b'",
        )
        .alert(serde_json::json!({"file.path": "/etc/ld.so.conf.d/a", "event.outcome": "success"})),
    ]
}

fn is_eperm(outcome: &Outcome) -> Result<()> {
    let errno = outcome.number("errno")?;
    ensure!(errno == 1, "the call failed with {errno} and not with EPERM");
    Ok(())
}
