//! Outputs that change while others go on.

use super::elasticsearch::options as elasticsearch_options;
use super::*;
use crate::config::{ElasticsearchOptions, StdoutOptions};
use crate::testing::elasticsearch::{Elasticsearch as Server, Fault};

fn options_for(server: &Server) -> ElasticsearchOptions {
    elasticsearch_options(&server.server.url(), "timeout = '500ms'")
}

fn options(directory: &Path, server: &Server) -> OutputOptions {
    OutputOptions {
        stdout: StdoutOptions { enabled: false, format: Format::Ndjson },
        file: Some(file_options(&directory.join("alerts"))),
        elasticsearch: Some(options_for(server)),
        ..OutputOptions::default()
    }
}

fn change(
    outputs: &mut Outputs,
    old: &OutputOptions,
    new: &OutputOptions,
    directory: &Path,
    metrics: &Metrics,
) {
    let change = outputs.prepare(old, new).unwrap();
    outputs.apply(change, &spool_options(directory), metrics);
}

fn send(outputs: &Outputs, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| outputs.send(&alert(number)));
    outputs.flush();
}

#[test]
fn an_output_that_stays_keeps_its_queue_and_one_that_moves_delivers_what_waits_to_its_new_place() {
    let (mut first, second) = (Server::start(), Server::start());
    let (directory, metrics) = (tempfile::tempdir().unwrap(), Metrics::default());
    let place = directory.path();
    let mut old = options(place, &first);
    first.server.stop();
    let mut outputs = Outputs::open(&old, &spool_options(place), &metrics).unwrap();
    send(&outputs, 0..3);
    wait_for(&true, || metrics.output("elasticsearch").errors.get() > 0);
    let mut new = OutputOptions { elasticsearch: Some(options_for(&second)), ..old.clone() };
    change(&mut outputs, &old, &new, place, &metrics);
    send(&outputs, 3..5);
    wait_for(&5, || second.state().created.len());
    wait_for(&vec![0, 1, 2, 3, 4], || ids_in(&place.join("alerts")));

    // The file moves, Elasticsearch goes, and comes again: each has what it was on for.
    std::mem::swap(&mut old, &mut new);
    new =
        OutputOptions { elasticsearch: None, file: Some(file_options(&place.join("moved"))), ..old.clone() };
    change(&mut outputs, &old, &new, place, &metrics);
    send(&outputs, 5..7);
    wait_for(&vec![5, 6], || ids_in(&place.join("moved")));
    change(&mut outputs, &new, &old, place, &metrics);
    send(&outputs, 7..8);
    wait_for(&6, || second.state().created.len());
    assert_eq!(outputs.close(PATIENCE), 0, "nothing is dropped");
    assert_eq!(second.state().created, ["0", "1", "2", "3", "4", "7"]);
    assert_eq!(ids_in(&place.join("alerts")), [0, 1, 2, 3, 4, 7]);
    assert_eq!(metrics.output("file").delivered.get(), 8);
}

#[test]
fn an_output_that_does_not_work_changes_nothing() {
    let (server, directory, metrics) = (Server::start(), tempfile::tempdir().unwrap(), Metrics::default());
    let old = options(directory.path(), &server);
    let outputs = Outputs::open(&old, &spool_options(directory.path()), &metrics).unwrap();
    let missing = directory.path().join("missing/alerts");
    let new = OutputOptions { file: Some(file_options(&missing)), ..old.clone() };
    let message = outputs.prepare(&old, &new).err().unwrap().to_string();
    assert!(
        message.starts_with("the output file does not work: ") && message.contains("missing/alerts"),
        "{message}"
    );
    let none = OutputOptions { file: None, elasticsearch: None, ..old.clone() };
    assert!(outputs.prepare(&old, &none).err().unwrap().to_string().contains("no output is on"));
    send(&outputs, 0..2);
    wait_for(&vec![0, 1], || ids_in(&directory.path().join("alerts")));
    wait_for(&2, || server.state().created.len());
    outputs.close(PATIENCE);
}

#[test]
fn an_output_that_hangs_does_not_delay_the_one_in_its_place() {
    let (first, second) = (Server::start(), Server::start());
    let (directory, metrics) = (tempfile::tempdir().unwrap(), Metrics::default());
    let old = options(directory.path(), &first);
    first.state().always = Some(Fault::Hang);
    let mut outputs = Outputs::open(&old, &spool_options(directory.path()), &metrics).unwrap();
    send(&outputs, 0..1);
    wait_for(&true, || first.state().requests > 0);
    let new = OutputOptions { elasticsearch: Some(options_for(&second)), ..old.clone() };
    change(&mut outputs, &old, &new, directory.path(), &metrics);
    wait_for(&1, || second.state().created.len());
    outputs.close(PATIENCE);
}
