//! How a caller learns that the component it called could not answer.
//!
//! Where a function returns `result<_, E>` and `E` is a variant with a case `unavailable(string)`, the failure is
//! that case: the caller can act on it. Otherwise the caller traps. The text names the component and no internals.

use wasmtime::component::{
    Val,
    types::{ComponentFunc, Type},
};

use crate::CallError;

/// Whether a function's callers can be told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Told,
    Traps,
}

impl Failure {
    pub(crate) fn of(function: &ComponentFunc) -> Self {
        let Some(Type::Result(result)) = function.results().next() else {
            return Self::Traps;
        };
        let Some(Type::Variant(error)) = result.err() else {
            return Self::Traps;
        };
        let told = error
            .cases()
            .any(|case| case.name == UNAVAILABLE && case.ty == Some(Type::String));
        if told { Self::Told } else { Self::Traps }
    }

    /// The result of a call that failed so, or the trap for its caller.
    pub(crate) fn result(self, error: &CallError) -> wasmtime::Result<Val> {
        match self {
            Self::Told => {
                let text = Val::String(error.told());
                let case = Val::Variant(UNAVAILABLE.to_owned(), Some(Box::new(text)));
                Ok(Val::Result(Err(Some(Box::new(case)))))
            }
            Self::Traps => Err(wasmtime::Error::new(error.clone())),
        }
    }
}

/// Whether an interface answered with its own error.
pub fn is_error(result: &Val) -> bool {
    matches!(result, Val::Result(Err(_)))
}

const UNAVAILABLE: &str = "unavailable";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_caller_learns_which_component_failed_and_how_and_nothing_of_its_insides() {
        let component: marquee_manifest::ComponentId = "notes".parse().expect("a name");
        let secret = "secret";
        let errors = [
            CallError::Trap {
                component: component.clone(),
                version: secret.to_owned(),
                source: Arc::new(wasmtime::Error::msg(secret)),
            },
            CallError::Instantiate {
                component: component.clone(),
                version: secret.to_owned(),
                source: Arc::new(wasmtime::Error::msg(secret)),
            },
            CallError::RolledBack {
                component: component.clone(),
                reason: secret.to_owned(),
                unavailable: false,
            },
            CallError::Unknown {
                component: component.clone(),
                reason: secret.to_owned(),
            },
            CallError::Deadline(component.clone()),
            CallError::Overloaded(component),
        ];
        for error in errors {
            let told = Failure::Told.result(&error).expect("a value");
            let told = format!("{told:?}");
            assert!(told.contains("notes"), "{told}");
            assert!(!told.contains(secret), "{told}");
        }
    }
}
