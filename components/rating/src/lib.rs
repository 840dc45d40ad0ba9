//! Rating: the bounded context that owns ratings and what they come to.
//!
//! Promises: of a user's acts on a record the newest counts, once, whichever way and however often it comes; the
//! aggregate agrees with the ratings after every statement. Bounds are those of `wit/movie-rating-0.3/types.wit`.
//!
//! To read first: `domain`, then `store`, then `handler`. `version_0_3` translates to and from WIT; `version_0_2`
//! and `version_0_1` do so for callers of the releases before.

pub mod domain;
mod handler;
pub mod store;
mod version_0_1;
mod version_0_2;
mod version_0_3;

use marquee_guest::messaging::{Message, Verdict};

use bindings::exports::marquee::messaging::consumer;

marquee_guest::component!(Rating, {
    path: [
        "../../wit/marquee-messaging",
        "../../wit/movie-rating",
        "../../wit/movie-rating-0.2",
        "../../wit/movie-rating-0.3",
    ],
    world: "movie:rating/rating@0.3.0",
    with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging },
    generate_all,
});

struct Rating;

impl consumer::Guest for Rating {
    async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
        handler::handle(messages).await
    }
}
