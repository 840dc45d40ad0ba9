//! From text to rates: `[[component.NAME.tool.marquee.rates]]`.

use std::num::NonZeroU32;

use crate::{
    InvalidPath, PathPattern, Rate, RateClass, Rates, defaults,
    names::{is_header, is_kebab},
    reader::{At, Section},
    units,
};

/// Read `rates` and `subject_header` of `[component.NAME.tool.marquee]`.
pub(crate) fn rates(ours: &mut Section<'_>) -> Rates {
    let problems = ours.problems().clone();
    let mut rates = Rates::default();
    // Once a class has all requests, none comes to those behind it.
    let mut last: Option<String> = None;
    let tables = ours.sections("rates");
    if let Some(table) = tables.get(defaults::RATE_CLASSES) {
        let most = defaults::RATE_CLASSES;
        problems.add(
            table.span(),
            format!("there are at most {most} classes of rates"),
        );
    }
    for table in tables {
        let Some((class, span)) = class(table) else {
            continue;
        };
        if rates.classes.iter().any(|other| other.name == class.name) {
            problems.add(span, format!("class {} is there twice", class.name));
            continue;
        }
        if let Some(before) = &last {
            let name = &class.name;
            problems.add_with_help(
                span,
                format!("no request comes to class {name}: all belong to {before} before it"),
                format!("put it before {before}"),
            );
        } else if class.has_all() {
            last = Some(class.name.clone());
        }
        rates.classes.push(class);
    }
    if let Some((name, span)) = ours.string("subject_header") {
        if !is_header(&name) {
            problems.add(
                span,
                format!("{name:?} cannot name a header: lower-case letters, digits and -"),
            );
        } else if rates.classes.iter().all(|class| class.subject.is_none()) {
            problems.add(
                span,
                format!(
                    "{} is for classes of rates with a subject, and there is none",
                    ours.full("subject_header")
                ),
            );
        } else {
            rates.subject_header = Some(name);
        }
    }
    rates
}

fn class(mut table: Section<'_>) -> Option<At<RateClass>> {
    let problems = table.problems().clone();
    let name = table.required_string("class");
    let methods = list(&mut table, "methods", method);
    let paths = list(&mut table, "paths", path);
    let client = table.required_section("client").and_then(rate);
    let subject = match table.section("subject") {
        Some(subject) => rate(subject).map(Some),
        None => Some(None),
    };
    table.finish("a class of rates has class, methods, paths, client and subject");
    let (name, span) = name?;
    if !is_kebab(&name) || name.len() > 64 {
        problems.add(
            span,
            format!(
                "a class of rates cannot be called {name:?}: letters, digits and -, 64 at the most"
            ),
        );
        return None;
    }
    let class = RateClass {
        name,
        methods: methods?,
        paths: paths?,
        client: client?,
        subject: subject?,
    };
    Some((class, span))
}

/// A list of which each is read. None: one of them could not be, and all problems of the list are told.
fn list<T>(
    table: &mut Section<'_>,
    key: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let texts = table.strings(key);
    let problems = table.problems();
    let read: Vec<Option<T>> = texts
        .into_iter()
        .map(|(text, span)| {
            read(&text)
                .map_err(|problem| problems.add(span, problem))
                .ok()
        })
        .collect();
    read.into_iter().collect()
}

fn method(text: &str) -> Result<String, String> {
    match METHODS.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is none of the methods {}",
            METHODS.join(", ")
        )),
    }
}

fn path(text: &str) -> Result<PathPattern, String> {
    text.parse().map_err(|error: InvalidPath| error.to_string())
}

fn rate(mut table: Section<'_>) -> Option<Rate> {
    let problems = table.problems().clone();
    let full = table.full("rate");
    let rate = table.required_string("rate");
    let has_burst = table.has("burst");
    let burst = table.number("burst", 1..=u64::from(MOST));
    table.finish("a rate has rate and burst");
    let (text, span) = rate?;
    let Some((requests, per)) = units::rate(&text) else {
        problems.add(
            span,
            format!("{full} is {text:?}, not a rate such as \"20/s\", \"600/m\" or \"10/h\""),
        );
        return None;
    };
    let requests = NonZeroU32::new(requests).filter(|requests| requests.get() <= MOST);
    let Some(requests) = requests else {
        problems.add(span, format!("{full} must be from 1 to {MOST} requests"));
        return None;
    };
    let burst = match has_burst {
        true => NonZeroU32::new(u32::try_from(burst?).ok()?)?,
        false => requests,
    };
    Some(Rate {
        requests,
        per,
        burst,
    })
}

/// What components are asked with. A method that is not here belongs to the classes that name none.
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
/// Of a rate and of a burst: far above what a host answers.
const MOST: u32 = 1_000_000;
