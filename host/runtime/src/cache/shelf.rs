//! Where the answers of one function of one loaded version are: which calls are equal, and what their answers are about.

use std::{collections::HashMap, sync::Arc, time::Duration};

use marquee_manifest::{CacheTag, CacheTagPart, Cached, ComponentId};
use wasmtime::{
    Engine,
    component::{
        Component as Code, Val,
        types::{ComponentFunc, ComponentInstance, ComponentItem, Type},
    },
};

use super::{Asked, Cache, Source, key};
use crate::{LoadError, Spec, types};

/// A function whose answers are kept.
pub(crate) struct Shelf {
    /// No other version has it, nor this one when it is loaded again.
    number: u64,
    pub(super) component: ComponentId,
    pub(super) max_age: Duration,
    pub(super) source: Source,
    tags: Vec<Vec<Part>>,
}

/// By interface and function.
pub(crate) type Shelves = HashMap<String, HashMap<String, Arc<Shelf>>>;

/// A piece of a tag.
enum Part {
    Text(String),
    /// The parameter at this place.
    Parameter(usize),
}

/// What the manifest says may be kept of a component. An error where it exports no such function, or one that cannot be.
pub(crate) fn shelves(
    cache: &Cache,
    engine: &Engine,
    spec: &Spec,
    code: &Code,
) -> Result<Shelves, LoadError> {
    let mut shelves = Shelves::new();
    for cached in cache.granted(&spec.id) {
        let refuse = |reason: String| LoadError::Cache {
            component: spec.id.clone(),
            function: format!("{}.{}", cached.interface, cached.function),
            reason,
        };
        let mut is_there = false;
        for (interface, item) in code.component_type().exports(engine) {
            let ComponentItem::ComponentInstance(exported) = item.ty else {
                continue;
            };
            let function = function(engine, &exported, &cached.function);
            let Some(function) = function.filter(|_| cached.is_of(interface)) else {
                continue;
            };
            is_there = true;
            let shelf = Shelf {
                number: cache.number(),
                component: spec.id.clone(),
                max_age: cached.max_age,
                source: cache.source(&spec.id),
                tags: tags(cached, &function).map_err(refuse)?,
            };
            let functions = shelves.entry(interface.to_owned()).or_default();
            functions.insert(cached.function.clone(), Arc::new(shelf));
        }
        if !is_there {
            return Err(refuse("it exports no such function".to_owned()));
        }
    }
    Ok(shelves)
}

fn function(engine: &Engine, interface: &ComponentInstance, name: &str) -> Option<ComponentFunc> {
    match interface.get_export(engine, name)?.ty {
        ComponentItem::ComponentFunc(function) => Some(function),
        _ => None,
    }
}

/// Its tags by the places of their parameters; why the function cannot be cached.
fn tags(cached: &Cached, function: &ComponentFunc) -> Result<Vec<Vec<Part>>, String> {
    if let Some(handle) = types::first_handle(function) {
        return Err(format!("{handle}, which cannot be kept"));
    }
    if function.results().len() == 0 {
        return Err("it has no result".to_owned());
    }
    cached.tags.iter().map(|tag| parts(tag, function)).collect()
}

fn parts(tag: &CacheTag, function: &ComponentFunc) -> Result<Vec<Part>, String> {
    let mut lists = 0;
    let mut part = |part: &CacheTagPart| {
        let name = match part {
            CacheTagPart::Text(text) => return Ok(Part::Text(text.clone())),
            CacheTagPart::Parameter(name) => name,
        };
        let mut params = function.params().enumerate();
        let found = params.find(|(_, (param, _))| param == name);
        let (place, (_, ty)) = found.ok_or_else(|| format!("it has no parameter {name}"))?;
        let is_list = matches!(&ty, Type::List(_));
        lists += usize::from(is_list);
        let told = match &ty {
            Type::List(list) => is_told(&list.ty()),
            ty => is_told(ty),
        };
        match (told, lists) {
            (false, _) => Err(format!(
                "parameter {name} is no text, whole number, bool or enum, and no list of these"
            )),
            (true, 2..) if is_list => Err("a tag has one list at the most".to_owned()),
            _ => Ok(Part::Parameter(place)),
        }
    };
    tag.0.iter().map(&mut part).collect()
}

/// Whether values of this type stand in tags.
fn is_told(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Bool
            | Type::S8
            | Type::U8
            | Type::S16
            | Type::U16
            | Type::S32
            | Type::U32
            | Type::S64
            | Type::U64
            | Type::Char
            | Type::String
            | Type::Enum(_)
    )
}

impl Shelf {
    /// What a call asks for. None: its answer is not kept, since it asks for too much.
    pub(super) fn asked(&self, params: &[Val]) -> Option<Asked> {
        let mut key = self.number.to_le_bytes().to_vec();
        for param in params {
            key::write(param, &mut key)?;
            if key.len() > KEY_BYTES {
                return None;
            }
        }
        let mut tags = Vec::new();
        for tag in &self.tags {
            let list = tag.iter().find_map(|part| match part {
                Part::Parameter(place) => match params.get(*place) {
                    Some(Val::List(items)) => Some(items.as_slice()),
                    _ => None,
                },
                Part::Text(_) => None,
            });
            match list {
                Some(items) => {
                    for item in items {
                        tags.push(told(tag, params, Some(item))?);
                    }
                }
                None => tags.push(told(tag, params, None)?),
            }
        }
        (tags.len() <= ANSWER_TAGS).then_some(Asked { key, tags })
    }
}

#[cfg(test)]
impl Shelf {
    /// Of a function whose first parameter is what its answers are about.
    pub(super) fn of_test(cache: &Cache, max_age: Duration) -> Self {
        let component: ComponentId = "notes".parse().expect("a name");
        Self {
            number: cache.number(),
            max_age,
            source: cache.source(&component),
            component,
            tags: vec![vec![Part::Text("note:".to_owned()), Part::Parameter(0)]],
        }
    }
}

/// A tag of a call; in the place of its list stands one of its items.
fn told(tag: &[Part], params: &[Val], item: Option<&Val>) -> Option<Box<str>> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for part in tag {
        let value = match part {
            Part::Text(part) => {
                text.push_str(part);
                continue;
            }
            Part::Parameter(place) => match params.get(*place)? {
                Val::List(_) => item?,
                value => value,
            },
        };
        let written = match value {
            Val::String(value) | Val::Enum(value) => {
                text.push_str(value);
                Ok(())
            }
            Val::Bool(value) => write!(text, "{value}"),
            Val::Char(value) => write!(text, "{value}"),
            Val::S8(value) => write!(text, "{value}"),
            Val::U8(value) => write!(text, "{value}"),
            Val::S16(value) => write!(text, "{value}"),
            Val::U16(value) => write!(text, "{value}"),
            Val::S32(value) => write!(text, "{value}"),
            Val::U32(value) => write!(text, "{value}"),
            Val::S64(value) => write!(text, "{value}"),
            Val::U64(value) => write!(text, "{value}"),
            _ => return None,
        };
        written.ok()?;
    }
    // A longer one nobody could touch.
    (text.len() <= TAG_BYTES).then(|| text.into_boxed_str())
}

/// What asks for more is seldom asked twice.
const KEY_BYTES: usize = 8 << 10;
/// A page, or a list of ids as APIs take them.
const ANSWER_TAGS: usize = 100;
/// As `marquee.touch` takes them.
const TAG_BYTES: usize = 256;
