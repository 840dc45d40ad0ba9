//! Logging in: whoever imports says who they are where the server asks.
//!
//! Promise: the password is sent to `POST /v1/sessions` and nowhere else, and is never printed. An access token lasts
//! minutes, an import hours: one that is refused is replaced by logging in again, once for all calls that met it.

use tokio::sync::RwLock;

/// A user's name or e-mail address, and the password.
#[derive(Clone)]
pub struct Credentials {
    /// What has `@` is an e-mail address.
    pub login: String,
    /// Never printed.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the credentials of {}", self.login)
    }
}

/// Who asks, and the access token of late.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) credentials: Option<Credentials>,
    token: RwLock<Option<String>>,
}

impl Session {
    pub(crate) fn of(credentials: Option<Credentials>) -> Self {
        Self {
            credentials,
            token: RwLock::default(),
        }
    }

    /// The token to send, if there is one.
    pub(crate) async fn token(&self) -> Option<String> {
        self.token.read().await.clone()
    }

    /// Another token in the place of one that was refused, by `log_in`; whoever comes second finds it there.
    pub(crate) async fn renew<E>(
        &self,
        refused: Option<&str>,
        log_in: impl AsyncFnOnce() -> Result<String, E>,
    ) -> Result<(), E> {
        let mut token = self.token.write().await;
        if token.as_deref() == refused {
            *token = Some(log_in().await?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let credentials = Credentials {
            login: "ann".into(),
            password: "a quiet harbour".into(),
        };
        assert!(!format!("{credentials:?}").contains("quiet"));
    }

    #[tokio::test]
    async fn calls_that_met_the_same_refusal_log_in_once() {
        let session = Session::default();
        let log_in = async |token: &str| {
            let token = token.to_owned();
            session
                .renew(None, async || Ok::<_, std::convert::Infallible>(token))
                .await
        };
        assert_eq!(log_in("first").await, Ok(()));
        assert_eq!(log_in("second").await, Ok(()));
        assert_eq!(session.token().await.as_deref(), Some("first"));
    }
}
