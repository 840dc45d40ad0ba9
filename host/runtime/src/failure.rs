//! How a caller learns that the component it called could not answer.
//!
//! Where a function returns `result<_, E>` and `E` is a variant with a case `unavailable(string)`, the failure is
//! that case: the caller can act on it. Where `E` has a case `timeout(string)` too, or alone, that is the one of a failure after
//! which nobody knows whether what was asked for took effect. Otherwise the caller traps. The text names the component and
//! no internals.

use wasmtime::component::{
    Val,
    types::{ComponentFunc, Type},
};

use crate::CallError;

/// Which failures a function's callers can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    unavailable: bool,
    timeout: bool,
}

impl Failure {
    pub(crate) fn of(function: &ComponentFunc) -> Self {
        let error = match function.results().next() {
            Some(Type::Result(result)) => result.err(),
            _ => None,
        };
        let Some(Type::Variant(error)) = error else {
            return Self {
                unavailable: false,
                timeout: false,
            };
        };
        let has = |name: &str| {
            error
                .cases()
                .any(|case| case.name == name && case.ty == Some(Type::String))
        };
        Self {
            unavailable: has(UNAVAILABLE),
            timeout: has(TIMEOUT),
        }
    }

    /// The result of a call that failed so, or the trap for its caller.
    pub(crate) fn result(self, error: &CallError) -> wasmtime::Result<Val> {
        let is_open = matches!(error, CallError::Deadline(_) | CallError::Unknown { .. });
        let case = match self {
            Self { timeout: true, .. } if is_open => TIMEOUT,
            Self {
                unavailable: true, ..
            } => UNAVAILABLE,
            _ => return Err(wasmtime::Error::new(error.clone())),
        };
        let text = Val::String(error.told());
        let case = Val::Variant(case.to_owned(), Some(Box::new(text)));
        Ok(Val::Result(Err(Some(Box::new(case)))))
    }
}

/// Whether an interface answered with its own error.
pub fn is_error(result: &Val) -> bool {
    matches!(result, Val::Result(Err(_)))
}

const UNAVAILABLE: &str = "unavailable";
const TIMEOUT: &str = "timeout";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECRET: &str = "secret";

    fn notes() -> marquee_manifest::ComponentId {
        "notes".parse().expect("a name")
    }

    fn unknown() -> CallError {
        CallError::Unknown {
            component: notes(),
            reason: SECRET.to_owned(),
        }
    }

    fn trap() -> CallError {
        CallError::Trap {
            component: notes(),
            version: SECRET.to_owned(),
            source: Arc::new(wasmtime::Error::msg(SECRET)),
        }
    }

    #[test]
    fn a_caller_learns_which_component_failed_and_how_and_nothing_of_its_insides() {
        let errors = [
            trap(),
            CallError::Instantiate {
                component: notes(),
                version: SECRET.to_owned(),
                source: Arc::new(wasmtime::Error::msg(SECRET)),
            },
            CallError::RolledBack {
                component: notes(),
                reason: SECRET.to_owned(),
                unavailable: false,
            },
            unknown(),
            CallError::Deadline(notes()),
            CallError::Overloaded(notes()),
        ];
        let told = Failure {
            unavailable: true,
            timeout: true,
        };
        for error in errors {
            let told = told.result(&error).expect("a value");
            let told = format!("{told:?}");
            assert!(told.contains("notes"), "{told}");
            assert!(!told.contains(SECRET), "{told}");
        }
    }

    #[test]
    fn what_may_have_taken_effect_has_a_case_of_its_own_where_there_is_one() {
        let check = |cases: [bool; 2], error: &CallError, case: Option<&str>| {
            let [unavailable, timeout] = cases;
            let failure = Failure {
                unavailable,
                timeout,
            };
            let result = failure.result(error).ok().map(|value| match value {
                Val::Result(Err(Some(error))) => match *error {
                    Val::Variant(name, _) => name,
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            });
            assert_eq!(result.as_deref(), case, "{cases:?} {error}");
        };
        let (both, old, new, none) = ([true; 2], [true, false], [false, true], [false; 2]);
        for open in [CallError::Deadline(notes()), unknown()] {
            check(both, &open, Some("timeout"));
            check(old, &open, Some("unavailable"));
            check(new, &open, Some("timeout"));
            check(none, &open, None);
        }
        for done in [trap(), CallError::Overloaded(notes())] {
            check(both, &done, Some("unavailable"));
            check(old, &done, Some("unavailable"));
            check(new, &done, None);
            check(none, &done, None);
        }
    }
}
