//! Components, from what the manifest says to what the runtime needs.

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path};

use anyhow::Context as _;
use marquee_manifest::{App, Component};
use marquee_runtime::{CONSUMER, HANDLER, JOB, Limits, Spec};

/// The file that the manifest names.
fn open(root: &Path, component: &Component) -> anyhow::Result<File> {
    let path = root.join(&component.source);
    File::open(&path).with_context(|| {
        let how = component
            .build
            .as_ref()
            .map(|build| format!("; build it with `{}`", build.command));
        format!(
            "component {} cannot be read from {}{}",
            component.id,
            path.display(),
            how.unwrap_or_default()
        )
    })
}

/// What is in it.
pub(crate) fn read(root: &Path, component: &Component) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(root, component)?
        .read_to_end(&mut bytes)
        .with_context(|| format!("component {} cannot be read", component.id))?;
    Ok(bytes)
}

/// All of it but its bytes.
pub(crate) fn spec(app: &App, component: &Component) -> Spec {
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
