//! Reading TOML by hand, so that every problem is found and has its place.
//!
//! A section gives its keys out one by one; what nobody asked for by the end is unknown and a problem.

use std::{cell::RefCell, ops::Range, rc::Rc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::Problem;

/// Where problems gather.
#[derive(Clone)]
pub(crate) struct Problems<'t> {
    text: &'t str,
    found: Rc<RefCell<Vec<Problem>>>,
}

impl<'t> Problems<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: Rc::default(),
        }
    }

    pub(crate) fn add(&self, span: Range<usize>, message: impl Into<String>) {
        self.found
            .borrow_mut()
            .push(Problem::new(self.text, span, message.into(), None));
    }

    pub(crate) fn add_with_help(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.borrow_mut().push(Problem::new(
            self.text,
            span,
            message.into(),
            Some(help.into()),
        ));
    }

    pub(crate) fn take(&self) -> Vec<Problem> {
        let mut found = std::mem::take(&mut *self.found.borrow_mut());
        found.sort_by_key(|problem| (problem.span.start, problem.span.end));
        found
    }
}

/// A table whose keys are being read.
pub(crate) struct Section<'t> {
    /// Its dotted name, for messages.
    name: String,
    span: Range<usize>,
    table: DeTable<'t>,
    problems: Problems<'t>,
}

/// A value and where it stands.
pub(crate) type At<T> = (T, Range<usize>);

impl<'t> Section<'t> {
    pub(crate) fn new(
        name: impl Into<String>,
        table: Spanned<DeTable<'t>>,
        problems: &Problems<'t>,
    ) -> Self {
        let span = table.span();
        Self {
            name: name.into(),
            span,
            table: table.into_inner(),
            problems: problems.clone(),
        }
    }

    /// The same without its keys: what names its entries' places while they are read.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            name: self.name.clone(),
            span: self.span(),
            table: DeTable::new(),
            problems: self.problems.clone(),
        }
    }

    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(crate) fn problems(&self) -> &Problems<'t> {
        &self.problems
    }

    /// A key's full name.
    pub(crate) fn full(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'t>>> {
        self.table.remove(key)
    }

    /// Give a key back that was only looked at.
    pub(crate) fn put_back(&mut self, key: &'t str, value: Spanned<DeValue<'t>>) {
        self.table
            .insert(Spanned::new(value.span(), key.into()), value);
    }

    /// Leave a key unread on purpose.
    pub(crate) fn skip(&mut self, key: &str) {
        let _ = self.take(key);
    }

    pub(crate) fn string(&mut self, key: &str) -> Option<At<String>> {
        let value = self.take(key)?;
        self.as_string(key, value)
    }

    pub(crate) fn required_string(&mut self, key: &str) -> Option<At<String>> {
        self.require(key);
        self.string(key)
    }

    pub(crate) fn boolean(&mut self, key: &str) -> Option<At<bool>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Boolean(value) => Some((value, span)),
            other => self.wrong(key, "true or false", &other, span),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(
        &mut self,
        key: &str,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Integer(digits) = value.get_ref() else {
            return self.wrong(key, "a whole number", value.get_ref(), span);
        };
        let number = u64::from_str_radix(&digits.as_str().replace('_', ""), digits.radix()).ok();
        self.within(key, number, bounds, span, |number| number.to_string())
    }

    /// A value that is written as text with a unit, within bounds.
    pub(crate) fn measured<T: PartialOrd + Copy>(
        &mut self,
        key: &str,
        parse: fn(&str) -> Option<T>,
        bounds: std::ops::RangeInclusive<T>,
        example: &str,
        show: fn(T) -> String,
    ) -> Option<T> {
        let (text, span) = self.string(key)?;
        let Some(value) = parse(&text) else {
            self.problems.add(
                span,
                format!(
                    "{} is {text:?}, not a value with a unit such as {example:?}",
                    self.full(key)
                ),
            );
            return None;
        };
        self.within(key, Some(value), bounds, span, show)
    }

    pub(crate) fn strings(&mut self, key: &str) -> Vec<At<String>> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let span = value.span();
        let DeValue::Array(array) = value.into_inner() else {
            self.problems
                .add(span, format!("{} must be a list of texts", self.full(key)));
            return Vec::new();
        };
        array
            .into_iter()
            .filter_map(|item| self.as_string(key, item))
            .collect()
    }

    pub(crate) fn section(&mut self, key: &str) -> Option<Section<'t>> {
        let value = self.take(key)?;
        self.as_section(key, value)
    }

    pub(crate) fn required_section(&mut self, key: &str) -> Option<Section<'t>> {
        self.require(key);
        self.section(key)
    }

    /// An array of tables: `[[key]]`.
    pub(crate) fn sections(&mut self, key: &str) -> Vec<Section<'t>> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let span = value.span();
        let DeValue::Array(array) = value.into_inner() else {
            self.problems.add(
                span,
                format!("{} must be a list of tables: [[{0}]]", self.full(key)),
            );
            return Vec::new();
        };
        array
            .into_iter()
            .filter_map(|item| self.as_section(key, item))
            .collect()
    }

    /// All keys with their values, whatever they are called.
    pub(crate) fn entries(mut self) -> Vec<(At<String>, Spanned<DeValue<'t>>)> {
        let table = std::mem::take(&mut self.table);
        table
            .into_iter()
            .map(|(key, value)| ((key.get_ref().to_string(), key.span()), value))
            .collect()
    }

    /// Texts by name.
    pub(crate) fn map(self) -> std::collections::BTreeMap<String, String> {
        let (name, problems) = (self.name.clone(), self.problems.clone());
        let mut map = std::collections::BTreeMap::new();
        for ((key, _), value) in self.entries() {
            let span = value.span();
            match value.into_inner() {
                DeValue::String(text) => {
                    map.insert(key, text.into_owned());
                }
                other => problems.add(
                    span,
                    format!("{name}.{key} must be a text, and is {}", other.type_str()),
                ),
            }
        }
        map
    }

    pub(crate) fn as_section(&self, key: &str, value: Spanned<DeValue<'t>>) -> Option<Section<'t>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Section {
                name: self.full(key),
                span,
                table,
                problems: self.problems.clone(),
            }),
            other => self.wrong(key, "a table", &other, span),
        }
    }

    pub(crate) fn as_string(&self, key: &str, value: Spanned<DeValue<'t>>) -> Option<At<String>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some((text.into_owned(), span)),
            other => self.wrong(key, "a text", &other, span),
        }
    }

    /// Everything is read: the rest is unknown.
    pub(crate) fn finish(self, known: &str) {
        for (key, _) in &self.table {
            self.problems.add_with_help(
                key.span(),
                format!("{} is not supported", self.full(key.get_ref())),
                if known.is_empty() {
                    "take it out".to_owned()
                } else {
                    format!("{known}; take it out, or correct its name")
                },
            );
        }
    }

    fn require(&self, key: &str) {
        if !self.has(key) {
            self.problems
                .add(self.span(), format!("{} is missing", self.full(key)));
        }
    }

    fn within<T: PartialOrd + Copy>(
        &self,
        key: &str,
        value: Option<T>,
        bounds: std::ops::RangeInclusive<T>,
        span: Range<usize>,
        show: fn(T) -> String,
    ) -> Option<T> {
        match value.filter(|value| bounds.contains(value)) {
            Some(value) => Some(value),
            None => {
                let (low, high) = bounds.into_inner();
                self.problems.add(
                    span,
                    format!(
                        "{} must be from {} to {}",
                        self.full(key),
                        show(low),
                        show(high)
                    ),
                );
                None
            }
        }
    }

    fn wrong<T>(
        &self,
        key: &str,
        wanted: &str,
        found: &DeValue<'_>,
        span: Range<usize>,
    ) -> Option<T> {
        self.problems.add(
            span,
            format!(
                "{} must be {wanted}, and is {}",
                self.full(key),
                found.type_str()
            ),
        );
        None
    }
}
