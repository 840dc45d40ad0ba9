//! What the admin API takes, beside the bytes of components. The command line sends the same.

use marquee_registry::Weight;
use serde::{Deserialize, Serialize};

/// `POST .../versions`: how to release the bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deploy {
    /// Its share of the calls; all by default.
    #[serde(default = "all")]
    pub(crate) weight: Weight,
    /// A name for the version.
    pub(crate) label: Option<String>,
    /// Whether it may ask for more than the live version.
    #[serde(default)]
    pub(crate) widen: bool,
}

/// `POST .../promote`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promote {
    /// A label, or the first digits of a digest.
    pub(crate) version: String,
    /// Its share of the calls; all by default.
    #[serde(default = "all")]
    pub(crate) weight: Weight,
    /// Whether it may ask for more than the live version.
    #[serde(default)]
    pub(crate) widen: bool,
}

/// `PUT .../pin`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    /// Whether the component stays as it is.
    pub(crate) pinned: bool,
}

/// `GET .../history`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryOf {
    /// Of this component; of all by default.
    pub(crate) component: Option<String>,
    /// 1 to 1,000; 50 by default.
    #[serde(default = "fifty")]
    pub(crate) limit: usize,
}

/// `GET .../messages`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessagesOf {
    /// Only these.
    pub(crate) state: Option<MessageState>,
    /// Only of this component.
    pub(crate) consumer: Option<String>,
    /// Only of this topic.
    pub(crate) topic: Option<String>,
    /// Only of this key.
    pub(crate) key: Option<String>,
    /// Of each database at the most: 1 to 1,000; 100 by default.
    #[serde(default = "hundred")]
    pub(crate) limit: u32,
}

/// What stands next for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MessageState {
    /// The host retries it
    Parked,
    /// A dead letter: an operator decides
    Dead,
    /// An operator skipped it
    Skipped,
}

fn all() -> Weight {
    Weight::ALL
}

fn fifty() -> usize {
    50
}

fn hundred() -> u32 {
    100
}

/// The largest component that is taken.
pub(crate) const UPLOAD_BYTES: usize = 32 << 20;
