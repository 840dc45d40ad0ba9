//! Which requests have a line in the access log: `[access_log]` of the runtime config file, and what stands before it.

use std::{num::NonZeroU32, time::Duration};

use anyhow::bail;
use marquee_triggers::access::Which;
use serde::Deserialize;

use super::{Set, Settings, Source};

/// Of the runtime config file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessLog {
    lines: Option<String>,
    /// A number of lines a second.
    rate: Option<String>,
    /// A duration such as 500ms.
    slow: Option<String>,
}

impl Settings {
    /// Decide it. None: no request has a line.
    pub(super) fn access_log(&self, flag: Option<String>) -> anyhow::Result<Set<Option<Which>>> {
        let lines = match flag {
            Some(value) => Some(Set {
                value,
                source: Source::Flag("--access-log"),
            }),
            None => self.lookup("MARQUEE_ACCESS_LOG", |file| file.access_log.lines.as_ref()),
        };
        let lines = lines.unwrap_or_else(|| Set::unset(OFF.to_owned()));
        let rate = self.lookup("MARQUEE_ACCESS_LOG_RATE", |file| {
            file.access_log.rate.as_ref()
        });
        let slow = self.duration("MARQUEE_ACCESS_LOG_SLOW", |file| {
            file.access_log.slow.as_ref()
        })?;
        let which = match lines.value.as_str() {
            OFF => None,
            "all" => Some(Which::All),
            "sampled" => {
                let rate = rate.map(|rate| rate.parse("a number of lines, 1 or more"));
                return Ok(Set {
                    value: Some(Which::Sampled {
                        rate: rate.transpose()?.map_or(RATE, |rate| rate.value),
                        slow: slow.map_or(SLOW, |slow| slow.value),
                    }),
                    source: lines.source,
                });
            }
            other => bail!("{other:?} of {} is not off, all or sampled", lines.source),
        };
        let for_nobody = rate.map(|rate| rate.source);
        if let Some(source) = for_nobody.or_else(|| slow.map(|slow| slow.source)) {
            bail!(
                "the access log is not sampled, so its rate or what is slow for it is for nobody: {source}"
            );
        }
        Ok(lines.map(|_| which))
    }
}

/// For people.
pub(crate) fn shown(which: Option<Which>) -> String {
    match which {
        None => OFF.to_owned(),
        Some(Which::All) => "all requests".to_owned(),
        Some(Which::Sampled { rate, slow }) => {
            let slow = humantime::format_duration(slow);
            format!("{rate} requests a second, and those that fail or take {slow} and longer")
        }
    }
}

const OFF: &str = "off";
/// Some 2 GB a day at the most; a person sees each kind of request within seconds.
const RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);
/// As long as a person waits without wondering.
const SLOW: Duration = Duration::from_secs(1);
