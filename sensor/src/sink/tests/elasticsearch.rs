//! Elasticsearch: what is sent, and what each answer means.

use serde_json::{Value, json};

use super::fields::{leaves, mapped_fields, own_documents, sample_alert, sample_events};
use super::*;
use crate::config::{ElasticsearchOptions, Settings};
use crate::sink::network::Outcome;
use crate::testing::certificates::Certificates;
use crate::testing::elasticsearch::{Elasticsearch as Server, Fault};

pub(super) struct ElasticsearchRig {
    server: Server,
    received: usize,
}

impl ElasticsearchRig {
    pub(super) fn new() -> Self {
        Self { server: Server::start(), received: 0 }
    }
}

impl Rig for ElasticsearchRig {
    fn sinks(&self) -> Sinks {
        sink_for(&self.server).into()
    }

    fn name(&self) -> &'static str {
        "elasticsearch"
    }

    fn receive(&mut self) -> usize {
        self.received += 1;
        wait_for(&true, || self.server.state().created.len() >= self.received);
        self.server.state().created[self.received - 1].parse().unwrap()
    }

    fn obstruct(&mut self) {
        self.server.server.stop();
    }
}

/// One whose patience with a server that hangs is short.
pub(super) fn sink_for(server: &Server) -> Box<dyn NetworkSink> {
    Box::new(sink(&options(&server.server.url(), "timeout = '500ms'")))
}

/// The options of a section with one URL and `more`.
pub(super) fn options(url: &str, more: &str) -> ElasticsearchOptions {
    let text = format!("[output.elasticsearch]\nurls = ['{url}']\n{more}\n");
    Settings::parse(Path::new("/etc/ldsentry.toml"), text).unwrap().output.elasticsearch.unwrap()
}

fn sink(options: &ElasticsearchOptions) -> Elasticsearch {
    Elasticsearch::new(options)
}

fn batch(numbers: std::ops::Range<usize>) -> Vec<Arc<spool::Spooled>> {
    numbers.map(|number| spooled(&alert(number))).collect()
}

#[test]
fn alerts_are_created_under_their_ids_in_the_data_stream_and_once() {
    let server = Server::start();
    let mut sink = sink(&options(&server.server.url(), "data_stream = 'logs-ldsentry.alerts-prod'"));
    let outcomes = sink.deliver(&batch(0..3)).unwrap();
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered, Outcome::Delivered]);
    // As after a reply that was lost.
    assert_eq!(sink.deliver(&batch(2..4)).unwrap(), [Outcome::Delivered, Outcome::Delivered]);
    let state = server.state();
    assert_eq!(
        (state.created.as_slice(), state.conflicts),
        (["0", "1", "2", "3"].map(String::from).as_slice(), 1)
    );
    assert!(state.compressed);
    let (index, document) = &state.documents["1"];
    assert_eq!(index, "logs-ldsentry.alerts-prod");
    assert_eq!(document["id"], "1");
    let stream = json!({"type": "logs", "dataset": "ldsentry.alerts", "namespace": "prod"});
    assert_eq!(document["data_stream"], stream, "constant in that stream");
}

#[test]
fn each_alert_has_an_outcome_of_its_own() {
    let server = Server::start();
    let mut sink = sink(&options(&server.server.url(), "gzip = false"));
    let mut outcome = |fault| {
        server.state().faults.push_back(fault);
        let mut outcomes = sink.deliver(&batch(0..2)).unwrap();
        assert_eq!(outcomes.remove(0), Outcome::Delivered, "the other one is not concerned");
        outcomes.remove(0)
    };
    let later = |reason: &str| Outcome::Later(reason.to_owned());
    let rejected = |reason: &str| Outcome::Rejected(reason.to_owned());
    assert_eq!(
        outcome(Fault::Item("1", 429, "es_rejected_execution_exception")),
        later("es_rejected_execution_exception: this is a test")
    );
    assert_eq!(outcome(Fault::Item("1", 503, "unavailable")), later("unavailable: this is a test"));
    assert_eq!(
        outcome(Fault::Item("1", 403, "cluster_block_exception")),
        later("cluster_block_exception: this is a test")
    );
    assert_eq!(
        outcome(Fault::Item("1", 400, "document_parsing_exception")),
        rejected("document_parsing_exception: this is a test")
    );
    assert!(!server.state().compressed);
}

#[test]
fn what_is_too_long_is_split_down_to_the_one_that_is() {
    let server = Server::start();
    let mut sink = sink(&options(&server.server.url(), "gzip = false"));
    let mut alerts = batch(0..9);
    alerts.push(spooled(&large_alert(9, 10_000)));
    server.state().longest_body = Some(300);
    let outcomes = sink.deliver(&alerts).unwrap();
    assert_eq!(outcomes[..9], vec![Outcome::Delivered; 9]);
    assert_eq!(outcomes[9], Outcome::Rejected("the server answered 413 Payload Too Large".to_owned()));
    assert_eq!(server.state().created.len(), 9);
}

#[test]
fn what_arrived_before_a_failure_is_known() {
    let server = Server::start();
    let mut sink = sink(&options(&server.server.url(), ""));
    // Split, then the first half works and the second does not.
    server.state().faults.extend([Fault::Status(400), Fault::Item("none", 0, ""), Fault::Status(503)]);
    let outcomes = sink.deliver(&batch(0..2)).unwrap();
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert!(matches!(&outcomes[1], Outcome::Later(reason) if reason.contains("503")), "{outcomes:?}");
}

#[test]
fn every_kind_of_credentials_is_sent_and_read_again_when_it_changes() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let file = format!("{{ file = '{}' }}", path.display());
    let expect = |more: &str, secret: &str, header: &str| {
        let mut sink = sink(&options(&server.server.url(), more));
        fs::write(&path, "outdated\n").unwrap();
        server.state().authorization = Some(header.to_owned());
        let failure = sink.deliver(&batch(0..1)).unwrap_err().to_string();
        assert!(
            failure.contains("401 Unauthorized: unable to authenticate; correct the credentials"),
            "{failure}"
        );
        fs::write(&path, format!("{secret}\n")).unwrap();
        assert_eq!(sink.deliver(&batch(0..1)).unwrap(), [Outcome::Delivered]);
        let shown = format!("{sink:?}");
        let value = header.rsplit(' ').next().unwrap();
        assert!(!shown.contains(secret) && !shown.contains(value), "{shown}");
    };
    expect(&format!("api_key = {file}"), "aWQ6a2V5", "ApiKey aWQ6a2V5");
    expect(&format!("api_key = {file}"), "id:key", "ApiKey aWQ6a2V5");
    expect(&format!("bearer_token = {file}"), "t0ken", "Bearer t0ken");
    expect(&format!("username = 'ldsentry'\npassword = {file}"), "hunter2", "Basic bGRzZW50cnk6aHVudGVyMg==");
}

#[test]
fn certificates_of_both_sides_are_checked() {
    let certificates = Certificates::make();
    let server = Server::start_with(Some(certificates.server(true)));
    let file = |key: &str, name: &str| format!("{key} = '{}'\n", certificates.path(name).display());
    let ca = file("ca_file", "ca.pem");
    let client = file("certificate_file", "client.pem") + &file("key_file", "client.key");
    let deliver = |tls: &str| {
        let more = format!("[output.elasticsearch.tls]\n{tls}");
        let result = sink(&options(&server.server.url(), &more)).deliver(&batch(0..1));
        result.map_err(|failure| failure.to_string().replace(&server.server.url(), "URL"))
    };
    assert_eq!(deliver(&(ca.clone() + &client)).unwrap(), [Outcome::Delivered]);
    let unknown_authority = deliver(&client).unwrap_err();
    assert!(
        unknown_authority.contains("UnknownIssuer") && unknown_authority.contains("`ca_file`"),
        "{unknown_authority}"
    );
    // The refusal can come after the request was sent, so its words vary.
    deliver(&ca).unwrap_err();
}

#[test]
fn another_node_takes_over() {
    let (mut first, second) = (Server::start(), Server::start());
    let mut both = options(&first.server.url(), "");
    both.urls.push(second.server.url().try_into().unwrap());
    let mut sink = sink(&both);
    let counts = || (first.state().requests, second.state().requests);
    sink.deliver(&batch(0..1)).unwrap();
    assert_eq!(counts(), (1, 0));
    first.state().always = Some(Fault::Status(503));
    sink.deliver(&batch(1..2)).unwrap();
    sink.deliver(&batch(2..3)).unwrap();
    assert_eq!(counts(), (2, 2), "the one that answered is asked first");
    second.state().always = Some(Fault::Status(429));
    let failure = sink.deliver(&batch(3..4)).unwrap_err().to_string();
    assert!(failure.contains("503") || failure.contains("429"), "{failure}");
    second.state().always = None;
    first.server.stop();
    assert_eq!(sink.deliver(&batch(3..4)).unwrap(), [Outcome::Delivered]);
}

#[test]
fn failures_name_cause_and_remedy() {
    let mut server = Server::start();
    let url = server.server.url();
    let port = url.rsplit(':').next().unwrap().to_owned();
    let failure = |url: &str| {
        let failure = sink(&options(url, "timeout = '200ms'")).deliver(&batch(0..1)).unwrap_err();
        failure.to_string().replace(&port, "PORT")
    };
    let mut messages = Vec::new();
    for fault in [Fault::WebPage, Fault::Status(403), Fault::Status(503), Fault::CutReply, Fault::Hang] {
        server.state().faults.push_back(fault);
        messages.push(failure(&url));
    }
    messages.push(failure(&url.replace("http:", "https:")));
    messages.push(failure("http://no-such-host.invalid:9200"));
    server.server.stop();
    messages.push(failure(&url));
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn whatever_a_server_answers_is_a_value() {
    let bodies = [
        "",
        "null",
        "[]",
        "{}",
        r#"{"items":[]}"#,
        r#"{"items":[{}]}"#,
        r#"{"items":[{"create":{}}]}"#,
        r#"{"items":[{"create":{"status":99999}}]}"#,
        r#"{"items":{"create":1}}"#,
        "\u{1b}[31mred",
        "\u{0}",
    ];
    for body in bodies {
        let server = crate::testing::http::HttpServer::start(move |_| {
            crate::testing::http::Answer::Reply(200, "application/json", body.to_owned())
        });
        let failure = sink(&options(&server.url(), "")).deliver(&batch(0..1)).unwrap_err().to_string();
        assert!(failure.contains("no answer of Elasticsearch") && !failure.contains('\u{1b}'), "{failure}");
    }
}

#[test]
fn what_the_server_refuses_is_kept_with_the_reason() {
    let server = Server::start();
    server.state().always = Some(Fault::Item("1", 400, "document_parsing_exception"));
    let (metrics, directory) = (Metrics::default(), tempfile::tempdir().unwrap());
    let sink: Box<dyn NetworkSink> = Box::new(sink(&options(&server.server.url(), "")));
    let outputs = Outputs::start(sink.into(), &spool_options(directory.path()), &metrics, TUNING).unwrap();
    (0..3).for_each(|number| outputs.send(&alert(number)));
    outputs.flush();
    outputs.close(PATIENCE);
    let counters = metrics.network_output("elasticsearch");
    assert_eq!(
        (counters.output.delivered.get(), counters.rejected.get(), counters.output.dropped.get()),
        (2, 1, 0)
    );
    assert_eq!(server.state().created, ["0", "2"]);
    let path = directory.path().join("dead-letters.ndjson");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let letter: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(letter["output"], "elasticsearch");
    assert_eq!(letter["reason"], "document_parsing_exception: this is a test");
    assert_eq!(letter["alert"]["id"], "1");
}

const MAPPINGS: &str = "deploy/elasticsearch/ldsentry-ecs-mappings.json";

#[test]
fn the_templates_map_every_field_of_an_alert_with_a_type_that_takes_its_value() {
    let fields = mapped_fields();
    let alerts = sample_events().into_iter().map(|event| sample_alert(&event).document);
    let found: Vec<_> = alerts.chain(own_documents()).flat_map(|document| leaves(&document)).collect();
    assert!(found.len() > 400, "{} values", found.len());
    for (name, value) in found {
        // An empty list, as of a rule without `threat`, has no type.
        if value == json!([]) {
            continue;
        }
        let Some(mapping) = fields.get(&name) else { panic!("{name} is not mapped: add it to {MAPPINGS}") };
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        let fits = |value: &Value| match mapping["type"].as_str().unwrap() {
            "date" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
            "long" => value.is_i64() || value.is_u64(),
            "float" => value.is_number(),
            "boolean" => value.is_boolean(),
            "flattened" => value.is_object(),
            "keyword" => value.is_string() || name == "kibana.alert.rule.version",
            "constant_keyword" | "wildcard" | "match_only_text" => value.is_string(),
            other => panic!("unknown type {other}"),
        };
        assert!(values.iter().all(fits), "{name}: {values:?} is no {mapping}");
    }
    for field in crate::ecs::Field::ALL {
        assert!(fields.contains_key(field.name()), "{} is not mapped: add it to {MAPPINGS}", field.name());
    }
    for (name, mapping) in &fields {
        assert!(
            mapping["type"] != "keyword" || mapping["ignore_above"].is_u64(),
            "{name} has no ignore_above"
        );
    }
}

#[test]
fn setting_up_installs_the_parts_before_the_whole_and_says_what_is_missing() {
    let server = Server::start();
    let options = options(&server.server.url(), "data_stream = 'logs-ldsentry.alerts-prod'");
    let installed = setup_elasticsearch(&options).unwrap();
    assert_eq!(installed.last().unwrap(), "/_index_template/ldsentry-alerts");
    let put = server.state().put.clone();
    let template = &put["/_index_template/ldsentry-alerts"];
    assert_eq!(template["index_patterns"], json!(["logs-ldsentry.alerts-*"]));
    assert_eq!(template["data_stream"], json!({}));
    assert_eq!(put.len(), 4);

    server.state().authorization = Some("ApiKey x".to_owned());
    let failure = setup_elasticsearch(&options).unwrap_err().to_string();
    assert!(
        failure.ends_with("unable to authenticate; correct the credentials in this output's section"),
        "{failure}"
    );
    assert_eq!(elasticsearch_templates("my-index").last().unwrap().1["index_patterns"], json!(["my-index"]));
}
