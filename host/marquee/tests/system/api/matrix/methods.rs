//! What methods of gRPC there are, as the server itself tells it by reflection. Messages are written here by hand, of
//! `grpc.reflection.v1` and `google.protobuf`, with the fields that are needed.

use std::collections::BTreeSet;

use prost::Message;

use crate::{grpc::framed, http2::Raw};

/// Each method that is served, as `SERVICE/METHOD`.
pub(super) async fn served(raw: &mut Raw, url: &str) -> BTreeSet<String> {
    let url = format!("{url}/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    let list = Question {
        list_services: Some(String::new()),
        ..Question::default()
    };
    let services = ask(raw, &url, &list).await.services.expect("a list");
    let mut methods = BTreeSet::new();
    for Named { name } in services.all {
        let symbol = Question {
            containing_symbol: Some(name.clone()),
            ..Question::default()
        };
        let files = ask(raw, &url, &symbol).await.files.expect("its file");
        for file in files.all {
            let file = File::decode(&*file).expect("a file's descriptor");
            for service in file.services {
                let full = match file.package.as_str() {
                    "" => service.name,
                    package => format!("{package}.{}", service.name),
                };
                let of_it = service.methods.into_iter();
                methods.extend(of_it.map(|method| format!("{full}/{}", method.name)));
            }
        }
    }
    methods
}

async fn ask(raw: &mut Raw, url: &str, question: &Question) -> Told {
    let reply = raw.call(url, framed(0, &question.encode_to_vec())).await;
    assert_eq!(reply.code(), Some("0"), "{reply:?}");
    Told::decode(&reply.body[5..]).expect("one answer")
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Question {
    #[prost(string, optional, tag = "4")]
    containing_symbol: Option<String>,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Told {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    all: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    all: Vec<Named>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Named>,
}
