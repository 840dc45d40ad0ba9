//! The documents: the OpenAPI document is one, and what is sent is what it tells.

use roas::{
    v3_1::spec::Spec,
    validation::{Options, Validate as _},
};
use serde_json::{Value, json};

use super::{Api, assert_problem};
use crate::contract::Contract;

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_is_one_of_version_3_1() {
    let api = Api::start().await;
    let answer = api
        .ask(
            "GET /openapi.json",
            &["accept: application/vnd.oai.openapi+json"],
            "",
        )
        .await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let spec: Spec = serde_json::from_value(document.clone()).expect("it is read as OpenAPI 3.1");
    if let Err(error) = spec.validate(Options::new(), None) {
        panic!("{error}");
    }
    let contract = Contract::new(document);
    let document = &contract.document;
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            operations += 1;
            let place = format!("{method} {path}");
            for member in ["operationId", "summary"] {
                assert!(operation[member].is_string(), "{place} has no {member}");
            }
            for response in operation["responses"]
                .as_object()
                .expect("responses")
                .values()
            {
                let response = contract.resolve(response);
                assert!(
                    response["headers"]["X-Request-Id"].is_object(),
                    "{place}: {response}"
                );
            }
        }
    }
    assert_eq!(operations, 30);
    for (name, schema) in document["components"]["schemas"]
        .as_object()
        .expect("schemas")
    {
        jsonschema::draft202012::meta::validate(schema)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let whole = json!({"$ref": format!("#/components/schemas/{name}")});
        check_examples(&contract, schema, &whole, name);
    }
}

/// Every example is one.
fn check_examples(contract: &Contract, schema: &Value, whole: &Value, place: &str) {
    for example in schema["examples"].as_array().into_iter().flatten() {
        let validator = contract.validator(whole);
        assert!(
            validator.is_valid(example),
            "{place}: {example} does not fit {schema}"
        );
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        check_examples(contract, member, member, &format!("{place}.{name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_problem_is_in_the_document_and_can_be_looked_up() {
    let api = Api::start().await;
    let document = api.get("/openapi.json").await.json();
    let kinds = document["x-problems"].as_array().expect("a list").clone();
    assert!(kinds.len() > 15, "{kinds:?}");
    for kind in kinds {
        let answer = api.get(kind["type"].as_str().expect("a path")).await;
        assert_eq!((answer.status, answer.json()), (200, kind));
    }
    let problem = assert_problem(
        "an id",
        &api.get("/v1/movies/x").await,
        400,
        "invalid-parameter",
    );
    let described = api
        .get(problem["type"].as_str().expect("a path"))
        .await
        .json();
    for member in ["type", "title", "status"] {
        assert_eq!(described[member], problem[member]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_sent_to_browsers_and_the_root_leads_there() {
    let api = Api::start().await;
    let accept = "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let root = api.ask("GET /", &[accept], "").await;
    assert_eq!((root.status, root.header("location")), (308, Some("/docs")));
    let page = api.ask("GET /docs", &[accept], "").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(page.body.contains("/openapi.json"));
    assert_eq!(page.header("cache-control"), Some("public, max-age=60"));
    let refused = api
        .ask("GET /docs", &["accept: application/json"], "")
        .await;
    assert_problem("/docs as JSON", &refused, 406, "not-acceptable");
}
