//! What lies at a reference: a manifest, and in it one layer that is a component.
//!
//! The layout is the CNCF's for WebAssembly, as `wkg` and `oras` push it: one layer of `application/wasm`. The config is not
//! read: it repeats what the component itself says.

use std::collections::BTreeMap;

use marquee_registry::Digest;
use serde::Deserialize;

/// A component in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// Of its bytes.
    pub(crate) digest: Digest,
    /// How many there are.
    pub(crate) size: u64,
    /// Who vouches for them.
    pub(crate) signature: Option<String>,
}

/// What lies at a reference is no component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAComponent {
    /// It is nothing that could be one.
    #[error("its manifest is not understood: {0}")]
    Manifest(String),
    /// Several, for machines of several kinds.
    #[error("it is a list of {0} manifests; name one of them by its digest")]
    Index(usize),
    /// It has something else.
    #[error(
        "it has no layer of application/wasm, but {}",
        if .0.is_empty() { "none at all".to_owned() } else { .0.join(", ") }
    )]
    NoLayer(Vec<String>),
    /// It has several, as an application of Spin's has.
    #[error("it has {0} layers of application/wasm; a component is one")]
    Layers(usize),
    /// By another hash.
    #[error("its layer {0:?} is named by another hash than SHA-256")]
    Hash(String),
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Artifact {
    /// Read a manifest.
    pub(crate) fn read(manifest: &[u8]) -> Result<Self, NotAComponent> {
        let manifest: Manifest = serde_json::from_slice(manifest)
            .map_err(|error| NotAComponent::Manifest(shown(&error.to_string())))?;
        if let Some(all) = manifest.manifests {
            return Err(NotAComponent::Index(all.len()));
        }
        let is_wasm = |layer: &&Descriptor| WASM.contains(&layer.media_type.as_str());
        let mut found = manifest.layers.iter().filter(is_wasm);
        let layer = match (found.next(), found.count()) {
            (Some(layer), 0) => layer,
            (Some(_), more) => return Err(NotAComponent::Layers(more + 1)),
            (None, _) => {
                let others = manifest.layers.iter().take(SHOWN);
                let others = others.map(|layer| shown(&layer.media_type));
                return Err(NotAComponent::NoLayer(others.collect()));
            }
        };
        let digest = layer
            .digest
            .strip_prefix("sha256:")
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| NotAComponent::Hash(shown(&layer.digest)))?;
        let signature = [&layer.annotations, &manifest.annotations]
            .into_iter()
            .flatten()
            .find_map(|annotations| annotations.get(SIGNATURE));
        Ok(Self {
            digest,
            size: layer.size,
            signature: signature.map(|text| text.trim().to_owned()),
        })
    }
}

/// Text of a stranger's, for a person.
pub(crate) fn shown(text: &str) -> String {
    let plain = text.chars().filter(|letter| !letter.is_control());
    plain.take(SHOWN_CHARS).collect()
}

/// Where `FILE.sig` of `marquee sign` stands.
const SIGNATURE: &str = "marquee.signature";
/// The media type of a component, and what tools called it before.
const WASM: [&str; 2] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];
/// Layers that an error names.
const SHOWN: usize = 4;
/// Of what a registry says.
const SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled;
    use proptest::prelude::*;

    use super::*;

    /// A manifest with these layers, by their media types.
    fn manifest(layers: &[&str]) -> String {
        let layer = |kind: &&str| {
            format!(
                r#"{{"mediaType":"{kind}","digest":"sha256:{:#}","size":9,"annotations":{{"a":"b"}}}}"#,
                Digest::of(b"component")
            )
        };
        let layers: Vec<String> = layers.iter().map(layer).collect();
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.wasm.config.v0+json"}},"layers":[{}],"annotations":{{"marquee.signature":"c2ln\n"}}}}"#,
            layers.join(",")
        )
    }

    #[test]
    fn a_component_is_one_layer_of_wasm() {
        let artifact = Artifact::read(manifest(&["application/wasm"]).as_bytes());
        let expected = Artifact {
            digest: Digest::of(b"component"),
            size: 9,
            signature: Some("c2ln".to_owned()),
        };
        assert_eq!(artifact.as_ref(), Ok(&expected));
        let beside = manifest(&["text/plain", "application/vnd.wasm.content.layer.v1+wasm"]);
        assert_eq!(Artifact::read(beside.as_bytes()).as_ref(), Ok(&expected));
    }

    #[test]
    fn what_is_no_component_is_told_what_it_is() {
        let check = |manifest: &str, why: &str| {
            let said = Artifact::read(manifest.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(why), "{manifest}: {said}");
        };
        check("", "not understood");
        check("[]", "not understood");
        check(r#"{"manifests":[{},{}]}"#, "a list of 2 manifests");
        check("{}", "but none at all");
        check(
            &manifest(&["application/vnd.oci.image.layer.v1.tar"]),
            "image.layer.v1.tar",
        );
        check(&manifest(&["application/wasm"; 3]), "has 3 layers");
        check(
            &manifest(&["application/wasm"]).replace("sha256", "sha512"),
            "another hash",
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_a_manifest_names_one_component_or_says_shortly_why_not(bytes in mangled([
            manifest(&["application/wasm"]),
            manifest(&["application/wasm", "text/plain"]),
            r#"{"manifests":[{"digest":"sha256:00"}]}"#.to_owned(),
        ])) {
            match Artifact::read(&bytes) {
                Ok(artifact) => {
                    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                    prop_assert!(text.contains(&format!("{:#}", artifact.digest)), "{}", text);
                }
                Err(error) => prop_assert!(error.to_string().chars().count() < 1_000),
            }
        }
    }
}
