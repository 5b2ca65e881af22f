//! What all outputs that read from the spool have in common: nothing is lost, whatever fails.

use super::elasticsearch::sink_for;
use super::*;
use crate::testing::elasticsearch::{Elasticsearch as Server, Fault};

/// A daemon's outputs, with a spool that stays.
fn outputs(server: &Server, directory: &Path, metrics: &Metrics) -> Outputs {
    Outputs::start(sink_for(server).into(), &spool_options(directory), metrics, TUNING).unwrap()
}

#[test]
fn what_a_server_missed_arrives_after_the_next_start() {
    let (mut server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    server.server.stop();
    let metrics = Metrics::default();
    let first = outputs(&server, directory.path(), &metrics);
    (0..3).for_each(|number| first.send(&alert(number)));
    first.flush();
    wait_for(&true, || metrics.output("elasticsearch").errors.get() > 0);
    assert_eq!(first.close(PATIENCE), 0, "nothing is dropped");
    drop(first);
    assert_eq!(metrics.output_waiting("elasticsearch").get(), 3);

    server.server.restart();
    let metrics = Metrics::default();
    let second = outputs(&server, directory.path(), &metrics);
    wait_for(&3, || metrics.output("elasticsearch").delivered.get());
    second.close(PATIENCE);
    assert_eq!(server.state().created, ["0", "1", "2"]);
    assert_eq!(metrics.output_waiting("elasticsearch").get(), 0);
}

#[test]
fn a_server_that_misbehaves_in_every_way_gets_each_alert_once() {
    let (mut server, metrics) = (Server::start(), Metrics::default());
    let outputs = start(sink_for(&server), &metrics);
    let faults = [
        Fault::Status(429),
        Fault::Status(500),
        Fault::Status(502),
        Fault::CutReply,
        Fault::WebPage,
        Fault::Status(401),
        Fault::Hang,
        Fault::Item("7", 429, "es_rejected_execution_exception"),
    ];
    let count = 20 * faults.len();
    for number in 0..count {
        outputs.send(&alert(number));
        if number % 20 == 0 {
            server.state().faults.push_back(faults[number / 20].clone());
        }
        if number % 50 == 49 {
            server.server.restart();
        }
    }
    wait_for(&count, || server.state().created.len());
    let counters = metrics.output("elasticsearch");
    wait_for(&(count as u64), || counters.delivered.get());
    assert_eq!(outputs.close(PATIENCE), 0);
    assert_eq!((counters.delivered.get(), counters.dropped.get()), (count as u64, 0));
    assert!(counters.errors.get() >= faults.len() as u64 - 1, "{} errors", counters.errors.get());
}

#[test]
fn a_full_disk_does_not_keep_alerts_from_the_network() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (server, metrics) = (Server::start(), Metrics::default());
    let options = SpoolOptions { path: disk.0.path().join("spool.redb"), ..spool_options(disk.0.path()) };
    let _filler = disk.fill();
    let outputs = Outputs::start(sink_for(&server).into(), &options, &metrics, TUNING).unwrap();
    for number in 0..10 {
        outputs.send(&large_alert(number, 10_000));
        outputs.flush();
    }
    wait_for(&10, || server.state().created.len());
    outputs.close(PATIENCE);
    assert!(metrics.spool_errors().get() > 0);
    assert_eq!(metrics.output("elasticsearch").delivered.get(), 10);
}

#[test]
fn what_is_not_in_the_spool_is_not_sent() {
    let server = Server::start();
    let outputs = start(sink_for(&server), &Metrics::default());
    outputs.outputs.send(&alert(0));
    assert!(outputs.outputs.sent().is_none());
    outputs.outputs.flush();
    assert!(outputs.outputs.sent().is_some());
}

/// An alert of a rule that lets three through.
#[derive(Debug)]
struct RuleAlert(String);

impl Record for RuleAlert {
    fn id(&self) -> &str {
        &self.0
    }

    fn to_line(&self) -> String {
        serde_json::json!({
            "process": {"executable": "/bin/decoy"},
            "file": {"path": "/etc/ld.so.preload"},
            "kibana.alert.rule.rule_id": "r",
            "kibana.alert.rule.max_signals": 3,
            "kibana.alert.rule.interval": "1s",
        })
        .to_string()
    }

    fn to_pretty(&self, _color: bool) -> String {
        self.to_line()
    }
}

#[test]
fn beyond_max_signals_the_network_gets_a_summary_and_the_file_everything() {
    let (server, metrics, file) = (Server::start(), Metrics::default(), FileRig::new());
    let outputs = start(Sinks { local: vec![file.sink()], network: vec![sink_for(&server)] }, &metrics);
    for number in 0..10 {
        let alert: Arc<dyn Record> = Arc::new(RuleAlert(number.to_string()));
        outputs.send(&alert);
    }
    let counters = metrics.network_output("elasticsearch");
    wait_for(&1, || counters.summaries.get());
    assert_eq!((counters.output.delivered.get(), counters.summarized.get()), (3, 7));
    let summary = server.state().created.last().unwrap().clone();
    assert_eq!(server.state().documents[&summary].1["kibana.alert.suppression.docs_count"], 7);
    outputs.close(PATIENCE);
    assert_eq!(fs::read_to_string(file.path()).unwrap().lines().count(), 10);
}
