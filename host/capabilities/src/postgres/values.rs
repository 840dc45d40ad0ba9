//! PostgreSQL's values as a guest gets them.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _, Utc};
use postgres_protocol::types as wire;
use postgres_types::{FromSql, Type};
use rust_decimal::Decimal;
use tokio_postgres::{Column, Row};

use super::bindings::wit::{self, DbDataType, DbValue, Interval, RangeBoundKind};

type Problem = Box<dyn std::error::Error + Sync + Send>;

/// A result's columns.
pub(super) fn columns(rows: &[Row]) -> Vec<wit::Column> {
    let columns = rows.first().map(Row::columns).unwrap_or_default();
    columns.iter().map(column).collect()
}

/// A result's rows.
pub(super) fn rows(rows: &[Row]) -> Result<Vec<Vec<DbValue>>, wit::Error> {
    rows.iter().map(row).collect()
}

fn column(column: &Column) -> wit::Column {
    wit::Column {
        name: column.name().to_owned(),
        data_type: data_type(column.type_()),
    }
}

fn row(row: &Row) -> Result<Vec<DbValue>, wit::Error> {
    let value = |(index, column): (usize, &Column)| {
        let value: Option<Value> = row.try_get(index).map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            wit::Error::ValueConversionFailed(format!("column {}: {cause}", column.name()))
        })?;
        Ok(value.map_or(DbValue::DbNull, |value| value.0))
    };
    row.columns().iter().enumerate().map(value).collect()
}

fn data_type(ty: &Type) -> DbDataType {
    match *ty {
        Type::BOOL => DbDataType::Boolean,
        Type::CHAR => DbDataType::Int8,
        Type::INT2 => DbDataType::Int16,
        Type::INT4 => DbDataType::Int32,
        Type::INT8 => DbDataType::Int64,
        Type::FLOAT4 => DbDataType::Floating32,
        Type::FLOAT8 => DbDataType::Floating64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => DbDataType::Str,
        Type::BYTEA => DbDataType::Binary,
        Type::DATE => DbDataType::Date,
        Type::TIME => DbDataType::Time,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => DbDataType::Datetime,
        Type::UUID => DbDataType::Uuid,
        Type::JSONB => DbDataType::Jsonb,
        Type::NUMERIC => DbDataType::Decimal,
        Type::INT4_RANGE => DbDataType::RangeInt32,
        Type::INT8_RANGE => DbDataType::RangeInt64,
        Type::NUM_RANGE => DbDataType::RangeDecimal,
        Type::INT4_ARRAY => DbDataType::ArrayInt32,
        Type::INT8_ARRAY => DbDataType::ArrayInt64,
        Type::NUMERIC_ARRAY => DbDataType::ArrayDecimal,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY | Type::NAME_ARRAY => {
            DbDataType::ArrayStr
        }
        Type::INTERVAL => DbDataType::Interval,
        _ => DbDataType::Other(ty.name().to_owned()),
    }
}

/// A value on its way from the wire.
struct Value(DbValue);

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Problem> {
        let value = match *ty {
            Type::BOOL => DbValue::Boolean(bool::from_sql(ty, raw)?),
            Type::CHAR => DbValue::Int8(i8::from_sql(ty, raw)?),
            Type::INT2 => DbValue::Int16(i16::from_sql(ty, raw)?),
            Type::INT4 => DbValue::Int32(i32::from_sql(ty, raw)?),
            Type::INT8 => DbValue::Int64(i64::from_sql(ty, raw)?),
            Type::FLOAT4 => DbValue::Floating32(f32::from_sql(ty, raw)?),
            Type::FLOAT8 => DbValue::Floating64(f64::from_sql(ty, raw)?),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => {
                DbValue::Str(String::from_sql(ty, raw)?)
            }
            Type::BYTEA => DbValue::Binary(raw.to_vec()),
            Type::DATE => DbValue::Date(date(finite(raw, NaiveDate::from_sql(ty, raw))?)?),
            Type::TIME => DbValue::Time(time(within_a_day(ty, raw)?)?),
            Type::TIMESTAMP => {
                DbValue::Datetime(datetime(finite(raw, NaiveDateTime::from_sql(ty, raw))?)?)
            }
            Type::TIMESTAMPTZ => DbValue::Datetime(datetime(
                finite(raw, DateTime::<Utc>::from_sql(ty, raw))?.naive_utc(),
            )?),
            Type::UUID => DbValue::Uuid(uuid::Uuid::from_sql(ty, raw)?.to_string()),
            // The wire has a version byte before the text.
            Type::JSONB => DbValue::Jsonb(raw.get(1..).unwrap_or_default().to_vec()),
            Type::NUMERIC => DbValue::Decimal(Numeric::from_sql(ty, raw)?.0),
            Type::INT4_RANGE => {
                DbValue::RangeInt32(range(raw, |raw| i32::from_sql(&Type::INT4, raw), i32::MAX)?)
            }
            Type::INT8_RANGE => {
                DbValue::RangeInt64(range(raw, |raw| i64::from_sql(&Type::INT8, raw), i64::MAX)?)
            }
            Type::NUM_RANGE => {
                let decimal = |raw: &[u8]| Ok(Numeric::from_sql(&Type::NUMERIC, raw)?.0);
                DbValue::RangeDecimal(range(raw, decimal, "0".to_owned())?)
            }
            Type::INT4_ARRAY => DbValue::ArrayInt32(Vec::from_sql(ty, whole(raw)?)?),
            Type::INT8_ARRAY => DbValue::ArrayInt64(Vec::from_sql(ty, whole(raw)?)?),
            Type::NUMERIC_ARRAY => {
                let values = Vec::<Option<Numeric>>::from_sql(ty, whole(raw)?)?;
                let texts = values.into_iter().map(|value| value.map(|it| it.0));
                DbValue::ArrayDecimal(texts.collect())
            }
            Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY | Type::NAME_ARRAY => {
                DbValue::ArrayStr(Vec::from_sql(ty, whole(raw)?)?)
            }
            Type::INTERVAL => DbValue::Interval(interval(raw)?),
            _ => DbValue::Unsupported(raw.to_vec()),
        };
        Ok(Self(value))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A number, as text.
struct Numeric(String);

impl<'a> FromSql<'a> for Numeric {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Problem> {
        // How many groups of four digits there are, and where the first of them stands. What is left out behind the last
        // one are zeros: the decoder computes ten to their number and panics where that does not fit.
        if let [groups_high, groups_low, weight_high, weight_low, ..] = raw {
            let groups = i32::from(u16::from_be_bytes([*groups_high, *groups_low]));
            let weight = i32::from(i16::from_be_bytes([*weight_high, *weight_low]));
            if weight + 1 - groups > ZEROS {
                return Err("the number has more than 28 digits".into());
            }
        }
        Ok(Self(Decimal::from_sql(ty, raw)?.to_string()))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }
}

/// An array that has room for as many elements as it says. The decoder makes room for them before it has seen one.
fn whole(raw: &[u8]) -> Result<&[u8], Problem> {
    // Behind how many dimensions there are, whether something is null, and the type.
    let length = raw.get(12..).and_then(|rest| rest.first_chunk());
    let length = length.map_or(0, |length| u32::from_be_bytes(*length));
    match usize::try_from(length).is_ok_and(|length| length <= raw.len() / 4) {
        true => Ok(raw),
        false => Err("an array is too short".into()),
    }
}

/// PostgreSQL has 24:00, which would be read as 0:00.
fn within_a_day(ty: &Type, raw: &[u8]) -> Result<NaiveTime, Problem> {
    match i64::from_sql(ty, raw)? {
        0..DAY_US => NaiveTime::from_sql(ty, raw),
        _ => Err("24:00 is no time of a day".into()),
    }
}

/// `infinity` and dates beyond the calendar's end have no value in the interface.
fn finite<T>(_: &[u8], value: Result<T, Problem>) -> Result<T, Problem> {
    value.map_err(|error| format!("the date is infinite or out of range ({error})").into())
}

fn date(date: NaiveDate) -> Result<(i32, u8, u8), Problem> {
    Ok((
        date.year(),
        u8::try_from(date.month())?,
        u8::try_from(date.day())?,
    ))
}

fn time(time: NaiveTime) -> Result<(u8, u8, u8, u32), Problem> {
    let part = |number: u32| u8::try_from(number);
    Ok((
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
        time.nanosecond(),
    ))
}

fn datetime(at: NaiveDateTime) -> Result<Instant, Problem> {
    let (year, month, day) = date(at.date())?;
    let (hour, minute, second, nano) = time(at.time())?;
    Ok((year, month, day, hour, minute, second, nano))
}

/// Year, month, day, hour, minute, second, nanosecond.
type Instant = (i32, u8, u8, u8, u8, u8, u32);

fn interval(raw: &[u8]) -> Result<Interval, Problem> {
    let (micros, rest) = raw
        .split_first_chunk::<8>()
        .ok_or("an interval is too short")?;
    let (days, rest) = rest
        .split_first_chunk::<4>()
        .ok_or("an interval is too short")?;
    let (months, _) = rest
        .split_first_chunk::<4>()
        .ok_or("an interval is too short")?;
    Ok(Interval {
        micros: i64::from_be_bytes(*micros),
        days: i32::from_be_bytes(*days),
        months: i32::from_be_bytes(*months),
    })
}

type Bounds<T> = (Option<(T, RangeBoundKind)>, Option<(T, RangeBoundKind)>);

/// An empty range has no bounds to speak of; it is given as one that contains nothing.
fn range<T: Clone>(
    raw: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, Problem>,
    any: T,
) -> Result<Bounds<T>, Problem> {
    let bound =
        |bound: wire::RangeBound<Option<&[u8]>>| -> Result<Option<(T, RangeBoundKind)>, Problem> {
            Ok(match bound {
                wire::RangeBound::Inclusive(Some(raw)) => {
                    Some((parse(raw)?, RangeBoundKind::Inclusive))
                }
                wire::RangeBound::Exclusive(Some(raw)) => {
                    Some((parse(raw)?, RangeBoundKind::Exclusive))
                }
                _ => None,
            })
        };
    match wire::range_from_sql(raw)? {
        wire::Range::Empty => {
            let nothing = Some((any, RangeBoundKind::Exclusive));
            Ok((nothing.clone(), nothing))
        }
        wire::Range::Nonempty(low, high) => Ok((bound(low)?, bound(high)?)),
    }
}

/// Groups of four zeros: 28 digits.
const ZEROS: i32 = 7;
const DAY_US: i64 = 24 * 3_600 * 1_000_000;

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled;
    use proptest::prelude::*;

    use super::*;

    fn types() -> impl Strategy<Value = Type> {
        prop::sample::select(vec![
            Type::BOOL,
            Type::CHAR,
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::FLOAT4,
            Type::FLOAT8,
            Type::TEXT,
            Type::BYTEA,
            Type::DATE,
            Type::TIME,
            Type::TIMESTAMP,
            Type::TIMESTAMPTZ,
            Type::UUID,
            Type::JSONB,
            Type::NUMERIC,
            Type::INT4_RANGE,
            Type::INT8_RANGE,
            Type::NUM_RANGE,
            Type::INT4_ARRAY,
            Type::INT8_ARRAY,
            Type::NUMERIC_ARRAY,
            Type::TEXT_ARRAY,
            Type::INTERVAL,
            Type::POINT,
        ])
    }

    /// As the wire has a number: groups of four digits, of which the first stands `weight` groups before the point.
    fn numeric(weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Vec<u8> {
        let count = u16::try_from(groups.len()).unwrap();
        let head = [count, weight.cast_unsigned(), sign, scale];
        let all = head.iter().chain(groups);
        all.flat_map(|part| part.to_be_bytes()).collect()
    }

    fn samples() -> Vec<Vec<u8>> {
        let bound = |raw: &[u8]| [&[0, 0, 0, 8][..], raw].concat();
        vec![
            numeric(0, 0, 6, &[3950, 1234, 5600]),
            numeric(8, 0x4000, 0, &[1]),
            numeric(i16::MAX, 0xC000, u16::MAX, &[9_999; 9]),
            7_i64.to_be_bytes().to_vec(),
            i64::MIN.to_be_bytes().to_vec(),
            [7; 16].to_vec(),
            br#"\x01{"a": [1, 2.5e300]}"#.to_vec(),
            [&[2][..], &bound(&[0; 8]), &bound(&[0x7f; 8])].concat(),
            // An array of one dimension, of two numbers of four bytes.
            [
                &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1][..],
                &[0, 0, 0, 4, 0, 0, 0, 7],
                &[0xff; 4],
            ]
            .concat(),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_a_value_is_given_as_it_is_or_not_at_all(ty in types(), raw in mangled(samples())) {
            let Ok(Value(value)) = Value::from_sql(&ty, &raw) else { return Ok(()) };
            match value {
                DbValue::Int32(number) => prop_assert_eq!(&raw[..], number.to_be_bytes()),
                DbValue::Int64(number) => prop_assert_eq!(&raw[..], number.to_be_bytes()),
                DbValue::Str(text) => prop_assert_eq!(raw, text.into_bytes()),
                DbValue::Binary(bytes) | DbValue::Unsupported(bytes) => prop_assert_eq!(raw, bytes),
                DbValue::Time((hour, minute, second, nano)) => {
                    let seconds = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
                    prop_assert_eq!(&raw[..], (seconds * 1_000_000 + i64::from(nano) / 1_000).to_be_bytes());
                }
                DbValue::Decimal(text) => prop_assert!(text.len() <= 32, "{}", text),
                DbValue::ArrayInt32(values) => prop_assert!(values.len() <= raw.len() / 4),
                DbValue::ArrayDecimal(values) => prop_assert!(values.len() <= raw.len() / 4),
                DbValue::ArrayStr(values) => prop_assert!(values.len() <= raw.len() / 4),
                _ => {}
            }
        }
    }
}
