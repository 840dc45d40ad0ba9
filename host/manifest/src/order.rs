//! Checks across the manifest, and the order in which components are loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::{App, Component, ComponentId, DependencyName, reader::Problems};

/// Where things stand that are checked against each other after all is read.
#[derive(Default)]
pub(crate) struct Places {
    pub(crate) routes: Vec<Range<usize>>,
    pub(crate) components: BTreeMap<ComponentId, Range<usize>>,
    pub(crate) dependencies: Vec<(ComponentId, DependencyName, ComponentId, Range<usize>)>,
    pub(crate) spin_settings: BTreeMap<ComponentId, (&'static str, Range<usize>)>,
}

impl App {
    /// The components that something starts or needs, each after those that it depends on. A component that only
    /// stands in for the host under Spin is not among them.
    pub fn load_order(&self) -> Vec<&Component> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        let starts = |component: &&Component| {
            self.routes
                .iter()
                .any(|route| route.component == component.id)
                || !component.subscriptions.is_empty()
                || !component.schedules.is_empty()
        };
        for component in self.components.values().filter(starts) {
            self.visit(component, &mut seen, &mut order);
        }
        order
    }

    /// Components that nothing starts and nobody needs, on this host or on Spin.
    pub fn unused(&self) -> Vec<&ComponentId> {
        let loaded = self.load_order();
        let is_loaded = |id: &ComponentId| loaded.iter().any(|component| component.id == *id);
        let all = self.components.keys();
        all.filter(|id| !is_loaded(id) && !self.stand_ins.contains(*id))
            .collect()
    }

    fn visit<'a>(
        &'a self,
        component: &'a Component,
        seen: &mut BTreeSet<&'a ComponentId>,
        order: &mut Vec<&'a Component>,
    ) {
        if !seen.insert(&component.id) {
            return;
        }
        for target in component
            .dependencies
            .components()
            .filter_map(|id| self.components.get(id))
        {
            self.visit(target, seen, order);
        }
        order.push(component);
    }
}

pub(crate) fn check(app: &App, places: &Places, problems: &Problems<'_>) {
    let known = |id: &ComponentId| places.components.contains_key(id);
    for (route, span) in app.routes.iter().zip(&places.routes) {
        if !known(&route.component) {
            problems.add(
                span.clone(),
                format!(
                    "route {:?} names component {}, which is not in the manifest",
                    route.pattern, route.component
                ),
            );
        }
    }
    let mut patterns = BTreeSet::new();
    for (route, span) in app.routes.iter().zip(&places.routes) {
        if !patterns.insert(&route.pattern) {
            problems.add(
                span.clone(),
                format!("route {:?} is there twice", route.pattern),
            );
        }
    }
    for (importer, name, target, span) in &places.dependencies {
        if !known(target) {
            problems.add(
                span.clone(),
                format!(
                    "{importer} takes {name} from component {target}, which is not in the manifest"
                ),
            );
        }
        if let Some((key, at)) = places.spin_settings.get(target) {
            problems.add_with_help(
                at.clone(),
                format!("component {target} is a dependency of {importer} and has {key} of its own, which Spin does not allow"),
                format!("put it into [component.{target}.tool.marquee]"),
            );
        }
    }
    rates(app, places, problems);
    databases(app, places, problems);
    cycles(app, places, problems);
}

fn rates(app: &App, places: &Places, problems: &Problems<'_>) {
    for component in app.components.values() {
        let id = &component.id;
        let is_asked = app.routes.iter().any(|route| route.component == *id);
        if !component.rates.classes.is_empty() && !is_asked {
            let span = places.components.get(id).cloned().unwrap_or(0..0);
            problems.add(
                span,
                format!("{id} has rates of HTTP requests, and no HTTP trigger names it"),
            );
        }
    }
}

fn databases(app: &App, places: &Places, problems: &Problems<'_>) {
    let mut owners: BTreeMap<&str, &ComponentId> = BTreeMap::new();
    let mut consumers: BTreeMap<&str, &ComponentId> = BTreeMap::new();
    for component in app.components.values() {
        let span = || {
            let place = places.components.get(&component.id);
            place.cloned().unwrap_or(0..0)
        };
        if !component.subscriptions.is_empty()
            && let Some(first) = consumers.insert(component.consumer(), &component.id)
        {
            problems.add(
                span(),
                format!(
                    "{first} and {} are both consumer {}; each component is its own",
                    component.id,
                    component.consumer()
                ),
            );
        }
        let Some(database) = &component.database else {
            continue;
        };
        if let Some(owner) = owners.insert(&database.name, &component.id) {
            problems.add(
                span(),
                format!(
                    "{owner} and {} both have database {}; each component has its own",
                    component.id, database.name
                ),
            );
        }
        let mut topics = BTreeSet::new();
        for subscription in &component.subscriptions {
            if !topics.insert(&subscription.topic) {
                let span = places
                    .components
                    .get(&component.id)
                    .cloned()
                    .unwrap_or(0..0);
                problems.add(
                    span,
                    format!(
                        "{} subscribes to {} twice",
                        component.id, subscription.topic
                    ),
                );
            }
        }
    }
}

fn cycles(app: &App, places: &Places, problems: &Problems<'_>) {
    for start in app.components.values() {
        let mut path = vec![&start.id];
        if leads_back(app, start, &mut path) {
            let names: Vec<_> = path.iter().map(|id| id.as_str()).collect();
            // Told once, at its first component by name.
            if path.iter().min() == Some(&&start.id) {
                let span = places.components.get(&start.id).cloned().unwrap_or(0..0);
                problems.add(
                    span,
                    format!(
                        "components depend on each other in a circle: {} -> {}",
                        names.join(" -> "),
                        start.id
                    ),
                );
            }
        }
    }
}

fn leads_back<'a>(app: &'a App, at: &'a Component, path: &mut Vec<&'a ComponentId>) -> bool {
    for target in at.dependencies.components() {
        if path.first() == Some(&target) {
            return true;
        }
        if path.contains(&target) {
            continue;
        }
        let Some(next) = app.components.get(target) else {
            continue;
        };
        path.push(target);
        if leads_back(app, next, path) {
            return true;
        }
        path.pop();
    }
    false
}
