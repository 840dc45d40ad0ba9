//! The consumer: judges a batch of one topic.
//!
//! Promise: one statement a batch, whatever its length, and one verdict a message, in order. What cannot be read is
//! rejected. A record that is not known yet is made known where a rating of it says that its owner has it, at the cost
//! of two statements more; otherwise the rating is retried, and so is every other one of that record in the batch,
//! older ones too: what is retried may still be discarded by a person. The host has made sure that no event comes
//! twice; one that did would change nothing.

use std::collections::BTreeSet;

use marquee_guest::{
    messaging::{Batch, Message, Verdict},
    sql,
};

use crate::{
    domain::{self, Event, Record},
    store,
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
    let batch = Batch::read(messages, |message| domain::created_movie(&message.value));
    let records: BTreeSet<&Record> = batch.iter().collect();
    store::know(records).await?;
    Ok(batch.verdicts(|_| Verdict::Done))
}

async fn ratings(messages: &[Message]) -> Result<Vec<Verdict>, sql::Error> {
    let batch = Batch::read(messages, |message| Event::from_json(&message.value));
    let newest = domain::newest(batch.iter());
    let mut unknown = store::apply(&newest).await?;
    let exist: BTreeSet<&Record> = batch
        .iter()
        .filter(|event| event.record_exists() && unknown.contains(event.record()))
        .map(Event::record)
        .collect();
    if !exist.is_empty() {
        store::know(exist.iter().copied()).await?;
        let of_them = newest
            .into_iter()
            .filter(|event| exist.contains(event.record()));
        let left = store::apply(&of_them.collect::<Vec<_>>()).await?;
        unknown.retain(|record| !exist.contains(record) || left.contains(record));
    }
    Ok(batch.verdicts(|event| {
        let record = event.record();
        if unknown.contains(record) {
            Verdict::Retry(format!("{record} is not known yet"))
        } else {
            Verdict::Done
        }
    }))
}

async fn users(messages: &[Message]) -> Result<Vec<Verdict>, sql::Error> {
    let batch = Batch::read(messages, |message| domain::deleted_user(&message.value));
    let users: Vec<&str> = batch.iter().map(String::as_str).collect();
    if !users.is_empty() {
        store::erase(users).await?;
    }
    Ok(batch.verdicts(|_| Verdict::Done))
}
