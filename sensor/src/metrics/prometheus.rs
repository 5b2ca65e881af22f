//! The text that Prometheus scrapes.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Family, Kind, Metrics};

/// What [`encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as `OpenMetrics` text.
pub(super) fn encode(metrics: &Metrics) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics.clone()));
    let mut encoded = String::new();
    // A string takes everything.
    let _ = text::encode(&mut encoded, &registry);
    encoded
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut families: BTreeMap<Family, Vec<(Vec<String>, u64)>> = BTreeMap::new();
        for (series, value) in self.snapshot() {
            families.entry(series.family).or_default().push((series.labels, value));
        }
        for (family, series) in families {
            let kind = match family.kind() {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut descriptor = encoder.encode_descriptor(family.name(), family.help(), None, kind)?;
            for (values, value) in series {
                let labels: Vec<_> =
                    family.labels().iter().zip(&values).map(|(key, value)| (*key, value.as_str())).collect();
                let mut metric = descriptor.encode_family(&labels)?;
                match family.kind() {
                    Kind::Counter => metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                    Kind::Gauge => metric.encode_gauge(&value)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reads_names_help_types_and_labels() {
        let metrics = Metrics::default();
        metrics.suppressed("rule", "process.name == \"a\\b\"").increment();
        metrics.spool_bytes().set(4096);
        let text = encode(&metrics);
        for line in [
            "# TYPE ldsentry_events_lost counter",
            "ldsentry_events_lost_total{reason=\"ring_full\"} 0",
            r#"ldsentry_alerts_suppressed_total{rule_id="rule",clause="process.name == \"a\\b\""} 1"#,
            "# TYPE ldsentry_spool_bytes gauge",
            "ldsentry_spool_bytes 4096",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
