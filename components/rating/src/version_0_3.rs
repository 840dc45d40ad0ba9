//! The exports of version 0.3.

use std::collections::HashMap;

use crate::{
    Rating,
    bindings::exports::movie::rating0_3_0::{commands, queries, types},
    domain::{self, Aggregate, Change, Event, Invalid, OfRecord, OfUser, Ranked, Record},
    store::{self, Fate, Standing, Taken},
};

impl commands::Guest for Rating {
    async fn submit_many(
        events: Vec<types::RatingEvent>,
    ) -> Result<Vec<commands::Outcome>, types::Error> {
        domain::check_count("events", events.len(), SUBMITTED_MAX)?;
        let events: Vec<Result<Event, Invalid>> = events.into_iter().map(event).collect();
        let sound: Vec<&Event> = events.iter().flatten().collect();
        let mut taken = store::submit(&sound).await?.into_iter();
        let outcome = |event: Result<Event, Invalid>| match event.map(|_| taken.next()) {
            Err(invalid) => commands::Outcome::Refused(invalid.0),
            Ok(Some(Taken::Ahead)) => commands::Outcome::Refused(Invalid::ahead().0),
            Ok(Some(Taken::Duplicate)) => commands::Outcome::Duplicate,
            Ok(Some(Taken::Applied) | None) => commands::Outcome::Applied,
        };
        Ok(events.into_iter().map(outcome).collect())
    }

    async fn erase(user_id: String) -> Result<(), types::Error> {
        Ok(store::erase([domain::parse_user(&user_id)?]).await?)
    }

    async fn remove(record_type: String, record_id: String) -> Result<(), types::Error> {
        let record = Record::parse(&record_type, &record_id)?;
        Ok(store::remove([&record]).await?)
    }
}

impl queries::Guest for Rating {
    async fn aggregates_of(
        record_type: String,
        record_ids: Vec<String>,
    ) -> Result<Vec<types::Aggregate>, types::Error> {
        domain::check_count("record_ids", record_ids.len(), RECORDS_MAX)?;
        for id in &record_ids {
            Record::parse(&record_type, id)?;
        }
        let found = store::aggregates(&record_type, &record_ids).await?;
        let found: HashMap<String, Aggregate> = found.into_iter().collect();
        let of = |id| found.get(id).copied().unwrap_or_default().into();
        Ok(record_ids.iter().map(of).collect())
    }

    async fn histogram_of(
        record_type: String,
        record_id: String,
    ) -> Result<queries::Histogram, types::Error> {
        let record = Record::parse(&record_type, &record_id)?;
        let histogram = store::histogram(&record).await?.unwrap_or_default();
        Ok(queries::Histogram {
            counts: histogram.0.to_vec(),
            aggregate: histogram.aggregate().into(),
        })
    }

    async fn rating_of(
        record_type: String,
        record_id: String,
        user_id: String,
    ) -> Result<Option<types::Rating>, types::Error> {
        let record = Record::parse(&record_type, &record_id)?;
        let rating = store::rating(&record, domain::parse_user(&user_id)?).await?;
        Ok(rating.map(shown))
    }

    async fn ratings_by_user(
        user_id: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<queries::Page, types::Error> {
        let page = OfUser::parse(&user_id, after.as_deref(), limit)?;
        Ok(shown_page(page.cut(store::by_user(&user_id, &page).await?)))
    }

    async fn ratings_of_record(
        record_type: String,
        record_id: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<queries::Page, types::Error> {
        let record = Record::parse(&record_type, &record_id)?;
        let page = OfRecord::parse(&record, after.as_deref(), limit)?;
        Ok(shown_page(
            page.cut(store::of_record(&record, &page).await?),
        ))
    }

    async fn ranked(
        record_type: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<queries::Ranking, types::Error> {
        let page = Ranked::parse(&record_type, after.as_deref(), limit)?;
        let found = store::ranked(&record_type, &page).await?;
        let found = found.into_iter().map(|(position, aggregate)| {
            let record = queries::RankedRecord {
                record_id: position.1.clone(),
                aggregate: aggregate.into(),
            };
            (position, record)
        });
        let (records, next) = page.cut(found.collect());
        Ok(queries::Ranking { records, next })
    }

    async fn event_states(
        event_ids: Vec<String>,
    ) -> Result<Vec<queries::EventState>, types::Error> {
        domain::check_count("event_ids", event_ids.len(), SUBMITTED_MAX)?;
        let ids = event_ids.iter().map(|id| domain::parse_event_id(id));
        let fates = store::fates(&ids.collect::<Result<Vec<_>, _>>()?).await?;
        let state = |fate| match fate {
            Fate::Unseen => queries::EventState::Unseen,
            Fate::Waiting => queries::EventState::Waiting,
            Fate::Applied => queries::EventState::Applied,
            Fate::Rejected => queries::EventState::Rejected,
            Fate::Rival => queries::EventState::Rival,
        };
        Ok(fates.into_iter().map(state).collect())
    }
}

fn event(event: types::RatingEvent) -> Result<Event, Invalid> {
    let change = match event.change {
        types::Change::Put(value) => Change::Put(value),
        types::Change::Delete => Change::Delete,
    };
    Event::parse(
        &event.event_id,
        &event.record_type,
        &event.record_id,
        &event.user_id,
        change,
        event.occurred_at_us,
    )
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

fn shown_page((ratings, next): (Vec<Standing>, Option<String>)) -> queries::Page {
    let ratings = ratings.into_iter().map(shown).collect();
    queries::Page { ratings, next }
}

impl From<Aggregate> for types::Aggregate {
    fn from(aggregate: Aggregate) -> Self {
        Self {
            average: aggregate.average(),
            count: aggregate.count,
        }
    }
}

impl From<Invalid> for types::Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid.0)
    }
}

marquee_guest::sql_errors!(types::Error);

/// Most events of a call.
const SUBMITTED_MAX: usize = 500;
/// Most records of a question.
const RECORDS_MAX: usize = 100;
