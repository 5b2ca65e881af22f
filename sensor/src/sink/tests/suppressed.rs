//! The output for what raised no alert.

use super::*;
use crate::config::{OutputOptions, StdoutOptions};

fn open(directory: &tempfile::TempDir, suppressed: Option<&str>, metrics: &Metrics) -> Outputs {
    let options = OutputOptions {
        stdout: StdoutOptions { enabled: false, ..StdoutOptions::default() },
        file: Some(file_options(&directory.path().join("alerts"))),
        suppressed: suppressed.map(|name| file_options(&directory.path().join(name))),
        ..OutputOptions::default()
    };
    Outputs::open(&options, &spool_options(directory.path()), metrics).unwrap()
}

#[test]
fn what_raised_no_alert_goes_to_its_own_output_only() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = Metrics::default();
    let outputs = open(&directory, Some("suppressed"), &metrics);
    outputs.send(&alert(1));
    outputs.send_suppressed(|| alert(2));
    assert_eq!(outputs.close(PATIENCE), 0);
    assert_eq!(ids_in(&directory.path().join("alerts")), [1]);
    assert_eq!(ids_in(&directory.path().join("suppressed")), [2]);
    assert_eq!(metrics.output("suppressed").delivered.get(), 1);
}

#[test]
fn where_there_is_no_output_for_it_nothing_is_made_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let outputs = open(&directory, None, &Metrics::default());
    outputs.send_suppressed(|| panic!("for nobody"));
    outputs.close(PATIENCE);
}

#[test]
fn one_that_does_not_work_keeps_no_alert_back() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = Metrics::default();
    let outputs = open(&directory, Some("missing/suppressed"), &metrics);
    outputs.send_suppressed(|| alert(2));
    outputs.send(&alert(1));
    wait_for(&vec![1], || ids_in(&directory.path().join("alerts")));
    outputs.close(Duration::from_millis(50));
    assert_eq!(metrics.output("suppressed").dropped.get(), 1);
}
