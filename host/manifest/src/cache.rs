//! From text to grants of the read cache: `[component.NAME.tool.marquee] cache`, of functions that the component exports.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use crate::{
    names::{is_interface, is_kebab},
    reader::Section,
    units,
};

/// A function whose answers may be kept, by the component that exports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// `movie:metadata/queries`, of whatever version, or with one.
    pub interface: String,
    /// The function.
    pub function: String,
    /// What an answer is about. Whoever touches one of them makes it void.
    pub tags: Vec<CacheTag>,
    /// How old an answer may be, from the beginning of the call that it is of.
    pub max_age: Duration,
}

/// What an answer is about, in terms of its call: `movie:{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTag(pub Vec<CacheTagPart>);

/// A piece of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheTagPart {
    /// As it stands there.
    Text(String),
    /// What the call has for this parameter.
    Parameter(String),
}

impl Cached {
    /// Whether an exported interface, by its full name, is the one that is meant.
    pub fn is_of(&self, export: &str) -> bool {
        let (path, _) = export.split_once('@').unwrap_or((export, ""));
        self.interface == export || self.interface == path
    }

    /// Whether a call could be of both.
    fn meets(&self, other: &Self) -> bool {
        self.function == other.function
            && (self.is_of(&other.interface) || other.is_of(&self.interface))
    }
}

/// Read `cache` of `[component.NAME.tool.marquee]`; `transactional` interfaces have none.
pub(crate) fn read(ours: &mut Section<'_>, transactional: &[String]) -> Vec<Cached> {
    let problems = ours.problems().clone();
    let mut all: Vec<Cached> = Vec::new();
    let Some(table) = ours.section("cache") else {
        return all;
    };
    let parent = table.emptied();
    for ((key, span), value) in table.entries() {
        let Some(entry) = parent.as_section(&key, value) else {
            continue;
        };
        let Some(cached) = cached(&key, span.clone(), entry) else {
            continue;
        };
        if all.iter().any(|other| other.meets(&cached)) {
            problems.add(span, format!("{key} is cached twice"));
        } else if transactional.iter().any(|it| cached.is_of(it)) {
            problems.add(
                span,
                format!("{key} cannot be cached: its calls are transactions"),
            );
        } else {
            all.push(cached);
        }
    }
    all
}

fn cached(key: &str, span: Range<usize>, mut entry: Section<'_>) -> Option<Cached> {
    let problems = entry.problems().clone();
    let mut tags = Vec::new();
    let mut seen = BTreeSet::new();
    for (text, span) in entry.strings("tags") {
        match tag(&text) {
            Ok(tag) if seen.insert(text.clone()) => tags.push(tag),
            Ok(_) => problems.add(span, format!("tag {text:?} is there twice")),
            Err(reason) => problems.add(span, format!("{text:?} is no tag: {reason}")),
        }
    }
    if !entry.has("max_age") {
        problems.add(
            entry.span(),
            format!("{} is missing", entry.full("max_age")),
        );
    }
    let max_age = entry.measured("max_age", units::duration, MAX_AGE, "1s", |age| {
        match age.subsec_millis() {
            0 => format!("{}s", age.as_secs()),
            _ => format!("{}ms", age.as_millis()),
        }
    });
    entry.finish("a cached function has tags and max_age");
    let function = key
        .rsplit_once('.')
        .filter(|(interface, function)| is_kebab(function) && names_interface(interface));
    let Some((interface, function)) = function else {
        problems.add_with_help(
            span,
            format!("{key:?} does not name a function of an interface"),
            "write it as \"namespace:package/interface.function\", or with a version before the dot",
        );
        return None;
    };
    Some(Cached {
        interface: interface.to_owned(),
        function: function.to_owned(),
        tags,
        max_age: max_age?,
    })
}

/// With a version or without.
fn names_interface(text: &str) -> bool {
    match text.contains('@') {
        true => is_interface(text),
        false => is_interface(&format!("{text}@0.0.0")),
    }
}

fn tag(text: &str) -> Result<CacheTag, &'static str> {
    if !(1..=TAG_BYTES).contains(&text.len()) {
        return Err("it has 1 to 256 bytes");
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').ok_or("a { has no }")?;
        if !is_kebab(name) {
            return Err("between { and } stands the name of a parameter");
        }
        parts.push(CacheTagPart::Text(before.to_owned()));
        parts.push(CacheTagPart::Parameter(name.to_owned()));
        rest = behind;
    }
    parts.push(CacheTagPart::Text(rest.to_owned()));
    if text.matches('}').count() != text.matches('{').count() {
        return Err("a } has no {");
    }
    parts.retain(|part| *part != CacheTagPart::Text(String::new()));
    Ok(CacheTag(parts))
}

/// Less is not worth a look; more is no cache but a copy.
const MAX_AGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(300);
/// As `marquee.touch` takes them.
const TAG_BYTES: usize = 256;
