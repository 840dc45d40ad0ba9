//! The consumer: judges a batch of one topic.
//!
//! Promise: one statement a batch, whatever its length, and one verdict a message, in order. What cannot be read is
//! rejected. A record that is not known yet is made known where a rating of it says that its owner has it, at the cost
//! of two statements more; otherwise the rating is retried, and so is every other one of that record in the batch,
//! older ones too: what is retried may still be discarded by a person. The host has made sure that no event comes
//! twice; one that did would change nothing.

use std::collections::BTreeSet;

use crate::{
    bindings::exports::marquee::messaging::consumer::{Message, Verdict},
    domain::{self, Event, Invalid, Record},
    store,
};

/// Judge a batch. An error rolls everything back.
pub(crate) async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
    let Some(topic) = topic(&messages)? else {
        return Ok(Vec::new());
    };
    match topic {
        Topic::Metadata => metadata(&messages).await,
        Topic::Ratings => ratings(&messages).await,
    }
    .map_err(|error| error.to_string())
}

async fn metadata(messages: &[Message]) -> Result<Vec<Verdict>, store::Error> {
    let read = read(messages, domain::created_movie);
    let records: BTreeSet<Record> = read.iter().flatten().cloned().collect();
    if !records.is_empty() {
        store::know(&records).await?;
    }
    Ok(verdicts(read, |_| None))
}

async fn ratings(messages: &[Message]) -> Result<Vec<Verdict>, store::Error> {
    let read = read(messages, Event::from_json);
    let newest = domain::newest(read.iter().flatten());
    let mut unknown = if newest.is_empty() {
        BTreeSet::new()
    } else {
        store::apply(&newest).await?
    };
    let exist: BTreeSet<Record> = read
        .iter()
        .flatten()
        .filter(|event| event.record_exists() && unknown.contains(event.record()))
        .map(|event| event.record().clone())
        .collect();
    if !exist.is_empty() {
        store::know(&exist).await?;
        let of_them = newest
            .into_iter()
            .filter(|event| exist.contains(event.record()));
        let left = store::apply(&of_them.collect::<Vec<_>>()).await?;
        unknown.retain(|record| !exist.contains(record) || left.contains(record));
    }
    Ok(verdicts(read, |event| {
        let record = event.record();
        unknown
            .contains(record)
            .then(|| format!("{record} is not known yet"))
    }))
}

fn read<T>(messages: &[Message], of: fn(&[u8]) -> Result<T, Invalid>) -> Vec<Result<T, Invalid>> {
    messages.iter().map(|message| of(&message.value)).collect()
}

fn verdicts<T>(read: Vec<Result<T, Invalid>>, wait: impl Fn(&T) -> Option<String>) -> Vec<Verdict> {
    let judge = |one| match one {
        Ok(one) => wait(&one).map_or(Verdict::Done, Verdict::Retry),
        Err(Invalid(reason)) => Verdict::Reject(reason),
    };
    read.into_iter().map(judge).collect()
}

enum Topic {
    Metadata,
    Ratings,
}

fn topic(messages: &[Message]) -> Result<Option<Topic>, String> {
    let Some(first) = messages.first() else {
        return Ok(None);
    };
    if messages.iter().any(|message| message.topic != first.topic) {
        return Err("a batch has messages of one topic".to_owned());
    }
    match first.topic.as_str() {
        "metadata" => Ok(Some(Topic::Metadata)),
        "ratings" => Ok(Some(Topic::Ratings)),
        other => Err(format!("rating consumes no topic {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str) -> Message {
        Message {
            event_id: String::new(),
            topic: topic.to_owned(),
            key: String::new(),
            value: Vec::new(),
            headers: Vec::new(),
            published_at_ms: 0,
            attempt: 1,
        }
    }

    #[test]
    fn a_batch_is_of_one_topic_that_is_known() {
        let check = |topics: &[&str], good: bool| {
            let messages: Vec<_> = topics.iter().map(|topic| message(topic)).collect();
            assert_eq!(topic(&messages).is_ok(), good, "{topics:?}");
        };
        check(&[], true);
        check(&["ratings", "ratings"], true);
        check(&["metadata"], true);
        check(&["movies"], false);
        check(&["ratings", "metadata"], false);
    }

    #[test]
    fn verdicts_stand_in_the_order_of_the_messages() {
        let read = vec![Ok(1), Err(Invalid("bad".to_owned())), Ok(2)];
        let found = verdicts(read, |one| (*one == 2).then(|| "later".to_owned()));
        assert!(matches!(
            found.as_slice(),
            [Verdict::Done, Verdict::Reject(bad), Verdict::Retry(later)] if bad == "bad" && later == "later"
        ));
    }
}
