//! The component's variables, as its manifest sets them.

use bindings::spin::variables::variables;

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        reason = "wit-bindgen writes it; nothing of it is public"
    )]
    wit_bindgen::generate!({
        inline: "
            package marquee:guest-variables;

            world guest {
                import spin:variables/variables@3.0.0;
            }
        ",
        path: "../wit/deps/spin-variables@3.0.0",
        generate_all,
    });
}

/// Why a variable has no value: the manifest does not grant it, or who provides it cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("variable {name}: {reason}")]
pub struct Error {
    /// The variable.
    pub name: String,
    /// What the host said. For operators.
    pub reason: String,
}

/// So that `?` does in a consumer or a job, whose errors are texts.
impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.to_string()
    }
}

/// The value of a variable of this component. It may change while the component runs: ask when it is needed.
pub async fn get(name: &str) -> Result<String, Error> {
    variables::get(name.to_owned())
        .await
        .map_err(|error| Error {
            name: name.to_owned(),
            reason: match error {
                variables::Error::InvalidName(reason)
                | variables::Error::Undefined(reason)
                | variables::Error::Provider(reason)
                | variables::Error::Other(reason) => reason,
            },
        })
}
