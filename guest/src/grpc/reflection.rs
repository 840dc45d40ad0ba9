//! Reflection, as `grpc.reflection.v1` has it: a client asks which services there are and what their messages are, and
//! needs no file of ours. What it knows: the files of the component's own services, of health and of reflection itself, and
//! what statuses have in their details.

use axum::{
    extract::Request,
    http::{Uri, uri::PathAndQuery},
    response::Response as HttpResponse,
};
use futures::{StreamExt as _, stream::BoxStream};
use prost::{Message, bytes::Bytes};
use tonic::{Code, Response, Status, Streaming, async_trait};
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH;
use tonic_reflection::pb::v1::{
    ErrorResponse, FILE_DESCRIPTOR_SET as REFLECTION, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
    server_reflection_request::MessageRequest as Question,
    server_reflection_response::MessageResponse as Answer,
    server_reflection_server::{ServerReflection, ServerReflectionServer},
};
use tonic_types::pb::FILE_DESCRIPTOR_SET as DETAILS;

use super::{MAX_BYTES, Services};

struct Reflection(&'static Services);

/// Its older version has the same messages under another name.
pub(super) async fn serve(services: &'static Services, mut request: Request) -> HttpResponse {
    let path = request.uri().path().replace(".v1alpha.", ".v1.");
    if let Ok(path) = PathAndQuery::try_from(path) {
        *request.uri_mut() = Uri::from(path);
    }
    let server = ServerReflectionServer::new(Reflection(services));
    super::call(server.max_decoding_message_size(MAX_BYTES), request).await
}

#[async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = BoxStream<'static, Result<ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        call: tonic::Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let services = self.0;
        let answers = call.into_inner().map(move |request| {
            let request = request?;
            let message_response = request
                .message_request
                .as_ref()
                .map(|question| answer(services, question));
            Ok(ServerReflectionResponse {
                valid_host: request.host.clone(),
                original_request: Some(request),
                message_response,
            })
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// Files as they are sent to clients.
#[derive(Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

/// What is read here of a file.
#[derive(Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "4")]
    messages: Vec<Declared>,
    #[prost(message, repeated, tag = "5")]
    enums: Vec<Named>,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Declared>,
}

/// A message or a service.
#[derive(Message)]
struct Declared {
    #[prost(string, tag = "1")]
    name: String,
    /// Fields, or methods.
    #[prost(message, repeated, tag = "2")]
    members: Vec<Named>,
    /// Messages in a message; a service has its options there, which have no name.
    #[prost(message, repeated, tag = "3")]
    nested: Vec<Self>,
    #[prost(message, repeated, tag = "4")]
    enums: Vec<Named>,
}

#[derive(Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

impl File {
    fn declares(&self, symbol: &str) -> bool {
        let own = match self.package.as_str() {
            "" => Some(symbol),
            package => within(symbol, package),
        };
        own.is_some_and(|own| {
            let mut declared = self.messages.iter().chain(&self.services);
            declared.any(|one| one.declares(own)) || self.enums.iter().any(|one| one.name == own)
        })
    }
}

impl Declared {
    fn declares(&self, symbol: &str) -> bool {
        symbol == self.name
            || within(symbol, &self.name).is_some_and(|own| {
                let mut named = self.members.iter().chain(&self.enums);
                named.any(|one| one.name == own) || self.nested.iter().any(|one| one.declares(own))
            })
    }
}

/// What a symbol is called within this package, message or service.
fn within<'a>(symbol: &'a str, scope: &str) -> Option<&'a str> {
    symbol.strip_prefix(scope)?.strip_prefix('.')
}

fn answer(services: &Services, question: &Question) -> Answer {
    let found = match question {
        Question::ListServices(_) => return list(services),
        Question::FileByFilename(name) => file(services, |file| file.name == *name),
        Question::FileContainingSymbol(symbol) => {
            file(services, |file| !symbol.is_empty() && file.declares(symbol))
        }
        _ => None,
    };
    let nothing = || ErrorResponse {
        error_code: Code::NotFound.into(),
        error_message: "there is nothing of this name".to_owned(),
    };
    found.map_or_else(
        || Answer::ErrorResponse(nothing()),
        |file| {
            Answer::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto: vec![file.to_vec()],
            })
        },
    )
}

/// The older reflection is found by those who know it.
fn list(services: &Services) -> Answer {
    let own = services.own.iter().map(|own| own.name);
    let names = own.chain([super::HEALTH, super::REFLECTION]);
    let service = |name: &str| ServiceResponse {
        name: name.to_owned(),
    };
    Answer::ListServicesResponse(ListServiceResponse {
        service: names.map(service).collect(),
    })
}

/// The file that is looked for.
fn file(services: &Services, is_it: impl Fn(&File) -> bool) -> Option<Bytes> {
    let sets = [services.descriptors, HEALTH, REFLECTION, DETAILS].into_iter();
    let mut files = sets
        .filter_map(|set| Files::decode(set).ok())
        .flat_map(|set| set.files);
    files.find(|file| File::decode(file.clone()).is_ok_and(|file| is_it(&file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_found_by_what_it_declares_and_by_its_name() {
        // Any file does for the component's own.
        let services = Services {
            own: &[],
            descriptors: HEALTH,
            resource: "",
        };
        let name = |found: Option<Bytes>| found.map(|file| File::decode(file).unwrap().name);
        let check = |symbol: &str, expected: Option<&str>| {
            let found = name(file(&services, |file| file.declares(symbol)));
            assert_eq!(found.as_deref(), expected, "{symbol}");
        };
        check("grpc.health.v1.Health", Some("health.proto"));
        check("grpc.health.v1.Health.Check", Some("health.proto"));
        check(
            "grpc.health.v1.HealthCheckRequest.service",
            Some("health.proto"),
        );
        check(
            "grpc.reflection.v1.ServerReflection",
            Some("reflection_v1.proto"),
        );
        check(
            "grpc.health.v1.HealthCheckResponse.ServingStatus",
            Some("health.proto"),
        );
        check("google.rpc.Status", Some("status.proto"));
        check("google.rpc.BadRequest", Some("error_details.proto"));
        check(
            "google.rpc.BadRequest.FieldViolation.field",
            Some("error_details.proto"),
        );
        for symbol in [
            "",
            "Health",
            "grpc.health.v1",
            "grpc.health.v1.Health.",
            "grpc.health.v1.Nothing",
        ] {
            check(symbol, None);
        }
        // What these import.
        for imported in [
            "google/protobuf/any.proto",
            "google/protobuf/duration.proto",
        ] {
            let found = name(file(&services, |file| file.name == imported));
            assert_eq!(found.as_deref(), Some(imported));
        }
    }
}
