//! Alerts of the real daemon at real servers: rsyslog, Alertmanager and Prometheus, from Debian's packages.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use integration_tests::lookup;
use integration_tests::native::{Sensor, isolate, run, shell};
use integration_tests::server::{Server, free_port, listens, takes_datagrams, wait_for};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use xtask::servers::Servers;

/// A directory with `etc` in it, for a daemon to watch. None without root.
fn tree() -> Result<Option<TempDir>> {
    if !isolate()? {
        return Ok(None);
    }
    let tree = tempfile::tempdir()?;
    fs::create_dir_all(tree.path().join("etc/ld.so.conf.d"))?;
    Ok(Some(tree))
}

/// A daemon with this output, which reads its spool from the tree.
fn sensor(tree: &Path, output: &str) -> Result<Sensor> {
    let config = tree.join("ldsentry.toml");
    fs::write(&config, format!("[spool]\npath = 'spool.redb'\ndead_letters = 'dead.ndjson'\n{output}\n"))?;
    Sensor::start(tree, &["--source", "fanotify", "--config", &config.display().to_string()])
}

/// Raises an alert. Gives it as standard output has it.
fn attack(sensor: &mut Sensor, tree: &Path) -> Result<Value> {
    shell(tree, "echo /x.so > $T/etc/ld.so.preload")?;
    sensor.alert_for("etc/ld.so.preload")
}

fn text<'a>(alert: &'a Value, field: &str) -> Result<&'a str> {
    lookup(alert, field).and_then(Value::as_str).with_context(|| format!("no {field} in {alert}"))
}

/// An rsyslog with this input, which writes what it understood of each message to `received` in the tree, as JSON.
fn rsyslog(tree: &Path, input: &str, is_ready: impl Fn() -> bool) -> Result<Server> {
    let servers = Servers::prepare()?;
    let (config, received) = (tree.join("rsyslog.conf"), tree.join("received"));
    let text = format!(
        "global(workDirectory=\"{}\")\n{input}\n\
         template(name=\"json\" type=\"list\") {{ property(name=\"jsonmesg\") constant(value=\"\\n\") }}\n\
         action(type=\"omfile\" file=\"{}\" template=\"json\")\n",
        tree.display(),
        received.display()
    );
    fs::write(&config, text)?;
    let mut command = servers.program("usr/sbin/rsyslogd");
    command.arg("-n").arg("-f").arg(&config).arg("-i").arg(tree.join("rsyslog.pid"));
    command.arg("-M").arg(servers.rsyslog_modules());
    Server::start(command, tree, is_ready)
}

/// The alert goes to `address` and is there what it was here.
fn assert_syslog_arrives(rsyslog: &Server, tree: &Path, address: &str, more: &str) -> Result<()> {
    let output = format!("[output.syslog]\naddress = '{address}'\n{more}");
    let mut sensor = sensor(tree, &output)?;
    let alert = attack(&mut sensor, tree)?;
    let received = tree.join("received");
    let id = text(&alert, "kibana.alert.uuid")?;
    let message = wait_for("message with the alert's id", || {
        let text = fs::read_to_string(&received).unwrap_or_default();
        Ok(text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|message| {
            message["structured-data"]
                .as_str()
                .is_some_and(|data| data.contains(&format!("alert_id=\"{id}\"")))
        }))
    })
    .with_context(|| rsyslog.said())?;
    assert_eq!(message["app-name"], "ldsentry");
    assert_eq!(message["protocol-version"], "1");
    assert_eq!(message["hostname"], text(&alert, "host.hostname")?);
    // authpriv and warning.
    assert_eq!((&message["syslogfacility"], &message["syslogseverity"]), (&"10".into(), &"4".into()));
    let said = message["msg"].as_str().unwrap_or_default();
    assert_eq!(said.trim_start_matches('\u{feff}'), text(&alert, "kibana.alert.reason")?);
    let data = message["structured-data"].as_str().unwrap_or_default();
    assert!(data.starts_with("[ldsentry@32473 ") && data.contains(" file_path=\""), "{data}");
    let ended = sensor.end(Signal::TERM)?;
    ensure!(
        ended.counter("ldsentry_output_alerts_total{output=\"syslog\",result=\"delivered\"}")? == 1,
        "{ended:?}"
    );
    Ok(())
}

#[test]
fn rsyslog_understands_datagrams() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let port = free_port()?;
    let input =
        format!("module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")");
    let rsyslog = rsyslog(tree.path(), &input, || takes_datagrams(port))?;
    assert_syslog_arrives(&rsyslog, tree.path(), &format!("udp://127.0.0.1:{port}"), "")
}

#[test]
fn rsyslog_understands_the_unix_socket() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let socket = tree.path().join("log");
    let input = format!(
        "module(load=\"imuxsock\" sysSock.use=\"off\")\n\
         input(type=\"imuxsock\" socket=\"{}\" useSpecialParser=\"off\" parseHostname=\"on\")",
        socket.display()
    );
    let rsyslog = rsyslog(tree.path(), &input, || socket.exists())?;
    assert_syslog_arrives(&rsyslog, tree.path(), &format!("unix://{}", socket.display()), "")
}

#[test]
fn rsyslog_understands_octet_counting_over_tcp() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let port = free_port()?;
    let input =
        format!("module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")");
    let rsyslog = rsyslog(tree.path(), &input, || listens(port))?;
    assert_syslog_arrives(&rsyslog, tree.path(), &format!("tcp://127.0.0.1:{port}"), "")
}

#[test]
fn rsyslog_and_the_sensor_know_each_other_by_certificates() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let path = |name: &str| tree.path().join(name).display().to_string();
    let named = |name: &str| -> Result<CertificateParams> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(params)
    };
    let mut authority = named("authority")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    fs::write(path("ca.pem"), authority.pem())?;
    for name in ["localhost", "client"] {
        let key = KeyPair::generate()?;
        fs::write(path(&format!("{name}.pem")), named(name)?.signed_by(&key, &authority)?.pem())?;
        fs::write(path(&format!("{name}.key")), key.serialize_pem())?;
    }
    let port = free_port()?;
    let input = format!(
        "global(defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{}\" \
         defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\")\n\
         module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" \
         streamDriver.authMode=\"x509/name\" permittedPeer=[\"client\"])\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")",
        path("ca.pem"),
        path("localhost.pem"),
        path("localhost.key"),
    );
    let rsyslog = rsyslog(tree.path(), &input, || listens(port))?;
    let tls =
        "[output.syslog.tls]\nca_file = 'ca.pem'\ncertificate_file = 'client.pem'\nkey_file = 'client.key'";
    assert_syslog_arrives(&rsyslog, tree.path(), &format!("tls://localhost:{port}"), tls)
}

#[test]
fn alertmanager_shows_the_alert_with_labels_to_route_by() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let servers = Servers::prepare()?;
    // It looks for a template there and nowhere else.
    let layers = format!("lowerdir={}:/usr/share", servers.share().display());
    run("mount", ["-t", "overlay", "-o", &layers, "none", "/usr/share"])?;
    let port = free_port()?;
    let config = tree.path().join("alertmanager.yml");
    fs::write(
        &config,
        "route: { receiver: nobody, routes: [ { receiver: security, matchers: [ 'severity=~\"medium|high\"', team=security ] } ] }\n\
         receivers: [ { name: nobody }, { name: security } ]\n",
    )?;
    let mut command = servers.program("usr/bin/prometheus-alertmanager");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", tree.path().join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--cluster.listen-address=");
    let url = format!("http://127.0.0.1:{port}");
    let ready = format!("{url}/-/ready");
    let _alertmanager = Server::start(command, tree.path(), || ureq::get(&ready).call().is_ok())?;

    let output = format!("[output.alertmanager]\nurls = ['{url}']\nlabels = {{ team = 'security' }}");
    let mut sensor = sensor(tree.path(), &output)?;
    let alert = attack(&mut sensor, tree.path())?;
    let id = text(&alert, "kibana.alert.uuid")?;
    let shown = wait_for("alert with that id", || {
        let reply = ureq::get(format!("{url}/api/v2/alerts")).call()?.body_mut().read_to_string()?;
        let alerts: Vec<Value> = serde_json::from_str(&reply)?;
        Ok(alerts.into_iter().find(|shown| shown["labels"]["alert_id"] == id))
    })?;
    assert_eq!(shown["labels"]["alertname"], text(&alert, "kibana.alert.rule.name")?);
    assert_eq!(shown["labels"]["severity"], "medium");
    assert_eq!(shown["labels"]["host"], text(&alert, "host.name")?);
    assert_eq!(shown["labels"]["file_path"], text(&alert, "file.path")?);
    assert_eq!(shown["annotations"]["summary"], text(&alert, "kibana.alert.reason")?);
    assert_eq!(shown["receivers"][0]["name"], "security", "routed by severity and label");
    assert_eq!(shown["status"]["state"], "active");
    sensor.end(Signal::TERM)?;
    Ok(())
}

#[test]
fn the_alerting_rules_are_valid_and_fire_when_they_should() -> Result<()> {
    let servers = Servers::prepare()?;
    let directory = xtask::command::workspace().join("deploy/prometheus");
    for arguments in [["check", "rules", "ldsentry.rules.yml"], ["test", "rules", "ldsentry.test.yml"]] {
        let said = servers.program("usr/bin/promtool").args(arguments).current_dir(&directory).output()?;
        ensure!(said.status.success(), "{said:?}");
    }
    Ok(())
}

#[test]
fn prometheus_scrapes_the_counters() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let servers = Servers::prepare()?;
    let (sensor_port, port) = (free_port()?, free_port()?);
    let config = tree.path().join("prometheus.yml");
    fs::write(
        &config,
        format!(
            "global: {{ scrape_interval: 100ms }}\n\
             rule_files: [ '{}' ]\n\
             scrape_configs: [ {{ job_name: ldsentry, static_configs: [ {{ targets: [ '127.0.0.1:{sensor_port}' ] }} ] }} ]\n",
            xtask::command::workspace().join("deploy/prometheus/ldsentry.rules.yml").display()
        ),
    )?;
    let mut command = servers.program("usr/bin/prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", tree.path().join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let ready = format!("http://127.0.0.1:{port}/-/ready");
    let prometheus = Server::start(command, tree.path(), || ureq::get(&ready).call().is_ok())?;
    let value_of = |query: &str| -> Result<Option<String>> {
        let url = format!("http://127.0.0.1:{port}/api/v1/query");
        let reply = ureq::get(url).query("query", query).call()?.body_mut().read_to_string()?;
        let reply: Value = serde_json::from_str(&reply)?;
        Ok(reply["data"]["result"][0]["value"][1].as_str().map(str::to_owned))
    };

    let output = format!("[metrics]\nlisten = '127.0.0.1:{sensor_port}'");
    let mut sensor = sensor(tree.path(), &output)?;
    let is = |query: &str, expected: &str| {
        wait_for(&format!("{expected} for {query}"), || {
            Ok((value_of(query)?.as_deref() == Some(expected)).then_some(()))
        })
        .with_context(|| prometheus.said())
    };
    is("up{job=\"ldsentry\"}", "1")?;
    is("sum(ldsentry_events_lost_total)", "0")?;
    // There at 0, so that the first alert is an increase.
    is("sum(ldsentry_alerts_total)", "0")?;
    let status = |path: &str| -> Result<u16> {
        Ok(ureq::get(format!("http://127.0.0.1:{sensor_port}{path}")).call()?.status().as_u16())
    };
    assert_eq!((status("/healthz")?, status("/readyz")?), (200, 200));
    attack(&mut sensor, tree.path())?;
    is("sum(ldsentry_alerts_total)", "1")?;
    is("ldsentry_output_alerts_total{output=\"stdout\", result=\"delivered\"}", "1")?;
    let queries = dashboard_queries()?;
    ensure!(queries.len() > 10, "{queries:?}");
    for query in queries {
        value_of(&query).with_context(|| format!("deploy/grafana/ldsentry.json: {query}"))?;
    }
    sensor.end(Signal::TERM)?;
    is("up{job=\"ldsentry\"}", "0")
}

/// The queries of the dashboard for Grafana, with values for its variables.
fn dashboard_queries() -> Result<Vec<String>> {
    let dashboard = fs::read_to_string(xtask::command::workspace().join("deploy/grafana/ldsentry.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.filter_map(|target| target["expr"].as_str());
    Ok(queries
        .map(|query| {
            let query = query.replace("$__rate_interval", "1m").replace("$__range", "1h");
            query.replace("$instance", ".*")
        })
        .collect())
}

#[test]
fn the_sensor_sees_its_own_tests_and_raises_no_alert_about_them() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let port = free_port()?;
    let output = format!("[sensor]\nself_test = '50ms'\n[metrics]\nlisten = '127.0.0.1:{port}'");
    let mut sensor = sensor(tree.path(), &output)?;
    wait_for("third test that was seen", || {
        let text =
            ureq::get(format!("http://127.0.0.1:{port}/metrics")).call()?.body_mut().read_to_string()?;
        let count = text.lines().find_map(|line| line.strip_prefix("ldsentry_self_tests_total "));
        Ok(count.and_then(|count| count.parse::<u32>().ok()).filter(|count| *count >= 3))
    })?;
    let alerts = sensor.others()?;
    ensure!(alerts.is_empty(), "{alerts:?}");
    ensure!(sensor.end(Signal::TERM)?.status.success(), "it ended in peace");
    Ok(())
}
