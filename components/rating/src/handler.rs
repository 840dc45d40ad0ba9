//! The consumer: judges a batch of one topic.
//!
//! Promise: one statement a batch, whatever its length, and one verdict a message, in order. What cannot be read is
//! rejected; a type of event that is not known here is done, since nothing is to be done. An act whose time is ahead of the
//! database's clock is rejected, and one statement more applies what it hid among its user's. A record that is not known yet is made known where a rating of it says that its owner has it, at the cost
//! of two statements more; otherwise the rating is retried, and so is every other one of that record in the batch,
//! older ones too: what is retried may still be discarded by a person. The host has made sure that no event comes
//! twice; one that did would change nothing.

use std::collections::BTreeSet;

use marquee_guest::{
    messaging::{Batch, Message, Verdict},
    sql,
};

use crate::{
    domain::{self, Event, Invalid, MovieNews, Record},
    store::{self, Left},
};

/// Judge a batch, which is of one topic. An error rolls everything back.
pub(crate) async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
    let topic = messages.first().map(|message| message.topic.as_str());
    Ok(match topic {
        None => Vec::new(),
        Some("metadata") => metadata(&messages).await?,
        Some("ratings") => ratings(&messages).await?,
        Some("users") => users(&messages).await?,
        Some(other) => return Err(format!("rating consumes no topic {other}")),
    })
}

async fn metadata(messages: &[Message]) -> Result<Vec<Verdict>, sql::Error> {
    let batch = Batch::read(messages, |message| domain::movie_news(&message.value));
    let (mut there, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for news in batch.iter() {
        match news {
            MovieNews::Created(record) => there.insert(record),
            MovieNews::Deleted(record) => gone.insert(record),
            MovieNews::Other => continue,
        };
    }
    store::know(there).await?;
    store::remove(gone).await?;
    Ok(batch.verdicts(|_| Verdict::Done))
}

async fn ratings(messages: &[Message]) -> Result<Vec<Verdict>, sql::Error> {
    let batch = Batch::read(messages, |message| Event::from_json(&message.value));
    let events = || batch.iter().flatten();
    let mut newest = domain::newest(events());
    let Left {
        mut unknown,
        latest_us,
    } = store::apply(&newest).await?;
    let is_ahead = |event: &Event| latest_us.is_some_and(|latest| event.occurred_at_us() > latest);
    if latest_us.is_some() {
        // Of the others, those that one of these hid.
        newest = domain::newest(events().filter(|event| !is_ahead(event)));
        unknown = store::apply(&newest).await?.unknown;
    }
    let exist: BTreeSet<&Record> = events()
        .filter(|event| event.record_exists() && unknown.contains(event.record()))
        .map(Event::record)
        .collect();
    if !exist.is_empty() {
        store::know(exist.iter().copied()).await?;
        let of_them = newest
            .into_iter()
            .filter(|event| exist.contains(event.record()));
        let left = store::apply(&of_them.collect::<Vec<_>>()).await?.unknown;
        unknown.retain(|record| !exist.contains(record) || left.contains(record));
    }
    Ok(batch.verdicts(|event| match event {
        Some(event) if is_ahead(event) => Verdict::Reject(Invalid::ahead().0),
        Some(event) if unknown.contains(event.record()) => {
            Verdict::Retry(format!("{} is not known yet", event.record()))
        }
        _ => Verdict::Done,
    }))
}

async fn users(messages: &[Message]) -> Result<Vec<Verdict>, sql::Error> {
    let batch = Batch::read(messages, |message| domain::deleted_user(&message.value));
    let users: Vec<&str> = batch.iter().flatten().map(String::as_str).collect();
    if !users.is_empty() {
        store::erase(users).await?;
    }
    Ok(batch.verdicts(|_| Verdict::Done))
}
