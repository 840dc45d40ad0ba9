//! Manifests for Kubernetes, held against the API's own schemas and against the host: that what one names another one has, and
//! that the host takes its settings.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{files, path, text};
use crate::{
    host::Setup,
    releases::done,
    tools::{has, program},
};

const BASE: &str = "deploy/kubernetes/base";
const PRODUCTION: &str = "deploy/kubernetes/production";

/// What kustomize makes of a folder, if it can be had here: kubectl has it, too.
fn kustomized(folder: &str) -> Option<Vec<Value>> {
    let (program, verb) = match has("kubectl") {
        true => ("kubectl".into(), "kustomize"),
        false => (program("kustomize")?, "build"),
    };
    let mut command = Command::new(program);
    let said = command.arg(verb).arg(path(folder)).output();
    let said = said.expect("it runs");
    let words = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{folder}: {words}");
    let made = String::from_utf8(said.stdout).expect("text");
    Some(serde_saphyr::from_multiple(&made).expect("YAML"))
}

/// The objects of the base, with or without kustomize.
fn base() -> Vec<Value> {
    kustomized(BASE).unwrap_or_else(|| {
        let files = files(BASE, ".yaml");
        let read = |file: &std::path::PathBuf| -> Vec<Value> {
            serde_saphyr::from_multiple(&text(file)).expect("YAML")
        };
        let objects = files.iter().flat_map(read);
        objects.filter(|it| it["kind"] != "Kustomization").collect()
    })
}

/// The only one of this kind.
fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|it| it["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there are two of {kind}");
    one
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// Its variables: those with a value, and those of a secret.
fn variables(deployment: &Value) -> (BTreeMap<&str, &str>, BTreeMap<&str, &Value>) {
    let variables = container(deployment)["env"].as_array().expect("variables");
    let (mut values, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    for variable in variables {
        let name = variable["name"].as_str().expect("a name");
        if let Some(value) = variable["value"].as_str() {
            values.insert(name, value);
        } else {
            secrets.insert(name, &variable["valueFrom"]["secretKeyRef"]);
        }
    }
    (values, secrets)
}

#[test]
fn each_object_is_one_by_the_apis_own_schema() {
    let schemas: Value =
        serde_json::from_str(include_str!("kubernetes.schema.json")).expect("JSON");
    let mut objects = base();
    objects.extend(kustomized(PRODUCTION).into_iter().flatten());
    assert!(objects.len() > 7, "{objects:?}");
    for object in &objects {
        let (version, kind) = (&object["apiVersion"], &object["kind"]);
        let kind = format!(
            "{} {}",
            version.as_str().expect("a version"),
            kind.as_str().expect("a kind")
        );
        // The operator's, and not the API's; the next test looks at it.
        if kind == "monitoring.coreos.com/v1 ServiceMonitor" {
            continue;
        }
        let schema = json!({"$defs": schemas["$defs"], "allOf": [schemas["kinds"][&kind]]});
        assert!(schemas["kinds"][&kind].is_object(), "no schema of {kind}");
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        let problems = validator.iter_errors(object);
        let told = problems.map(|it| format!("{}: {it}", it.instance_path()));
        let told: Vec<String> = told.collect();
        assert!(told.is_empty(), "{kind}: {told:?}");
    }
    // Such as this, a letter too much.
    let known = &schemas["kinds"]["policy/v1 PodDisruptionBudget"];
    let schema = json!({"$defs": schemas["$defs"], "allOf": [known]});
    let wrong = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {"maxUnavailables": 1}});
    assert!(!jsonschema::is_valid(&schema, &wrong));
}

#[test]
fn whatever_selects_pods_selects_those_of_the_host() {
    let mut objects = base();
    let monitors = "deploy/kubernetes/monitoring/service-monitor.yaml";
    objects.push(super::yaml(&path(monitors)));
    let deployment = one(&objects, "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let selected = |selector: &Value, labels: &Value| {
        let selector = selector.as_object().expect("a selector");
        assert!(!selector.is_empty(), "it selects everything");
        selector.iter().all(|(name, value)| &labels[name] == value)
    };
    let budget = &one(&objects, "PodDisruptionBudget")["spec"];
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &budget["selector"]["matchLabels"],
        &policy["podSelector"]["matchLabels"],
        &spread["labelSelector"]["matchLabels"],
    ] {
        assert!(selected(selector, labels), "{selector}");
    }
    let ports = container(deployment)["ports"].as_array().expect("ports");
    let port = |name: &Value| ports.iter().find(|port| &port["name"] == name);
    let services: Vec<&Value> = objects
        .iter()
        .filter(|it| it["kind"] == "Service")
        .collect();
    for service in &services {
        assert!(selected(&service["spec"]["selector"], labels), "{service}");
        let target = &service["spec"]["ports"][0]["targetPort"];
        assert!(port(target).is_some(), "{service}");
    }
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &container(deployment)[probe]["httpGet"];
        assert_eq!(get["port"], "admin", "{probe}");
    }
    // The monitor finds the admin service alone, by its labels, which kustomize adds to.
    let monitor = &one(&objects, "ServiceMonitor")["spec"];
    let wanted = &monitor["selector"]["matchLabels"]["app.kubernetes.io/component"];
    let found = services
        .iter()
        .filter(|service| &service["metadata"]["labels"]["app.kubernetes.io/component"] == wanted);
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0]["spec"]["ports"][0]["name"],
        monitor["endpoints"][0]["port"]
    );
    assert_eq!(monitor["endpoints"][0]["path"], "/metrics");
    let target = &one(&objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"];
    assert_eq!(target["name"], deployment["metadata"]["name"]);
    assert!(
        deployment["spec"]["replicas"].is_null(),
        "the autoscaler says how many"
    );
}

#[test]
fn a_pod_has_the_time_that_a_drain_may_take_and_no_right_that_it_does_not_need() {
    let objects = base();
    let deployment = one(&objects, "Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let (values, secrets) = variables(deployment);
    let seconds = |name| {
        let time = humantime::parse_duration(values[name]);
        time.expect("a duration").as_secs()
    };
    let sleep = container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64();
    let sleep = sleep.expect("a pause");
    // OPERATIONS.md, Stopping: ten seconds beyond the delay and the grace.
    let needed = sleep + seconds("MARQUEE_DRAIN_DELAY") + seconds("MARQUEE_GRACE") + 10;
    let given = pod["terminationGracePeriodSeconds"]
        .as_u64()
        .expect("a time");
    assert!(given >= needed, "{given} of {needed} s");

    let own = &container(deployment)["securityContext"];
    assert_eq!(own["readOnlyRootFilesystem"], true);
    assert_eq!(own["allowPrivilegeEscalation"], false);
    assert_eq!(own["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let image = text(&path("Dockerfile"));
    let user = pod["securityContext"]["runAsUser"]
        .as_u64()
        .expect("a user");
    assert!(
        image.contains(&format!("\nUSER {user}\n")),
        "as in the image"
    );
    assert_eq!(pod["automountServiceAccountToken"], false);

    // What is secret is named, and not here.
    assert!(objects.iter().all(|it| it["kind"] != "Secret"));
    for (name, secret) in &secrets {
        assert!(name.starts_with("DATABASE_URL_"), "{name}");
        assert_eq!(secret["name"], "marquee-databases", "{name}");
    }
    let mounts = container(deployment)["volumeMounts"]
        .as_array()
        .expect("mounts");
    for mount in mounts {
        let volumes = pod["volumes"].as_array().expect("volumes");
        let volume = volumes.iter().find(|it| it["name"] == mount["name"]);
        assert!(volume.is_some(), "{mount}");
    }
}

#[test]
fn the_host_takes_the_settings_of_its_deployment() {
    let objects = base();
    let (values, secrets) = variables(one(&objects, "Deployment"));
    let folder = tempfile::tempdir().expect("a folder");
    // In the places of what is mounted.
    let here = |value: &str| {
        let name = Path::new(value).file_name().expect("a file");
        folder.path().join(name).display().to_string()
    };
    let config = path(BASE).join("marquee.toml");
    fs::copy(config, folder.path().join("marquee.toml")).expect("copied");
    let token = "0123456789abcdef0123456789abcdef";
    fs::write(folder.path().join("token"), token).expect("written");
    let mut setup = Setup::nothing();
    for (name, value) in &values {
        setup = match value.starts_with('/') {
            true => setup.with(name, &here(value)),
            false => setup.with(name, value),
        };
    }
    for name in secrets.keys() {
        let database = name.trim_start_matches("DATABASE_URL_").to_lowercase();
        let url = format!("postgres://marquee@db.example:5432/{database}");
        setup = setup.with(name, &url);
    }
    let said = done(&setup, &["config"]);
    for (name, value) in &values {
        // A file is told where it is, and what comes from it.
        let told = match value.starts_with('/') {
            true => format!("file {}", here(value)),
            false => format!("environment {name}"),
        };
        assert!(said.contains(&told), "{told}: {said}");
    }
    for name in secrets.keys() {
        assert!(
            said.contains(&format!("environment {name}")),
            "{name}: {said}"
        );
    }
    assert!(said.contains("kafka-bootstrap:9092"), "{said}");
}
