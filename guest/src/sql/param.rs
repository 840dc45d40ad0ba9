//! Rust's values as a statement's parameters.

use uuid::Uuid;

use super::Param;

/// The parameters of a statement, `$1` first: `params![id, "a text", Some(7)]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::sql::Param::from($value)),*]
    };
}

/// An array as one parameter, for `unnest($1::text[])` and `any($1)`: a whole batch goes with one statement.
pub fn array<T: Element>(values: impl IntoIterator<Item = T>) -> Param {
    T::array(values.into_iter())
}

/// What can be an element of an array: texts and UUIDs (`text[]`), `u8`, `i16` and `i32` (`integer[]`), `u32` and `i64`
/// (`bigint[]`), and options of these.
pub trait Element: Sized {
    /// The array of these.
    fn array(values: impl Iterator<Item = Self>) -> Param;
}

macro_rules! elements {
    ($($case:ident: $($type:ty),+;)+) => { $($(
        impl Element for $type {
            fn array(values: impl Iterator<Item = Self>) -> Param {
                Param::$case(values.map(|value| Some(value.into())).collect())
            }
        }

        impl Element for Option<$type> {
            fn array(values: impl Iterator<Item = Self>) -> Param {
                Param::$case(values.map(|value| value.map(Into::into)).collect())
            }
        }
    )+)+ };
}

elements! {
    ArrayStr: &str, String;
    ArrayInt32: u8, i16, i32;
    ArrayInt64: u32, i64;
}

impl Element for Uuid {
    fn array(values: impl Iterator<Item = Self>) -> Param {
        array(values.map(|id| id.to_string()))
    }
}

impl Element for Option<Uuid> {
    fn array(values: impl Iterator<Item = Self>) -> Param {
        array(values.map(|id| id.map(|id| id.to_string())))
    }
}

macro_rules! params_from {
    ($($case:ident: $($type:ty),+;)+) => { $($(
        impl From<$type> for Param {
            fn from(value: $type) -> Self {
                Self::$case(value.into())
            }
        }
    )+)+ };
}

params_from! {
    Boolean: bool;
    Int16: u8, i16;
    Int32: u16, i32;
    Int64: u32, i64;
    Floating32: f32;
    Floating64: f64;
    Str: &str, String, &String;
    Binary: &[u8], Vec<u8>;
}

impl From<Uuid> for Param {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id.to_string())
    }
}

impl<T: Into<Param>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::DbNull, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_travel_as_the_type_of_their_column() {
        let found = params![
            Uuid::nil(),
            "a",
            String::from("b"),
            7_u8,
            u32::MAX,
            true,
            None::<i32>,
            Some("c"),
            vec![1_u8],
        ];
        assert!(
            matches!(
                found.as_slice(),
                [
                    Param::Uuid(id),
                    Param::Str(a),
                    Param::Str(b),
                    Param::Int16(7),
                    Param::Int64(4_294_967_295),
                    Param::Boolean(true),
                    Param::DbNull,
                    Param::Str(c),
                    Param::Binary(bytes),
                ] if id.starts_with("00000000-") && a == "a" && b == "b" && c == "c" && *bytes == [1]
            ),
            "{found:?}"
        );
    }

    #[test]
    fn a_batch_is_one_array_with_nulls_where_there_is_nothing() {
        let found = [
            array(["a", "b"]),
            array([Uuid::nil()]),
            array([Some(7_u8), None]),
            array([1_i64]),
            array(Vec::<String>::new()),
        ];
        assert!(
            matches!(
                &found,
                [
                    Param::ArrayStr(texts),
                    Param::ArrayStr(ids),
                    Param::ArrayInt32(values),
                    Param::ArrayInt64(times),
                    Param::ArrayStr(none),
                ] if texts.len() == 2
                    && *ids == [Some(Uuid::nil().to_string())]
                    && *values == [Some(7), None]
                    && *times == [Some(1)]
                    && none.is_empty()
            ),
            "{found:?}"
        );
    }
}
