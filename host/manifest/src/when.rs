//! When a job is due.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

/// When a job is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// This long after the end of the run before.
    Every(Duration),
    /// By a cron expression of five fields (minute, hour, day of the month, month, day of the week), in UTC.
    Cron(Box<Cron>),
}

impl When {
    pub(crate) fn cron(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|error| error.to_string())?;
        // The thirtieth of February never comes.
        cron.find_next_occurrence(&DateTime::UNIX_EPOCH, false)
            .map_err(|_| "no time matches it".to_owned())?;
        Ok(Self::Cron(Box::new(cron)))
    }

    /// The first due time after `now`.
    pub fn after(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Every(interval) => now + *interval,
            // One was found when it was read: one is found until the year 5000, in which nobody is surprised.
            Self::Cron(cron) => cron
                .find_next_occurrence(&now, false)
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(interval) => write!(f, "every {}s", interval.as_secs_f64()),
            Self::Cron(cron) => write!(f, "cron {}", cron.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use marquee_fuzz::mangled_text;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn the_next_due_time_is_after_now_and_never_now() {
        let cases = [
            ("0 3 * * *", "2026-11-24T02:59:59Z", "2026-11-24T03:00:00Z"),
            ("0 3 * * *", "2026-11-24T03:00:00Z", "2026-11-25T03:00:00Z"),
            (
                "*/15 * * * *",
                "2026-11-24T03:07:30.5Z",
                "2026-11-24T03:15:00Z",
            ),
            ("0 0 29 2 *", "2026-11-24T00:00:00Z", "2028-02-29T00:00:00Z"),
            (
                "0 12 * * MON",
                "2026-11-24T00:00:00Z",
                "2026-11-30T12:00:00Z",
            ),
        ];
        for (cron, now, next) in cases {
            let when = When::cron(cron).expect(cron);
            assert_eq!(when.after(at(now)), at(next), "{cron}");
        }
        let every = When::Every(Duration::from_secs(90));
        assert_eq!(
            every.after(at("2026-11-24T00:00:00Z")),
            at("2026-11-24T00:01:30Z")
        );
    }

    #[test]
    fn what_never_comes_or_has_other_fields_is_refused() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "0 0 30 2 *",
            "soon",
        ] {
            assert!(When::cron(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_a_schedule_is_due_later_and_that_is_soon_known(
            text in mangled_text(["*/15 0-6 1,15 * MON-FRI", "0 0 29 2 *", "@daily", "0 12 L * 5#2", "0 0 30 2 *"]),
            now in 0_i64..4_000_000_000,
        ) {
            let begun = Instant::now();
            if let Ok(when) = When::cron(&text) {
                let now = DateTime::from_timestamp(now, 0).expect("a time");
                prop_assert!(when.after(now) > now);
            }
            prop_assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    }
}
