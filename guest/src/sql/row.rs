//! Rows whose values are taken by the names of their columns.

use std::{rc::Rc, vec};

use super::{Error, FromValue, Value, wit};

/// The rows of a statement, in its order. An iterator: `rows.map(note).collect::<Result<Vec<_>, _>>()`.
#[derive(Debug)]
pub struct Rows {
    columns: Rc<[wit::Column]>,
    rows: vec::IntoIter<wit::Row>,
}

impl Rows {
    pub(super) fn new(columns: Vec<wit::Column>, rows: Vec<wit::Row>) -> Self {
        Self {
            columns: columns.into(),
            rows: rows.into_iter(),
        }
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        Some(Row {
            columns: Rc::clone(&self.columns),
            values: self.rows.next()?,
            next: 0,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rows.size_hint()
    }
}

impl ExactSizeIterator for Rows {}

/// One row. Its values are taken out, not copied.
#[derive(Debug)]
pub struct Row {
    columns: Rc<[wit::Column]>,
    values: Vec<Value>,
    /// Where the next column is looked for first: after the last one.
    next: usize,
}

impl Row {
    /// Take the value of a column. Who takes values in the order of the statement's columns pays one comparison of names
    /// each. A value that was taken is null from then on. [`Error::Broken`]: there is no such column, or its value is not
    /// one of the type.
    pub fn take<T: FromValue>(&mut self, column: &str) -> Result<T, Error> {
        let named = |&index: &usize| self.columns.get(index).is_some_and(|at| at.name == column);
        let index = (self.next..self.columns.len())
            .chain(0..self.next)
            .find(named)
            .ok_or_else(|| Error::Broken(format!("the statement has no column {column}")))?;
        self.next = index + 1;
        let value = self.values.get_mut(index);
        let value = value.map_or(Value::DbNull, |value| {
            std::mem::replace(value, Value::DbNull)
        });
        T::from_value(value).map_err(|value| {
            let kind = self.columns.get(index).map(|column| &column.data_type);
            mismatch(column, kind, &value, std::any::type_name::<T>())
        })
    }
}

/// Says of which type the value is and not what it is: that may be a person's.
fn mismatch(column: &str, kind: Option<&wit::DbDataType>, value: &Value, wanted: &str) -> Error {
    Error::Broken(match (value, kind) {
        (Value::DbNull, _) | (_, None) => format!("column {column} is null, which is no {wanted}"),
        (_, Some(kind)) => format!("the value of column {column} ({kind:?}) is no {wanted}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let column = |name: &str| wit::Column {
            name: name.to_owned(),
            data_type: wit::DbDataType::Str,
        };
        let columns = ["id", "text", "likes"].map(column).to_vec();
        let values = vec![Value::Int64(7), Value::Str("a".to_owned()), Value::DbNull];
        Rows::new(columns, vec![values]).next().unwrap()
    }

    #[test]
    fn values_are_taken_by_name_in_any_order() {
        let mut row = row();
        assert_eq!(row.take("likes"), Ok(None::<u32>));
        assert_eq!(row.take("id"), Ok(7_u32));
        assert_eq!(row.take("text"), Ok("a".to_owned()));
        assert_eq!(row.take("text"), Ok(None::<String>));
    }

    #[test]
    fn a_column_that_is_not_there_or_of_another_type_is_named() {
        let check = |error: Error, text: &str| assert_eq!(error.to_string(), text);
        check(
            row().take::<u8>("name").unwrap_err(),
            "the statement has no column name",
        );
        check(
            row().take::<u8>("text").unwrap_err(),
            "the value of column text (DbDataType::Str) is no u8",
        );
        check(
            row().take::<i64>("likes").unwrap_err(),
            "column likes is null, which is no i64",
        );
    }
}
