//! The database's values as Rust's.

use uuid::Uuid;

use super::Value;

/// What can be read from a column.
pub trait FromValue: Sized {
    /// The value; it is given back when it is not of this type.
    fn from_value(value: Value) -> Result<Self, Value>;
}

macro_rules! from_cases {
    ($($type:ty: $($case:ident),+;)+) => { $(
        impl FromValue for $type {
            fn from_value(value: Value) -> Result<Self, Value> {
                match value {
                    $(Value::$case(value) => Ok(value.into()),)+
                    other => Err(other),
                }
            }
        }
    )+ };
}

from_cases! {
    bool: Boolean;
    f32: Floating32;
    f64: Floating64, Floating32;
    String: Str;
    Vec<u8>: Binary;
    Vec<Option<String>>: ArrayStr;
    Vec<Option<i32>>: ArrayInt32;
    Vec<Option<i64>>: ArrayInt64;
}

macro_rules! from_integers {
    ($($type:ty),+) => { $(
        impl FromValue for $type {
            fn from_value(value: Value) -> Result<Self, Value> {
                integer(&value).and_then(|number| number.try_into().ok()).ok_or(value)
            }
        }
    )+ };
}

from_integers!(i8, i16, i32, i64, u8, u16, u32, u64);

fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::Int8(number) => Some(number.into()),
        Value::Int16(number) => Some(number.into()),
        Value::Int32(number) => Some(number.into()),
        Value::Int64(number) => Some(number),
        _ => None,
    }
}

impl FromValue for Uuid {
    fn from_value(value: Value) -> Result<Self, Value> {
        match &value {
            Value::Uuid(text) => Self::try_parse(text).map_err(|_| value),
            _ => Err(value),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::DbNull => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_read_into_any_type_that_holds_it() {
        assert_eq!(u8::from_value(Value::Int16(255)).ok(), Some(255));
        assert_eq!(
            u64::from_value(Value::Int64(i64::MAX)).ok(),
            Some(1 << 63).map(|n: u64| n - 1)
        );
        assert_eq!(i64::from_value(Value::Int32(-1)).ok(), Some(-1));
        assert!(u8::from_value(Value::Int16(256)).is_err());
        assert!(u64::from_value(Value::Int64(-1)).is_err());
        assert!(i16::from_value(Value::Int64(1 << 15)).is_err());
        assert!(i32::from_value(Value::Str("1".to_owned())).is_err());
    }

    #[test]
    fn only_an_option_is_read_from_null() {
        assert_eq!(Option::<String>::from_value(Value::DbNull).ok(), Some(None));
        assert!(String::from_value(Value::DbNull).is_err());
        let text = Value::Str("a".to_owned());
        assert_eq!(Option::from_value(text).ok(), Some(Some("a".to_owned())));
        assert!(Option::<bool>::from_value(Value::Int16(1)).is_err());
    }

    #[test]
    fn a_uuid_is_read_as_one_and_a_text_is_not() {
        let text = Uuid::nil().to_string();
        let found = Uuid::from_value(Value::Uuid(text.clone())).ok();
        assert_eq!(found, Some(Uuid::nil()));
        assert!(Uuid::from_value(Value::Str(text)).is_err());
    }
}
