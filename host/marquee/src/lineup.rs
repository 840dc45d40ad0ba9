//! What the host gives to components.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use marquee_bus::Bus;
use marquee_capabilities::{messaging, outbound, postgres, variables};
use marquee_database::{Database, Secret};
use marquee_delivery::outbox::Relay;
use marquee_manifest::{App, Component, ComponentId};
use marquee_runtime::Lineup;

use crate::{caches::Caches, databases::Databases, settings::Settings};

/// Every capability, with what each component is granted of it.
pub(crate) fn lineup(
    app: &App,
    settings: &Settings,
    databases: &Databases,
    bus: Option<&Arc<dyn Bus>>,
    relays: &BTreeMap<ComponentId, Relay>,
    caches: &Caches,
) -> anyhow::Result<Lineup> {
    let granted: BTreeMap<ComponentId, postgres::Granted> = databases
        .by_component
        .iter()
        .map(|(id, database)| {
            let limits = app
                .components
                .get(id)
                .map(|component| component.limits.clone());
            let poke = caches.poke(id, relays.get(id));
            let granted = grant(database, poke, &limits.unwrap_or_default());
            (id.clone(), granted)
        })
        .collect();
    let values = app
        .components
        .values()
        .map(|component| {
            Ok((
                component.id.clone(),
                component_variables(app, settings, component)?,
            ))
        })
        .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let topics = app
        .components
        .values()
        .map(|c| (c.id.clone(), c.publish.iter().cloned().collect()))
        .collect();
    let hosts = app
        .components
        .values()
        .map(|c| (c.id.clone(), c.allowed_outbound_hosts.clone()))
        .collect();
    let postgres = postgres::Postgres::new(granted.clone());
    let mut capabilities: Vec<Arc<dyn marquee_runtime::Capability>> = vec![
        Arc::new(postgres),
        Arc::new(variables::Variables::new(values)),
    ];
    if let Some(bus) = bus {
        capabilities.push(Arc::new(messaging::Producer::new(Arc::clone(bus), topics)));
    }
    Ok(Lineup {
        capabilities,
        transactor: Arc::new(postgres::Transactor::new(granted)),
        outbound: Arc::new(outbound::AllowedHosts::new(hosts)),
        cache: Arc::clone(&caches.cache),
    })
}

fn grant(
    database: &Database,
    poke: postgres::Poke,
    limits: &marquee_manifest::Limits,
) -> postgres::Granted {
    postgres::Granted {
        database: database.clone(),
        addresses: vec![format!("marquee:{}", database.name())],
        rows: limits.rows,
        result_bytes: limits.query_bytes,
        poke,
    }
}

/// A component's variables, with application variables put in for `{{ name }}`.
fn component_variables(
    app: &App,
    settings: &Settings,
    component: &Component,
) -> anyhow::Result<BTreeMap<String, Secret>> {
    let mut values = BTreeMap::new();
    for (name, template) in &component.variables {
        let mut value = String::new();
        let mut rest = template.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let (wanted, behind) = after.split_once("}}").with_context(|| {
                format!(
                    "variable {name} of component {} has {{{{ without }}}}",
                    component.id
                )
            })?;
            let wanted = wanted.trim();
            let variable = app
                .variables
                .get(wanted)
                .with_context(|| format!("variable {name} of component {} names {wanted}, which the application does not have", component.id))?;
            value.push_str(before);
            match (settings.variable(wanted), &variable.default) {
                (Some(set), _) => value.push_str(set.value.reveal()),
                (None, Some(default)) => value.push_str(default),
                (None, None) => anyhow::bail!(
                    "variable {wanted} is required; set SPIN_VARIABLE_{}",
                    wanted.replace('-', "_").to_ascii_uppercase()
                ),
            }
            rest = behind;
        }
        value.push_str(rest);
        values.insert(name.clone(), Secret::new(value));
    }
    Ok(values)
}
