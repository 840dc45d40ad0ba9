//! Times and dates. A `timestamp` without a zone is taken as UTC.

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};

use super::{FromValue, Param, Value};

impl From<DateTime<Utc>> for Param {
    fn from(at: DateTime<Utc>) -> Self {
        // chrono counts none of these beyond what a byte holds.
        let part = |number: u32| u8::try_from(number).unwrap_or_default();
        Self::Datetime((
            at.year(),
            part(at.month()),
            part(at.day()),
            part(at.hour()),
            part(at.minute()),
            part(at.second()),
            at.nanosecond(),
        ))
    }
}

impl From<NaiveDate> for Param {
    fn from(date: NaiveDate) -> Self {
        let part = |number: u32| u8::try_from(number).unwrap_or_default();
        Self::Date((date.year(), part(date.month()), part(date.day())))
    }
}

impl FromValue for DateTime<Utc> {
    fn from_value(value: Value) -> Result<Self, Value> {
        let Value::Datetime((year, month, day, hour, minute, second, nano)) = value else {
            return Err(value);
        };
        NaiveDate::from_ymd_opt(year, month.into(), day.into())
            .and_then(|date| date.and_hms_nano_opt(hour.into(), minute.into(), second.into(), nano))
            .map(|at| at.and_utc())
            .ok_or(value)
    }
}

impl FromValue for NaiveDate {
    fn from_value(value: Value) -> Result<Self, Value> {
        let Value::Date((year, month, day)) = value else {
            return Err(value);
        };
        Self::from_ymd_opt(year, month.into(), day.into()).ok_or(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_and_a_date_go_and_come_back() {
        let at = DateTime::from_timestamp(1_700_000_000, 123_456_000).unwrap();
        let Param::Datetime(parts) = Param::from(at) else {
            panic!("no time");
        };
        assert_eq!(DateTime::from_value(Value::Datetime(parts)).ok(), Some(at));
        let date = at.date_naive();
        let Param::Date(parts) = Param::from(date) else {
            panic!("no date");
        };
        assert_eq!(NaiveDate::from_value(Value::Date(parts)).ok(), Some(date));
        assert!(NaiveDate::from_value(Value::Date((2023, 2, 29))).is_err());
    }
}
