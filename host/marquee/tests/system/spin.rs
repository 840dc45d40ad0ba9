//! The same manifests under stock Spin.
//!
//! Spin puts a component and its dependencies together into one component before it starts it. Its rules, which no
//! error of ours would tell: a dependency is registered under its package, so a package may be named once; every import
//! of a package that is named comes from the dependency, which must export it under the same name, interfaces of types
//! alone too; and what is left to import must be Spin's own.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use marquee_manifest::DependencyName;
use marquee_testkit::eventually;
use serde_json::{Value, json};
use wac_graph::{
    CompositionGraph, EncodeOptions,
    types::{Package, SubtypeChecker},
};
use wasmtime::{
    Config, Engine,
    component::{Component, types::ComponentItem},
};

use crate::{contract, grpc, host::Setup, http2::Raw, raw, tools};

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Compose a component of a manifest with its dependencies.
fn compose(manifest: &str, component: &str) -> anyhow::Result<Vec<u8>> {
    let path = root().join(manifest);
    let table: toml::Table = std::fs::read_to_string(&path)?.parse()?;
    let folder = path.parent().expect("a folder");
    let source = |name: &str| {
        let file = table["component"][name]["source"].as_str().expect("a file");
        std::fs::read(folder.join(file)).expect("run scripts/components")
    };
    let mut graph = CompositionGraph::new();
    let register = |graph: &mut CompositionGraph, name: &str, bytes| {
        let package = Package::from_bytes(name, None, bytes, graph.types_mut())?;
        let world = package.ty();
        let id = graph.register_package(package)?;
        anyhow::Ok((world, graph.instantiate(id)))
    };
    let (world, instance) = register(&mut graph, component, source(component))?;
    let imports = graph.types()[world].imports.clone();
    let named = table["component"][component]["dependencies"].as_table();
    for (key, dependency) in named.expect("a table") {
        let name: DependencyName = key.parse()?;
        let provider = dependency["component"].as_str().expect("a name");
        let (exports, provided) = register(&mut graph, name.package(), source(provider))?;
        for (import, wanted) in imports.iter().filter(|(import, _)| name.matches(import)) {
            let export = graph.types()[exports].exports.get(import).copied();
            let had = export.ok_or_else(|| {
                anyhow::anyhow!("dependency {key} doesn't export {import}, which is imported")
            })?;
            SubtypeChecker::new(&mut Default::default()).is_subtype(
                had,
                graph.types(),
                *wanted,
                graph.types(),
            )?;
            let alias = graph.alias_instance_export(provided, import)?;
            graph.set_instantiation_argument(instance, import, alias)?;
        }
    }
    for export in graph.types()[world].exports.clone().keys() {
        let alias = graph.alias_instance_export(instance, export)?;
        graph.export(alias, export)?;
    }
    Ok(graph.encode(EncodeOptions::default())?)
}

#[test]
fn every_application_is_composed_by_spins_rules() {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config).expect("an engine");
    for (manifest, component) in [
        ("spin.toml", "gateway"),
        ("examples/orders/spin.toml", "api"),
    ] {
        let bytes = compose(manifest, component)
            .unwrap_or_else(|error| panic!("{manifest}: {component}: {error:#}"));
        let composed = Component::new(&engine, bytes).expect("a component");
        let ty = composed.component_type();
        // What else is exported is for Marquee; Spin passes it over.
        let handler = ty
            .exports(&engine)
            .find(|(name, _)| *name == "wasi:http/handler@0.3.0");
        assert!(handler.is_some(), "{manifest}");
        for (import, item) in ty.imports(&engine) {
            let own = import.starts_with("wasi:") || import.starts_with("spin:");
            let types_only = matches!(&item.ty, ComponentItem::ComponentInstance(interface)
                if interface.exports(&engine).all(|(_, item)| matches!(item.ty, ComponentItem::Type(_))));
            assert!(own || types_only, "{manifest}: Spin has no {import}");
        }
    }
}

/// A dependency has nothing of its own under Spin: it inherits from the component that it is composed into.
#[test]
fn a_dependency_inherits_what_it_needs() {
    for manifest in ["spin.toml", "examples/orders/spin.toml"] {
        let text = std::fs::read_to_string(root().join(manifest)).expect("a manifest");
        let table: toml::Table = text.parse().expect("TOML");
        let components = table["component"].as_table().expect("a table");
        for importer in components.values() {
            let Some(dependencies) = importer.get("dependencies").and_then(|d| d.as_table()) else {
                continue;
            };
            for (key, dependency) in dependencies {
                let inherits = dependency["inherit_configuration"].as_bool();
                assert_eq!(inherits, Some(true), "{manifest}: {key}");
                let provider = &components[dependency["component"].as_str().expect("a name")];
                let ours = provider
                    .get("tool")
                    .and_then(|tool| tool["marquee"].get("variables"));
                for variable in ours
                    .and_then(|variables| variables.as_table())
                    .into_iter()
                    .flatten()
                {
                    assert!(
                        importer["variables"].get(variable.0).is_some(),
                        "{manifest}: {key} needs {}, which its importer does not have",
                        variable.0
                    );
                }
            }
        }
    }
}

/// A running `spin up`. Dropped, it is ended.
struct Spin {
    child: Child,
    address: String,
    /// Whose token goes with what is asked.
    token: Option<String>,
    /// What it answers is held against the same document.
    _contract: contract::Held,
}

impl Spin {
    /// On databases that `marquee migrate` has prepared, and with nothing else of Marquee.
    async fn up(setup: &Setup) -> Self {
        let url = url::Url::parse(setup.url("METADATA")).expect("a URL");
        let server = format!(
            "{}:{}",
            url.host_str().expect("a host"),
            url.port().unwrap_or(5432)
        );
        let mut command = Command::new("spin");
        for name in ["METADATA", "RATING", "USERS"] {
            command.env(
                format!("SPIN_VARIABLE_{name}_DATABASE_URL"),
                setup.url(name),
            );
        }
        let mut child = command
            .args(["up", "--listen", "127.0.0.1:0", "--from"])
            .arg(root().join("spin.toml"))
            .arg("--state-dir")
            .arg(setup.data())
            .env("SPIN_VARIABLE_POSTGRES_ADDRESS", server)
            .env("SPIN_VARIABLE_AUTH", "required")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("spin starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut lines = output.lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let url = line.strip_prefix("Serving http://")?;
            Some(url.trim_end_matches('/').to_owned())
        });
        // The rest is read too, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("spin says where it serves");
        let contract = contract::hold(&address).await;
        Self {
            child,
            address,
            token: None,
            _contract: contract,
        }
    }

    async fn ask(&self, request: &str, body: &Value) -> raw::Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let token = self.token.as_ref();
        let authorization = token.map(|token| format!("authorization: Bearer {token}"));
        let mut headers: Vec<&str> = authorization.iter().map(String::as_str).collect();
        if !body.is_empty() {
            headers.push("content-type: application/json");
        }
        raw::request(&self.address, request, &headers, &body).await
    }

    /// From now on it is asked as a new user. Their id.
    async fn log_in(&mut self, name: &str) -> String {
        self.token = None;
        let user = json!({"name": name, "password": "a quiet harbour"});
        let registered = self.ask("POST /v1/users", &user).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        let login = json!({"login": name, "password": "a quiet harbour"});
        let session = self.ask("POST /v1/sessions", &login).await;
        assert_eq!(session.status, 201, "{session:?}");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        self.token = Some(text(&session.json()["access_token"]));
        text(&registered.json()["id"])
    }
}

impl Drop for Spin {
    fn drop(&mut self) {
        // As Ctrl-C does: it ends its trigger with it.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "INT", &pid]).status();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movie_is_made_rated_and_read_with_its_average_under_spin_up() {
    if !tools::has("spin") {
        tools::not_tried("spin");
        return;
    }
    let setup = Setup::databases().await;
    let migrated = setup.verb(&["migrate"]);
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    let mut spin = Spin::up(&setup).await;

    let movie = json!({"title": "Heat", "description": "", "director": "Michael Mann"});
    assert_eq!(spin.ask("POST /v1/movies", &movie).await.status, 401);
    spin.log_in("ann").await;
    let made = spin.ask("POST /v1/movies", &movie).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let rate = format!("PUT /v1/movies/{id}/ratings/me");
    for (user, values) in [("", &[8, 10][..]), ("bob", &[5]), ("eve", &[1])] {
        if !user.is_empty() {
            spin.log_in(user).await;
        }
        for value in values {
            let rated = spin.ask(&rate, &json!({ "value": value })).await;
            assert_eq!(
                (rated.status, rated.json()["detail"].as_str()),
                (202, Some("applied"))
            );
        }
    }
    // Eve is erased, and so is what she rated.
    let erased = spin.ask("DELETE /v1/users/me", &Value::Null).await;
    assert_eq!(erased.status, 204, "{erased:?}");
    spin.token = None;
    let details = spin
        .ask(&format!("GET /v1/movies/{id}/details"), &Value::Null)
        .await;
    assert_eq!(
        details.json()["rating"],
        json!({"average": 7.5, "count": 2})
    );
    // The same over gRPC: Spin takes HTTP/2 without TLS, and lets trailers through.
    let mut grpc = Raw::to(&spin.address).await;
    let details = format!("http://{}/MovieService/GetMovieDetails", spin.address);
    let movie_id = id.clone();
    let by_id = grpc::frame(&grpc::ById { movie_id });
    let reply = grpc.call(&details, by_id).await;
    assert_eq!(reply.code(), Some("0"), "{reply:?}");
    assert!(reply.body.windows(4).any(|part| part == b"Heat"));
    let reply = grpc.call(&details, grpc::framed(0, b"")).await;
    assert_eq!(reply.code(), Some("3"), "{reply:?}");
    spin.log_in("dan").await;
    let nobodys = "PUT /v1/movies/0192f0c1-2345-7abc-8def-ffffffffffff/ratings/me";
    let refused = spin.ask(nobodys, &json!({ "value": 8 })).await;
    assert_eq!(refused.status, 404, "{refused:?}");

    // A movie that is deleted takes its ratings with it.
    let movie = json!({"title": "Ran", "description": "", "director": "Akira Kurosawa"});
    let made = spin.ask("POST /v1/movies", &movie).await;
    let gone = made.json()["id"].as_str().expect("an id").to_owned();
    let rate = format!("PUT /v1/movies/{gone}/ratings/me");
    let rated = spin.ask(&rate, &json!({ "value": 8 })).await;
    assert_eq!(rated.status, 202, "{rated:?}");
    spin.log_in("moderator").await;
    let users = setup.connect("USERS").await;
    let appoint = "update users set role = 'moderator' where name = 'moderator'";
    assert_eq!(users.execute(appoint, &[]).await.expect("it runs"), 1);
    let deleted = spin
        .ask(&format!("DELETE /v1/movies/{gone}"), &Value::Null)
        .await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let ratings = setup.connect("RATING").await;
    let sql = "select deleted_at is not null from aggregated_ratings where record_id = $1";
    let row = ratings.query_one(sql, &[&gone]).await.expect("its row");
    assert!(row.get::<_, bool>(0), "its ratings are out of sight");
    drop(spin);

    // What Spin cannot relay waits in the outbox. A host on the same databases relays it, and counts nothing twice.
    assert_eq!(unpublished(&setup).await, 3);
    let host = setup.start().await;
    eventually(Duration::from_secs(20), "it is relayed", async || {
        unpublished(&setup).await == 0
    })
    .await;
    let request = format!("GET /v1/movies/{id}/details");
    let details = raw::request(host.address(), &request, &[], "").await;
    assert_eq!(
        details.json()["rating"],
        json!({"average": 7.5, "count": 2})
    );
}

/// How many messages wait in metadata's outbox.
async fn unpublished(setup: &Setup) -> i64 {
    let sql = "select count(*) from marquee.outbox";
    let client = setup.connect("METADATA").await;
    client.query_one(sql, &[]).await.expect("a count").get(0)
}
