//! What `compose.yaml` and `Dockerfile` promise. `make test-containers` runs them; this is for where there is no Docker engine.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compose() -> Value {
    serde_saphyr::from_str(&text("compose.yaml")).expect("it is YAML")
}

fn services(compose: &Value) -> Vec<(&str, &Value)> {
    let services = compose["services"].as_object().expect("services");
    services
        .iter()
        .map(|(name, service)| (name.as_str(), service))
        .collect()
}

/// `NAME:MAJOR.MINOR...`, so that a rebuild a year from now gets what was tried.
fn is_pinned(image: &str) -> bool {
    image.split_once(':').is_some_and(|(_, tag)| {
        let version = tag.split('-').next().unwrap_or_default();
        version.contains('.') && version.split('.').all(|part| part.parse::<u32>().is_ok())
    })
}

/// The image that is taken where nobody names another one by a variable, and the variable.
fn usual(image: &Value) -> (&str, &str) {
    let image = image.as_str().expect("an image");
    let named = image.strip_prefix("${").and_then(|it| it.strip_suffix('}'));
    let named = named.and_then(|it| it.split_once(":-"));
    named.unwrap_or_else(|| panic!("{image} is not one that a variable may name"))
}

/// `ARG NAME=IMAGE`: what the stages of the Dockerfile begin with.
fn begins_with() -> Vec<(String, String)> {
    let dockerfile = text("Dockerfile");
    let named = dockerfile.lines().filter_map(|line| {
        let (name, image) = line.strip_prefix("ARG ")?.split_once('=')?;
        Some((name.to_owned(), image.to_owned()))
    });
    named.collect()
}

/// What the components of `spin.toml` call their databases.
fn databases() -> BTreeSet<String> {
    let manifest: toml::Table = toml::from_str(&text("spin.toml")).expect("it is TOML");
    let components = manifest["component"].as_table().expect("components");
    let names = components.values().filter_map(|component| {
        let granted = component.get("tool")?.get("marquee")?.get("database")?;
        granted.get("name")?.as_str().map(str::to_owned)
    });
    names.collect()
}

#[test]
fn the_production_shape_is_kafka_the_host_and_a_database_server_for_each_that_the_manifest_grants()
{
    let compose = compose();
    let names: BTreeSet<&str> = services(&compose).iter().map(|(name, _)| *name).collect();
    let databases = databases();
    assert!(!databases.is_empty());
    let servers = databases.iter().map(|name| format!("{name}-database"));
    let expected: Vec<String> = servers
        .chain(["kafka", "marquee"].map(str::to_owned))
        .collect();
    assert_eq!(names, expected.iter().map(String::as_str).collect());
    let host = &compose["services"]["marquee"];
    assert_eq!(host["build"]["context"], ".");
    for name in &databases {
        let server = &compose["services"][format!("{name}-database")];
        let (variable, image) = usual(&server["image"]);
        assert_eq!(variable, "POSTGRES_IMAGE");
        assert!(image.starts_with("postgres:17."), "{image}");
        assert_eq!(server["environment"]["POSTGRES_DB"], name.as_str());
        let variable = format!("DATABASE_URL_{}", name.to_uppercase());
        let url = host["environment"][&variable].as_str().expect("its URL");
        let end = format!("@{name}-database:5432/{name}");
        assert!(url.ends_with(&end), "{variable}: {url}");
    }
    let (variable, image) = usual(&compose["services"]["kafka"]["image"]);
    assert_eq!(variable, "KAFKA_IMAGE");
    let (_, version) = image.split_once(':').expect("a version");
    let tried = format!("const VERSION: &str = \"{version}\";");
    let tests = text("host/testkit/src/kafka_server.rs");
    assert!(tests.contains(&tried), "tests have another Kafka: {tried}");
    let roles = &compose["services"]["kafka"]["environment"]["KAFKA_PROCESS_ROLES"];
    assert_eq!(roles, "broker,controller", "KRaft, no ZooKeeper");
}

#[test]
fn every_service_says_when_it_is_ready_and_the_host_waits_for_the_others() {
    let compose = compose();
    // The host's is the image's.
    let dockerfile = text("Dockerfile");
    let asked = dockerfile
        .lines()
        .find(|line| line.starts_with("HEALTHCHECK "));
    assert!(asked.is_some_and(|line| line.ends_with(r#"CMD ["marquee", "health"]"#)));
    for (name, service) in services(&compose) {
        if name == "marquee" {
            assert_eq!(service["healthcheck"], Value::Null);
            continue;
        }
        let test = service["healthcheck"]["test"].as_array();
        assert!(
            test.is_some_and(|test| test.len() > 1),
            "{name} has no healthcheck"
        );
        let waits = &compose["services"]["marquee"]["depends_on"][name]["condition"];
        assert_eq!(waits, "service_healthy", "{name}");
    }
}

#[test]
fn ports_are_published_on_loopback_only() {
    let compose = compose();
    for (name, service) in services(&compose) {
        assert_eq!(service["network_mode"], Value::Null, "{name}");
        for port in service["ports"].as_array().expect("ports") {
            let port = port.as_str().expect("a port in short form");
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
}

#[test]
fn what_is_live_survives_the_container_and_can_be_changed_from_outside() {
    let compose = compose();
    let host = &compose["services"]["marquee"];
    let folder = "/var/lib/marquee";
    assert!(text("Dockerfile").contains(&format!("MARQUEE_DATA={folder}")));
    let kept = |list: &Value| {
        let list = list.as_array().expect("a list");
        list.iter()
            .any(|it| it.as_str().is_some_and(|it| it.contains(folder)))
    };
    assert!(kept(&host["volumes"]) && !kept(&host["tmpfs"]));
    assert!(
        compose["volumes"]
            .as_object()
            .expect("volumes")
            .contains_key("marquee-data")
    );
    assert_eq!(host["environment"]["MARQUEE_ADMIN_LISTEN"], "0.0.0.0:3001");
    let ports = host["ports"].as_array().expect("ports");
    assert!(ports.iter().any(|port| port == "127.0.0.1:3001:3001"));
}

#[test]
fn the_admin_token_is_a_file_that_is_in_no_image_and_no_commit() {
    let compose = compose();
    let host = &compose["services"]["marquee"];
    let mounted = &host["environment"]["MARQUEE_ADMIN_TOKEN_FILE"];
    assert_eq!(mounted, "/run/secrets/admin-token");
    assert_eq!(host["environment"]["MARQUEE_ADMIN_TOKEN"], Value::Null);
    assert_eq!(host["secrets"], serde_json::json!(["admin-token"]));
    let file = &compose["secrets"]["admin-token"]["file"];
    assert_eq!(file, "./secrets/admin-token");
    for ignored in [".gitignore", ".dockerignore"] {
        let ignored = text(ignored);
        assert!(
            ["/secrets", "/.env"]
                .iter()
                .all(|it| ignored.lines().any(|line| line == *it))
        );
    }
}

#[test]
fn the_host_writes_nowhere_but_to_its_volume_and_has_no_privilege() {
    let compose = compose();
    let host = &compose["services"]["marquee"];
    assert_eq!(host["read_only"], true);
    assert_eq!(host["tmpfs"], serde_json::json!(["/tmp"]));
    assert_eq!(host["cap_drop"], serde_json::json!(["ALL"]));
    assert_eq!(
        host["security_opt"],
        serde_json::json!(["no-new-privileges:true"])
    );
}

#[test]
fn the_operations_tell_of_every_image_and_of_the_list_of_what_ours_is_made_of() {
    let operations = text("OPERATIONS.md");
    let (_, section) = operations
        .split_once("\n## Containers\n")
        .expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another one");
    let compose = compose();
    let mut variables: BTreeSet<String> = services(&compose)
        .iter()
        .map(|(_, service)| usual(&service["image"]).0.to_owned())
        .collect();
    let built_with = begins_with().into_iter().map(|(name, _)| name);
    let built_with: Vec<String> = built_with.collect();
    let handed_on = &compose["services"]["marquee"]["build"]["args"];
    assert_eq!(*handed_on, serde_json::json!(built_with));
    variables.extend(built_with);
    for variable in variables {
        assert!(section.contains(&format!("`{variable}`")), "{variable}");
    }
    let folder = "/usr/share/marquee/sbom";
    assert!(section.contains(folder) && text("Dockerfile").contains(folder));
}

#[test]
fn images_are_pinned() {
    let compose = compose();
    for (name, service) in services(&compose) {
        if service["build"].is_null() {
            let (_, image) = usual(&service["image"]);
            assert!(is_pinned(image), "{name}: {image}");
        }
    }
    let begins_with = begins_with();
    for (name, image) in &begins_with {
        assert!(is_pinned(image), "Dockerfile: {name}: {image}");
    }
    for line in text("Dockerfile").lines() {
        if let Some(image) = line.strip_prefix("FROM ") {
            let image = image.split(' ').next().unwrap_or_default();
            let is_named = |(name, _): &(String, String)| image == format!("${{{name}}}");
            assert!(begins_with.iter().any(is_named), "Dockerfile: {image}");
        }
    }
    assert!(
        !is_pinned("postgres") && !is_pinned("postgres:latest") && !is_pinned("postgres:17"),
        "what this test would let pass"
    );
}

#[test]
fn no_password_has_a_default() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for (variable, value) in service["environment"].as_object().expect("environment") {
            let value = value.as_str().unwrap_or_default();
            let is_secret = variable.contains("PASSWORD") || value.contains("://marquee:");
            if is_secret {
                assert!(
                    value.contains("_PASSWORD:?"),
                    "{name}: {variable} does not require its password"
                );
            }
        }
    }
    for line in text(".env.example").lines() {
        if let Some((variable, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            assert_eq!(value, "", "{variable} has a default");
        }
    }
}

#[test]
fn the_image_does_not_run_as_root() {
    let dockerfile = text("Dockerfile");
    let last_stage = dockerfile.rsplit("\nFROM ").next().unwrap_or_default();
    let user = last_stage
        .lines()
        .find_map(|line| line.strip_prefix("USER "));
    assert!(
        user.is_some_and(|user| user != "0" && user != "root"),
        "{user:?}"
    );
    let toolchain = text("rust-toolchain.toml");
    let begins_with = begins_with();
    let built_with = begins_with.iter().find(|(name, _)| name == "RUST_IMAGE");
    let (_, image) = built_with.expect("a Rust image");
    let pinned = image
        .strip_prefix("rust:")
        .and_then(|it| it.split('-').next());
    let pinned = format!("{:?}", pinned.expect("a version"));
    assert!(toolchain.contains(&pinned), "{pinned}");
}
