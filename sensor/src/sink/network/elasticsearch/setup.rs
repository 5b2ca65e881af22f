//! `ldsentry setup elasticsearch`: the index template for alerts, and what it is made of.

use serde_json::{Value, json};

use super::Connection;
use crate::config::ElasticsearchOptions;
use crate::sink::Failure;

/// Name and text, in the order in which they have to be there.
const COMPONENTS: [(&str, &str); 3] = [
    ("ldsentry-ecs-mappings", include_str!("../../../../../deploy/elasticsearch/ldsentry-ecs-mappings.json")),
    (
        "ldsentry-alert-mappings",
        include_str!("../../../../../deploy/elasticsearch/ldsentry-alert-mappings.json"),
    ),
    (
        "ldsentry-alerts-settings",
        include_str!("../../../../../deploy/elasticsearch/ldsentry-alerts-settings.json"),
    ),
];

const TEMPLATE_NAME: &str = "ldsentry-alerts";
const TEMPLATE: &str = include_str!("../../../../../deploy/elasticsearch/ldsentry-alerts.json");

/// The templates were not all installed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(Failure);

/// The path and body of each request that installs the templates for `data_stream`.
pub fn elasticsearch_templates(data_stream: &str) -> Vec<(String, Value)> {
    // They are part of the program, and a test reads them.
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let mut requests: Vec<_> =
        COMPONENTS.iter().map(|(name, text)| (format!("/_component_template/{name}"), parse(text))).collect();
    let mut template = parse(TEMPLATE);
    // A stream of the usual name is one of a set that differ in their namespace.
    let pattern = match data_stream.splitn(3, '-').collect::<Vec<_>>()[..] {
        [kind, dataset, _] => format!("{kind}-{dataset}-*"),
        _ => data_stream.to_owned(),
    };
    template["index_patterns"] = json!([pattern]);
    requests.push((format!("/_index_template/{TEMPLATE_NAME}"), template));
    requests
}

/// Installs the templates in the cluster of `options`, over older ones. Gives what was installed.
pub fn setup_elasticsearch(options: &ElasticsearchOptions) -> Result<Vec<String>, SetupError> {
    let mut connection = Connection::new(options);
    let mut installed = Vec::new();
    for (path, body) in elasticsearch_templates(&options.data_stream) {
        let headers = [("content-type", "application/json".to_owned())];
        let body = body.to_string();
        let (url, reply) = connection.send("PUT", &path, &headers, body.as_bytes()).map_err(SetupError)?;
        let acknowledged = serde_json::from_slice::<Value>(&reply.body).ok();
        match reply.status.as_u16() {
            200 if acknowledged.is_some_and(|reply| reply["acknowledged"] == true) => installed.push(path),
            200 => return Err(SetupError(reply.not_from("Elasticsearch", &url))),
            403 => {
                let remedy = "give the credentials the cluster privilege `manage_index_templates`".to_owned();
                return Err(SetupError(Failure { remedy, ..reply.failure(&url) }));
            }
            _ => return Err(SetupError(reply.failure(&url))),
        }
    }
    Ok(installed)
}
