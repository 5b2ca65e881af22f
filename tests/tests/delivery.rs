//! Nothing is lost: a stream of alerts while servers are killed, hang, answer errors and cut connections, while the disk is full,
//! and while the daemon is killed and started again.
//!
//! A minute of it by default; `LDSENTRY_DELIVERY_SECONDS` makes it longer.
#![expect(clippy::unwrap_used, reason = "the servers that the unit tests share panic, as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use integration_tests::lookup;
use integration_tests::native::{Ended, Sensor, isolate, run, say};
use integration_tests::server::wait_for;
use rustix::process::Signal;
use serde_json::Value;

use elasticsearch::{Elasticsearch, Fault};
use http::{Answer, HttpServer};

#[expect(dead_code, reason = "the unit tests use more of it")]
#[path = "../../sensor/src/testing/elasticsearch.rs"]
mod elasticsearch;
#[path = "../../sensor/src/testing/http.rs"]
mod http;

/// Time between two alerts, and between two misfortunes.
const ALERT_INTERVAL: Duration = Duration::from_millis(20);
const FAULT_INTERVAL: Duration = Duration::from_millis(700);

/// How often each id came to the webhook, which alerts those are, and how it misbehaves for now.
#[derive(Default)]
struct Hook {
    received: BTreeMap<String, u32>,
    alerts: BTreeMap<String, Value>,
    fault: Option<Fault>,
}

impl Hook {
    fn answer(&mut self, body: &[u8]) -> Answer {
        let done = || Answer::json(200, &Value::Bool(true));
        match self.fault {
            Some(Fault::Status(status)) => return Answer::Reply(status, "text/plain", String::new()),
            Some(Fault::WebPage) => {
                return Answer::Reply(200, "text/html", "<html>Welcome</html>".to_owned());
            }
            _ => {}
        }
        let alerts: Vec<Value> = serde_json::from_slice(body).unwrap();
        for alert in alerts {
            let id = id(&alert).unwrap();
            *self.received.entry(id.clone()).or_default() += 1;
            self.alerts.insert(id, alert);
        }
        match self.fault {
            Some(Fault::Hang) => Answer::Hang,
            Some(_) => Answer::Cut("this does not arrive".to_owned()),
            None => done(),
        }
    }
}

fn id(alert: &Value) -> Option<String> {
    lookup(alert, "kibana.alert.uuid").and_then(Value::as_str).map(str::to_owned)
}

fn file(alert: &Value) -> Option<String> {
    lookup(alert, "file.path").and_then(Value::as_str).map(str::to_owned)
}

/// The ids under which each file was told of, but for what was found by looking.
fn ids_by_file<'a>(
    alerts: impl Iterator<Item = (&'a String, &'a Value)>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut ids: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (id, alert) in alerts.filter(|(_, alert)| !is_found_by_looking(alert)) {
        if let Some(file) = file(alert) {
            ids.entry(file).or_default().insert(id.clone());
        }
    }
    ids
}

/// What became of an output's alerts, in the counters of a daemon that has ended.
fn counter(ended: &Ended, output: &str, result: &str) -> Result<u64> {
    ended.counter(&format!("ldsentry_output_alerts_total{{output=\"{output}\",result=\"{result}\"}}"))
}

fn waiting(ended: &Ended, output: &str) -> Result<u64> {
    ended.counter(&format!("ldsentry_output_waiting_alerts{{output=\"{output}\"}}"))
}

/// A daemon that starts looks for what changed since the one before saw everything, and finds files again of which that one has
/// told after this time. Of those, a server gets no more alerts than the rule's `max_signals`.
fn is_found_by_looking(alert: &Value) -> bool {
    lookup(alert, "ldsentry.origin").is_some_and(|origin| origin == "rescan")
}

/// The daemon, started as often as it takes, and the alerts that it has shown.
struct Daemon<'t> {
    tree: &'t Path,
    sensor: Option<Sensor>,
    shown: BTreeSet<String>,
}

impl Daemon<'_> {
    fn start(&mut self) -> Result<()> {
        let config = self.tree.join("ldsentry.toml").display().to_string();
        self.sensor = Some(Sensor::start(self.tree, &["--source", "fanotify", "--config", &config])?);
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> Result<Ended> {
        let sensor = self.sensor.take().context("no daemon runs")?;
        let (alerts, ended) = sensor.end_with_alerts(signal)?;
        self.shown.extend(alerts.iter().filter(|alert| !is_found_by_looking(alert)).filter_map(id));
        Ok(ended)
    }
}

#[test]
fn delivery_loses_nothing_whatever_fails() -> Result<()> {
    if !isolate()? {
        return Ok(());
    }
    let seconds =
        std::env::var("LDSENTRY_DELIVERY_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let (directory, hook) = (tempfile::tempdir()?, Arc::new(Mutex::new(Hook::default())));
    let tree = directory.path();
    fs::create_dir_all(tree.join("etc/ld.so.conf.d"))?;
    fs::create_dir(tree.join("state"))?;
    run("mount", ["-t", "tmpfs", "-o", "size=16m", "none", &tree.join("state").display().to_string()])?;
    let mut server = Elasticsearch::start();
    let their_hook = Arc::clone(&hook);
    let webhook = HttpServer::start(move |request| their_hook.lock().unwrap().answer(&request.body));
    fs::write(
        tree.join("ldsentry.toml"),
        format!(
            "[spool]\npath = 'state/spool.redb'\ndead_letters = 'dead.ndjson'\nlongest_retry = '2s'\n\
             [output.elasticsearch]\nurls = ['{}']\ntimeout = '500ms'\n\
             [output.webhook]\nurl = '{}'\ntimeout = '500ms'\n",
            server.server.url(),
            webhook.url()
        ),
    )?;

    let mut daemon = Daemon { tree, sensor: None, shown: BTreeSet::new() };
    daemon.start()?;
    let stop = AtomicBool::new(false);
    let (made, kills) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_alerts(tree, &stop));
        let result = let_things_fail(&mut daemon, &mut server, &hook, Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        let made = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, anyhow::Error>((made?, result?))
    })?;

    // A daemon ends in peace, and leaves something; everything works again, and the one after it delivers that.
    server.server.restart();
    hook.lock().unwrap().fault = Some(Fault::Status(503));
    fs::write(tree.join(format!("etc/ld.so.conf.d/{made}.conf")), "")?;
    let made = made + 1;
    let before = daemon.end(Signal::TERM)?;
    hook.lock().unwrap().fault = None;
    daemon.start()?;
    let shown = daemon.shown.clone();
    let files: Vec<_> = (0..made)
        .map(|number| tree.join(format!("etc/ld.so.conf.d/{number}.conf")).display().to_string())
        .collect();
    let mut missing = Vec::new();
    let everything = wait_for("delivery of everything", || {
        let (state, hook) = (server.state(), hook.lock().unwrap());
        let stored: BTreeSet<_> = state.documents.values().filter_map(|(_, alert)| file(alert)).collect();
        let received: BTreeSet<_> = hook.alerts.values().filter_map(file).collect();
        missing.clear();
        for (output, files_there, ids_there) in [
            ("elasticsearch", &stored, state.documents.keys().collect::<BTreeSet<_>>()),
            ("webhook", &received, hook.received.keys().collect()),
        ] {
            let files = files.iter().filter(|file| !files_there.contains(*file));
            let ids = shown.iter().filter(|id| !ids_there.contains(id));
            missing.extend(files.chain(ids).map(|missing| format!("{output}: {missing}")));
        }
        Ok(missing.is_empty().then_some(()))
    });
    everything
        .with_context(|| format!("{} of {made} files, and what was shown: {missing:#?}", missing.len()))?;
    let ended = daemon.end(Signal::TERM)?;
    ensure!(waiting(&before, "webhook")? > 0, "nothing was left for the last daemon");
    let raised = counter(&ended, "stdout", "delivered")? + counter(&ended, "stdout", "dropped")?;
    for output in ["elasticsearch", "webhook"] {
        for result in ["dropped", "rejected"] {
            assert_eq!(counter(&ended, output, result)?, 0, "{output} {result}");
        }
        assert_eq!(waiting(&ended, output)?, 0, "{output}");
        let done = counter(&ended, output, "delivered")? + counter(&ended, output, "summarized")?;
        assert_eq!(done, waiting(&before, output)? + raised, "{output}: what came, and what became of it");
    }
    let (state, hook) = (server.state(), hook.lock().unwrap());
    for (output, ids) in [
        ("elasticsearch", ids_by_file(state.documents.iter().map(|(id, (_, alert))| (id, alert)))),
        ("webhook", ids_by_file(hook.alerts.iter())),
    ] {
        let twice: Vec<_> = ids.iter().filter(|(_, ids)| ids.len() > 1).collect();
        ensure!(twice.is_empty(), "{output} has files under several ids: {twice:#?}");
    }
    let again: u32 = hook.received.values().map(|count| count - 1).sum();
    say(&format!(
        "{made} files made, {kills} daemons killed, {} alerts shown, {} stored, {} delivered again to Elasticsearch and {again} to \
         the webhook",
        shown.len(),
        state.created.len(),
        state.conflicts
    ));
    ensure!(shown.len() > 100 && kills > 1, "too little happened");
    Ok(())
}

/// Rules that run in the cluster see the events themselves, those too that raise no alert here.
#[test]
fn events_are_delivered_beside_alerts_if_asked_for() -> Result<()> {
    if !isolate()? {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let tree = directory.path();
    fs::create_dir_all(tree.join("etc/ld.so.conf.d"))?;
    let server = Elasticsearch::start();
    let config = tree.join("ldsentry.toml");
    fs::write(
        &config,
        format!(
            "[spool]\npath = 'state/spool.redb'\ndead_letters = 'dead.ndjson'\n\
             [output.elasticsearch]\nurls = ['{}']\nevent_data_stream = 'logs-endpoint.events.file-test'\n",
            server.server.url()
        ),
    )?;
    let mut sensor =
        Sensor::start(tree, &["--source", "fanotify", "--config", &config.display().to_string()])?;
    fs::write(tree.join("etc/ld.so.conf.d/excluded.swp"), "")?;
    fs::write(tree.join("etc/ld.so.preload"), "")?;
    sensor.alert_for("etc/ld.so.preload")?;
    let ended = sensor.end(Signal::TERM)?;

    let state = server.state();
    let in_stream = |stream: &str, file: &str| -> Vec<&Value> {
        let documents = state.documents.values().filter(|(index, _)| index == stream);
        let documents = documents.map(|(_, document)| document);
        documents.filter(|document| lookup(document, "file.name") == Some(&Value::from(file))).collect()
    };
    let (alerts, events) = ("logs-ldsentry.alerts-default", "logs-endpoint.events.file-test");
    assert_eq!(in_stream(alerts, "ld.so.preload").len(), 1);
    assert_eq!(in_stream(alerts, "excluded.swp").len(), 0);
    for file in ["ld.so.preload", "excluded.swp"] {
        let found = in_stream(events, file);
        ensure!(found.len() == 1, "{} events about {file}", found.len());
        for (field, value) in [
            ("event.kind", "event"),
            ("event.action", "creation"),
            ("data_stream.dataset", "endpoint.events.file"),
            ("data_stream.namespace", "test"),
        ] {
            assert_eq!(lookup(found[0], field), Some(&Value::from(value)), "{field}");
        }
        ensure!(id(found[0]).is_none(), "an event is no alert");
    }
    let delivered = |output: &str| counter(&ended, output, "delivered");
    assert_eq!((delivered("elasticsearch")?, delivered("elasticsearch_events")?), (1, 2));
    ensure!(tree.join("state/spool.events.redb").exists(), "events have a spool of their own");
    Ok(())
}

/// The next daemon delivers what the server did not take.
#[test]
fn a_server_that_hangs_keeps_no_daemon_from_ending() -> Result<()> {
    if !isolate()? {
        return Ok(());
    }
    let (directory, hook) = (tempfile::tempdir()?, Arc::new(Mutex::new(Hook::default())));
    let tree = directory.path();
    fs::create_dir_all(tree.join("etc/ld.so.conf.d"))?;
    hook.lock().unwrap().fault = Some(Fault::Hang);
    let their_hook = Arc::clone(&hook);
    let webhook = HttpServer::start(move |request| their_hook.lock().unwrap().answer(&request.body));
    // Longer than the test waits for anything.
    let config = format!(
        "[spool]\npath = 'state/spool.redb'\ndead_letters = 'dead.ndjson'\n\
         [output.webhook]\nurl = '{}'\ntimeout = '10m'\n",
        webhook.url()
    );
    fs::write(tree.join("ldsentry.toml"), config)?;
    let mut daemon = Daemon { tree, sensor: None, shown: BTreeSet::new() };
    daemon.start()?;
    fs::write(tree.join("etc/ld.so.preload"), "")?;
    wait_for("first attempt", || Ok((!hook.lock().unwrap().received.is_empty()).then_some(())))?;
    let ended = daemon.end(Signal::TERM)?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    let left = waiting(&ended, "webhook")?;
    ensure!(left > 0, "it waited for the server: {}", ended.stderr);
    hook.lock().unwrap().fault = None;
    daemon.start()?;
    let id = hook.lock().unwrap().received.keys().next().cloned().context("an alert was received")?;
    wait_for("second attempt", || Ok((hook.lock().unwrap().received[&id] == 2).then_some(())))?;
    let ended = daemon.end(Signal::TERM)?;
    // The gap between the two is an alert too.
    let raised = counter(&ended, "stdout", "delivered")?;
    assert_eq!((counter(&ended, "webhook", "delivered")?, waiting(&ended, "webhook")?), (left + raised, 0));
    Ok(())
}

/// Makes a file for an alert every now and then until `stop`. Gives how many.
fn write_alerts(tree: &Path, stop: &AtomicBool) -> Result<u32> {
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        fs::write(tree.join(format!("etc/ld.so.conf.d/{made}.conf")), "")?;
        made += 1;
        std::thread::sleep(ALERT_INTERVAL);
    }
    Ok(made)
}

/// Lets one thing after the other fail for as long as this. Gives how often the daemon was killed.
fn let_things_fail(
    daemon: &mut Daemon<'_>,
    server: &mut Elasticsearch,
    hook: &Mutex<Hook>,
    time: Duration,
) -> Result<u32> {
    let faults = [
        Fault::Status(429),
        Fault::CutReply,
        Fault::Status(500),
        Fault::Hang,
        Fault::WebPage,
        Fault::Status(503),
    ];
    let (begin, mut kills) = (Instant::now(), 0);
    for round in 0.. {
        if begin.elapsed() >= time {
            break;
        }
        let fault = faults[round % faults.len()].clone();
        server.state().always = Some(fault.clone());
        hook.lock().unwrap().fault = Some(faults[(round + 1) % faults.len()].clone());
        std::thread::sleep(FAULT_INTERVAL);
        server.state().always = None;
        hook.lock().unwrap().fault = None;
        match round % 4 {
            0 => server.server.stop(),
            1 => {
                daemon.end(Signal::KILL)?;
                kills += 1;
                daemon.start()?;
            }
            2 => fill_disk_for_a_while(daemon.tree)?,
            _ => {}
        }
        std::thread::sleep(FAULT_INTERVAL);
        server.server.restart();
    }
    Ok(kills)
}

/// What is kept in memory meanwhile is on the disk when this returns: a daemon that is killed before that loses it.
fn fill_disk_for_a_while(tree: &Path) -> Result<()> {
    let filler = tree.join("state/filler");
    let mut file = fs::File::create(&filler)?;
    while std::io::Write::write(&mut file, &[b'x'; 4096]).is_ok() {}
    drop(file);
    std::thread::sleep(FAULT_INTERVAL);
    fs::remove_file(filler)?;
    // The spool is tried again each second.
    std::thread::sleep(3 * FAULT_INTERVAL);
    Ok(())
}
