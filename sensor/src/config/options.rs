//! The configuration file as it is written: each key, its default and its meaning.
//!
//! The doc comments here are what `ldsentry config schema` and docs/config.md say to users.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::DEFAULT_PINS;
use super::network::{
    AlertmanagerOptions, ElasticsearchOptions, SpoolOptions, SyslogOptions, WebhookOptions,
};
use super::value::{Date, DirectoryOrOff, FileMode, Interval, RingBytes, RuleSource, Span};

/// Configuration of ldsentry. Relative paths are relative to the directory of the configuration file.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Options {
    pub(super) sensor: SensorOptions,
    pub(super) rules: RulesOptions,
    pub(super) exceptions: Vec<ExceptionOptions>,
    pub(super) output: OutputOptions,
    pub(super) spool: SpoolOptions,
    #[schemars(with = "MetricsOptions")]
    pub(super) metrics: Option<MetricsOptions>,
    pub(super) log: LogOptions,
}

/// How the kernel is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SensorOptions {
    /// What delivers the events.
    pub source: Source,
    /// How eBPF programs are attached to the kernel's functions.
    pub attach: Attach,
    /// File with the kernel's type information (BTF), for kernels that have no `/sys/kernel/btf/vmlinux`.
    #[schemars(with = "PathBuf")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btf: Option<PathBuf>,
    /// Size of the ring buffer between kernel and daemon, a power of two. What does not fit is lost, and
    /// counted in `ldsentry_events_lost_total`.
    pub ring_bytes: RingBytes,
    /// What is told at the start of the files that rules are about and that are there already.
    pub inventory: Inventory,
    /// How long an event waits for the kernel to say whether its operation succeeded; after that its
    /// `event.outcome` is `unknown`.
    pub outcome_timeout: Span,
    /// How often the sensor makes a file of its own, below `/run/ldsentry`, and must see it: at start, and then in this
    /// interval, or `"off"`. If it does not, it raises an alert and ends with exit code 4.
    pub self_test: Interval,
    /// How often each output but Alertmanager gets a document with `event.action: heartbeat`, so that a host from which none comes any
    /// more is found; or `"off"`.
    pub heartbeat: Interval,
    /// Whether the daemon gives up what it no longer needs once everything is attached, so that whoever takes it over has little:
    /// docs/privileges.md. What would need more than is left takes a restart, and a reload is refused: rules for actions that no
    /// rule in force is about, the first output that leaves the host, files in other directories.
    pub sandbox: Sandbox,
    /// Directory in a BPF file system in which programs and maps are pinned, so that the kernel goes on collecting while the
    /// daemon is restarted, killed or upgraded, and until `ldsentry unload`; or `"off"`. Where there is no such file system, the
    /// daemon says so and does without.
    pub pins: DirectoryOrOff,
}

impl Default for SensorOptions {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            attach: Attach::Auto,
            btf: None,
            ring_bytes: RingBytes::DEFAULT,
            inventory: Inventory::Off,
            outcome_timeout: Span::from_secs(1),
            self_test: Interval::from_secs(5 * 60),
            heartbeat: Interval::OFF,
            sandbox: Sandbox::On,
            pins: DEFAULT_PINS.to_owned().into(),
        }
    }
}

/// What is told at the start of files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Inventory {
    /// Nothing.
    Off,
    /// A document with `event.kind: state` for each, with owner, times, hash and first bytes; and for each file that
    /// `/etc/ld.so.preload` or an `include` of `/etc/ld.so.conf` names. Alertmanager gets none.
    State,
    /// The same, and an alert if `/etc/ld.so.preload` is there.
    Alert,
}

/// What delivers the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// eBPF programs if the kernel takes them, else fanotify.
    Auto,
    /// eBPF programs.
    Ebpf,
    /// fanotify, which works on more kernels and sees less.
    Fanotify,
}

/// Whether the daemon gives up what it no longer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// Capabilities, system calls and writing outside its own directories, as far as the kernel can take them; what it cannot
    /// is said at start.
    On,
    /// Nothing. A reload attaches what new rules need, and connects and writes to where new outputs want it.
    Off,
}

/// How eBPF programs are attached to the kernel's functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// fentry where it works, else kprobe.
    Auto,
    /// fentry: the cheapest; needs BTF and a BPF trampoline.
    Fentry,
    /// kprobe: works on more kernels.
    Kprobe,
}

/// Which rules are loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesOptions {
    /// Directories of rule files; `"builtin"` stands for the rules in the binary.
    pub dirs: Vec<RuleSource>,
    /// Which exclusions of rules are honoured only if the executable is trusted: owned by root, not writable by its group or
    /// others, still linked, no memfd, not in an overlay's upper layer, and in the host's mount namespace or in an image's own
    /// layer. What is not honoured raises an alert that says so; docs/exclusions.md has the details.
    pub trusted_exclusions: TrustedExclusions,
}

impl Default for RulesOptions {
    fn default() -> Self {
        Self { dirs: vec![RuleSource::Builtin], trusted_exclusions: TrustedExclusions::Names }
    }
}

/// Which exclusions of rules are honoured only if the executable is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrustedExclusions {
    /// None: a rule's text alone decides.
    Off,
    /// Those by `process.name`, which everybody can give to a file.
    #[default]
    Names,
    /// Those by `process.name` and those by `process.executable`, also `process.executable == null`.
    All,
}

/// An exception: what a rule would alert on, but here is known to be fine.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionOptions {
    /// Name of the exception, unique; counters and logs show it.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// Ids or names of the rules that it holds for.
    #[schemars(with = "Vec<String>")]
    pub(super) rules: Vec<Spanned<String>>,
    /// EQL condition on the event, as it would stand after `where`.
    #[schemars(with = "String")]
    pub(super) condition: Spanned<String>,
    /// Why this is fine, for whoever reads it next year.
    #[schemars(with = "String")]
    pub(super) reason: Spanned<String>,
    /// Last day on which it holds (UTC). Without it, it holds until it is removed.
    #[serde(default)]
    #[schemars(with = "Date")]
    pub(super) expires: Option<Date>,
}

/// Where alerts go. Several outputs can be on at once; a slow or dead one delays no other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutputOptions {
    /// Standard output.
    pub stdout: StdoutOptions,
    /// A file of NDJSON, one alert a line. On if the section is there.
    #[schemars(with = "FileOptions")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileOptions>,
    /// A file of NDJSON for what raised no alert because of an exclusion, an exception or because it failed: the event, one a line, with
    /// the rule and the clause in `ldsentry.suppressed`. On if the section is there.
    #[schemars(with = "FileOptions")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<FileOptions>,
    /// Elasticsearch, through `_bulk`. On if the section is there.
    #[schemars(with = "ElasticsearchOptions")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<ElasticsearchOptions>,
    /// A syslog server, in the format of RFC 5424. On if the section is there.
    #[schemars(with = "SyslogOptions")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogOptions>,
    /// An HTTP server that takes alerts as JSON. On if the section is there.
    #[schemars(with = "WebhookOptions")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookOptions>,
    /// Prometheus' Alertmanager. On if the section is there.
    #[schemars(with = "AlertmanagerOptions")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<AlertmanagerOptions>,
}

impl OutputOptions {
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Self { stdout: _, file, suppressed, elasticsearch, syslog, webhook, alertmanager } = self;
        let files = file.iter_mut().chain(suppressed).map(|file| &mut file.path);
        files.chain(network_paths(elasticsearch, syslog, webhook, alertmanager))
    }

    /// Whether anything leaves the host.
    pub fn has_network(&self) -> bool {
        let Self { elasticsearch, syslog, webhook, alertmanager, .. } = self;
        elasticsearch.is_some() || syslog.is_some() || webhook.is_some() || alertmanager.is_some()
    }

    /// Files with secrets and certificates.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let Self { elasticsearch, syslog, webhook, alertmanager, .. } = &mut self.clone();
        network_paths(elasticsearch, syslog, webhook, alertmanager).map(std::mem::take).collect()
    }

    /// What is contradictory or missing: the section, the matter, and what to do.
    pub(super) fn faults(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        let sections = [
            ("elasticsearch", self.elasticsearch.as_ref().and_then(ElasticsearchOptions::fault)),
            ("syslog", self.syslog.as_ref().and_then(SyslogOptions::fault)),
            ("webhook", self.webhook.as_ref().and_then(WebhookOptions::fault)),
            ("alertmanager", self.alertmanager.as_ref().and_then(AlertmanagerOptions::fault)),
        ];
        let faulty = sections.into_iter().filter_map(|(section, fault)| Some((section, fault?)));
        faulty.map(|(section, (message, remedy))| (section, message, remedy)).collect()
    }
}

fn network_paths<'o>(
    elasticsearch: &'o mut Option<ElasticsearchOptions>,
    syslog: &'o mut Option<SyslogOptions>,
    webhook: &'o mut Option<WebhookOptions>,
    alertmanager: &'o mut Option<AlertmanagerOptions>,
) -> impl Iterator<Item = &'o mut PathBuf> {
    let elasticsearch = elasticsearch.iter_mut().flat_map(ElasticsearchOptions::paths);
    let syslog = syslog.iter_mut().flat_map(SyslogOptions::paths);
    let webhook = webhook.iter_mut().flat_map(WebhookOptions::paths);
    let alertmanager = alertmanager.iter_mut().flat_map(AlertmanagerOptions::paths);
    elasticsearch.chain(syslog).chain(webhook).chain(alertmanager)
}

/// Standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StdoutOptions {
    /// Whether alerts are printed.
    pub enabled: bool,
    /// How alerts look.
    pub format: Format,
}

impl Default for StdoutOptions {
    fn default() -> Self {
        Self { enabled: true, format: Format::Auto }
    }
}

/// How alerts look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Pretty on a terminal, else NDJSON.
    Auto,
    /// For people.
    Pretty,
    /// One JSON document a line.
    Ndjson,
}

/// A file of NDJSON, one alert a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileOptions {
    /// The file; its directory must exist. It may be renamed or truncated by logrotate at any time.
    pub path: PathBuf,
    /// Permissions of the file if it has to be created.
    #[serde(default = "private")]
    pub mode: FileMode,
    /// Size in bytes beyond which the file does not grow: before an alert that would make it longer, it is renamed to
    /// `PATH.1`, what was `PATH.1` to `PATH.2`, and so on.
    #[schemars(with = "NonZeroU64")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_bytes: Option<NonZeroU64>,
    /// Age at which the next alert goes into a new file, such as `"24h"`.
    #[schemars(with = "Span")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_age: Option<Span>,
    /// How many renamed files are kept; the oldest is then overwritten.
    #[serde(default = "five")]
    pub rotate_keep: NonZeroU32,
}

fn private() -> FileMode {
    FileMode::PRIVATE
}

fn five() -> NonZeroU32 {
    const { NonZeroU32::new(5).unwrap() }
}

/// `/metrics` for Prometheus, `/healthz` and `/readyz`, over HTTP. On if the section is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsOptions {
    /// Address and port. Whoever reaches it can read the metrics; other than loopback addresses are for networks in which
    /// that is fine.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 9477).into() }
    }
}

/// What the daemon says about itself, on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogOptions {
    /// The least severe messages that are shown. From `debug` on, the programs in the kernel say what did not go as it
    /// should. The environment variable `LDSENTRY_LOG` overrides it.
    pub level: Level,
    /// How messages look.
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { level: Level::Info, format: LogFormat::Text }
    }
}

/// Severity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the levels' usual names")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text.
    Text,
    /// A JSON object a line.
    Json,
}
