//! Makes of `proto/movie.proto` the code of its messages and services, and what `grpc::reflection` tells of it. In Rust
//! alone: no `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use protox::prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    #[expect(clippy::disallowed_methods, reason = "so cargo tells it")]
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names a folder")?);
    let files = protox::compile(["movie.proto"], ["proto"])?;
    let [file] = files.file.as_slice() else {
        return Err("movie.proto imports nothing".into());
    };
    fs::write(out.join("movie.descriptors"), files.encode_to_vec())?;
    let messages = file
        .message_type
        .iter()
        .map(|message| message.name().to_owned());
    let services = file.service.iter().flat_map(|service| {
        let method = |name| format!("{}.{name}", service.name());
        let methods = service.method.iter().map(move |own| method(own.name()));
        methods.chain([service.name().to_owned()])
    });
    let symbols: Vec<String> = messages.chain(services).collect();
    fs::write(out.join("movie.symbols"), symbols.join("\n"))?;
    tonic_prost_build::configure()
        .build_client(false)
        .compile_fds(files)?;
    Ok(())
}
