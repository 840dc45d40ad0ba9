//! A guest's parameters as PostgreSQL takes them.
//!
//! The server has said which type each place has; a value that does not fit there is refused before anything is sent.

use bytes::{BufMut as _, BytesMut};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use postgres_protocol::types as wire;
use postgres_types::{IsNull, ToSql, Type, to_sql_checked};
use rust_decimal::Decimal;

use super::bindings::wit::{ParameterValue, RangeBoundKind};

type Problem = Box<dyn std::error::Error + Sync + Send>;

/// A parameter.
#[derive(Debug)]
pub(super) struct Param(pub(super) ParameterValue);

impl ToSql for Param {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Problem> {
        match &self.0 {
            ParameterValue::DbNull => Ok(IsNull::Yes),
            ParameterValue::Boolean(value) => put(value, ty, out),
            // PostgreSQL has no integer of one byte but "char".
            ParameterValue::Int8(value) if *ty == Type::INT2 => put(&i16::from(*value), ty, out),
            ParameterValue::Int8(value) => put(value, ty, out),
            ParameterValue::Int16(value) => put(value, ty, out),
            ParameterValue::Int32(value) => put(value, ty, out),
            ParameterValue::Int64(value) => put(value, ty, out),
            ParameterValue::Floating32(value) => put(value, ty, out),
            ParameterValue::Floating64(value) => put(value, ty, out),
            ParameterValue::Str(value) => put(value, ty, out),
            ParameterValue::Binary(value) => put(value, ty, out),
            ParameterValue::Date((year, month, day)) => put(&date(*year, *month, *day)?, ty, out),
            ParameterValue::Time((hour, minute, second, nano)) => {
                put(&time(*hour, *minute, *second, *nano)?, ty, out)
            }
            ParameterValue::Datetime((year, month, day, hour, minute, second, nano)) => {
                let at = NaiveDateTime::new(
                    date(*year, *month, *day)?,
                    time(*hour, *minute, *second, *nano)?,
                );
                put_instant(at, ty, out)
            }
            ParameterValue::Timestamp(seconds) => {
                let at =
                    DateTime::from_timestamp(*seconds, 0).ok_or("the timestamp is out of range")?;
                put_instant(at.naive_utc(), ty, out)
            }
            ParameterValue::Uuid(text) => put(&uuid::Uuid::try_parse(text)?, ty, out),
            ParameterValue::Jsonb(bytes) => put_json(bytes, ty, out),
            ParameterValue::Decimal(text) => put(&decimal(text)?, ty, out),
            ParameterValue::RangeInt32((low, high)) => {
                put_range(ty, &Type::INT4_RANGE, &Type::INT4, *low, *high, out)
            }
            ParameterValue::RangeInt64((low, high)) => {
                put_range(ty, &Type::INT8_RANGE, &Type::INT8, *low, *high, out)
            }
            ParameterValue::RangeDecimal((low, high)) => {
                let parse = |bound: &Option<(String, RangeBoundKind)>| -> Result<_, Problem> {
                    bound
                        .as_ref()
                        .map(|(text, kind)| Ok((decimal(text)?, *kind)))
                        .transpose()
                };
                put_range(
                    ty,
                    &Type::NUM_RANGE,
                    &Type::NUMERIC,
                    parse(low)?,
                    parse(high)?,
                    out,
                )
            }
            ParameterValue::ArrayInt32(values) => put(values, ty, out),
            ParameterValue::ArrayInt64(values) => put(values, ty, out),
            ParameterValue::ArrayDecimal(values) => {
                let values: Vec<Option<Decimal>> = values
                    .iter()
                    .map(|value| value.as_deref().map(decimal).transpose())
                    .collect::<Result<_, _>>()?;
                put(&values, ty, out)
            }
            ParameterValue::ArrayStr(values) => put(values, ty, out),
            ParameterValue::Interval(interval) => {
                expect(ty, &Type::INTERVAL)?;
                out.extend_from_slice(&interval.micros.to_be_bytes());
                out.extend_from_slice(&interval.days.to_be_bytes());
                out.extend_from_slice(&interval.months.to_be_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        // Which types fit depends on the value; `to_sql` says.
        true
    }

    to_sql_checked!();
}

/// How much a parameter holds.
pub(super) fn size(value: &ParameterValue) -> usize {
    match value {
        ParameterValue::Str(text) | ParameterValue::Uuid(text) | ParameterValue::Decimal(text) => {
            text.len()
        }
        ParameterValue::Binary(bytes) | ParameterValue::Jsonb(bytes) => bytes.len(),
        ParameterValue::ArrayInt32(values) => values.len() * 8,
        ParameterValue::ArrayInt64(values) => values.len() * 12,
        ParameterValue::ArrayStr(values) | ParameterValue::ArrayDecimal(values) => values
            .iter()
            .map(|value| value.as_ref().map_or(0, String::len) + 4)
            .sum(),
        _ => 16,
    }
}

fn put<T: ToSql>(value: &T, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Problem> {
    if T::accepts(ty) {
        value.to_sql(ty, out)
    } else {
        Err(format!("a value of this kind does not fit a place of type {ty}").into())
    }
}

/// As it came: read and written again, long numbers would lose digits.
fn put_json(bytes: &[u8], ty: &Type, out: &mut BytesMut) -> Result<IsNull, Problem> {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes)?;
    if *ty == Type::JSONB {
        out.put_u8(JSONB_VERSION);
    } else {
        expect(ty, &Type::JSON)?;
    }
    out.extend_from_slice(bytes);
    Ok(IsNull::No)
}

fn put_instant(at: NaiveDateTime, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Problem> {
    if *ty == Type::TIMESTAMPTZ {
        put(&at.and_utc(), ty, out)
    } else {
        put(&at, ty, out)
    }
}

fn put_range<T: ToSql>(
    ty: &Type,
    wanted: &Type,
    element: &Type,
    low: Option<(T, RangeBoundKind)>,
    high: Option<(T, RangeBoundKind)>,
    out: &mut BytesMut,
) -> Result<IsNull, Problem> {
    expect(ty, wanted)?;
    wire::range_to_sql(
        |out| bound(element, low, out),
        |out| bound(element, high, out),
        out,
    )?;
    Ok(IsNull::No)
}

fn bound<T: ToSql>(
    element: &Type,
    bound: Option<(T, RangeBoundKind)>,
    out: &mut BytesMut,
) -> Result<wire::RangeBound<postgres_protocol::IsNull>, Problem> {
    let Some((value, kind)) = bound else {
        return Ok(wire::RangeBound::Unbounded);
    };
    value.to_sql(element, out)?;
    Ok(match kind {
        RangeBoundKind::Inclusive => wire::RangeBound::Inclusive(postgres_protocol::IsNull::No),
        RangeBoundKind::Exclusive => wire::RangeBound::Exclusive(postgres_protocol::IsNull::No),
    })
}

fn expect(ty: &Type, wanted: &Type) -> Result<(), Problem> {
    if ty == wanted {
        Ok(())
    } else {
        Err(format!("a value of type {wanted} does not fit a place of type {ty}").into())
    }
}

fn date(year: i32, month: u8, day: u8) -> Result<NaiveDate, Problem> {
    NaiveDate::from_ymd_opt(year, month.into(), day.into())
        .ok_or_else(|| format!("{year}-{month}-{day} is no date").into())
}

fn time(hour: u8, minute: u8, second: u8, nano: u32) -> Result<NaiveTime, Problem> {
    NaiveTime::from_hms_nano_opt(hour.into(), minute.into(), second.into(), nano)
        .ok_or_else(|| format!("{hour}:{minute}:{second}.{nano} is no time").into())
}

fn decimal(text: &str) -> Result<Decimal, Problem> {
    Decimal::from_str_exact(text).map_err(|error| format!("{text:?} is no decimal: {error}").into())
}

/// Stands before the text on the wire; there is one version.
const JSONB_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use marquee_fuzz::{mangled, mangled_text};
    use postgres_types::FromSql as _;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_json_is_sent_as_it_came(bytes in mangled([&br#"{"a": [1, 2.5e300, "\\ud83d\\ude00"]}"#[..], b"1e999999", br#""\\ud800""#])) {
            let mut out = BytesMut::new();
            let sent = Param(ParameterValue::Jsonb(bytes.clone())).to_sql(&Type::JSONB, &mut out);
            match sent {
                Ok(_) => prop_assert_eq!(out.split_first(), Some((&JSONB_VERSION, &bytes[..]))),
                Err(_) => prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_err()),
            }
        }

        #[test]
        fn whatever_comes_a_decimal_arrives_as_it_was_sent(text in mangled_text(["-12.50", "79228162514264337593543950335", "0.0000000000000000000000000001", "1_000"])) {
            let Ok(number) = decimal(&text) else { return Ok(()) };
            let mut out = BytesMut::new();
            put(&number, &Type::NUMERIC, &mut out).unwrap();
            prop_assert_eq!(Decimal::from_sql(&Type::NUMERIC, &out).unwrap(), number);
        }
    }
}
