//! What goes wrong around outputs: a message names output, cause and remedy, and the others go on.

use std::sync::Mutex;

use super::*;
use crate::config::Settings;
use crate::sink::network::{Outcome, Webhook};
use crate::testing::certificates::Certificates;
use crate::testing::elasticsearch::{Elasticsearch as Server, Fault};
use crate::testing::http::{Answer, HttpServer};
use crate::testing::syslog::SyslogServer;

/// What this thread logs meanwhile.
pub(in crate::sink) fn logged(act: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let theirs = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || theirs.clone()).finish();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn settings(text: &str) -> OutputOptions {
    Settings::parse(Path::new("/etc/ldsentry.toml"), text.to_owned()).unwrap().output
}

fn batch(number: usize) -> [Arc<spool::Spooled>; 1] {
    [spooled(&alert(number))]
}

#[test]
fn a_message_about_a_file_names_the_key_of_that_file() {
    let directory = tempfile::tempdir().unwrap();
    let options = file_options(&directory.path().join("missing/file"));
    let suppressed = FileSink::for_suppressed(&options).open().unwrap_err().to_string();
    assert!(suppressed.ends_with("or correct output.suppressed.path"), "{suppressed}");
    let spool = SpoolOptions { dead_letters: options.path, ..SpoolOptions::default() };
    let dead_letters = DeadLetters::new(&spool).write("webhook", &batch(0)[0], "a reason").unwrap_err();
    assert!(dead_letters.to_string().ends_with("or correct spool.dead_letters"), "{dead_letters}");
}

#[test]
fn the_log_says_which_output_cannot_set_its_file_aside() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("events.1/occupied")).unwrap();
    let options = FileOptions {
        rotate_bytes: Some(1.try_into().unwrap()),
        rotate_keep: 1.try_into().unwrap(),
        ..file_options(&directory.path().join("events"))
    };
    let mut sink = FileSink::for_suppressed(&options);
    let log = logged(|| (0..2).for_each(|number| sink.deliver(alert(number).as_ref()).unwrap()));
    assert!(log.contains("cannot rotate") && log.contains("output=\"suppressed\""), "{log}");
}

#[test]
fn what_is_refused_and_cannot_be_kept_is_dropped_and_counted() {
    let server = Server::start();
    server.state().always = Some(Fault::Item("1", 400, "document_parsing_exception"));
    let (metrics, directory) = (Metrics::default(), tempfile::tempdir().unwrap());
    let options = SpoolOptions {
        dead_letters: directory.path().join("missing/dead-letters.ndjson"),
        ..spool_options(directory.path())
    };
    let sinks = elasticsearch::sink_for(&server).into();
    let outputs = Outputs::start(sinks, &options, &metrics, TUNING).unwrap();
    (0..3).for_each(|number| outputs.send(&alert(number)));
    outputs.close(PATIENCE);
    let counters = metrics.network_output("elasticsearch");
    assert_eq!(
        (counters.output.delivered.get(), counters.rejected.get(), counters.output.dropped.get()),
        (2, 0, 1)
    );
}

#[test]
fn a_read_only_directory_is_named_with_a_remedy_and_stops_nothing_else() {
    let Some(disk) = SmallDisk::mount() else { return };
    disk.remount("ro");
    let (server, metrics) = (Server::start(), Metrics::default());
    let path = disk.0.path().join("alerts.ndjson");
    let failure =
        file_sink(&path).open().unwrap_err().to_string().replace(disk.0.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(failure, @"cannot open the file for alerts DIR/alerts.ndjson: Read-only file system (os error 30); the file system is mounted read-only: remount it, or correct output.file.path");

    let local: Vec<Box<dyn Sink>> = vec![Box::new(file_sink(&path))];
    let sinks = Sinks { local, network: vec![elasticsearch::sink_for(&server)] };
    let mut outputs = None;
    let log = logged(|| {
        outputs = Some(Outputs::start(sinks, &spool_options(disk.0.path()), &metrics, TUNING).unwrap());
    });
    let outputs = outputs.unwrap();
    assert!(log.contains("the file system is mounted read-only: remount it, or correct spool.path"), "{log}");
    assert!(log.contains("output=\"file\""), "{log}");
    outputs.send(&alert(0));
    outputs.flush();
    wait_for(&1, || server.state().created.len());
    wait_for(&true, || metrics.output("file").errors.get() > 2);
    disk.remount("rw");
    wait_for(&vec![0], || ids_in(&path));
    wait_for(&true, || outputs.has_all_safe());
    assert_eq!(outputs.close(PATIENCE), 0);
    assert!(disk.0.path().join("spool.redb").exists());
}

#[test]
fn a_dead_network_output_delays_no_output_of_this_host() {
    let mut rigs: Vec<Box<dyn Rig>> = vec![
        Box::new(elasticsearch::ElasticsearchRig::new()),
        Box::new(syslog::SyslogRig::new()),
        Box::new(http::WebhookRig::new()),
        Box::new(http::AlertmanagerRig::new()),
    ];
    for rig in &mut rigs {
        let (metrics, mut file) = (Metrics::default(), FileRig::new());
        rig.obstruct();
        let Sinks { network, .. } = rig.sinks();
        let outputs = start(Sinks { local: vec![file.sink()], network }, &metrics);
        for number in 0..10 {
            outputs.send(&alert(number));
            assert_eq!(file.receive(), number, "beside {}", rig.name());
        }
        outputs.close(Duration::ZERO);
        assert_eq!(metrics.output_waiting(rig.name()).get(), 10, "{}", rig.name());
    }
}

/// What opening outputs says where `tls` is what is wrong with all of them.
fn refusal(tls: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let options = settings(&format!(
        "[output.stdout]\nenabled = false\n\
         [output.elasticsearch]\nurls = ['https://localhost:1']\n[output.elasticsearch.tls]\n{tls}\
         [output.syslog]\naddress = 'tls://localhost:1'\n[output.syslog.tls]\n{tls}\
         [output.webhook]\nurl = 'https://localhost:1'\n[output.webhook.tls]\n{tls}\
         [output.alertmanager]\nurls = ['https://localhost:1']\n[output.alertmanager.tls]\n{tls}"
    ));
    let failure =
        Outputs::open(&options, &spool_options(directory.path()), &Metrics::default()).err().unwrap();
    failure.to_string()
}

#[test]
fn certificates_that_cannot_be_used_are_named_with_output_cause_and_remedy() {
    let certificates = Certificates::make();
    let place = certificates.path("").display().to_string();
    let line = |key: &str, name: &str| format!("{key} = '{}'\n", certificates.path(name).display());
    let shown = |tls: &str| refusal(tls).replace(place.trim_end_matches('/'), "DIR");
    fs::write(certificates.path("ca.der"), [0x30, 0x82, 1, 2, 3]).unwrap();
    let other_key = line("certificate_file", "client.pem") + &line("key_file", "localhost.key");
    insta::assert_snapshot!([shown(&line("ca_file", "ca.der")), shown(&other_key)].join("\n"));
}

#[test]
fn an_authority_that_is_exchanged_while_the_daemon_runs_is_read_again() {
    let (old, new) = (Certificates::make(), Certificates::make());
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::copy(old.path("ca.pem"), &ca).unwrap();
    let web = HttpServer::start_with(|_| Answer::Reply(204, "", String::new()), Some(new.server(false)));
    let log = SyslogServer::start(Some(new.server(false)));
    let tls = format!("ca_file = '{}'\n", ca.display());
    let options = settings(&format!(
        "[output.webhook]\nurl = '{}'\n[output.webhook.tls]\n{tls}\
         [output.syslog]\naddress = '{}'\nmessage = 'json'\n[output.syslog.tls]\n{tls}",
        web.url(),
        log.address()
    ));
    let sinks: [Box<dyn NetworkSink>; 2] =
        [Box::new(Webhook::new(&options.webhook.unwrap())), Box::new(Syslog::new(&options.syslog.unwrap()))];
    for mut sink in sinks {
        fs::copy(old.path("ca.pem"), &ca).unwrap();
        let failure = sink.deliver(&batch(0)).unwrap_err().to_string();
        assert!(failure.contains("invalid peer certificate"), "{}: {failure}", sink.name());
        fs::copy(new.path("ca.pem"), &ca).unwrap();
        assert_eq!(sink.deliver(&batch(0)).unwrap(), [Outcome::Delivered], "{}", sink.name());
    }
}

const IN_ENVIRONMENT: &str = "LDSENTRY_TEST_TOKEN";

#[test]
#[ignore = "run by the test below"]
fn a_daemon_with_a_secret_in_its_environment() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&requests);
    let server = HttpServer::start(move |request| {
        theirs.lock().unwrap().push(request);
        Answer::Reply(500, "text/plain", String::new())
    });
    let url = server.url();
    let env = format!("{{ env = '{IN_ENVIRONMENT}' }}");
    let options = settings(&format!(
        "[output.webhook]\nurl = '{url}'\nhmac_secret = {env}\nsecret_headers = {{ X-Token = {env} }}\n\
         [output.elasticsearch]\nurls = ['{url}']\napi_key = {env}\n"
    ));
    let mut webhook = Webhook::new(options.webhook.as_ref().unwrap());
    let mut elasticsearch = Elasticsearch::new(options.elasticsearch.as_ref().unwrap());
    let failures = [webhook.deliver(&batch(0)).unwrap_err(), elasticsearch.deliver(&batch(0)).unwrap_err()];
    println!("{failures:?} {webhook:?} {elasticsearch:?} {options:?}");
    let requests = requests.lock().unwrap();
    let secret = std::env::var(IN_ENVIRONMENT).unwrap();
    assert_eq!(requests[0].headers["x-token"], secret);
    assert!(requests[0].headers["x-hub-signature-256"].starts_with("sha256="));
    assert_eq!(requests[1].headers["authorization"], format!("ApiKey {secret}"));
}

#[test]
fn a_secret_can_be_in_the_environment_and_is_not_shown() {
    let name = "sink::tests::trouble::a_daemon_with_a_secret_in_its_environment";
    let said = crate::testing::rerun(name).env(IN_ENVIRONMENT, "hunter2").output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}");
    assert!(text.contains("cannot deliver to") && !text.contains("hunter2"), "{text}");
}
