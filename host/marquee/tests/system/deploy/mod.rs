//! What the folder `deploy` has for production: rules for Prometheus, dashboards for Grafana, manifests for Kubernetes.

mod alerts;
mod dashboards;
mod kubernetes;
mod queries;
mod rules;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A path in the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder whose names end so, in order.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(path(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let fits = |path: &PathBuf| path.to_str().is_some_and(|name| name.ends_with(end));
    let mut files: Vec<PathBuf> = paths.filter(fits).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has {end}");
    files
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&text(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
