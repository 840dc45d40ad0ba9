//! Comparing the types of two components' interfaces.
//!
//! The importer says what it needs, the exporter what it has. The first difference is told as a path into the
//! interface and both sides' types, in the words of WIT.

use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem, Type};

/// The first thing that the importer needs and the exporter does not have so. An exporter may have more.
pub(crate) fn first_difference(
    engine: &Engine,
    needed: &ComponentInstance,
    had: &ComponentInstance,
) -> Option<String> {
    for (name, needed) in needed.exports(engine) {
        let ComponentItem::ComponentFunc(needed) = needed.ty else {
            continue;
        };
        let Some(had) = had.get_export(engine, name) else {
            return Some(format!("the exporter has no function {name}"));
        };
        let ComponentItem::ComponentFunc(had) = had.ty else {
            return Some(format!(
                "{name} is a function to the importer and something else to the exporter"
            ));
        };
        if let Some(difference) = function_difference(&needed, &had) {
            return Some(format!("function {name}: {difference}"));
        }
    }
    None
}

/// What of a function cannot cross from one store to another, if anything: handles belong to their store.
pub(crate) fn first_handle(function: &ComponentFunc) -> Option<String> {
    let params = function
        .params()
        .find_map(|(name, ty)| handle_in(&ty).map(|h| format!("parameter {name} has {h}")));
    params.or_else(|| {
        function
            .results()
            .find_map(|ty| handle_in(&ty).map(|h| format!("its result has {h}")))
    })
}

fn function_difference(needed: &ComponentFunc, had: &ComponentFunc) -> Option<String> {
    if needed.async_() != had.async_() {
        let kind = |is_async| if is_async { "async" } else { "not async" };
        return Some(format!(
            "the importer has it {}, the exporter {}",
            kind(needed.async_()),
            kind(had.async_())
        ));
    }
    let (needs, has) = (needed.params(), had.params());
    if needs.len() != has.len() {
        return Some(format!(
            "the importer passes {} parameters, the exporter takes {}",
            needs.len(),
            has.len()
        ));
    }
    for ((needed_name, needed), (had_name, had)) in needs.zip(has) {
        if needed_name != had_name {
            return Some(format!(
                "parameter {needed_name} of the importer is {had_name} to the exporter"
            ));
        }
        if let Some(difference) = difference(&needed, &had) {
            return Some(format!("parameter {needed_name}{difference}"));
        }
    }
    let (needs, has) = (needed.results(), had.results());
    if needs.len() != has.len() {
        return Some("only one of them has a result".to_owned());
    }
    needs
        .zip(has)
        .find_map(|(needed, had)| difference(&needed, &had))
        .map(|d| format!("result{d}"))
}

/// `.path.into.it: the importer has X, the exporter Y`.
fn difference(needed: &Type, had: &Type) -> Option<String> {
    let both = || {
        Some(format!(
            ": the importer has {}, the exporter {}",
            name(needed),
            name(had)
        ))
    };
    let pairs =
        |needed: Vec<(String, Option<Type>)>, had: Vec<(String, Option<Type>)>, what: &str| {
            for index in 0..needed.len().max(had.len()) {
                match (needed.get(index), had.get(index)) {
                    (Some((n, needed)), Some((h, had))) if n == h => match (needed, had) {
                        (Some(needed), Some(had)) => {
                            if let Some(d) = difference(needed, had) {
                                return Some(format!(".{n}{d}"));
                            }
                        }
                        (None, None) => {}
                        _ => return Some(format!(": only one side has a payload in {what} {n}")),
                    },
                    (Some((n, _)), Some((h, _))) => {
                        return Some(format!(
                            ": the importer has {what} {n} where the exporter has {h}"
                        ));
                    }
                    (Some((n, _)), None) => {
                        return Some(format!(
                            ": the importer has {what} {n}, the exporter does not"
                        ));
                    }
                    (None, Some((h, _))) => {
                        return Some(format!(
                            ": the exporter has {what} {h}, the importer does not"
                        ));
                    }
                    (None, None) => {}
                }
            }
            None
        };
    match (needed, had) {
        (Type::List(n), Type::List(h)) => difference(&n.ty(), &h.ty()).map(|d| format!("[]{d}")),
        (Type::Option(n), Type::Option(h)) => difference(&n.ty(), &h.ty()).map(|d| format!("?{d}")),
        (Type::Record(n), Type::Record(h)) => pairs(
            n.fields()
                .map(|f| (f.name.to_owned(), Some(f.ty)))
                .collect(),
            h.fields()
                .map(|f| (f.name.to_owned(), Some(f.ty)))
                .collect(),
            "field",
        ),
        (Type::Variant(n), Type::Variant(h)) => pairs(
            n.cases().map(|c| (c.name.to_owned(), c.ty)).collect(),
            h.cases().map(|c| (c.name.to_owned(), c.ty)).collect(),
            "case",
        ),
        (Type::Tuple(n), Type::Tuple(h)) => pairs(
            n.types()
                .enumerate()
                .map(|(i, ty)| (i.to_string(), Some(ty)))
                .collect(),
            h.types()
                .enumerate()
                .map(|(i, ty)| (i.to_string(), Some(ty)))
                .collect(),
            "element",
        ),
        (Type::Result(n), Type::Result(h)) => pairs(
            vec![("ok".to_owned(), n.ok()), ("err".to_owned(), n.err())],
            vec![("ok".to_owned(), h.ok()), ("err".to_owned(), h.err())],
            "case",
        ),
        (Type::Enum(n), Type::Enum(h)) => pairs(
            n.names().map(|n| (n.to_owned(), None)).collect(),
            h.names().map(|n| (n.to_owned(), None)).collect(),
            "case",
        ),
        (Type::Flags(n), Type::Flags(h)) => pairs(
            n.names().map(|n| (n.to_owned(), None)).collect(),
            h.names().map(|n| (n.to_owned(), None)).collect(),
            "flag",
        ),
        _ if needed == had => None,
        _ => both(),
    }
}

fn handle_in(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Own(_) | Type::Borrow(_) => Some("a resource"),
        Type::Future(_) => Some("a future"),
        Type::Stream(_) => Some("a stream"),
        Type::ErrorContext => Some("an error-context"),
        Type::List(list) => handle_in(&list.ty()),
        Type::Option(option) => handle_in(&option.ty()),
        Type::Record(record) => record.fields().find_map(|field| handle_in(&field.ty)),
        Type::Tuple(tuple) => tuple.types().find_map(|ty| handle_in(&ty)),
        Type::Variant(variant) => variant.cases().find_map(|case| handle_in(&case.ty?)),
        Type::Result(result) => result
            .ok()
            .and_then(|ty| handle_in(&ty))
            .or_else(|| result.err().and_then(|ty| handle_in(&ty))),
        _ => None,
    }
}

fn name(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".into(),
        Type::S8 => "s8".into(),
        Type::U8 => "u8".into(),
        Type::S16 => "s16".into(),
        Type::U16 => "u16".into(),
        Type::S32 => "s32".into(),
        Type::U32 => "u32".into(),
        Type::S64 => "s64".into(),
        Type::U64 => "u64".into(),
        Type::Float32 => "f32".into(),
        Type::Float64 => "f64".into(),
        Type::Char => "char".into(),
        Type::String => "string".into(),
        Type::List(list) => format!("list<{}>", name(&list.ty())),
        Type::Option(option) => format!("option<{}>", name(&option.ty())),
        Type::Tuple(tuple) => {
            format!(
                "tuple<{}>",
                tuple
                    .types()
                    .map(|ty| name(&ty))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
        Type::Record(_) => "a record".into(),
        Type::Variant(_) => "a variant".into(),
        Type::Enum(_) => "an enum".into(),
        Type::Flags(_) => "flags".into(),
        Type::Result(_) => "a result".into(),
        Type::Map(_) => "a map".into(),
        Type::Own(_) | Type::Borrow(_) => "a resource".into(),
        Type::Future(_) => "a future".into(),
        Type::Stream(_) => "a stream".into(),
        Type::ErrorContext => "an error-context".into(),
        Type::FixedLengthList(_) => "a list of fixed length".into(),
    }
}
