//! The OpenAPI document of the movie system, held against every answer that a test sees on its public listener: the
//! gateway's and the host's own.
//!
//! Promise: an answer with a status, a media type, a body or without a header that the document does not tell of fails
//! the test that saw it. Not here: what HTTP itself refuses before it is a request (an answer without a request id).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};

use crate::raw::{self, Answer};

/// Where the contract holds, and for which holding: an address may be another host's later.
static ADDRESSES: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);
static HOLDINGS: AtomicU64 = AtomicU64::new(0);
static CONTRACT: OnceLock<Contract> = OnceLock::new();

/// The document, and the validators of its schemas that were needed so far.
pub(crate) struct Contract {
    pub(crate) document: Value,
    /// Its components; objects have no other members than those that are named.
    strict: Value,
    validators: Mutex<HashMap<String, Arc<jsonschema::Validator>>>,
}

/// The contract holds at an address until this is dropped, which is before the host there ends.
pub(crate) struct Held {
    address: String,
    holding: u64,
}

/// From now on the contract holds at this address.
pub(crate) async fn hold(address: &str) -> Held {
    if CONTRACT.get().is_none() {
        let request =
            format!("GET /openapi.json HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        let answer = raw::send_unchecked(address, request.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let _ = CONTRACT.set(Contract::new(answer.json()));
    }
    let held = Held {
        address: address.to_owned(),
        holding: HOLDINGS.fetch_add(1, Ordering::Relaxed),
    };
    let mut addresses = ADDRESSES.lock().unwrap_or_else(PoisonError::into_inner);
    let addresses = addresses.get_or_insert_default();
    addresses.insert(held.address.clone(), held.holding);
    held
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut addresses = ADDRESSES.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = addresses.get_or_insert_default();
        // Of a host that ended by itself the address may have been taken already.
        if addresses.get(&self.address) == Some(&self.holding) {
            addresses.remove(&self.address);
        }
    }
}

/// Fails where the answer to this request is none that the document promises.
pub(crate) fn check(address: &str, method: &str, target: &str, answer: &Answer) {
    let holds = ADDRESSES.lock().unwrap_or_else(PoisonError::into_inner);
    if holds
        .as_ref()
        .is_none_or(|holds| !holds.contains_key(address))
    {
        return;
    }
    drop(holds);
    let contract = CONTRACT.get().expect("a host was started");
    if let Err(breach) = contract.judge(method, target, answer) {
        panic!("{method} {target:.200}: {breach}: {answer:?}");
    }
}

impl Contract {
    pub(crate) fn new(document: Value) -> Self {
        let mut strict = document["components"].clone();
        close(&mut strict);
        open_parts(&mut strict, &document);
        Self {
            document,
            strict,
            validators: Mutex::default(),
        }
    }

    fn judge(&self, method: &str, target: &str, answer: &Answer) -> Result<(), String> {
        if answer.header("x-request-id").is_none() {
            let refused = [0, 400, 408, 431].contains(&answer.status) && answer.body.is_empty();
            return if refused {
                Ok(())
            } else {
                Err("it has no request id".into())
            };
        }
        for name in [
            "x-content-type-options",
            "cache-control",
            "content-security-policy",
        ] {
            answer
                .header(name)
                .ok_or_else(|| format!("it has no {name}"))?;
        }
        let path = target.split('?').next().unwrap_or_default();
        let item = self.item(path);
        // Methods are case-sensitive: `get` is not GET.
        let own = match method {
            "HEAD" => "get".to_owned(),
            _ if method.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                method.to_ascii_lowercase()
            }
            _ => String::new(),
        };
        let operation = item
            .map(|item| &item[own.as_str()])
            .filter(|operation| operation.is_object());
        let Some(operation) = operation else {
            return match (item, method, answer.status) {
                (Some(_), "OPTIONS", 204) | (Some(_), _, 405) => self.allow(method, answer),
                // A path of gRPC, which the document does not have.
                (None, "POST", 415) => self.problem(method, answer),
                // Whatever is asked for, the host and the router can refuse it.
                (_, _, 400 | 404 | 405 | 408 | 413 | 414 | 503 | 504 | 505) => {
                    self.problem(method, answer)
                }
                _ => Err("no such operation is in the document".into()),
            };
        };
        let promised = self.resolve(&operation["responses"][answer.status.to_string()]);
        if !promised.is_object() {
            return Err("the operation has no such status".into());
        }
        for name in promised["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            answer
                .header(name)
                .ok_or_else(|| format!("it has no {name}"))?;
        }
        if method == "HEAD" {
            return self.head(answer);
        }
        let Some(content) = promised["content"].as_object() else {
            return if answer.body.is_empty() {
                Ok(())
            } else {
                Err("it has a body".into())
            };
        };
        let media_type = answer.header("content-type").unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default();
        let content = content
            .get(essence)
            .ok_or_else(|| format!("{media_type} is not promised"))?;
        if essence.ends_with("json") {
            self.fits(&content["schema"], answer)
        } else {
            Ok(())
        }
    }

    /// The methods of a path: with 204 as they are asked for, with 405 as a problem.
    fn allow(&self, method: &str, answer: &Answer) -> Result<(), String> {
        // A browser asks for more than the methods.
        if answer.header("access-control-allow-methods").is_some() {
            return Ok(());
        }
        // What no path has, the host refuses.
        if answer.header("allow").is_none() && !["TRACE", "CONNECT"].contains(&method) {
            return Err("it has no Allow".into());
        }
        if answer.status == 204 {
            Ok(())
        } else {
            self.problem(method, answer)
        }
    }

    fn problem(&self, method: &str, answer: &Answer) -> Result<(), String> {
        if answer.header("content-type") != Some("application/problem+json") {
            return Err("it is no problem".into());
        }
        if method == "HEAD" {
            return self.head(answer);
        }
        self.fits(&json!({"$ref": "#/components/schemas/Problem"}), answer)
    }

    fn head(&self, answer: &Answer) -> Result<(), String> {
        let told = answer.header("content-length").is_some() || answer.status == 304;
        if told && answer.body.is_empty() {
            Ok(())
        } else {
            Err("HEAD has a length, and no content".into())
        }
    }

    fn fits(&self, schema: &Value, answer: &Answer) -> Result<(), String> {
        let body = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        let validator = self.validator(schema);
        let faults: Vec<String> = validator
            .iter_errors(&body)
            .map(|fault| format!("{fault} at {}", fault.instance_path()))
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults.join("; "))
        }
    }

    /// A schema of the document, with those that it refers to.
    pub(crate) fn validator(&self, schema: &Value) -> Arc<jsonschema::Validator> {
        let mut validators = self
            .validators
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let made = validators.entry(schema.to_string()).or_insert_with(|| {
            let whole = json!({"allOf": [schema], "components": self.strict});
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            Arc::new(
                options
                    .build(&whole)
                    .expect("the document's schemas are schemas"),
            )
        });
        Arc::clone(made)
    }

    /// The document's item for a path. One without names in it comes first.
    fn item(&self, path: &str) -> Option<&Value> {
        let items = self.document["paths"].as_object()?;
        let fits = |template: &str| {
            let (own, wanted): (Vec<_>, Vec<_>) =
                (template.split('/').collect(), path.split('/').collect());
            own.len() == wanted.len()
                && own
                    .iter()
                    .zip(wanted)
                    .all(|(own, part)| *own == part || (own.starts_with('{') && !part.is_empty()))
        };
        items.get(path).or_else(|| {
            items
                .iter()
                .find(|(template, _)| fits(template))
                .map(|(_, item)| item)
        })
    }

    /// Follows a reference.
    pub(crate) fn resolve<'a>(&'a self, item: &'a Value) -> &'a Value {
        match item["$ref"].as_str() {
            Some(reference) => {
                let found = self.document.pointer(reference.trim_start_matches('#'));
                found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
            }
            None => item,
        }
    }
}

/// Objects have the members that are named, and no others; one that is put together of others has theirs.
pub(crate) fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.contains_key("allOf") {
                members.insert("unevaluatedProperties".into(), false.into());
            } else if members.get("properties").is_some_and(Value::is_object) {
                members
                    .entry("additionalProperties")
                    .or_insert(false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Those that others are put together of stay open.
fn open_parts(components: &mut Value, document: &Value) {
    let schemas = document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten();
    let parts = schemas.filter_map(|(name, schema)| Some((name, schema["allOf"].as_array()?)));
    for (name, parts) in parts {
        for (at, part) in parts.iter().enumerate() {
            let reference = part["$ref"].as_str().unwrap_or_default();
            match reference.strip_prefix("#/components/schemas/") {
                Some(part) => {
                    let mut open = document["components"]["schemas"][part].clone();
                    close(&mut open["properties"]);
                    components["schemas"][name]["allOf"][at] = open;
                }
                None => {
                    let own = components["schemas"][name]["allOf"][at].as_object_mut();
                    own.map(|own| own.remove("additionalProperties"));
                }
            }
        }
    }
}
