//! Moments as clients read them: RFC 3339, in UTC.

use chrono::{DateTime, SecondsFormat, Utc};

use super::Failure;

/// A moment in milliseconds since 1970, told to the millisecond. What is too far away to be told is an internal failure.
pub fn moment_ms(ms: u64) -> Result<String, Failure> {
    let moment = i64::try_from(ms).ok();
    let moment = moment.and_then(DateTime::from_timestamp_millis);
    told(moment, SecondsFormat::Millis, ms)
}

/// The same in microseconds.
pub fn moment_us(us: u64) -> Result<String, Failure> {
    let moment = i64::try_from(us).ok();
    let moment = moment.and_then(DateTime::from_timestamp_micros);
    told(moment, SecondsFormat::Micros, us)
}

fn told(
    moment: Option<DateTime<Utc>>,
    precision: SecondsFormat,
    number: u64,
) -> Result<String, Failure> {
    let far = || Failure::internal(format!("{number} is no moment"));
    let moment = moment.ok_or_else(far)?;
    Ok(moment.to_rfc3339_opts(precision, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_to_its_precision_in_utc() {
        assert_eq!(moment_us(0).unwrap(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            moment_us(1_709_164_799_000_001).unwrap(),
            "2024-02-28T23:59:59.000001Z"
        );
        assert_eq!(
            moment_ms(1_709_164_799_001).unwrap(),
            "2024-02-28T23:59:59.001Z"
        );
        assert!(moment_us(u64::MAX).is_err() && moment_ms(u64::MAX).is_err());
    }
}
