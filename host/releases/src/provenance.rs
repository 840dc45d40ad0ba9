//! Provenance: who vouches for a version.
//!
//! A signature is Ed25519 over the bytes of a component, as `openssl pkeyutl -sign -rawin` makes it; keys are the PEM files of
//! `openssl genpkey -algorithm ed25519`. Promise: where signatures are required, code that none of the trusted keys has
//! signed is never loaded on this host, whoever brought it and by whatever way: by hand, with the manifest, from another
//! host, from an earlier day. Not here: where a signature is kept.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use marquee_registry::Digest;
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};

/// A signature of a component's bytes. Written in Base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature([u8; 64]);

/// It is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signature is 64 bytes in Base64")]
pub struct NotASignature;

/// Who is trusted. Cheap to clone. Nobody by default, and then nothing is asked for.
#[derive(Clone, Default)]
pub struct Trust {
    keys: Arc<[(String, [u8; 32])]>,
    is_required: bool,
}

/// Why a version is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// It has no signature.
    #[error(
        "version {0} is not signed, and this host loads signed ones only; sign it with `marquee sign`"
    )]
    Missing(Digest),
    /// It has one, of somebody else or of other bytes.
    #[error("the signature of version {0} is not by any of the keys that this host trusts: {1}")]
    Stranger(Digest, String),
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file cannot be read or written.
    #[error("{} cannot be {what}", path.display())]
    File {
        /// What was to be done: "read", "written".
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "{} is not a {what} Ed25519 key in PEM, such as `marquee sign --new-key` or `openssl genpkey -algorithm ed25519` makes",
        path.display()
    )]
    Other {
        /// "public" or "private".
        what: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("a key cannot be made")]
    Make,
}

impl Trust {
    /// Trust these public keys. Where signatures are required, a version without one is not loaded; where not, only one with
    /// a wrong signature is not.
    pub fn read(files: &[PathBuf], is_required: bool) -> Result<Self, KeyError> {
        let keys = files.iter().map(|path| {
            let other = || KeyError::Other {
                what: "public",
                path: path.clone(),
            };
            let pem = read(path)?;
            let key = SubjectPublicKeyInfoDer::from_pem_slice(&pem).map_err(|_| other())?;
            let key = key.strip_prefix(&SPKI).ok_or_else(other)?;
            let key = key.try_into().map_err(|_| other())?;
            Ok((path.display().to_string(), key))
        });
        Ok(Self {
            keys: keys.collect::<Result<_, KeyError>>()?,
            is_required,
        })
    }

    /// Whether versions are looked at at all.
    pub(crate) fn looks(&self) -> bool {
        self.is_required || !self.keys.is_empty()
    }

    /// Whether a version may be loaded.
    pub(crate) fn check(
        &self,
        bytes: &[u8],
        signature: Option<&Signature>,
    ) -> Result<(), Unsigned> {
        let Some(signature) = signature else {
            return match self.is_required {
                true => Err(Unsigned::Missing(Digest::of(bytes))),
                false => Ok(()),
            };
        };
        let is_by = |key: &[u8; 32]| {
            let key = UnparsedPublicKey::new(&ED25519, key);
            key.verify(bytes, &signature.0).is_ok()
        };
        if self.keys.iter().any(|(_, key)| is_by(key)) {
            return Ok(());
        }
        let names: Vec<&str> = self.keys.iter().map(|(name, _)| name.as_str()).collect();
        Err(Unsigned::Stranger(Digest::of(bytes), names.join(", ")))
    }
}

/// Sign a component's bytes with the private key in a file.
pub fn sign(key: &Path, bytes: &[u8]) -> Result<Signature, KeyError> {
    let other = || KeyError::Other {
        what: "private",
        path: key.to_owned(),
    };
    let pem = read(key)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| other())?;
    // OpenSSL leaves out the public half.
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
    let signature = pair.map_err(|_| other())?.sign(bytes);
    let signature = signature.as_ref().try_into().map_err(|_| other())?;
    Ok(Signature(signature))
}

/// Make a key: its private half goes to `path`, for its owner only, and the public one beside it, with `.pub` behind its
/// name. Neither may be there.
pub fn make_key(path: &Path) -> Result<PathBuf, KeyError> {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Make)?;
    let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).map_err(|_| KeyError::Make)?;
    let mut public = SPKI.to_vec();
    public.extend_from_slice(pair.public_key().as_ref());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let beside = PathBuf::from(beside);
    write(path, &pem("PRIVATE KEY", der.as_ref()), 0o600)?;
    write(&beside, &pem("PUBLIC KEY", &public), 0o644)?;
    Ok(beside)
}

impl Signature {
    /// That of the component in a file, if there is one beside it: with `.sig` behind its name.
    pub fn beside(component: &Path) -> Result<Option<Self>, KeyError> {
        let path = signature_of(component);
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(signature) => Ok(Some(signature)),
                Err(error) => Err(KeyError::File {
                    what: "understood",
                    path,
                    source: io::Error::new(io::ErrorKind::InvalidData, error),
                }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeyError::File {
                what: "read",
                path,
                source,
            }),
        }
    }

    /// Keep it beside the component in a file. Where that is.
    pub fn keep_beside(&self, component: &Path) -> Result<PathBuf, KeyError> {
        let path = signature_of(component);
        let written = fs::write(&path, format!("{self}\n"));
        written.map_err(|source| KeyError::File {
            what: "written",
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// The one that these bytes are.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its 64 bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Signature {
    type Err = NotASignature;

    fn from_str(text: &str) -> Result<Self, NotASignature> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| NotASignature)?;
        Self::of(&bytes).ok_or(NotASignature)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

fn signature_of(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    PathBuf::from(path)
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    fs::read(path).map_err(|source| KeyError::File {
        what: "read",
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = fs::File::options();
    options.write(true).create_new(true).mode(mode);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| KeyError::File {
        what: "written",
        path: path.to_owned(),
        source,
    })
}

/// A key as a file has it.
fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
        lines.join("\n")
    )
}

/// What stands before the 32 bytes of a public key (RFC 8410).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

#[cfg(test)]
mod tests {
    use std::process::Command;

    use marquee_fuzz::{mangled, mangled_text};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_signed_by_a_trusted_key_is_loaded_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
        let public = make_key(&ours).expect("made");
        make_key(&theirs).expect("made");
        assert!(make_key(&ours).is_err(), "a key is never overwritten");
        let signature = sign(&ours, b"component").expect("signed");
        assert_eq!(signature.to_string().parse(), Ok(signature.clone()));

        let trust = Trust::read(std::slice::from_ref(&public), true).expect("read");
        assert_eq!(trust.check(b"component", Some(&signature)), Ok(()));
        let missing = Err(Unsigned::Missing(Digest::of(b"component")));
        assert_eq!(trust.check(b"component", None), missing);
        let strange = trust.check(b"another", Some(&signature));
        assert!(matches!(strange, Err(Unsigned::Stranger(..))));
        let other = sign(&theirs, b"component").expect("signed");
        let strange = trust.check(b"component", Some(&other));
        assert!(matches!(strange, Err(Unsigned::Stranger(..))));

        // Where it is not required, a wrong one is wrong all the same.
        let lenient = Trust::read(&[public], false).expect("read");
        assert_eq!(lenient.check(b"component", None), Ok(()));
        assert!(lenient.check(b"component", Some(&other)).is_err());
        let nobody = Trust::read(&[], true).expect("read");
        assert!(nobody.check(b"component", Some(&signature)).is_err());
        assert!(matches!(
            Trust::read(&[ours], true),
            Err(KeyError::Other { .. })
        ));
    }

    #[test]
    fn openssl_makes_the_same_keys_and_signatures() {
        let folder = tempfile::tempdir().expect("a folder");
        let openssl = |arguments: &[&str]| {
            let done = Command::new("openssl")
                .args(arguments)
                .current_dir(folder.path())
                .output()
                .expect("openssl is there");
            assert!(done.status.success(), "{done:?}");
        };
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", "key"]);
        openssl(&["pkey", "-in", "key", "-pubout", "-out", "key.pub"]);
        let component = folder.path().join("component");
        fs::write(&component, "component").expect("written");
        openssl(&[
            "pkeyutl",
            "-sign",
            "-rawin",
            "-inkey",
            "key",
            "-in",
            "component",
            "-out",
            "made",
        ]);
        let made = fs::read(folder.path().join("made")).expect("read");
        let ours = sign(&folder.path().join("key"), b"component").expect("signed");
        assert_eq!(Signature::of(&made), Some(ours.clone()));
        let trust = Trust::read(&[folder.path().join("key.pub")], true).expect("read");
        assert_eq!(trust.check(b"component", Some(&ours)), Ok(()));

        // And openssl takes ours.
        let key = folder.path().join("own");
        make_key(&key).expect("made");
        let own = sign(&key, b"component").expect("signed");
        fs::write(folder.path().join("own.sig"), own.as_bytes()).expect("written");
        openssl(&[
            "pkeyutl",
            "-verify",
            "-rawin",
            "-pubin",
            "-inkey",
            "own.pub",
            "-sigfile",
            "own.sig",
            "-in",
            "component",
        ]);
    }

    proptest! {
        #[test]
        fn whatever_comes_a_signature_has_one_text(text in mangled_text([Signature([0xa5; 64]).to_string(), Signature([0; 64]).to_string()])) {
            if let Ok(signature) = text.parse::<Signature>() {
                prop_assert_eq!(signature.to_string(), text);
            }
        }

        #[test]
        fn whatever_comes_a_key_is_that_of_its_32_bytes(text in mangled([
            pem("PUBLIC KEY", &[&SPKI[..], &[7; 32]].concat()),
            pem("PRIVATE KEY", &[7; 48]),
        ])) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("key.pub");
            fs::write(&path, &text).expect("written");
            if let Ok(trust) = Trust::read(std::slice::from_ref(&path), true) {
                let keys: Vec<_> = trust.keys.iter().map(|(_, key)| pem("PUBLIC KEY", &[&SPKI[..], key].concat())).collect();
                fs::write(&path, &keys[0]).expect("written");
                prop_assert_eq!(&Trust::read(&[path], true).expect("read").keys, &trust.keys);
                prop_assert!(trust.check(b"component", Some(&Signature([7; 64]))).is_err());
            }
        }
    }
}
