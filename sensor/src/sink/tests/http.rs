//! Webhook and Alertmanager. Against a real Alertmanager: tests/tests/servers.rs.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::config::Settings;
use crate::sink::network::{Alertmanager, Outcome, Webhook};
use crate::testing::http::{Answer, HttpServer, Request};

/// What status a request gets.
type Status = Box<dyn FnMut(&Request) -> u16 + Send>;

/// What a login page, a proxy's, or the cover page of a server answers.
fn answering(kind: &'static str, body: &'static str) -> HttpServer {
    HttpServer::start(move |_| Answer::Reply(200, kind, body.to_owned()))
}

/// A server that keeps what it gets, and refuses what it is told to.
struct Server {
    http: HttpServer,
    requests: Arc<Mutex<Vec<Request>>>,
    status: Arc<Mutex<Status>>,
}

impl Server {
    fn start() -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let status: Arc<Mutex<Status>> = Arc::new(Mutex::new(Box::new(|_| 200)));
        let (their_requests, their_status) = (Arc::clone(&requests), Arc::clone(&status));
        let http = HttpServer::start(move |request| {
            let status = their_status.lock().unwrap()(&request);
            if status < 300 {
                their_requests.lock().unwrap().push(request);
            }
            Answer::json(status, &json!({"message": "this is a test"}))
        });
        Self { http, requests, status }
    }

    fn answer(&self, status: impl FnMut(&Request) -> u16 + Send + 'static) {
        *self.status.lock().unwrap() = Box::new(status);
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Every alert that it took, in order.
    fn alerts(&self) -> Vec<Value> {
        let bodies =
            self.requests().into_iter().map(|request| serde_json::from_slice(&request.body).unwrap());
        bodies
            .flat_map(|body: Value| match body {
                Value::Array(alerts) => alerts,
                alert => vec![alert],
            })
            .collect()
    }
}

pub(super) struct WebhookRig {
    server: Server,
    received: usize,
}

impl WebhookRig {
    pub(super) fn new() -> Self {
        Self { server: Server::start(), received: 0 }
    }
}

impl Rig for WebhookRig {
    fn sinks(&self) -> Sinks {
        let sink: Box<dyn NetworkSink> = Box::new(webhook(&self.server, ""));
        sink.into()
    }

    fn name(&self) -> &'static str {
        "webhook"
    }

    fn receive(&mut self) -> usize {
        self.received += 1;
        wait_for(&true, || self.server.alerts().len() >= self.received);
        self.server.alerts()[self.received - 1]["id"].as_str().unwrap().parse().unwrap()
    }

    fn obstruct(&mut self) {
        self.server.http.stop();
    }
}

pub(super) struct AlertmanagerRig(WebhookRig);

impl AlertmanagerRig {
    pub(super) fn new() -> Self {
        Self(WebhookRig::new())
    }
}

impl Rig for AlertmanagerRig {
    fn sinks(&self) -> Sinks {
        let sink: Box<dyn NetworkSink> = Box::new(alertmanager(&[&self.0.server], ""));
        sink.into()
    }

    fn name(&self) -> &'static str {
        "alertmanager"
    }

    fn receive(&mut self) -> usize {
        self.0.received += 1;
        wait_for(&true, || self.0.server.alerts().len() >= self.0.received);
        self.0.server.alerts()[self.0.received - 1]["labels"]["alert_id"].as_str().unwrap().parse().unwrap()
    }

    fn obstruct(&mut self) {
        self.0.obstruct();
    }
}

fn settings(text: String) -> OutputOptions {
    Settings::parse(Path::new("/etc/ldsentry.toml"), text).unwrap().output
}

fn webhook(server: &Server, more: &str) -> Webhook {
    let url = server.http.url();
    let text = format!("[output.webhook]\nurl = '{url}/hook?tenant=1'\n{more}\n");
    Webhook::new(&settings(text).webhook.unwrap())
}

fn alertmanager(servers: &[&Server], more: &str) -> Alertmanager {
    let urls: Vec<_> = servers.iter().map(|server| server.http.url()).collect();
    let text = format!("[output.alertmanager]\nurls = {urls:?}\n{more}\n");
    Alertmanager::new(&settings(text).alertmanager.unwrap())
}

fn batch(numbers: std::ops::Range<usize>) -> Vec<Arc<spool::Spooled>> {
    numbers.map(|number| spooled(&alert(number))).collect()
}

#[test]
fn a_webhook_gets_the_list_with_headers_and_signature() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let secret = |name: &str, value: &str| {
        let path = directory.path().join(name);
        fs::write(&path, value).unwrap();
        format!("{{ file = '{}' }}", path.display())
    };
    let mut sink = webhook(
        &server,
        &format!(
            "hmac_secret = {}\nheaders = {{ X-Tenant = 'blue' }}\nsecret_headers = {{ Authorization = {} }}",
            secret("hmac", "key\n"),
            secret("token", "Bearer one\n"),
        ),
    );
    assert_eq!(sink.deliver(&batch(0..2)).unwrap(), vec![Outcome::Delivered; 2]);
    secret("token", "Bearer two\n");
    sink.deliver(&batch(2..3)).unwrap();
    secret("hmac", "other\n");
    sink.deliver(&batch(3..4)).unwrap();
    let [first, second, third] = &server.requests()[..] else { panic!("three requests") };
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/hook?tenant=1"));
    assert_eq!(first.headers["content-type"], "application/json");
    assert_eq!(
        (first.headers["x-tenant"].as_str(), first.headers["authorization"].as_str()),
        ("blue", "Bearer one")
    );
    assert_eq!(second.headers["authorization"], "Bearer two");
    // Computed with `openssl dgst -sha256 -hmac key`.
    assert_eq!(second.body, br#"[{"id":"2","padding":""}]"#);
    assert_eq!(
        second.headers["x-hub-signature-256"],
        "sha256=3389fd8ab345d7eb93f744288815d123cf848af23bcced59a9d086fd3eb38225"
    );
    // With another key.
    assert_eq!(third.body, br#"[{"id":"3","padding":""}]"#);
    assert_eq!(
        third.headers["x-hub-signature-256"],
        "sha256=7c2902ed5b3f88c612aeb36f0ce49e1f65499ca44a0cd8c36987140f3c2763a7"
    );
}

#[test]
fn a_webhook_can_get_one_alert_a_request() {
    let server = Server::start();
    let metrics = Metrics::default();
    let sink: Box<dyn NetworkSink> = Box::new(webhook(&server, "body = 'single'"));
    let outputs = start(sink, &metrics);
    (0..3).for_each(|number| outputs.send(&alert(number)));
    assert_eq!(outputs.close(PATIENCE), 0);
    let requests = server.requests();
    let found: Vec<_> = requests.iter().map(|request| request.headers["idempotency-key"].as_str()).collect();
    assert_eq!(found, ["0", "1", "2"]);
    assert_eq!(requests[0].body, alert(0).to_line().as_bytes());
}

#[test]
fn what_a_webhook_refuses_does_not_take_the_others_with_it() {
    let server = Server::start();
    let mut sink = webhook(&server, "");
    server.answer(|request| if String::from_utf8_lossy(&request.body).contains("\"3\"") { 422 } else { 204 });
    let outcomes = sink.deliver(&batch(0..5)).unwrap();
    let refused =
        Outcome::Rejected("the server answered 422 Unprocessable Entity: this is a test".to_owned());
    assert_eq!(outcomes.iter().position(|outcome| *outcome == refused), Some(3), "{outcomes:?}");
    assert_eq!(server.alerts().len(), 4);
    for (status, kept) in
        [(401, true), (404, true), (408, true), (429, true), (500, true), (301, true), (409, false)]
    {
        server.answer(move |_| status);
        assert_eq!(sink.deliver(&batch(0..1)).is_err(), kept, "{status}");
    }
}

#[test]
fn a_page_that_comes_with_200_is_no_delivery() {
    let page = "\r\n<!DOCTYPE html><title>Log in</title>";
    for (kind, body, is_page) in [
        ("text/html", page, true),
        ("Text/HTML; charset=utf-8", page, true),
        // As web frameworks answer if a handler gives a short text or none.
        ("text/html; charset=utf-8", "ok", false),
        ("text/html", "", false),
        ("application/xml", "<ok/>", false),
    ] {
        let server = answering(kind, body);
        let section = format!("[output.webhook]\nurl = '{}/hook?tenant=1'\n", server.url());
        let mut webhook = Webhook::new(&settings(section).webhook.unwrap());
        let section = format!("[output.alertmanager]\nurls = ['{}']\n", server.url());
        let mut alertmanager = Alertmanager::new(&settings(section).alertmanager.unwrap());
        let of_webhook = webhook.deliver(&batch(0..2));
        let of_alertmanager = alertmanager.deliver(&batch(0..2));
        if !is_page {
            assert_eq!(of_webhook.unwrap(), vec![Outcome::Delivered; 2], "{kind} {body}");
            assert_eq!(of_alertmanager.unwrap(), vec![Outcome::Delivered; 2], "{kind} {body}");
            continue;
        }
        for (failure, url, what) in [
            (of_webhook.unwrap_err(), server.url() + "/hook", "a webhook"),
            (of_alertmanager.unwrap_err(), server.url(), "an Alertmanager"),
        ] {
            assert_eq!(
                failure.to_string(),
                format!(
                    "cannot deliver to {url}: this is no answer of {what}: the server answered 200 OK: a web page; correct the \
                     URL; what answers there is something else"
                )
            );
        }
    }
}

#[test]
fn no_failure_shows_what_stands_in_the_query() {
    let mut server = Server::start();
    let mut sink = webhook(&server, "timeout = '200ms'");
    let mut failures = Vec::new();
    for status in [301, 401, 404, 500] {
        server.answer(move |_| status);
        failures.push(sink.deliver(&batch(0..1)).unwrap_err().to_string());
    }
    server.http.stop();
    failures.push(sink.deliver(&batch(0..1)).unwrap_err().to_string());
    for failure in failures {
        assert!(failure.contains("/hook") && !failure.contains("tenant"), "{failure}");
    }
}

/// Labels and annotations are for somebody to act upon; a state is nothing to act upon.
#[test]
fn an_alertmanager_gets_no_documents_about_the_state_of_a_host() {
    let server = Server::start();
    let document = |id: &str, kind: &str| {
        let line = json!({"event": {"kind": kind}, "kibana.alert.rule.name": "Rule"}).to_string();
        Arc::new(spool::Spooled { time: 0, id: id.to_owned(), line, is_summary: false })
    };
    let documents = [document("1", "state"), document("2", "signal"), document("3", "state")];
    let outcomes = alertmanager(&[&server], "").deliver(&documents).unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 3]);
    let alerts = server.alerts();
    let ids: Vec<_> = alerts.iter().map(|alert| alert["labels"]["alert_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["2"]);
}

#[test]
fn an_alertmanager_gets_labels_and_annotations_of_its_kind() {
    let server = Server::start();
    let document = json!({
        "@timestamp": "2026-11-23T09:15:00.5Z",
        "host": {"name": "h1"},
        "file": {"path": "/etc/ld.so.preload"},
        "kibana.alert.rule.name": "Dynamic Linker Creation or Modification",
        "kibana.alert.severity": "medium",
        "kibana.alert.reason": "file event created medium alert",
    });
    let alert = Arc::new(spool::Spooled {
        time: 0,
        id: "17".to_owned(),
        line: document.to_string(),
        is_summary: false,
    });
    let before = jiff::Timestamp::now();
    alertmanager(&[&server], "firing = '2h'\nlabels = { team = 'security' }").deliver(&[alert]).unwrap();
    assert_eq!(server.requests()[0].path, "/api/v2/alerts");
    let mut alerts = server.alerts();
    let end: jiff::Timestamp = alerts[0]["endsAt"].take().as_str().unwrap().parse().unwrap();
    let firing = end.duration_since(before).as_secs();
    assert!((7200..7260).contains(&firing), "{firing}");
    assert_eq!(
        alerts,
        [json!({
            "labels": {
                "alertname": "Dynamic Linker Creation or Modification",
                "alert_id": "17",
                "severity": "medium",
                "host": "h1",
                "file_path": "/etc/ld.so.preload",
                "team": "security",
            },
            "annotations": {"summary": "file event created medium alert"},
            "startsAt": "2026-11-23T09:15:00.5Z",
            "endsAt": null,
        })]
    );
}

#[test]
fn every_member_of_an_alertmanager_cluster_gets_all_and_one_is_enough() {
    let (first, mut second) = (Server::start(), Server::start());
    let mut sink = alertmanager(&[&first, &second], "");
    sink.deliver(&batch(0..1)).unwrap();
    assert_eq!((first.alerts().len(), second.alerts().len()), (1, 1));
    second.http.stop();
    assert_eq!(sink.deliver(&batch(1..2)).unwrap(), [Outcome::Delivered]);
    first.answer(|_| 500);
    sink.deliver(&batch(2..3)).unwrap_err();
    second.http.restart();
    second.answer(|_| 400);
    first.answer(|_| 400);
    let outcomes = sink.deliver(&batch(3..5)).unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Rejected(_))), "{outcomes:?}");
}
