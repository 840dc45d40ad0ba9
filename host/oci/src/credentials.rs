//! As whom a registry is asked. Promise: a password is in no log and in no error.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use docker_credential::{CredentialRetrievalError as Failed, DockerCredential};

/// As whom.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// As anybody.
    #[default]
    Nobody,
    /// With a password.
    User {
        /// Who.
        name: String,
        /// The password.
        password: String,
    },
    /// With a token that the server of tokens gave for longer.
    Identity(String),
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file is there and cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It says something else.
    #[error("{} is not understood: {reason}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Credentials {
    /// What `docker login`, or one of the programs that it keeps passwords with, has for a registry.
    pub fn of_docker(config: &Path, registry: &str) -> Result<Self, CredentialsError> {
        let file = match fs::File::open(config) {
            Ok(file) => io::BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Nobody),
            Err(source) => {
                return Err(CredentialsError::File {
                    path: config.to_owned(),
                    source,
                });
            }
        };
        let name = match registry {
            DOCKER => "https://index.docker.io/v1/",
            other => other,
        };
        let reason = match docker_credential::get_credential_from_reader(file, name) {
            Ok(DockerCredential::IdentityToken(token)) => return Ok(Self::Identity(token)),
            Ok(DockerCredential::UsernamePassword(name, password)) => {
                return Ok(Self::User { name, password });
            }
            Err(Failed::NoCredentialConfigured) => return Ok(Self::Nobody),
            Err(Failed::HelperFailure { stdout, .. }) if stdout.contains("not found") => {
                return Ok(Self::Nobody);
            }
            // Not what it printed.
            Err(Failed::HelperFailure { helper, .. }) => format!("{helper} failed"),
            Err(Failed::ConfigReadError) => "it is no JSON of docker's".to_owned(),
            Err(other) => other.to_string(),
        };
        Err(CredentialsError::Text {
            path: config.to_owned(),
            reason,
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who, and nothing more.
impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody in particular"),
            Self::User { name, .. } => f.write_str(name),
            Self::Identity(_) => f.write_str("the user of a token"),
        }
    }
}

/// The one whose name in references is neither that of its server nor that in its users' files.
pub(crate) const DOCKER: &str = "docker.io";

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled;
    use proptest::prelude::*;

    use super::*;

    fn found(text: &[u8], registry: &str) -> Result<Credentials, CredentialsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        fs::write(&path, text).expect("written");
        Credentials::of_docker(&path, registry)
    }

    /// `ann:secret` in Base64.
    const CONFIG: &[u8] = br#"{"auths":{
        "r.example:5000":{"auth":"YW5uOnNlY3JldA=="},
        "https://index.docker.io/v1/":{"auth":"YW5uOnNlY3JldA=="},
        "t.example":{"identitytoken":"secret"},
        "odd.example":{"auth":"c2VjcmV0"}}}"#;

    #[test]
    fn a_registry_is_asked_as_docker_logged_in() {
        let ann = Credentials::User {
            name: "ann".to_owned(),
            password: "secret".to_owned(),
        };
        for (registry, expected) in [
            ("r.example:5000", ann.clone()),
            ("docker.io", ann),
            ("t.example", Credentials::Identity("secret".to_owned())),
            ("r.example", Credentials::Nobody),
        ] {
            assert_eq!(found(CONFIG, registry).unwrap(), expected, "{registry}");
        }
        let nowhere = Credentials::of_docker(Path::new("/nowhere/config.json"), "r.example");
        assert_eq!(nowhere.unwrap(), Credentials::Nobody);
        assert!(found(CONFIG, "odd.example").is_err());
        assert!(found(b"{", "r.example").is_err());
    }

    #[test]
    fn no_secret_is_shown() {
        for registry in ["r.example:5000", "t.example", "odd.example"] {
            let found = found(CONFIG, registry);
            let said = format!(
                "{found:?} {}",
                found
                    .as_ref()
                    .map_or_else(ToString::to_string, ToString::to_string)
            );
            assert!(!said.contains("secret") && !said.contains("c2Vj"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_a_file_gives_nobody_the_password_of_another(text in mangled([CONFIG])) {
            let others = found(&text, "nobody.example");
            prop_assert_eq!(others.unwrap_or_default(), Credentials::Nobody);
            let said = format!("{:?}", found(&text, "t.example"));
            prop_assert!(!said.contains("secret"), "{}", said);
        }
    }
}
