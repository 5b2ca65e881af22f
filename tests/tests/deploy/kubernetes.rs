//! The manifests in `deploy/kubernetes`, as `kubectl` renders them, against the API schemas of Kubernetes' versions.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use xtask::command::workspace;
use xtask::kubernetes::Kubernetes;

const BEFORE_1_30: [&str; 5] = ["1.25", "1.26", "1.27", "1.28", "1.29"];
const SINCE_1_30: [&str; 8] = ["1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"];

fn deploy(path: &str) -> PathBuf {
    workspace().join("deploy/kubernetes").join(path)
}

fn render(path: &str, to: &Path) -> Result<(Kubernetes, PathBuf)> {
    let kubernetes = Kubernetes::prepare()?;
    let file = to.join("manifests.yaml");
    std::fs::write(&file, kubernetes.render(&deploy(path))?)?;
    Ok((kubernetes, file))
}

fn assert_valid(path: &str, versions: &[&str]) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (kubernetes, file) = render(path, directory.path())?;
    kubernetes.validate(&file, versions).with_context(|| format!("validating {path}"))
}

#[test]
fn manifests_fit_the_versions_that_they_are_for() -> Result<()> {
    for path in ["base", "overlays/elasticsearch", "overlays/prometheus-operator"] {
        assert_valid(path, &SINCE_1_30)?;
    }
    for path in ["overlays/older-clusters", "overlays/older-runtimes"] {
        assert_valid(path, &[&BEFORE_1_30[..], &SINCE_1_30[..]].concat())?;
    }
    // The validator does find what a version does not know: the reason for an overlay.
    let refused = assert_valid("base", &BEFORE_1_30[..1]).expect_err("1.25 has no appArmorProfile");
    ensure!(format!("{refused:#}").contains("appArmorProfile"), "{refused:#}");
    Ok(())
}

#[test]
fn a_change_of_the_configuration_is_a_change_of_the_daemonset() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let copy = |to: &str| -> Result<String> {
        let to = directory.path().join(to);
        let mut command = std::process::Command::new("cp");
        xtask::command::output(command.arg("-r").arg(deploy("base")).arg(&to))?;
        let config = to.join("ldsentry.toml");
        std::fs::write(&config, std::fs::read_to_string(&config)? + "# changed\n")?;
        config_map_of_daemonset(&Kubernetes::prepare()?.render(&to)?)
    };
    let (kubernetes, file) = render("base", directory.path())?;
    drop(kubernetes);
    let before = config_map_of_daemonset(&std::fs::read_to_string(file)?)?;
    ensure!(copy("changed")? != before, "{before}");
    Ok(())
}

fn config_map_of_daemonset(manifests: &str) -> Result<String> {
    let (_, daemonset) = manifests.split_once("kind: DaemonSet").context("there is no DaemonSet")?;
    let name = daemonset.lines().find(|line| line.trim().starts_with("name: ldsentry-config-"));
    Ok(name.context("the DaemonSet mounts no configuration")?.trim().to_owned())
}

#[test]
fn configurations_are_valid() -> Result<()> {
    for file in ["kubernetes/base", "kubernetes/overlays/elasticsearch", "."] {
        let path = workspace().join("deploy").join(file).join("ldsentry.toml");
        let mut show = std::process::Command::new(integration_tests::command_line::ldsentry());
        xtask::command::output(show.args(["config", "show", "--config"]).arg(&path))?;
    }
    Ok(())
}
