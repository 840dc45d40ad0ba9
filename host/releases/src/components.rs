//! Components, from what the manifest says to what the runtime needs.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use marquee_manifest::{App, Component, ComponentId};
use marquee_runtime::{CONSUMER, HANDLER, JOB, Limits, Spec};

/// A component's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("component {component} cannot be read from {}{}", path.display(), remedy(build.as_deref()))]
pub struct Unreadable {
    component: ComponentId,
    path: PathBuf,
    /// What makes it.
    build: Option<String>,
    source: io::Error,
}

fn remedy(build: Option<&str>) -> String {
    let how = build.map(|command| format!("; build it with `{command}`"));
    how.unwrap_or_default()
}

/// What is in the file that the manifest names.
pub fn read(root: &Path, component: &Component) -> Result<Vec<u8>, Unreadable> {
    let path = root.join(&component.source);
    fs::read(&path).map_err(|source| Unreadable {
        component: component.id.clone(),
        build: component.build.as_ref().map(|build| build.command.clone()),
        path,
        source,
    })
}

/// All of it but its bytes.
pub fn spec(app: &App, component: &Component) -> Spec {
    let mut entry_points = BTreeMap::new();
    if app
        .routes
        .iter()
        .any(|route| route.component == component.id)
    {
        entry_points.insert(HANDLER.to_owned(), "its HTTP trigger".to_owned());
    }
    if !component.subscriptions.is_empty() {
        entry_points.insert(CONSUMER.to_owned(), "its subscriptions".to_owned());
    }
    if !component.schedules.is_empty() {
        entry_points.insert(JOB.to_owned(), "its schedules".to_owned());
    }
    for interface in &component.transactional {
        entry_points.insert(interface.clone(), "its transactional interfaces".to_owned());
    }
    Spec {
        id: component.id.clone(),
        dependencies: component.dependencies.clone(),
        transactional: component.transactional.iter().cloned().collect(),
        entry_points,
        environment: component.environment.clone().into_iter().collect(),
        limits: Limits {
            deadline: component.limits.deadline,
            memory_bytes: component.limits.memory_bytes,
            concurrent_calls: component.limits.concurrent_calls,
            queue: component.limits.queue,
            instance_calls: component.limits.instance_calls,
            handles: component.limits.handles,
            log_lines: component.limits.log_lines,
            ..Limits::default()
        },
    }
}
