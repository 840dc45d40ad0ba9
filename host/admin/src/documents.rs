//! What the admin API takes, beside the bytes of components. The command line sends the same.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use chrono::{DateTime, Utc};
use marquee_delivery::consumers::ReplayFrom;
use marquee_manifest::ComponentId;
use marquee_registry::{Ramp, Weight};
use marquee_releases::{How, Part, Release, Share};
use marquee_telemetry::traces::ring::Summary;
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
    /// Who vouches for it: Ed25519 over its bytes, in Base64.
    pub(crate) signature: Option<String>,
    /// Where they come from, for the history.
    pub(crate) from: Option<String>,
    /// The newest migration that it was released with.
    pub(crate) migration: Option<i32>,
    /// Whether it may ask for more than the live version.
    #[serde(default)]
    pub(crate) widen: bool,
    /// Shares that it gets one after the other, instead of the weight.
    pub(crate) ramp: Option<Ramp>,
    /// For how long each, such as `5m`.
    pub(crate) every: Option<String>,
    /// Of how many of the calls it gets copies, instead of calls.
    pub(crate) shadow: Option<Weight>,
    /// How many hosts it reaches first; all at once by default.
    pub(crate) hosts: Option<u32>,
}

/// `POST .../promote`: how to make a version live that is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// A label, or the first digits of a digest.
    pub version: String,
    /// Its share of the calls; all by default.
    #[serde(default = "all")]
    pub weight: Weight,
    /// Whether it may ask for more than the live version.
    #[serde(default)]
    pub widen: bool,
    /// Shares that it gets one after the other, instead of the weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
    /// For how long each, such as `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// Of how many of the calls it gets copies, instead of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Weight>,
    /// How many hosts it reaches first; all at once by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<u32>,
}

/// `PUT .../versions/{digest}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keep {
    /// Who vouches for it: Ed25519 over its bytes, in Base64.
    pub(crate) signature: Option<String>,
}

/// `POST /admin/v1/steps`: versions that are in the store, made live as one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Together {
    /// Of each component.
    pub components: BTreeMap<ComponentId, OneOf>,
    /// Whether they may ask for more than the live versions.
    #[serde(default)]
    pub widen: bool,
    /// How many hosts they reach first; all at once by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<u32>,
}

/// A component's version among others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneOf {
    /// A label, or the first digits of a digest.
    pub version: String,
    /// A name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where it comes from, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The newest migration that it was released with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<i32>,
}

/// `POST .../migrations`: the whole of a folder, of which what is missing is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migrate {
    /// SQL by the file's name.
    pub files: BTreeMap<String, String>,
    /// What takes something away, and nothing else.
    #[serde(default)]
    pub contract: bool,
}

/// What was run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Migrated {
    /// The names of the files.
    pub applied: Vec<String>,
    /// The number of the newest file of the folder, which a version says that it was released with.
    pub newest: i32,
}

impl Together {
    /// What is to be released.
    pub(super) fn release(self) -> Release {
        let parts = self.components.into_iter().map(|(id, one)| {
            let part = Part {
                version: one.version,
                label: one.label,
                from: one.from,
                migration: one.migration,
            };
            (id, part)
        });
        Release {
            parts: parts.collect(),
            widen: self.widen,
            hosts: self.hosts,
        }
    }
}

impl Deploy {
    /// How it is made live, or what is wrong with that.
    pub(crate) fn how(&self) -> Result<How, String> {
        Ok(How {
            share: share(
                self.weight,
                self.ramp.as_ref(),
                self.every.as_deref(),
                self.shadow,
            )?,
            widen: self.widen,
            hosts: self.hosts,
        })
    }
}

impl Promote {
    /// How it is made live, or what is wrong with that.
    pub(crate) fn how(&self) -> Result<How, String> {
        Ok(How {
            share: share(
                self.weight,
                self.ramp.as_ref(),
                self.every.as_deref(),
                self.shadow,
            )?,
            widen: self.widen,
            hosts: self.hosts,
        })
    }
}

fn share(
    weight: Weight,
    ramp: Option<&Ramp>,
    every: Option<&str>,
    shadow: Option<Weight>,
) -> Result<Share, String> {
    if let Some(copies) = shadow {
        if weight != Weight::ALL || ramp.is_some() || every.is_some() {
            return Err("a shadow gets no calls: it has no weight and no ramp".to_owned());
        }
        return Ok(Share::Shadow(copies));
    }
    let (ramp, every) = match (ramp, every) {
        (None, None) => return Ok(Share::Fixed(weight)),
        (Some(ramp), Some(every)) => (ramp, every),
        _ => return Err("a ramp needs `every`, and `every` a ramp".to_owned()),
    };
    if weight != Weight::ALL {
        return Err("it has a weight or a ramp, not both".to_owned());
    }
    let every = humantime::parse_duration(every).ok();
    let every = every.filter(|every| RAMP_EVERY.contains(every));
    let every = every.ok_or("`every` is from 1s to 7days, such as 5m")?;
    Ok(Share::Ramp(ramp.clone(), every))
}

/// A look at a ramp is taken each second; and a week is a long trial.
const RAMP_EVERY: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3_600);

/// `POST .../rollback`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// A label, or the first digits of a digest; what was live before by default.
    pub(crate) to: Option<String>,
    /// Whether it is not asked if it is healthy.
    #[serde(default)]
    pub(crate) force: bool,
}

/// `PUT .../pin`: whether a component is pinned.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Whether the component stays as it is.
    pub pinned: bool,
}

/// `GET .../history`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryOf {
    /// Of this component; of all by default.
    pub(crate) component: Option<String>,
    /// 1 to 1,000; 50 by default.
    #[serde(default = "fifty")]
    pub(crate) limit: u32,
}

/// `GET .../messages`, and what is done with many of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessagesOf {
    /// Only these.
    pub state: Option<MessageState>,
    /// Only of this database.
    pub database: Option<String>,
    /// Only of this component.
    pub consumer: Option<String>,
    /// Only of this topic.
    pub topic: Option<String>,
    /// Only of this key.
    pub key: Option<String>,
    /// Only for this reason.
    pub reason: Option<String>,
    /// Only what came here then or later.
    pub since: Option<DateTime<Utc>>,
    /// Only what came here before.
    pub until: Option<DateTime<Utc>>,
    /// Only what is listed behind this message.
    pub after: Option<String>,
    /// How many at the most: 1 to 1,000; 100 by default.
    pub limit: Option<u32>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// `GET .../messages/actions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionsOf {
    /// 1 to 1,000; 50 by default.
    #[serde(default = "fifty")]
    pub(crate) limit: u32,
}

/// What was done with many messages.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BulkReport {
    /// With how many.
    pub done: usize,
    /// With which not, and why.
    pub left: Vec<LeftMessage>,
    /// Go on after this one; none: there are no more.
    pub next: Option<String>,
}

/// A message that nothing was done with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeftMessage {
    /// `DATABASE/NUMBER`.
    pub message: String,
    /// For a person.
    pub why: String,
}

/// `GET .../traces`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesOf {
    /// Only those in which this component did something.
    pub component: Option<String>,
    /// Only those that began with a request of this route.
    pub route: Option<String>,
    /// Only those whose first span took so many microseconds at least.
    pub at_least_us: Option<u64>,
    /// Only those in which something failed.
    #[serde(default)]
    pub failed: bool,
    /// Only those that began then or later.
    pub since: Option<DateTime<Utc>>,
    /// The newest first, and not those that failed and the slowest.
    #[serde(default)]
    pub newest: bool,
    /// 1 to 1,000; 50 by default.
    #[serde(default = "fifty")]
    pub limit: u32,
}

/// The traces that this host has in its memory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Traces {
    /// Whether it keeps any.
    pub on: bool,
    /// How many it has.
    pub kept: usize,
    /// What they take, roughly.
    pub bytes: usize,
    /// Those that were asked for.
    pub traces: Vec<Summary>,
}

/// `POST .../replay`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// From where on.
    pub(crate) from: ReplayFrom,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// `POST .../delete` of a consumer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delete {
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What stands next for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
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

fn fifty() -> u32 {
    50
}

/// The largest component that is taken.
pub const UPLOAD_BYTES: usize = 32 << 20;
