//! Rating: the bounded context that owns ratings and what they come to.
//!
//! Promises: of a user's acts on a record the newest counts, once, whichever way and however often it comes; the
//! aggregate agrees with the ratings after every statement. Bounds are those of `wit/movie-rating/types.wit`.
//!
//! To read first: `domain`, then `store`, then `handler`. This file translates to and from WIT.

pub mod domain;
mod handler;
pub mod store;

use marquee_guest::{
    messaging::{Message, Verdict},
    sql,
};

use bindings::exports::marquee::messaging::consumer;
use bindings::exports::movie::rating::{commands, queries, types};

use domain::{Change, Event, Invalid, PageQuery, Record};

marquee_guest::component!(Rating, {
    path: ["../../wit/marquee-messaging", "../../wit/movie-rating"],
    world: "movie:rating/rating",
    with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging },
    generate_all,
});

struct Rating;

impl commands::Guest for Rating {
    async fn submit(event: types::RatingEvent) -> Result<commands::Outcome, types::Error> {
        let change = match event.change {
            types::Change::Put(value) => Change::Put(value),
            types::Change::Delete => Change::Delete,
        };
        let event = Event::parse(
            &event.event_id,
            &event.record_type,
            &event.record_id,
            &event.user_id,
            change,
            event.occurred_at_us,
        )?;
        Ok(match store::submit(&event).await? {
            store::Taken::Applied => commands::Outcome::Applied,
            store::Taken::Duplicate => commands::Outcome::Duplicate,
        })
    }

    async fn erase(user_id: String) -> Result<(), types::Error> {
        Ok(store::erase([domain::parse_user(&user_id)?]).await?)
    }
}

impl queries::Guest for Rating {
    async fn aggregate_of(
        record_type: String,
        record_id: String,
    ) -> Result<types::Aggregate, types::Error> {
        let record = Record::parse(&record_type, &record_id)?;
        let aggregate = store::aggregate(&record).await?.unwrap_or_default();
        Ok(types::Aggregate {
            average: aggregate.average(),
            count: aggregate.count,
        })
    }

    async fn ratings_by_user(
        user_id: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<queries::Page, types::Error> {
        let query = PageQuery::parse(&user_id, after.as_deref(), limit)?;
        let (ratings, next) = query.cut(store::by_user(&query).await?, |rating| {
            rating.position.clone()
        });
        let ratings = ratings
            .into_iter()
            .map(|rating| types::Rating {
                record_id: rating.position.record.id().to_owned(),
                record_type: rating.position.record.kind().to_owned(),
                user_id: user_id.clone(),
                value: rating.value,
                occurred_at_us: rating.position.occurred_at_us,
            })
            .collect();
        Ok(queries::Page { ratings, next })
    }
}

impl consumer::Guest for Rating {
    async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
        handler::handle(messages).await
    }
}

impl From<Invalid> for types::Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid.0)
    }
}

impl From<sql::Error> for types::Error {
    fn from(error: sql::Error) -> Self {
        if error.is_passing() {
            Self::Unavailable(error.to_string())
        } else {
            Self::Other(error.to_string())
        }
    }
}
