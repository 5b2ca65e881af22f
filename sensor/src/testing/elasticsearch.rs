//! Elasticsearch's `_bulk` and the management of templates, as the documentation has them, errors included.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::http::{Answer, HttpServer, Request};

/// How a request is to be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The whole request gets this status.
    Status(u16),
    /// Something that is no Elasticsearch answers.
    WebPage,
    /// It is done, and the reply ends in its middle.
    CutReply,
    /// It is done, and there is no reply.
    Hang,
    /// The item with this id gets this status and error type; the others are done.
    Item(&'static str, u16, &'static str),
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Ids in the order in which they came, and each only once.
    pub(crate) created: Vec<String>,
    /// Index and document by id.
    pub(crate) documents: BTreeMap<String, (String, Value)>,
    /// How often something came that was there.
    pub(crate) conflicts: usize,
    /// For the next requests, one each.
    pub(crate) faults: VecDeque<Fault>,
    /// For every request, once there are no others.
    pub(crate) always: Option<Fault>,
    pub(crate) requests: usize,
    /// Value of the header that is asked for.
    pub(crate) authorization: Option<String>,
    pub(crate) longest_body: Option<usize>,
    /// What was put elsewhere, by path.
    pub(crate) put: BTreeMap<String, Value>,
    pub(crate) compressed: bool,
}

pub(crate) struct Elasticsearch {
    pub(crate) server: HttpServer,
    state: Arc<Mutex<State>>,
}

impl Elasticsearch {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    pub(crate) fn start_with(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let theirs = Arc::clone(&state);
        let server = HttpServer::start_with(move |request| theirs.lock().unwrap().answer(&request), tls);
        Self { server, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        self.requests += 1;
        let found = request.headers.get("authorization");
        if self.authorization.is_some() && found != self.authorization.as_ref() {
            return error(401, "security_exception", "unable to authenticate");
        }
        if request.method == "PUT" {
            let template: Value = serde_json::from_slice(&request.body).unwrap();
            for part in template["composed_of"].as_array().into_iter().flatten() {
                let path = format!("/_component_template/{}", part.as_str().unwrap());
                if !self.put.contains_key(&path) {
                    return error(
                        400,
                        "invalid_index_template_exception",
                        "component templates do not exist",
                    );
                }
            }
            self.put.insert(request.path.clone(), template);
            return Answer::json(200, &json!({"acknowledged": true}));
        }
        assert_eq!((request.method.as_str(), request.path.split('?').next()), ("POST", Some("/_bulk")));
        assert_eq!(request.headers["content-type"], "application/x-ndjson");
        self.compressed = request.headers.contains_key("content-encoding");
        if self.longest_body.is_some_and(|longest| request.body.len() > longest) {
            return Answer::Reply(413, "text/plain", String::new());
        }
        let fault = self.faults.pop_front().or_else(|| self.always.clone());
        match fault {
            Some(Fault::Status(status)) => error(status, "some_exception", "this is a test"),
            Some(Fault::WebPage) => Answer::Reply(200, "text/html", "<html>Welcome</html>".to_owned()),
            Some(Fault::CutReply) => Answer::Cut(self.bulk(request, None).to_string()),
            Some(Fault::Hang) => {
                self.bulk(request, None);
                Answer::Hang
            }
            other => Answer::json(200, &self.bulk(request, other.as_ref())),
        }
    }

    fn bulk(&mut self, request: &Request, fault: Option<&Fault>) -> Value {
        let mut text = String::new();
        if self.compressed {
            flate2::read::GzDecoder::new(request.body.as_slice()).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(request.body.clone()).unwrap();
        }
        assert!(text.ends_with('\n'), "a bulk request ends with a line end");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let items: Vec<Value> = lines
            .chunks(2)
            .map(|pair| {
                let [action, document] = pair else { panic!("an action without a document") };
                let id = action["create"]["_id"].as_str().unwrap();
                let index = action["create"]["_index"].as_str().unwrap();
                json!({"create": self.create(index, id, document, fault)})
            })
            .collect();
        let errors = items.iter().any(|item| item["create"]["error"].is_object());
        json!({"errors": errors, "items": items})
    }

    fn create(&mut self, index: &str, id: &str, document: &Value, fault: Option<&Fault>) -> Value {
        let refuse = |status: u16, kind: &str, reason: &str| json!({"status": status, "error": {"type": kind, "reason": reason}});
        match fault {
            Some(Fault::Item(faulty, status, kind)) if *faulty == id => {
                return refuse(*status, kind, "this is a test");
            }
            _ => {}
        }
        if self.documents.contains_key(id) {
            self.conflicts += 1;
            let reason = format!("[{id}]: version conflict, document already exists (current version [1])");
            return refuse(409, "version_conflict_engine_exception", &reason);
        }
        self.created.push(id.to_owned());
        self.documents.insert(id.to_owned(), (index.to_owned(), document.clone()));
        json!({"status": 201})
    }
}

fn error(status: u16, kind: &str, reason: &str) -> Answer {
    Answer::json(status, &json!({"error": {"type": kind, "reason": reason}, "status": status}))
}
