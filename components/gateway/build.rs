//! Makes of `proto/movie.proto` the code of its messages and services, and what reflection tells of it. In Rust alone: no
//! `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use protox::prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    #[expect(clippy::disallowed_methods, reason = "so cargo tells it")]
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names a folder")?);
    let files = protox::compile(["movie.proto"], ["proto"])?;
    fs::write(out.join("movie.descriptors"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(false)
        .compile_fds(files)?;
    Ok(())
}
