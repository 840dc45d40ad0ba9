//! What is asked of a registry, of whom, and what its answers mean.

use std::{error::Error as _, io};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderValue, StatusCode, header};
use http_auth::{ChallengeRef, parser::ChallengeParser};
use marquee_registry::Digest;
use serde::Deserialize;
use url::{Position, Url, form_urlencoded};

use crate::{
    Access, Credentials, NotAComponent, Pulled, Reference,
    artifact::{Artifact, shown},
    credentials::DOCKER,
    exchange::{Answer, Question, TooLong, ask},
    reference::{is_local, written},
};

/// Why a component was not got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answers, or not in HTTP, or not to the end.
    #[error("registry {at} does not answer")]
    Unreachable {
        /// Which.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// It has nothing of this name.
    #[error("{0} is not there: its registry knows no such repository or version")]
    NotFound(String),
    /// It gives it to others.
    #[error(
        "registry {at} does not let {whom} pull {repository}; `docker login` or --registry-user says as whom"
    )]
    Denied {
        /// Which.
        at: String,
        /// As whom it was asked.
        whom: String,
        /// For what.
        repository: String,
    },
    /// It is something else.
    #[error("{reference} is no component")]
    NotAComponent {
        /// What was asked for.
        reference: String,
        /// What it is.
        source: NotAComponent,
    },
    /// There is no room for it.
    #[error("{reference} has {} MiB; a component has at most {}", size >> 20, most >> 20)]
    TooLarge {
        /// What was asked for.
        reference: String,
        /// In bytes.
        size: u64,
        /// In bytes.
        most: u64,
    },
    /// What came is something else than what it is called.
    #[error("registry {at} sent other bytes than those of {digest}")]
    Other {
        /// Which.
        at: String,
        /// Of what was asked for.
        digest: String,
    },
    /// Nothing that can be gone on with.
    #[error("{at} answered with {said}")]
    Answer {
        /// Who.
        at: String,
        /// What.
        said: String,
    },
}

/// A registry, while one component is got of it.
pub(crate) struct Registry<'a> {
    reference: &'a Reference,
    access: &'a Access,
    /// What it wants to see.
    authorization: Option<HeaderValue>,
}

impl<'a> Registry<'a> {
    pub(crate) fn new(reference: &'a Reference, access: &'a Access) -> Self {
        Self {
            reference,
            access,
            authorization: None,
        }
    }

    pub(crate) async fn pull(mut self) -> Result<Pulled, Error> {
        let at = format!("manifests/{}", self.reference.version());
        let manifest = self.get(&at, MANIFEST_BYTES, Some(MANIFESTS)).await?;
        let digest = Digest::of(&manifest);
        if let Some(wanted) = self.reference.digest()
            && wanted != digest
        {
            return Err(self.other(&wanted));
        }
        let artifact = Artifact::read(&manifest).map_err(|source| Error::NotAComponent {
            reference: self.reference.to_string(),
            source,
        })?;
        if artifact.size > self.access.most_bytes {
            return Err(Error::TooLarge {
                reference: self.reference.to_string(),
                size: artifact.size,
                most: self.access.most_bytes,
            });
        }
        let at = format!("blobs/{}", written(&artifact.digest));
        let bytes = match self.get(&at, artifact.size, None).await {
            Err(Error::Unreachable { source, .. }) if is_too_long(&source) => None,
            bytes => Some(bytes?),
        };
        let bytes = bytes.filter(|bytes| Digest::of(bytes) == artifact.digest);
        Ok(Pulled {
            bytes: bytes.ok_or_else(|| self.other(&artifact.digest))?.into(),
            manifest: digest,
            signature: artifact.signature,
        })
    }

    /// What lies below the repository, of at most so many bytes.
    async fn get(
        &mut self,
        at: &str,
        most: u64,
        accept: Option<&'static str>,
    ) -> Result<bytes::Bytes, Error> {
        let start = self.url(at)?;
        let (mut url, mut has_asked) = (start.clone(), false);
        for _ in 0..HOPS {
            // What it wants to see is for itself, and nobody whom it sends us to.
            let is_own = url.origin() == start.origin();
            let question = Question {
                authorization: self.authorization.clone().filter(|_| is_own),
                accept: accept.map(HeaderValue::from_static),
                form: None,
            };
            let answer = self.ask(&url, question).await?;
            match answer.status {
                status if status.is_success() => {
                    let read = answer.bytes(most).await;
                    return read.map_err(|source| unreachable(&url, source));
                }
                StatusCode::UNAUTHORIZED if is_own && !has_asked => {
                    self.authorize(&answer).await?;
                    has_asked = true;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.denied()),
                StatusCode::NOT_FOUND => return Err(Error::NotFound(self.reference.to_string())),
                status if status.is_redirection() => url = self.led_to(&url, &answer)?,
                _ => return Err(failed(&url, answer).await),
            }
        }
        Err(answered(&start, "one redirection after the other"))
    }

    async fn ask(&self, url: &Url, question: Question) -> Result<Answer, Error> {
        let answer = ask(self.access, url, question).await;
        answer.map_err(|source| unreachable(url, source))
    }

    fn url(&self, at: &str) -> Result<Url, Error> {
        let scheme = if self.access.plain { "http" } else { "https" };
        let registry = match self.reference.registry() {
            DOCKER => "registry-1.docker.io",
            other => other,
        };
        let repository = self.reference.repository();
        let url = format!("{scheme}://{registry}/v2/{repository}/{at}").parse();
        url.map_err(|_| Error::NotFound(self.reference.to_string()))
    }

    /// Where a redirection leads.
    fn led_to(&self, from: &Url, answer: &Answer) -> Result<Url, Error> {
        let to = answer.headers.get(header::LOCATION);
        let to = to.and_then(|to| from.join(to.to_str().ok()?).ok());
        let to = to.ok_or_else(|| answered(from, "a redirection to nowhere"))?;
        match self.is_fit(&to) {
            true => Ok(to),
            false => Err(answered(from, "a redirection to a server without TLS")),
        }
    }

    /// Plain text goes where it may: to the registry itself, and on this machine.
    fn is_fit(&self, url: &Url) -> bool {
        let own = self.url("").ok();
        let is_own = || own.is_some_and(|own| own.host() == url.host());
        match url.scheme() {
            "https" => true,
            "http" => self.access.plain && (is_local(url) || is_own()),
            _ => false,
        }
    }

    /// Do what the registry asks for.
    async fn authorize(&mut self, answer: &Answer) -> Result<(), Error> {
        let asked = answer.headers.get_all(header::WWW_AUTHENTICATE);
        let texts: Vec<&str> = asked.iter().filter_map(|text| text.to_str().ok()).collect();
        let all: Vec<ChallengeRef<'_>> = { texts.iter() }
            .flat_map(|text| ChallengeParser::new(text).map_while(Result::ok))
            .collect();
        let of = |scheme: &str| all.iter().find(|it| it.scheme.eq_ignore_ascii_case(scheme));
        let value = match (of("bearer"), of("basic")) {
            (Some(challenge), _) => format!("Bearer {}", self.token(challenge).await?),
            (None, Some(_)) => self.basic().ok_or_else(|| self.denied())?,
            (None, None) => return Err(self.denied()),
        };
        let value = HeaderValue::from_str(&value).map_err(|_| self.denied())?;
        self.authorization = Some(value);
        Ok(())
    }

    /// A token of the server that the registry names.
    async fn token(&self, challenge: &ChallengeRef<'_>) -> Result<String, Error> {
        let parameter = |wanted: &str| {
            let mut all = challenge.params.iter();
            let found = all.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.to_unescaped())
        };
        let own = self.url("")?;
        let realm = parameter("realm").and_then(|realm| own.join(&realm).ok());
        let realm = realm.filter(|realm| self.is_fit(realm));
        let mut realm = realm.ok_or_else(|| {
            answered(
                &own,
                "a server of tokens that cannot be asked, or not over TLS",
            )
        })?;
        let scope = parameter("scope");
        let scope =
            scope.unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository()));
        let mut wanted = vec![("scope", scope)];
        wanted.extend(parameter("service").map(|service| ("service", service)));
        let mut question = Question::default();
        if let Credentials::Identity(token) = &self.access.credentials {
            wanted.extend([
                ("grant_type", "refresh_token".to_owned()),
                ("client_id", "marquee".to_owned()),
                ("refresh_token", token.clone()),
            ]);
            let mut form = form_urlencoded::Serializer::new(String::new());
            question.form = Some(form.extend_pairs(wanted).finish());
        } else {
            realm.query_pairs_mut().extend_pairs(wanted);
            let basic = self.basic().map(|basic| HeaderValue::from_str(&basic));
            question.authorization = basic.transpose().map_err(|_| self.denied())?;
        }
        let answer = self.ask(&realm, question).await?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.denied());
            }
            _ => return Err(failed(&realm, answer).await),
        }
        let bytes = answer.bytes(WORDS_BYTES).await;
        let bytes = bytes.map_err(|source| unreachable(&realm, source))?;
        let given: Given = serde_json::from_slice(&bytes).unwrap_or_default();
        let token = given.token.or(given.access_token);
        token.ok_or_else(|| answered(&realm, "no token"))
    }

    /// A name and its password, as HTTP has them.
    fn basic(&self) -> Option<String> {
        match &self.access.credentials {
            Credentials::User { name, password } => {
                let both = BASE64_STANDARD.encode(format!("{name}:{password}"));
                Some(format!("Basic {both}"))
            }
            Credentials::Nobody | Credentials::Identity(_) => None,
        }
    }

    fn denied(&self) -> Error {
        Error::Denied {
            at: self.reference.registry().to_owned(),
            whom: self.access.credentials.to_string(),
            repository: self.reference.repository().to_owned(),
        }
    }

    fn other(&self, digest: &Digest) -> Error {
        Error::Other {
            at: self.reference.registry().to_owned(),
            digest: written(digest),
        }
    }
}

/// Of a server of tokens.
#[derive(Default, Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
}

/// What a registry says of a failure.
#[derive(Default, Deserialize)]
struct Failure {
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

async fn failed(url: &Url, answer: Answer) -> Error {
    let status = answer.status;
    let bytes = answer.bytes(WORDS_BYTES).await.unwrap_or_default();
    let failure: Failure = serde_json::from_slice(&bytes).unwrap_or_default();
    let words = failure.errors.first();
    let words = words.map(|said| shown(&format!(": {} {}", said.code, said.message)));
    answered(url, &format!("{status}{}", words.unwrap_or_default()))
}

fn answered(url: &Url, said: &str) -> Error {
    Error::Answer {
        at: host(url),
        said: said.to_owned(),
    }
}

fn unreachable(url: &Url, source: io::Error) -> Error {
    Error::Unreachable {
        at: host(url),
        source,
    }
}

/// Not all of a URL: a redirection's query may be a key.
fn host(url: &Url) -> String {
    url[Position::BeforeHost..Position::AfterPort].to_owned()
}

fn is_too_long(error: &io::Error) -> bool {
    let own = error.get_ref().is_some_and(|inner| inner.is::<TooLong>());
    own || error.source().is_some_and(|inner| inner.is::<TooLong>())
}

/// What may lie at a reference; a list is asked for so as to say that it is one.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// As registries bound it.
const MANIFEST_BYTES: u64 = 4 << 20;
/// A token, or what went wrong.
const WORDS_BYTES: u64 = 64 << 10;
/// The question, once more as somebody, and some redirections.
const HOPS: usize = 8;
