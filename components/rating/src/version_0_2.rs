//! The exports of version 0.2, which has one case for what is not there and for what did not answer. They do what those of 0.3 do.

use crate::{
    Rating,
    bindings::exports::movie::{
        rating0_2_0::{commands, queries, types},
        rating0_3_0 as new,
    },
};

impl commands::Guest for Rating {
    async fn submit_many(
        events: Vec<types::RatingEvent>,
    ) -> Result<Vec<commands::Outcome>, types::Error> {
        let events = events.into_iter().map(Into::into).collect();
        let outcomes = <Self as new::commands::Guest>::submit_many(events).await?;
        let outcomes = outcomes.into_iter().map(|outcome| match outcome {
            new::commands::Outcome::Applied => commands::Outcome::Applied,
            new::commands::Outcome::Duplicate => commands::Outcome::Duplicate,
            new::commands::Outcome::Refused(text) => commands::Outcome::Refused(text),
        });
        Ok(outcomes.collect())
    }

    async fn erase(user_id: String) -> Result<(), types::Error> {
        Ok(<Self as new::commands::Guest>::erase(user_id).await?)
    }

    async fn remove(record_type: String, record_id: String) -> Result<(), types::Error> {
        Ok(<Self as new::commands::Guest>::remove(record_type, record_id).await?)
    }
}

impl queries::Guest for Rating {
    async fn aggregates_of(
        record_type: String,
        record_ids: Vec<String>,
    ) -> Result<Vec<types::Aggregate>, types::Error> {
        let found = <Self as new::queries::Guest>::aggregates_of(record_type, record_ids).await?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    async fn histogram_of(
        record_type: String,
        record_id: String,
    ) -> Result<queries::Histogram, types::Error> {
        let found = <Self as new::queries::Guest>::histogram_of(record_type, record_id).await?;
        Ok(queries::Histogram {
            counts: found.counts,
            aggregate: found.aggregate.into(),
        })
    }

    async fn rating_of(
        record_type: String,
        record_id: String,
        user_id: String,
    ) -> Result<Option<types::Rating>, types::Error> {
        let found = <Self as new::queries::Guest>::rating_of(record_type, record_id, user_id);
        Ok(found.await?.map(Into::into))
    }

    async fn ratings_by_user(
        user_id: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<queries::Page, types::Error> {
        let page = <Self as new::queries::Guest>::ratings_by_user(user_id, after, limit).await?;
        Ok(page.into())
    }

    async fn ratings_of_record(
        record_type: String,
        record_id: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<queries::Page, types::Error> {
        let page =
            <Self as new::queries::Guest>::ratings_of_record(record_type, record_id, after, limit);
        Ok(page.await?.into())
    }

    async fn ranked(
        record_type: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<queries::Ranking, types::Error> {
        let ranking = <Self as new::queries::Guest>::ranked(record_type, after, limit).await?;
        let ranked = ranking.records.into_iter();
        let ranked = ranked.map(|ranked| queries::RankedRecord {
            record_id: ranked.record_id,
            aggregate: ranked.aggregate.into(),
        });
        Ok(queries::Ranking {
            records: ranked.collect(),
            next: ranking.next,
        })
    }

    async fn event_states(
        event_ids: Vec<String>,
    ) -> Result<Vec<queries::EventState>, types::Error> {
        let states = <Self as new::queries::Guest>::event_states(event_ids).await?;
        let states = states.into_iter().map(|state| match state {
            new::queries::EventState::Unseen => queries::EventState::Unseen,
            new::queries::EventState::Waiting => queries::EventState::Waiting,
            new::queries::EventState::Applied => queries::EventState::Applied,
            new::queries::EventState::Rejected => queries::EventState::Rejected,
            new::queries::EventState::Rival => queries::EventState::Rival,
        });
        Ok(states.collect())
    }
}

impl From<types::RatingEvent> for new::types::RatingEvent {
    fn from(old: types::RatingEvent) -> Self {
        Self {
            event_id: old.event_id,
            record_id: old.record_id,
            record_type: old.record_type,
            user_id: old.user_id,
            change: match old.change {
                types::Change::Put(value) => new::types::Change::Put(value),
                types::Change::Delete => new::types::Change::Delete,
            },
            occurred_at_us: old.occurred_at_us,
        }
    }
}

impl From<new::types::Aggregate> for types::Aggregate {
    fn from(aggregate: new::types::Aggregate) -> Self {
        Self {
            average: aggregate.average,
            count: aggregate.count,
        }
    }
}

impl From<new::types::Rating> for types::Rating {
    fn from(rating: new::types::Rating) -> Self {
        Self {
            record_id: rating.record_id,
            record_type: rating.record_type,
            user_id: rating.user_id,
            value: rating.value,
            occurred_at_us: rating.occurred_at_us,
        }
    }
}

impl From<new::queries::Page> for queries::Page {
    fn from(page: new::queries::Page) -> Self {
        Self {
            ratings: page.ratings.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl From<new::types::Error> for types::Error {
    fn from(error: new::types::Error) -> Self {
        match error {
            new::types::Error::Invalid(text) => Self::Invalid(text),
            new::types::Error::Unavailable(text) | new::types::Error::Timeout(text) => {
                Self::Unavailable(text)
            }
            new::types::Error::Other(text) => Self::Other(text),
        }
    }
}
