//! Why a statement has no answer, sorted by what a caller can do about it.

use super::wit;

/// Why a statement has no answer. The texts are for operators, not for clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection was to be had. The statement was not sent: it changed nothing.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The database refused the statement, which changed nothing (but for the codes 08007 and 40003, by which the
    /// database itself says that it does not know).
    #[error("{message} ({code})")]
    Refused {
        /// The SQLSTATE: five characters, of which the first two are its class.
        code: String,
        /// The database's words.
        message: String,
        /// The constraint that was violated.
        constraint: Option<String>,
    },
    /// The statement was sent and no answer came: the connection broke or the time ran out. Inside a unit of work
    /// nothing of it will stand. Outside one, *it may have taken effect*: do not tell a client that nothing changed, and
    /// send it again only if it does no harm twice.
    #[error("the database did not answer: {0}")]
    Unknown(String),
    /// A fault of this component or of its manifest: a parameter that does not fit, a column that is not there or is of
    /// another type, too many rows, a variable without a value. Trying again does not help. The statement may have run.
    #[error("{0}")]
    Broken(String),
}

impl Error {
    /// What a component itself sees as a conflict with work that ran beside it: it passes, as a serialization failure
    /// (40001) does.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::Refused {
            code: "40001".to_owned(),
            message: message.into(),
            constraint: None,
        }
    }

    /// Whether the same statement may succeed a moment later. With [`Error::Unknown`] it may have succeeded already.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Unknown(_) => true,
            Self::Refused { code, .. } => is_passing(code),
            Self::Broken(_) => false,
        }
    }

    /// Whether nobody knows if the statement took effect. Inside a unit of work nothing of it will stand.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Refused { code, .. } => ["08007", "40003"].contains(&code.as_str()),
            Self::Unreachable(_) | Self::Broken(_) => false,
        }
    }

    /// The SQLSTATE, where the database said anything.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// The name of the constraint that was violated.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Refused { constraint, .. } => constraint.as_deref(),
            _ => None,
        }
    }
}

/// Whether a statement that was refused with this SQLSTATE may succeed a moment later.
pub fn is_passing(code: &str) -> bool {
    // Classes: connection exception, out of resources, operator intervention (a statement timeout, a shutdown).
    ["08", "53", "57"].iter().any(|class| code.starts_with(class))
        // Serialization failure, deadlock, lock timeout, the two timeouts of a transaction, read only (a standby).
        || ["40001", "40P01", "55P03", "25P03", "25P04", "25006"].contains(&code)
}

/// So that `?` does in a consumer or a job, whose errors are texts.
impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.to_string()
    }
}

/// Make the error of a component's interface of an [`Error`](crate::sql::Error), so that `?` does:
/// `sql_errors!(types::Error)`.
///
/// The interface's variant has the cases `unavailable`, `timeout` (nobody knows whether the statement took effect) and
/// `other`, each with a text for operators. One without `timeout` says what stands for it: `sql_errors!(types::Error,
/// Unavailable)`.
#[macro_export]
macro_rules! sql_errors {
    ($error:path) => {
        $crate::sql_errors!($error, Timeout);
    };
    ($error:path, $open:ident) => {
        impl From<$crate::sql::Error> for $error {
            fn from(error: $crate::sql::Error) -> Self {
                let text = error.to_string();
                if error.is_open() {
                    Self::$open(text)
                } else if error.is_passing() {
                    Self::Unavailable(text)
                } else {
                    Self::Other(text)
                }
            }
        }
    };
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::ConnectionFailed(reason) => Self::Unreachable(reason),
            wit::Error::QueryFailed(wit::QueryError::DbError(error)) => {
                let mut extras = error.extras.into_iter();
                Self::Refused {
                    code: error.code,
                    message: error.message,
                    constraint: extras
                        .find_map(|(name, value)| (name == "constraint").then_some(value)),
                }
            }
            wit::Error::QueryFailed(wit::QueryError::Text(reason)) => Self::Unknown(reason),
            wit::Error::BadParameter(reason)
            | wit::Error::ValueConversionFailed(reason)
            | wit::Error::Other(reason) => Self::Broken(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> Error {
        wit::Error::QueryFailed(wit::QueryError::DbError(wit::DbError {
            as_text: "ERROR: refused".to_owned(),
            severity: "ERROR".to_owned(),
            code: code.to_owned(),
            message: "refused".to_owned(),
            detail: None,
            extras: vec![
                ("table".to_owned(), "notes".to_owned()),
                ("constraint".to_owned(), "notes_pkey".to_owned()),
            ],
        }))
        .into()
    }

    #[test]
    fn timeouts_and_shutdowns_pass_and_broken_constraints_do_not() {
        let check = |code: &str, passing: bool| {
            assert_eq!(refused(code).is_passing(), passing, "{code}");
        };
        check("57014", true);
        check("57P01", true);
        check("08006", true);
        check("53300", true);
        check("40001", true);
        check("40P01", true);
        check("55P03", true);
        check("25006", true);
        check("23505", false);
        check("42P01", false);
        check("22021", false);
    }

    #[test]
    fn only_the_database_itself_and_silence_leave_open_whether_a_statement_took_effect() {
        let check = |error: &Error, open: bool| assert_eq!(error.is_open(), open, "{error}");
        check(&Error::Unknown("broken pipe".to_owned()), true);
        check(&refused("08007"), true);
        check(&refused("40003"), true);
        check(&refused("57014"), false);
        check(&Error::Unreachable("refused".to_owned()), false);
        check(&Error::Broken("no such column".to_owned()), false);
    }

    #[test]
    fn a_refusal_keeps_its_code_and_its_constraint() {
        let error = refused("23505");
        assert_eq!(error.code(), Some("23505"));
        assert_eq!(error.constraint(), Some("notes_pkey"));
        assert_eq!(error.to_string(), "refused (23505)");
    }

    #[test]
    fn what_was_not_sent_is_told_from_what_was_not_answered() {
        let text = || "broken pipe".to_owned();
        let check = |error: wit::Error, meaning: Error, passing: bool| {
            let error = Error::from(error);
            assert_eq!(error, meaning);
            assert_eq!(error.is_passing(), passing, "{error}");
            assert_eq!(error.code(), None);
        };
        check(
            wit::Error::ConnectionFailed(text()),
            Error::Unreachable(text()),
            true,
        );
        check(
            wit::Error::QueryFailed(wit::QueryError::Text(text())),
            Error::Unknown(text()),
            true,
        );
        check(
            wit::Error::BadParameter(text()),
            Error::Broken(text()),
            false,
        );
        check(wit::Error::Other(text()), Error::Broken(text()), false);
    }
}
