//! The container image, as an OCI image layout in one tar archive: nothing in it but the daemon and the directories that it
//! writes to. `skopeo copy oci-archive:…`, `podman load` and `ctr images import` read it.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::{created, epoch};

/// Where things are mounted: a runtime cannot make directories in a root that is read-only.
const DIRECTORIES: [&str; 11] = [
    "etc/",
    "etc/ldsentry/",
    "etc/ldsentry/config/",
    "etc/ldsentry/rules/",
    "run/",
    "run/ldsentry/",
    "usr/",
    "usr/bin/",
    "var/",
    "var/lib/",
    "var/lib/ldsentry/",
];

/// Writes the image of a daemon for `architecture`, in the names of Go: `amd64`, `arm64`.
pub fn write(daemon: &Path, architecture: &str, version: &str, to: &Path) -> Result<()> {
    let program = fs::read(daemon).with_context(|| format!("reading {}", daemon.display()))?;
    let layer = layer(&program)?;
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
    packed.write_all(&layer)?;
    let created = created()?;

    let mut layout = Layout::default();
    let config = json!({
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/ldsentry"],
            "Cmd": ["run"],
            "Env": ["PATH=/usr/bin"],
            "Labels": labels(version),
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        "history": [{"created": created, "created_by": "cargo xtask dist"}],
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layout.json("application/vnd.oci.image.config.v1+json", &config)?,
        "layers": [layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", packed.finish()?)],
        "annotations": labels(version),
    });
    let mut entry = layout.json("application/vnd.oci.image.manifest.v1+json", &manifest)?;
    entry["platform"] = json!({"architecture": architecture, "os": "linux"});
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": version});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    fs::write(to, layout.archive(&index)?).with_context(|| format!("writing {}", to.display()))
}

fn labels(version: &str) -> Value {
    json!({
        "org.opencontainers.image.title": "ldsentry",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
    })
}

fn layer(program: &[u8]) -> Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for directory in DIRECTORIES {
        append(&mut layer, directory, EntryType::Directory, 0o755, &[])?;
    }
    append(&mut layer, "usr/bin/ldsentry", EntryType::Regular, 0o755, program)?;
    Ok(layer.into_inner()?)
}

/// Everything that could differ between two machines is given.
fn append(
    archive: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    mode: u32,
    contents: &[u8],
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(epoch()?.parse()?);
    header.set_size(contents.len() as u64);
    archive.append_data(&mut header, path, contents).with_context(|| format!("packing {path}"))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", super::sha256(bytes))
}

/// The blobs of a layout, by their digests.
#[derive(Default)]
struct Layout {
    blobs: Vec<(String, Vec<u8>)>,
}

impl Layout {
    /// Adds a blob, and gives its descriptor.
    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let (digest, size) = (digest(&bytes), bytes.len());
        self.blobs.push((digest.clone(), bytes));
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    fn json(&mut self, media_type: &str, value: &Value) -> Result<Value> {
        Ok(self.blob(media_type, serde_json::to_vec(value)?))
    }

    fn archive(&self, index: &Value) -> Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        let version = json!({"imageLayoutVersion": "1.0.0"});
        append(&mut archive, "oci-layout", EntryType::Regular, 0o644, &serde_json::to_vec(&version)?)?;
        append(&mut archive, "index.json", EntryType::Regular, 0o644, &serde_json::to_vec(index)?)?;
        for directory in ["blobs/", "blobs/sha256/"] {
            append(&mut archive, directory, EntryType::Directory, 0o755, &[])?;
        }
        for (digest, bytes) in &self.blobs {
            let path = format!("blobs/{}", digest.replace(':', "/"));
            append(&mut archive, &path, EntryType::Regular, 0o644, bytes)?;
        }
        Ok(archive.into_inner()?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_image_is_the_same_each_time_and_its_digests_are_right() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("daemon"), "a program").unwrap();
        write(&path("daemon"), "amd64", "1.2.3", &path("one")).unwrap();
        write(&path("daemon"), "amd64", "1.2.3", &path("two")).unwrap();
        let bytes = fs::read(path("one")).unwrap();
        assert_eq!(bytes, fs::read(path("two")).unwrap());

        let mut files = std::collections::BTreeMap::new();
        let mut archive = tar::Archive::new(bytes.as_slice());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), contents);
        }
        for (name, contents) in &files {
            if let Some(named) = name.strip_prefix("blobs/sha256/").filter(|named| !named.is_empty()) {
                assert_eq!(super::super::sha256(contents), named);
            }
        }
        let blob = |descriptor: &Value| {
            let path = format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"));
            assert_eq!(files[&path].len() as u64, descriptor["size"].as_u64().unwrap());
            files[&path].clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        let mut layer = Vec::new();
        let packed = blob(&manifest["layers"][0]);
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut layer).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&layer));
    }
}
