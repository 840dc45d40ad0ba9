//! The exports of version 0.1, for callers of a release before. They do what those of 0.3 do.

use crate::{
    Rating,
    bindings::exports::movie::rating0_1_0::{commands, queries, types},
    domain::{self, Change, Event, Invalid, OfUser, Record},
    store::{self, Standing, Taken},
};

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
        let taken = store::submit(&[&event]).await?;
        match taken.first() {
            Some(Taken::Ahead) => Err(Invalid::ahead().into()),
            Some(Taken::Duplicate) => Ok(commands::Outcome::Duplicate),
            Some(Taken::Applied) | None => Ok(commands::Outcome::Applied),
        }
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
        let ids = [record.id().to_owned()];
        let found = store::aggregates(record.kind(), &ids).await?;
        let aggregate = found.first().map(|(_, aggregate)| *aggregate);
        let aggregate = aggregate.unwrap_or_default();
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
        let page = OfUser::parse(&user_id, after.as_deref(), limit)?;
        let (ratings, next) = page.cut(store::by_user(&user_id, &page).await?);
        let ratings = ratings.into_iter().map(shown).collect();
        Ok(queries::Page { ratings, next })
    }
}

fn shown(rating: Standing) -> types::Rating {
    types::Rating {
        record_id: rating.record.id().to_owned(),
        record_type: rating.record.kind().to_owned(),
        user_id: rating.user,
        value: rating.value,
        occurred_at_us: rating.occurred_at_us,
    }
}

impl From<Invalid> for types::Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid.0)
    }
}

marquee_guest::sql_errors!(types::Error, Unavailable);
