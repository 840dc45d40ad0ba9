//! From text to [`App`].

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    App, Build, Canary, Component, ComponentId, Dependencies, DependencyName, Guard, Http, Limits,
    Problem, Rates, Route, Variable, http,
    order::{self, Places},
    outbound::NoGrant,
    reader::{At, Problems, Section},
    tool,
};

impl App {
    /// Read a manifest. On failure: every problem of it, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let problems = Problems::new(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            problems.add(
                error.span().unwrap_or(0..0),
                format!("this is not TOML: {}", error.message()),
            );
        }
        let found = problems.take();
        if !found.is_empty() {
            // What follows from broken syntax would only distract from it.
            return Err(found);
        }
        let app = problems_or(&problems, app(table, &problems))?;
        Ok(app)
    }
}

/// What could not be read has left a problem; what could be read is checked as a whole.
fn problems_or(problems: &Problems<'_>, app: (App, Places)) -> Result<App, Vec<Problem>> {
    let (app, places) = app;
    order::check(&app, &places, problems);
    let found = problems.take();
    if found.is_empty() {
        Ok(app)
    } else {
        Err(found)
    }
}

fn app(table: Spanned<DeTable<'_>>, problems: &Problems<'_>) -> (App, Places) {
    let mut places = Places::default();
    let mut root = Section::new("", table, problems);
    match root.take("spin_manifest_version") {
        Some(version)
            if version
                .get_ref()
                .as_integer()
                .is_some_and(|v| v.as_str() == "2") => {}
        Some(version) => problems.add(version.span(), "spin_manifest_version must be 2"),
        None => problems.add(0..0, "spin_manifest_version = 2 is missing"),
    }
    let mut app = App {
        name: String::new(),
        version: None,
        example: None,
        http: Http::default(),
        variables: BTreeMap::new(),
        routes: Vec::new(),
        components: BTreeMap::new(),
        stand_ins: BTreeSet::new(),
    };
    match root.section("application") {
        Some(mut section) => {
            app.name = section
                .required_string("name")
                .map(|(name, _)| name)
                .unwrap_or_default();
            app.version = section.string("version").map(|(version, _)| version);
            section.skip("description");
            section.skip("authors");
            if let Some(tool) = section.section("tool") {
                application_tool(&mut app, tool);
            }
            section.finish("an application has name, version, description, authors and tool");
        }
        None => problems.add(0..0, "the table [application] is missing"),
    }
    if let Some(variables) = root.section("variables") {
        let names = variables.entries();
        for ((name, span), value) in names {
            if let Some(variable) = variable(&name, span, value, problems) {
                app.variables.insert(name, variable);
            }
        }
    }
    if let Some(mut triggers) = root.section("trigger") {
        for mut trigger in triggers.sections("http") {
            if let Some(route) = route(&mut trigger, &mut places) {
                app.routes.push(route);
            }
            trigger.finish("an HTTP trigger has id, route and component");
        }
        for ((name, span), _) in triggers.entries() {
            problems.add_with_help(
                span,
                format!("trigger.{name} is not supported: HTTP is the only trigger that both hosts start"),
                "topics and schedules stand in [component.NAME.tool.marquee]",
            );
        }
    }
    if let Some(components) = root.section("component") {
        for ((name, span), value) in components.entries() {
            match name.parse::<ComponentId>() {
                Ok(id) => {
                    let table = match value {
                        value if value.get_ref().is_table() => value,
                        value => {
                            problems.add(value.span(), format!("component.{name} must be a table"));
                            continue;
                        }
                    };
                    places.components.insert(id.clone(), span);
                    let root =
                        Section::new("component", Spanned::new(0..0, DeTable::new()), problems);
                    if let Some(section) = root.as_section(&name, table)
                        && let Some(component) = component(id.clone(), section, &mut places)
                    {
                        app.components.insert(id, component);
                    }
                }
                Err(error) => problems.add(span, error.to_string()),
            }
        }
    }
    root.finish("a manifest has application, variables, trigger and component");
    let named = places.dependencies.iter();
    app.stand_ins = named
        .filter(|(_, name, ..)| is_the_hosts(name))
        .map(|(_, _, target, _)| target.clone())
        .collect();
    (app, places)
}

/// Other tools' tables are theirs. Ours: a path to try, and bounds.
fn application_tool(app: &mut App, mut tool: Section<'_>) {
    let Some(mut ours) = tool.section("marquee") else {
        return;
    };
    if let Some(table) = ours.section("http") {
        app.http = http::read(table);
    }
    match ours.string("example") {
        Some((path, span)) if !is_path(&path) => ours.problems().add(
            span,
            format!("application.tool.marquee.example is {path:?}, not a path that begins with /"),
        ),
        example => app.example = example.map(|(path, _)| path),
    }
    ours.finish("for the whole application there are example and http");
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic())
}

fn variable(
    name: &str,
    span: Range<usize>,
    value: Spanned<DeValue<'_>>,
    problems: &Problems<'_>,
) -> Option<Variable> {
    let parent = Section::new("variables", Spanned::new(0..0, DeTable::new()), problems);
    let mut section = parent.as_section(name, value)?;
    let default = section.string("default").map(|(value, _)| value);
    let required = section
        .boolean("required")
        .is_some_and(|(required, _)| required);
    let is_secret = section.boolean("secret").is_some_and(|(secret, _)| secret);
    section.skip("description");
    section.finish("a variable has default, required, secret and description");
    if required == default.is_some() {
        problems.add(
            span,
            format!("variables.{name} needs either a default or required = true"),
        );
    }
    Some(Variable { default, is_secret })
}

fn route(trigger: &mut Section<'_>, places: &mut Places) -> Option<Route> {
    trigger.skip("id");
    let pattern = trigger.required_string("route");
    let component = trigger
        .required_string("component")
        .and_then(|at| id(at, trigger.problems()));
    let (pattern, span) = pattern?;
    let wild = pattern.strip_suffix("/...").unwrap_or(&pattern);
    let plain = (pattern.starts_with('/'))
        && !wild.contains("...")
        && !wild.contains(':')
        && !wild.ends_with('/')
        && !wild.contains("//");
    if !plain && pattern != "/" {
        trigger.problems().add_with_help(
            span,
            format!("trigger.http.route {pattern:?} is not supported"),
            "use a path, or one that ends in /... for all below it",
        );
        return None;
    }
    places.routes.push(span);
    Some(Route {
        pattern,
        component: component?.0,
    })
}

fn component(id: ComponentId, mut section: Section<'_>, places: &mut Places) -> Option<Component> {
    let problems = section.problems().clone();
    let source = source(&mut section);
    section.skip("description");
    for key in ["variables", "allowed_outbound_hosts", "environment"] {
        // Spin gives these to a trigger's component only; `order::check` compares.
        if let Some(value) = section.take(key) {
            places
                .spin_settings
                .entry(id.clone())
                .or_insert_with(|| (key, value.span()));
            section.put_back(key, value);
        }
    }
    let spin_variables = section
        .section("variables")
        .map(Section::map)
        .unwrap_or_default();
    let environment = section
        .section("environment")
        .map(Section::map)
        .unwrap_or_default();
    let mut allowed_outbound_hosts = Vec::new();
    for (text, span) in section.strings("allowed_outbound_hosts") {
        match text.parse() {
            Ok(host) => allowed_outbound_hosts.push(host),
            // Spin's own; a database, for one, is granted in another way here.
            Err(NoGrant::Elsewhere) => {}
            Err(error) => problems.add(span, format!("{text:?} grants nothing: {error}")),
        }
    }
    let build = section.section("build").and_then(|mut build| {
        let command = build.required_string("command").map(|(command, _)| command);
        let workdir = build.string("workdir").map(|(path, _)| PathBuf::from(path));
        let watch = texts(build.strings("watch"));
        build.finish("a build has command, workdir and watch");
        Some(Build {
            command: command?,
            workdir: workdir.unwrap_or_default(),
            watch,
        })
    });
    let mut dependencies = Dependencies::default();
    if let Some(table) = section.section("dependencies") {
        dependencies = read_dependencies(&id, table, places, &problems);
    }
    let mut component = Component {
        id: id.clone(),
        source: source.clone().unwrap_or_default(),
        variables: spin_variables,
        environment,
        allowed_outbound_hosts,
        dependencies,
        build,
        database: None,
        transactional: Vec::new(),
        cache: Vec::new(),
        publish: Vec::new(),
        said_consumer: None,
        subscriptions: Vec::new(),
        schedules: Vec::new(),
        limits: Limits::default(),
        canary: Canary::default(),
        guard: Guard::default(),
        rates: Rates::default(),
    };
    if let Some(mut tool) = section.section("tool")
        && let Some(ours) = tool.section("marquee")
    {
        tool::marquee(&mut component, ours);
    }
    section.finish("this host knows source, description, variables, environment, allowed_outbound_hosts, dependencies, build and tool");
    source.map(|_| component)
}

fn source(section: &mut Section<'_>) -> Option<PathBuf> {
    let problems = section.problems().clone();
    match section.take("source") {
        None => {
            problems.add(
                section.span(),
                format!("{} is missing", section.full("source")),
            );
            None
        }
        Some(value) if value.get_ref().is_table() => {
            let span = value.span();
            let mut from = section.as_section("source", value)?;
            problems.add_with_help(
                span,
                format!(
                    "{} from a registry or URL is not supported",
                    section.full("source")
                ),
                how_to_get(&mut from),
            );
            None
        }
        Some(value) => section
            .as_string("source", value)
            .map(|(path, _)| PathBuf::from(path)),
    }
}

/// How a component comes that Spin would get by itself. A host gets none: what it starts with is what lies beside its manifest.
fn how_to_get(from: &mut Section<'_>) -> String {
    let mut said = |key| from.string(key).map(|(text, _)| text);
    let get = match (said("url"), said("package"), said("version")) {
        (Some(url), _, _) => {
            let digest = said("digest");
            let digest = digest.map(|digest| format!(", see that its SHA-256 is {digest}"));
            format!("curl -fLo FILE {url}`{}", digest.unwrap_or_default())
        }
        (None, Some(package), Some(version)) => {
            let registry = said("registry");
            let registry = registry.map(|registry| format!(" --registry {registry}"));
            let registry = registry.unwrap_or_default();
            format!("wkg get {package}@{version}{registry} -o FILE`")
        }
        _ => return "name a local file".to_owned(),
    };
    format!("get it with `{get}, and name that file")
}

fn read_dependencies(
    importer: &ComponentId,
    table: Section<'_>,
    places: &mut Places,
    problems: &Problems<'_>,
) -> Dependencies {
    let mut dependencies: Vec<(DependencyName, ComponentId)> = Vec::new();
    let mut packages = BTreeSet::new();
    let parent = Section::new(
        format!("component.{importer}.dependencies"),
        Spanned::new(0..0, DeTable::new()),
        problems,
    );
    for ((key, span), value) in table.entries() {
        let Some(mut entry) = parent.as_section(&key, value) else {
            continue;
        };
        let target = entry
            .required_string("component")
            .and_then(|at| id(at, problems));
        entry.skip("inherit_configuration");
        entry.finish("a dependency is a component of this manifest: { component = \"name\", inherit_configuration = true }");
        let name: DependencyName = match key.parse() {
            Ok(name) => name,
            Err(error) => {
                let help =
                    "write it as \"namespace:package@1.2.3\", for all interfaces of that package";
                problems.add_with_help(span, format!("dependency {error}"), help);
                continue;
            }
        };
        if !packages.insert(name.package().to_owned()) {
            problems.add_with_help(
                span,
                format!(
                    "{importer} names package {} twice, and Spin takes one key a package",
                    name.package()
                ),
                format!(
                    "write \"{}\" or the same with a version, for all of its interfaces",
                    name.package()
                ),
            );
            continue;
        }
        let Some((target, at)) = target else { continue };
        places
            .dependencies
            .push((importer.clone(), name.clone(), target.clone(), at));
        if !is_the_hosts(&name) {
            dependencies.push((name, target));
        }
    }
    dependencies.into_iter().collect()
}

/// Whether the host provides it itself.
fn is_the_hosts(name: &DependencyName) -> bool {
    name.package().starts_with("marquee:")
}

fn id((text, span): At<String>, problems: &Problems<'_>) -> Option<At<ComponentId>> {
    match text.parse() {
        Ok(id) => Some((id, span)),
        Err(error) => {
            problems.add(span, format!("{error}"));
            None
        }
    }
}

fn texts(list: Vec<At<String>>) -> Vec<String> {
    list.into_iter().map(|(text, _)| text).collect()
}
