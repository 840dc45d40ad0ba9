//! What handlers take out of a request; what is not as it should be is a problem.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Request, rejection::JsonRejection},
};
use marquee_manifest::ComponentId;

use crate::problem::{self, Problem};

/// The component that the path names.
pub(crate) struct Named(pub(crate) ComponentId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|_| problem::nothing())?;
        named(&name).map(Self)
    }
}

/// A JSON body.
pub(crate) struct Document<T>(pub(crate) T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequest<S> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        let Json(document) = read?;
        Ok(Self(document))
    }
}

/// A component by its name.
pub(crate) fn named(name: &str) -> Result<ComponentId, Problem> {
    name.parse().map_err(|_| problem::nothing())
}
