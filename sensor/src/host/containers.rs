//! What containers and pods are called, from what a node keeps in files: no interface of an orchestrator or an engine is asked.
//!
//! | file | written by | tells |
//! |---|---|---|
//! | `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` | kubelet | pod, namespace, name of the container with this id |
//! | `/var/log/pods/NAMESPACE_POD_UID/` | kubelet | pod and namespace of the pod with this uid |
//! | `/var/lib/docker/containers/ID/config.v2.json` | Docker | name and image of the container with this id |
//! | `/run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json` | containerd | in annotations, what whoever had the container made calls it |
//! | `/var/lib/containers/storage/overlay-containers/{,volatile-}containers.json` | Podman, CRI-O | name and image of all containers |
//!
//! All of it is on the node itself, and only root writes there. What containerd knows beside annotations is in a database that it
//! keeps locked.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::event::{Container, ContainerNames};

/// More containers than a node has; then all are forgotten.
const MAX_KNOWN: usize = 4096;
/// How long it is believed that nothing tells of a container: a container runs before the files are there.
const RECHECK: Duration = Duration::from_secs(1);
/// Those about one container have some kilobytes, and lists one or two for each.
const MAX_FILE: u64 = 8 << 20;
/// Where containerd keeps what runs; the second is k3s's.
const CONTAINERD: [&str; 2] =
    ["run/containerd/io.containerd.runtime.v2.task", "run/k3s/containerd/io.containerd.runtime.v2.task"];
/// Podman's and CRI-O's lists. In the second one are those that go when they end (`podman run --rm`).
const STORAGE: [&str; 2] = [
    "var/lib/containers/storage/overlay-containers/containers.json",
    "var/lib/containers/storage/overlay-containers/volatile-containers.json",
];

/// Names by the ids of containers, as far as they were asked for.
#[derive(Debug)]
pub(super) struct Containers {
    root: PathBuf,
    known: HashMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    names: ContainerNames,
    /// When it was found that something is missing.
    incomplete: Option<Instant>,
}

impl Containers {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), known: HashMap::new() }
    }

    /// The names of a container.
    pub(super) fn names(&mut self, container: &Container) -> ContainerNames {
        self.names_at(container, Instant::now())
    }

    fn names_at(&mut self, container: &Container, now: Instant) -> ContainerNames {
        match self.known.get(&container.id) {
            Some(known) if known.incomplete.is_none_or(|looked| now < looked + RECHECK) => {
                return known.names.clone();
            }
            _ => {}
        }
        let names = self.look(container);
        let is_complete = names.container.is_some() && (container.pod_uid.is_none() || names.pod.is_some());
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let known = Known { names: names.clone(), incomplete: (!is_complete).then_some(now) };
        self.known.insert(container.id.clone(), known);
        names
    }

    fn look(&self, Container { id, pod_uid, .. }: &Container) -> ContainerNames {
        let of_kubelet = pod_uid.as_ref().and_then(|uid| {
            self.entries("var/log/containers")
                .find_map(|name| of_container_log(&name, id))
                .or_else(|| self.entries("var/log/pods").find_map(|name| of_pod_directory(&name, uid)))
        });
        let of_kubelet = of_kubelet.unwrap_or_default();
        let of_engine =
            || self.of_docker(id).or_else(|| self.of_containerd(id)).or_else(|| self.of_storage(id));
        let of_engine = of_engine().unwrap_or_default();
        ContainerNames {
            container: of_kubelet.container.or(of_engine.container),
            image: of_engine.image,
            namespace: of_kubelet.namespace.or(of_engine.namespace),
            pod: of_kubelet.pod.or(of_engine.pod),
        }
    }

    /// Names of what is in a directory. Those that are no text are none of those that are looked for.
    fn entries(&self, directory: &str) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(self.root.join(directory)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    }

    fn read<T: DeserializeOwned>(&self, path: impl AsRef<Path>) -> Option<T> {
        let mut text = String::new();
        File::open(self.root.join(path)).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn of_docker(&self, id: &str) -> Option<ContainerNames> {
        let DockerContainer { name, config } =
            self.read(Path::new("var/lib/docker/containers").join(id).join("config.v2.json"))?;
        let name = name.strip_prefix('/').unwrap_or(&name).to_owned();
        Some(ContainerNames {
            container: Some(name).filter(|name| !name.is_empty()),
            image: config.and_then(|config| config.image),
            ..ContainerNames::default()
        })
    }

    fn of_containerd(&self, id: &str) -> Option<ContainerNames> {
        let found = CONTAINERD.iter().find_map(|tasks| {
            let path = |namespace: &str| Path::new(tasks).join(namespace).join(id).join("config.json");
            self.entries(tasks).find_map(|namespace| self.read::<RuntimeConfig>(path(&namespace)))
        });
        let mut annotations = found?.annotations;
        let mut one = |names: &[&str]| names.iter().find_map(|name| annotations.remove(*name));
        Some(ContainerNames {
            container: one(&["io.kubernetes.cri.container-name", "nerdctl/name"]),
            image: one(&["io.kubernetes.cri.image-name"]),
            namespace: one(&["io.kubernetes.cri.sandbox-namespace"]),
            pod: one(&["io.kubernetes.cri.sandbox-name"]),
        })
    }

    fn of_storage(&self, id: &str) -> Option<ContainerNames> {
        let lists = STORAGE.iter().filter_map(|path| self.read::<Vec<StoredContainer>>(path));
        let StoredContainer { names, metadata, .. } = lists.flatten().find(|container| container.id == id)?;
        let StoredMetadata { image, container, is_pod } = serde_json::from_str(&metadata).unwrap_or_default();
        // CRI-O's own name of a container has its pod's in it; what holds a pod together has none.
        let container = container.or_else(|| names.into_iter().next()).filter(|_| !is_pod);
        Some(ContainerNames { container, image, ..ContainerNames::default() })
    }
}

/// `POD_NAMESPACE_CONTAINER-ID.log`: none of the names has an underscore in it.
fn of_container_log(name: &str, id: &str) -> Option<ContainerNames> {
    let name = name.strip_suffix(".log")?.strip_suffix(id)?.strip_suffix('-')?;
    let mut names = name.splitn(3, '_').map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    let (pod, namespace, container) = (names.next()?, names.next()?, names.next()?);
    Some(ContainerNames { container, image: None, namespace, pod })
}

/// `NAMESPACE_POD_UID`
fn of_pod_directory(name: &str, uid: &str) -> Option<ContainerNames> {
    let (namespace, pod) = name.strip_suffix(uid)?.strip_suffix('_')?.split_once('_')?;
    let known = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
    Some(ContainerNames { namespace: known(namespace), pod: known(pod), ..ContainerNames::default() })
}

/// What is read of Docker's file.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContainer {
    name: String,
    config: Option<DockerConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    image: Option<String>,
}

/// What is read of a bundle's configuration (OCI).
#[derive(Deserialize)]
struct RuntimeConfig {
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// What is read of the list that `containers/storage` keeps.
#[derive(Deserialize)]
struct StoredContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// JSON in a text, by whoever had the container made.
    #[serde(default)]
    metadata: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredMetadata {
    #[serde(rename = "image-name")]
    image: Option<String>,
    /// In Kubernetes.
    #[serde(rename = "metadata-name")]
    container: Option<String>,
    /// What holds a pod together.
    #[serde(rename = "pod")]
    is_pod: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3f4b1c0c5f2ad8d6c31d7b9c2d8be1f60f1a2e3d4c5b6a79887766554433221f";
    const UID: &str = "8f2f6f3c-3a5e-4e0b-9d8c-0c2f5a1b7e44";
    const HASH: &str = "ba0f6e1ed5f1fb8f3f6b7ab6bcb2e4b5";

    fn container(id: &str, pod_uid: Option<&str>) -> Container {
        let pod_uid = pod_uid.map(str::to_owned);
        Container { id: id.to_owned(), runtime: None, pod_uid, names: ContainerNames::default() }
    }

    fn names(names: &ContainerNames) -> [Option<&str>; 4] {
        [&names.namespace, &names.pod, &names.container, &names.image].map(Option::as_deref)
    }

    fn node(files: &[String]) -> (tempfile::TempDir, Containers) {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(
                path,
                r#"{"ID":"x","Name":"/web","Config":{"Hostname":"h","Image":"nginx:1.27"},"State":{}}"#,
            )
            .unwrap();
        }
        let containers = Containers::new(root.path());
        (root, containers)
    }

    #[test]
    fn a_pods_container_has_the_names_that_kubelet_gives_its_log() {
        let (_root, mut containers) = node(&[
            format!(
                "var/log/containers/coredns-5d78c9869d-abcde_kube-system_coredns-{}.log",
                ID.replace('3', "4")
            ),
            format!("var/log/containers/shop-6b8f-xk2lp_team-a_web-1-{ID}.log"),
            format!("var/log/pods/other_other-1_{}/web/0.log", UID.replace('8', "9")),
        ]);
        let found = containers.names(&container(ID, Some(UID)));
        assert_eq!(names(&found), [Some("team-a"), Some("shop-6b8f-xk2lp"), Some("web-1"), None]);
    }

    /// The sandbox has no log, and a container's begins a little later than it does.
    #[test]
    fn a_pod_is_known_by_its_uid_alone_and_a_static_one_by_its_hash() {
        let (root, mut containers) = node(&[
            format!("var/log/pods/team-a_shop-6b8f-xk2lp_{UID}/web/0.log"),
            format!("var/log/pods/kube-system_etcd-node1_{HASH}/etcd/0.log"),
        ]);
        let pod = container(ID, Some(UID));
        let now = Instant::now();
        let found = containers.names_at(&pod, now);
        assert_eq!(names(&found), [Some("team-a"), Some("shop-6b8f-xk2lp"), None, None]);
        let found = containers.names(&container(&ID.replace('3', "4"), Some(HASH)));
        assert_eq!(names(&found), [Some("kube-system"), Some("etcd-node1"), None, None]);

        let directory = root.path().join("var/log/containers");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("shop-6b8f-xk2lp_team-a_web-{ID}.log")), "").unwrap();
        assert_eq!(containers.names_at(&pod, now + RECHECK / 2).container, None, "it was looked at just now");
        assert_eq!(containers.names_at(&pod, now + RECHECK).container.as_deref(), Some("web"));
        fs::remove_dir_all(root.path().join("var")).unwrap();
        assert_eq!(
            containers.names_at(&pod, now + RECHECK * 9).container.as_deref(),
            Some("web"),
            "it is known"
        );
    }

    #[test]
    fn dockers_containers_have_names_and_images() {
        let (_root, mut containers) = node(&[format!("var/lib/docker/containers/{ID}/config.v2.json")]);
        let found = containers.names(&container(ID, None));
        assert_eq!(names(&found), [None, None, Some("web"), Some("nginx:1.27")]);
        assert_eq!(
            names(&containers.names(&container(HASH, None))),
            [None; 4],
            "of this one nothing is known"
        );
    }

    #[test]
    fn containerd_has_the_names_in_annotations() {
        let tasks = "run/containerd/io.containerd.runtime.v2.task";
        let (root, mut containers) = node(&[]);
        let write = |namespace: &str, id: &str, text: &str| {
            let directory = root.path().join(tasks).join(namespace).join(id);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("config.json"), text).unwrap();
        };
        let annotations = r#"{"ociVersion":"1.1.0","process":{"args":["x"]},"annotations":{
            "io.kubernetes.cri.container-name":"web","io.kubernetes.cri.image-name":"docker.io/library/nginx:1.27",
            "io.kubernetes.cri.sandbox-name":"shop-6b8f-xk2lp","io.kubernetes.cri.sandbox-namespace":"team-a"}}"#;
        write("k8s.io", ID, annotations);
        write("default", HASH, r#"{"ociVersion":"1.1.0","annotations":{"nerdctl/name":"tool"}}"#);
        // Before kubelet has made its files.
        let found = containers.names(&container(ID, Some(UID)));
        let image = Some("docker.io/library/nginx:1.27");
        assert_eq!(names(&found), [Some("team-a"), Some("shop-6b8f-xk2lp"), Some("web"), image]);
        assert_eq!(names(&containers.names(&container(HASH, None))), [None, None, Some("tool"), None]);
    }

    #[test]
    fn podman_and_cri_o_have_the_names_in_a_list() {
        let (root, mut containers) =
            node(&[format!("var/log/containers/shop-6b8f-xk2lp_team-a_web-{ID}.log")]);
        let list = |path: &str, id: &str, name: &str, metadata: &serde_json::Value| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let other = serde_json::json!({"id": "other", "names": ["other"], "image": "1", "layer": "2"});
            let own = serde_json::json!({"id": id, "names": [name], "metadata": metadata.to_string()});
            fs::write(path, serde_json::json!([other, own]).to_string()).unwrap();
        };
        let [lasting, volatile] = STORAGE;
        let cri_o =
            serde_json::json!({"image-name": "quay.io/shop/web:3", "metadata-name": "web", "attempt": 0});
        list(lasting, ID, "k8s_web_shop-6b8f-xk2lp_team-a_0", &cri_o);
        let podman = serde_json::json!({"image-name": "docker.io/library/debian:12", "name": "tool"});
        list(volatile, HASH, "tool", &podman);
        let found = containers.names(&container(ID, Some(UID)));
        let image = Some("quay.io/shop/web:3");
        assert_eq!(names(&found), [Some("team-a"), Some("shop-6b8f-xk2lp"), Some("web"), image]);
        let image = Some("docker.io/library/debian:12");
        assert_eq!(names(&containers.names(&container(HASH, None))), [None, None, Some("tool"), image]);
        fs::write(root.path().join(lasting), "[{").unwrap();
        assert_eq!(names(&containers.names(&container("1", None))), [None; 4], "it is being written");
    }

    #[test]
    fn what_is_known_does_not_grow_without_end() {
        let (_root, mut containers) = node(&[]);
        for number in 0..=MAX_KNOWN {
            containers.names(&container(&number.to_string(), None));
        }
        assert!(containers.known.len() <= MAX_KNOWN);
    }

    proptest! {
        #[test]
        fn no_name_panics(name in "[a-z_.-]{0,40}", uid in "[a-f0-9-]{0,5}") {
            of_container_log(&name, &uid);
            of_container_log(&format!("{name}-{ID}.log"), ID);
            of_pod_directory(&format!("{name}{uid}"), &uid);
        }

        #[test]
        fn names_are_found_again(pod in "[a-z][a-z0-9.-]{0,20}", namespace in "[a-z][a-z0-9-]{0,20}", container in "[a-z][a-z0-9-]{0,20}") {
            let found = of_container_log(&format!("{pod}_{namespace}_{container}-{ID}.log"), ID).unwrap();
            prop_assert_eq!(names(&found), [Some(namespace.as_str()), Some(pod.as_str()), Some(container.as_str()), None]);
            let found = of_pod_directory(&format!("{namespace}_{pod}_{UID}"), UID).unwrap();
            prop_assert_eq!(names(&found), [Some(namespace.as_str()), Some(pod.as_str()), None, None]);
        }
    }
}
