//! The OpenAPI document: what the routes say of themselves, and what holds for all of them.

use axum::body::Bytes;
use marquee_problem::{self as problem, Kind, Problem, UNAUTHORIZED};
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        Content, Header, ObjectBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Type,
        example::ExampleBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::SchemaType,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

/// The document as it is sent.
pub(super) fn made<K: Iterator<Item = &'static Kind>>(
    mut api: OpenApi,
    kinds: impl Fn() -> K,
) -> Bytes {
    if let Some(text) = &mut api.info.description {
        text.truncate(text.trim_end().len());
    }
    let components = api.components.get_or_insert_default();
    let schema = Problem::schema();
    components.schemas.insert(Problem::name().into(), schema);
    let methods = api.paths.paths.values_mut();
    let methods = methods.flat_map(|item| {
        item.get.as_mut().map(conditional);
        [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ]
    });
    for operation in methods.flatten() {
        for status in complete(operation) {
            components
                .responses
                .entry(component(status))
                .or_insert_with(|| problems(status, kinds()).into());
        }
    }
    let bearer = Http::new(HttpAuthScheme::Bearer);
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    let described = serde_json::to_value(kinds().collect::<Vec<_>>()).unwrap_or_default();
    api.extensions
        .get_or_insert_default()
        .insert("x-problems".to_owned(), described);
    serde_json::to_vec(&api).unwrap_or_default().into()
}

/// A header of a request that need not be there.
pub(super) fn header_parameter(name: &str, meaning: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(utoipa::openapi::Required::False)
        .description(Some(meaning))
        .schema(Some(
            ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null])),
        ))
        .build()
}

/// Adds what every answer has, and the problems that every route can meet, 401 where one takes a token; says which statuses are problems here.
fn complete(operation: &mut Operation) -> Vec<u16> {
    let with_body = operation.request_body.is_some();
    let with_token = operation.security.is_some();
    let everywhere = problem::ALL
        .iter()
        .map(|kind| kind.status)
        .filter(|status| match status {
            401 => with_token,
            403..=405 | 409 => false,
            408 | 415 | 422 => with_body,
            _ => true,
        });
    let responses = &mut operation.responses.responses;
    for response in responses.values_mut() {
        if let RefOr::T(response) = response {
            response
                .headers
                .insert("X-Request-Id".to_owned(), request_id());
        }
    }
    let own = responses.keys().filter_map(|status| status.parse().ok());
    let problems: Vec<u16> = own
        .filter(|status| *status >= 400)
        .chain(everywhere)
        .collect();
    for status in &problems {
        responses.insert(
            status.to_string(),
            Ref::from_response_name(component(*status)).into(),
        );
    }
    problems
}

/// Adds what `conditional` does to answers with JSON.
fn conditional(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    let Some(RefOr::T(found)) = responses.get_mut("200") else {
        return;
    };
    if !found.content.contains_key("application/json") {
        return;
    }
    let tag = || header(Type::String, "Of this content, for `If-None-Match`.");
    found.headers.insert("ETag".to_owned(), tag());
    let unchanged = ResponseBuilder::new()
        .description("The content is the one that `If-None-Match` names.")
        .header("ETag", tag());
    responses.insert("304".to_owned(), unchanged.build().into());
}

/// The answer with this status: one of the kinds that have it.
fn problems(status: u16, kinds: impl Iterator<Item = &'static Kind>) -> Response {
    let mut content = Content::new(Some(Ref::from_schema_name(Problem::name())));
    let mut response = ResponseBuilder::new().header("X-Request-Id", request_id());
    let mut titles = Vec::new();
    for kind in kinds.filter(|kind| kind.status == status) {
        let mut example = kind.with(kind.meaning);
        example.instance = Some("0192f0c1-9999-7abc-8def-0123456789ab".to_owned());
        let example = ExampleBuilder::new().value(serde_json::to_value(example).ok());
        content
            .examples
            .insert(kind.name().to_owned(), example.build().into());
        titles.push(kind.title);
        if status == UNAUTHORIZED.status {
            let challenge = header(Type::String, "`Bearer`: what `Authorization` must have.");
            response = response.header("WWW-Authenticate", challenge);
        }
        if kind.retry_after_s().is_some() {
            let seconds = header(Type::Integer, "Seconds to wait before the next try.");
            response = response.header("Retry-After", seconds);
        }
    }
    let description = format!("{}.", titles.join(", or: "));
    response
        .description(description)
        .content(problem::MEDIA_TYPE, content)
        .build()
}

fn component(status: u16) -> String {
    format!("Problem{status}")
}

fn request_id() -> Header {
    header(
        Type::String,
        "The request's id, also `instance` of a problem.",
    )
}

fn header(kind: Type, description: &str) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(kind));
    header.description = Some(description.to_owned());
    header
}
