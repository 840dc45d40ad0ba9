//! Reflection, as `grpc.reflection.v1` has it: a client asks which services there are and what their messages are, and
//! needs no file of ours. What it knows: `movie.proto`, the files of health and of reflection itself, and what statuses
//! have in their details.

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

/// Files as they are sent to clients.
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
        Question::FileContainingSymbol(symbol) => declaring(symbol).and_then(named),
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
    let names = names.filter(|name| declaring(name).is_some());
    let service = |name: &str| ServiceResponse {
        name: name.to_owned(),
    };
    Answer::ListServicesResponse(ListServiceResponse {
        service: names.map(service).collect(),
    })
}

/// The file that declares a service, a method or a message; of the packages of others, the one that would.
fn declaring(symbol: &str) -> Option<&'static str> {
    if SYMBOLS.lines().any(|own| own == symbol) {
        return Some("movie.proto");
    }
    let mut packages = PACKAGES.iter();
    let found = packages.find(|(prefix, _)| symbol.starts_with(prefix));
    found.map(|(_, name)| *name)
}

fn named(name: &str) -> Option<Bytes> {
    let sets = [MOVIE, HEALTH, REFLECTION, DETAILS].into_iter();
    let mut files = sets
        .filter_map(|set| Files::decode(set).ok())
        .flat_map(|set| set.files);
    files.find(|file| Named::decode(file.clone()).is_ok_and(|own| own.name == name))
}

const MOVIE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/movie.descriptors"));
/// What `movie.proto` declares, a name a line.
const SYMBOLS: &str = include_str!(concat!(env!("OUT_DIR"), "/movie.symbols"));
/// What other packages declare is found by how it begins, the longer beginning first.
const PACKAGES: [(&str, &str); 4] = [
    ("grpc.health.v1.", "health.proto"),
    ("grpc.reflection.v1.", "reflection_v1.proto"),
    ("google.rpc.Status", "status.proto"),
    ("google.rpc.", "error_details.proto"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_found_by_what_it_declares_and_by_its_name() {
        let check = |symbol: &str, name: &str| {
            assert_eq!(declaring(symbol), Some(name), "{symbol}");
            assert!(named(name).is_some(), "{name}");
        };
        for symbol in ["MovieService", "RatingService.SubmitRating", "Metadata"] {
            check(symbol, "movie.proto");
        }
        check("grpc.health.v1.Health.Check", "health.proto");
        check("grpc.reflection.v1.ServerReflection", "reflection_v1.proto");
        check("google.rpc.Status", "status.proto");
        check("google.rpc.BadRequest", "error_details.proto");
        // What these import.
        for name in [
            "google/protobuf/any.proto",
            "google/protobuf/duration.proto",
        ] {
            assert!(named(name).is_some(), "{name}");
        }
        for symbol in ["", "Movie", "movie.MovieService", "MovieService."] {
            assert_eq!(declaring(symbol), None, "{symbol}");
        }
        assert_eq!(named(""), None);
    }
}
