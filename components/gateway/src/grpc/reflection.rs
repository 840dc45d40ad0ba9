//! Reflection, as `grpc.reflection.v1` has it: a client asks which services there are and what their messages are, and
//! needs no file of ours.
//!
//! Of three files, each of which imports nothing: whoever has one has all that it needs.

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

use super::{MAX_BYTES, SERVICES};

struct Reflection;

/// Its older version has the same messages under another name.
pub(super) async fn serve(mut request: Request) -> HttpResponse {
    let path = request.uri().path().replace(".v1alpha.", ".v1.");
    if let Ok(path) = PathAndQuery::try_from(path) {
        *request.uri_mut() = Uri::from(path);
    }
    let server = ServerReflectionServer::new(Reflection).max_decoding_message_size(MAX_BYTES);
    super::call(server, request).await
}

#[async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = BoxStream<'static, Result<ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        call: tonic::Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let answers = call.into_inner().map(|request| {
            let request = request?;
            let message_response = request.message_request.as_ref().map(answer);
            Ok(ServerReflectionResponse {
                valid_host: request.host.clone(),
                original_request: Some(request),
                message_response,
            })
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// A file as it is sent to clients, among the others of its set.
#[derive(Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

/// What is read here of a file.
#[derive(Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

fn answer(question: &Question) -> Answer {
    let found = match question {
        Question::ListServices(_) => return services(),
        Question::FileByFilename(name) => named(name),
        Question::FileContainingSymbol(symbol) => containing(symbol).and_then(only),
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

/// Those whose files are here: the older reflection is found by those who know it.
fn services() -> Answer {
    let names = SERVICES.iter().map(|(name, _)| *name);
    let names = names.filter(|name| containing(name).is_some());
    let service = |name: &str| ServiceResponse {
        name: name.to_owned(),
    };
    Answer::ListServicesResponse(ListServiceResponse {
        service: names.map(service).collect(),
    })
}

/// The set of the file that declares a service, a method or a message.
fn containing(symbol: &str) -> Option<&'static [u8]> {
    if symbol.starts_with("grpc.health.v1.") {
        Some(HEALTH)
    } else if symbol.starts_with("grpc.reflection.v1.") {
        Some(REFLECTION)
    } else {
        SYMBOLS.lines().any(|own| own == symbol).then_some(MOVIE)
    }
}

fn named(name: &str) -> Option<Bytes> {
    let mut files = [MOVIE, HEALTH, REFLECTION].into_iter().filter_map(only);
    files.find(|file| Named::decode(file.clone()).is_ok_and(|own| own.name == name))
}

fn only(set: &'static [u8]) -> Option<Bytes> {
    Files::decode(set).ok()?.files.pop()
}

const MOVIE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/movie.descriptors"));
/// What `movie.proto` declares, a name a line.
const SYMBOLS: &str = include_str!(concat!(env!("OUT_DIR"), "/movie.symbols"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_found_by_its_name_and_by_what_it_declares() {
        for (name, symbols) in [
            (
                "movie.proto",
                ["MovieService", "RatingService.SubmitRating", "Metadata"],
            ),
            (
                "health.proto",
                [
                    "grpc.health.v1.Health",
                    "grpc.health.v1.Health.Check",
                    "grpc.health.v1.HealthCheckRequest",
                ],
            ),
            (
                "reflection_v1.proto",
                [
                    "grpc.reflection.v1.ServerReflection",
                    "grpc.reflection.v1.ServerReflection.ServerReflectionInfo",
                    "grpc.reflection.v1.ErrorResponse",
                ],
            ),
        ] {
            let file = named(name).unwrap_or_else(|| panic!("there is no {name}"));
            for symbol in symbols {
                assert_eq!(
                    containing(symbol).and_then(only),
                    Some(file.clone()),
                    "{symbol}"
                );
            }
        }
        for symbol in [
            "",
            "Movie",
            "movie.MovieService",
            "MovieService.",
            "google.rpc.Status",
        ] {
            assert_eq!(containing(symbol), None, "{symbol}");
        }
    }
}
