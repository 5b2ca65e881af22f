use std::path::Path;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

const EXCEPTION: &str = r#"
[[exceptions]]
name = "salt"
rules = ["Dynamic Linker Creation or Modification"]
condition = 'process.executable == "/opt/salt/bin/python"'
reason = "salt manages ld.so.conf.d"
"#;

fn parse(text: &str) -> Result<Settings, ConfigError> {
    Settings::parse(Path::new("/etc/ldsentry/ldsentry.toml"), text.to_owned())
}

/// The message that a user sees for this file.
fn error(text: &str) -> String {
    parse(text).expect_err("this must be refused").to_string()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(parse("").unwrap(), Settings::default());
}

#[test]
fn every_key_can_be_set() {
    let settings = parse(&format!(
        r#"
        [sensor]
        source = "ebpf"
        attach = "kprobe"
        btf = "/boot/btf"
        ring_bytes = 131072
        inventory = "alert"
        outcome_timeout = "250ms"
        self_test = "5m"
        heartbeat = "10m"
        sandbox = "off"
        pins = "off"
        [rules]
        dirs = ["builtin", "rules", "/srv/rules"]
        trusted_exclusions = "all"
        [output.stdout]
        enabled = false
        format = "pretty"
        [output.file]
        path = "/var/log/ldsentry/alerts.ndjson"
        mode = "0640"
        rotate_bytes = 1000000
        rotate_age = "24h"
        rotate_keep = 3
        [output.elasticsearch]
        urls = ["https://es1:9200", "https://es2:9200/below/"]
        data_stream = "logs-ldsentry.alerts-prod"
        event_data_stream = "logs-endpoint.events.file-ldsentry"
        username = "ldsentry"
        password = {{ file = "password" }}
        gzip = false
        batch = 100
        timeout = "10s"
        [output.elasticsearch.tls]
        ca_file = "ca.pem"
        certificate_file = "client.pem"
        key_file = "client.key"
        [output.syslog]
        address = "tls://log.example.com:6514"
        facility = "local3"
        message = "json"
        timeout = "5s"
        [output.syslog.tls]
        ca_file = "/etc/ssl/ca.pem"
        [output.webhook]
        url = "https://hooks.example.com/ldsentry"
        body = "single"
        hmac_secret = {{ env = "HMAC_SECRET" }}
        headers = {{ X-Tenant = "blue" }}
        secret_headers = {{ Authorization = {{ file = "token" }} }}
        [output.alertmanager]
        urls = ["http://alertmanager:9093"]
        labels = {{ team = "security" }}
        firing = "24h"
        [spool]
        path = "/var/lib/ldsentry/spool.redb"
        max_bytes = 1000000
        max_age = "24h"
        [metrics]
        listen = "[::1]:9000"
        [log]
        level = "debug"
        format = "json"
        {EXCEPTION}
        expires = 2027-01-31
        "#
    ))
    .unwrap();
    assert_snapshot!(settings.to_toml());
}

#[test]
fn the_defaults_are_shown_as_a_file() {
    assert_snapshot!(Settings::default().to_toml());
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    let shown = parse(EXCEPTION).unwrap().to_toml();
    assert_eq!(parse(&shown).unwrap().to_toml(), shown);
}

#[test]
fn misspelt_keys_and_choices_are_all_reported_with_the_nearest_name() {
    let text = "[sensor]\natach = \"kprobe\"\nring_byte = 1\nsource = \"epbf\"\n\n[outputs.file]\npath = \"x\"\n\n[output.file]\npath = \"x\"\nmod = \"0600\"\nzzz = 1\n";
    assert_snapshot!(error(text));
}

#[test]
fn wrong_values_say_where_and_what_to_write() {
    let cases = [
        "[sensor]\nring_bytes = 100000",
        "[sensor]\nring_bytes = 4096",
        "[sensor]\nring_bytes = -1",
        "[sensor]\nring_bytes = \"1M\"",
        "[sensor]\noutcome_timeout = \"2 parsecs\"",
        "[sensor]\noutcome_timeout = \"-2s\"",
        "[sensor]\noutcome_timeout = 2",
        "[output.file]\nmode = \"0600\"",
        "[output.file]\npath = \"x\"\nmode = \"rw\"",
        "[output.file]\npath = \"x\"\nmode = \"0400\"",
        "[output.stdout]\nenabled = \"yes\"",
        "[log]\nlevel = \"loud\"",
        "[rules]\ndirs = \"rules\"",
        "sensor = 1",
    ];
    let messages: Vec<_> = cases.map(|case| format!("{case:?}\n  {}", error(case))).into();
    assert_snapshot!(messages.join("\n"));
}

#[test]
fn what_is_not_toml_is_refused_with_its_place() {
    let cases = ["[sensor\n", "[log]\nlevel = info\n", "a = 1\na = 2\n", "[log]\nlevel = \"info"];
    let messages: Vec<_> = cases.map(|case| format!("{case:?}\n  {}", error(case))).into();
    assert_snapshot!(messages.join("\n"));
}

#[test]
fn faulty_exceptions_are_all_reported() {
    let twice = format!("{EXCEPTION}{EXCEPTION}");
    let empty = "[[exceptions]]\nname = \"a\"\nrules = []\ncondition = \" \"\nreason = \"\"\n";
    let missing = "[[exceptions]]\nname = \"a\"\nrules = [\"r\"]\nreason = \"b\"\n";
    let expiry = format!("{EXCEPTION}expires = 2027-01-31T00:00:00Z\n");
    let text_expiry = format!("{EXCEPTION}expires = \"soon\"\n");
    let messages = [&twice, empty, missing, &expiry, &text_expiry].map(error);
    assert_snapshot!(messages.join("\n--\n"));
}

#[test]
fn an_exception_holds_until_its_last_day_is_over() {
    let exception = |line: &str| parse(&format!("{EXCEPTION}{line}\n")).unwrap().exceptions.pop().unwrap();
    let dated = exception("expires = 2027-01-31");
    assert!(!dated.is_expired("2027-01-31T23:59:59Z".parse().unwrap()));
    assert!(dated.is_expired("2027-02-01T00:00:00Z".parse().unwrap()));
    assert!(!exception("").is_expired("2999-01-01T00:00:00Z".parse().unwrap()));
}

#[test]
fn positions_inside_a_condition_are_those_of_the_file() {
    let at = |condition: &str, offset| {
        let text =
            format!("[[exceptions]]\nname = 'a'\nrules = ['r']\nreason = 'b'\ncondition = {condition}\n");
        let exception = parse(&text).unwrap().exceptions.pop().unwrap();
        let position = exception.condition.position_at(offset);
        (position.line, position.column)
    };
    assert_eq!(at("'x == 1'", 2), (5, 16));
    assert_eq!(at("\"x == 1\"", 2), (5, 16));
    assert_eq!(at("'''\nä == 1 and\n y == 2'''", 13), (7, 2), "line and column of `y`, in characters");
    assert_eq!(at("\"x == \\\"a\\\" and y\"", 13), (5, 13), "past an escape: where the value begins");
    assert_eq!(at("'x'", 99), (5, 13), "an offset outside must not panic");
}

#[test]
fn the_command_line_wins() {
    let settings = parse("[sensor]\nattach = 'fentry'\n[output.stdout]\nenabled = false\n").unwrap();
    let unchanged = settings.clone().with_overrides(Overrides::default());
    assert_eq!(unchanged, settings);
    let changed = settings.with_overrides(Overrides {
        rules: vec![RuleSource::from(PathBuf::from("mine"))],
        source: Some(Source::Ebpf),
        attach: Some(Attach::Kprobe),
        btf: Some("btf".into()),
        output: Some(Format::Ndjson),
    });
    assert_eq!(changed.rules.dirs, [RuleSource::Directory("mine".into())]);
    assert_eq!(changed.sensor.source, Source::Ebpf);
    assert_eq!(changed.sensor.attach, Attach::Kprobe);
    assert_eq!(changed.sensor.btf, Some("btf".into()));
    assert_eq!(changed.output.stdout, StdoutOptions { enabled: true, format: Format::Ndjson });
}

#[test]
fn network_outputs_are_refused_with_what_is_wrong() {
    let section = |text: &str| error(&format!("[output.elasticsearch]\n{text}\n"));
    let messages = [
        section("urls = []"),
        section("urls = ['es1:9200']"),
        section("urls = ['ftp://es1']"),
        section("urls = ['https://elastic:hunter2@es1:9200']"),
        section("urls = ['http://es1']\napi_key = 'aWQ6a2V5'"),
        section("urls = ['http://es1']\napi_key = { file = 'a', env = 'B' }"),
        section(
            "urls = ['http://es1']\nbearer_token = { env = 'B' }\nusername = 'me'\npassword = { env = 'C' }",
        ),
        section("urls = ['http://es1']\nusername = 'me'"),
        section("urls = ['http://es1']\ntls.key_file = 'key'"),
        error("[output.syslog]\naddress = 'log.example.com'\n"),
        error("[output.webhook]\nurl = 'https://h'\nheaders = { 'a b' = 'c' }\n"),
        error("[output.alertmanager]\nurls = ['https://h']\nlabels = { 'a-b' = 'c' }\n"),
        error("[output.syslog]\naddress = 'tcp://log.example.com'\n"),
    ];
    assert!(!messages.iter().any(|message| message.contains("hunter2")), "{messages:?}");
    assert_snapshot!(messages.join("\n"));
}

#[test]
fn files_that_cannot_be_read_say_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ldsentry.toml");
    let message = |path: &Path| {
        let text = Settings::load(Some(path)).expect_err("this must be refused").to_string();
        text.replace(directory.path().to_str().unwrap(), "DIR")
    };
    let missing = message(&path);
    std::fs::write(&path, b"\xff").unwrap();
    let binary = message(&path);
    let is_directory = message(directory.path());
    assert_snapshot!([missing, binary, is_directory].join("\n"));
}

#[test]
fn the_checked_in_references_are_current() {
    crate::testing::assert_document_is_current("config.schema.json", &json_schema());
    crate::testing::assert_document_is_current("config.md", &markdown_reference());
}

proptest! {
    #[test]
    fn no_file_panics(text in "(?s)([\\[\\]a-z.=\"'\n 0-9{}#\\\\]|sensor|exceptions|ring_bytes|\\PC){0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn lengths_of_time_read_back(millis in 1_u64..1_000_000_000_000) {
        let span = Span::try_from(format!("{millis}ms")).unwrap();
        prop_assert_eq!(span.get(), std::time::Duration::from_millis(millis));
        prop_assert_eq!(Span::try_from(span.to_string()).unwrap(), span);
    }

    #[test]
    fn ring_sizes_are_what_the_kernel_takes(bytes in any::<i64>()) {
        if let Ok(ring) = RingBytes::try_from(bytes) {
            prop_assert!(ring.get().is_power_of_two() && ring.get().is_multiple_of(65536));
        }
    }
}
