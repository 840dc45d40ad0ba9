//! What a member of a group holds and has read ahead. Both buses fill it; a subscription's `next` empties it.
//!
//! Promise: one batch of a partition is with the caller at a time; after a partition was revoked nothing more of it
//! comes out; records of an old holding never reach a new one.
//! Bound: two batches of each held partition, and two notices of each. Not here: where records come from, and who
//! holds what.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::{Notify, oneshot};

use crate::{Assignment, Batch, BatchLimits, Error, Event, Incoming, Partition, RevokeGuard, size};

/// A place that the source is to be moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seek {
    /// The partition.
    pub(crate) number: i32,
    /// The holding, by its generation.
    pub(crate) generation: i64,
    /// The next offset that is wanted.
    pub(crate) offset: i64,
    /// How many of this holding were asked for, this one included.
    pub(crate) count: u64,
}

/// What is held and read ahead by one subscription.
pub(crate) struct Intake {
    topic: String,
    limits: BatchLimits,
    state: Mutex<State>,
    /// There may be something for `next`.
    arrived: Notify,
}

#[derive(Default)]
struct State {
    notices: VecDeque<Result<Event, Error>>,
    holdings: BTreeMap<i32, Holding>,
    /// Partition that was served last; the next one has its turn.
    served: i32,
}

struct Holding {
    generation: i64,
    queue: VecDeque<Incoming>,
    queued_bytes: usize,
    /// What the source is to bring next, where this side decides it.
    position: i64,
    /// A batch is with the caller.
    out: bool,
    /// Revoked, but its guard still lives: no more batches; commits are taken.
    leaving: bool,
    /// A seek was asked for and not yet done: what comes is from the old place.
    seeking: bool,
    /// Seeks that were asked for.
    seeks: u64,
    /// The holding is over at this time unless it was renewed.
    trusted_until: Option<Instant>,
}

impl Intake {
    pub(crate) fn new(topic: &str, limits: BatchLimits) -> Self {
        Self {
            topic: topic.to_owned(),
            limits: BatchLimits {
                records: limits.records.max(1),
                bytes: limits.bytes.max(1),
            },
            state: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// A partition is held from now on; its records are awaited from `position`.
    pub(crate) fn assign(
        &self,
        number: i32,
        generation: i64,
        position: i64,
        trusted_until: Option<Instant>,
    ) {
        let mut state = self.lock();
        state.holdings.insert(
            number,
            Holding {
                generation,
                queue: VecDeque::new(),
                queued_bytes: 0,
                position,
                out: false,
                leaving: false,
                seeking: false,
                seeks: 0,
                trusted_until,
            },
        );
        let assignment = self.assignment(number, generation);
        state.notices.push_back(Ok(Event::Assigned(assignment)));
        drop(state);
        self.arrived.notify_one();
    }

    /// A partition is to be given back: read-ahead is dropped and the caller told. The receiver resolves when the
    /// caller is done; none where the caller never knew of the partition. Commits are taken until `forget`.
    pub(crate) fn revoke(&self, number: i32) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        let holding = state.holdings.get_mut(&number)?;
        if holding.leaving {
            return None;
        }
        holding.leaving = true;
        holding.queue.clear();
        holding.queued_bytes = 0;
        let assignment = self.assignment(number, holding.generation);
        if state.unread(&assignment) {
            return None;
        }
        let (guard, receiver) = RevokeGuard::new();
        state
            .notices
            .push_back(Ok(Event::Revoked(assignment, guard)));
        drop(state);
        self.arrived.notify_one();
        Some(receiver)
    }

    /// A partition is gone already: the caller is told, and nothing of it is taken any more.
    pub(crate) fn lose(&self, number: i32) {
        let mut state = self.lock();
        let Some(holding) = state.holdings.remove(&number) else {
            return;
        };
        let assignment = self.assignment(number, holding.generation);
        if !holding.leaving && !state.unread(&assignment) {
            state
                .notices
                .push_back(Ok(Event::Revoked(assignment, RevokeGuard::lost())));
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// A revoked partition was given back; commits for it are fenced from now on.
    pub(crate) fn forget(&self, number: i32) {
        self.lock().holdings.remove(&number);
    }

    /// Everything that is held: partition, generation.
    pub(crate) fn held(&self) -> Vec<(i32, i64)> {
        let state = self.lock();
        let held = state.holdings.iter();
        held.map(|(number, holding)| (*number, holding.generation))
            .collect()
    }

    /// Believe in a holding until then.
    pub(crate) fn trust(&self, number: i32, until: Instant) {
        if let Some(holding) = self.lock().holdings.get_mut(&number) {
            holding.trusted_until = Some(until);
        }
    }

    /// Holdings whose time is over.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<i32> {
        let state = self.lock();
        let held = state.holdings.iter();
        held.filter(|(_, holding)| !holding.is_trusted(now))
            .map(|(number, _)| *number)
            .collect()
    }

    /// Records came from a source that keeps its own place.
    pub(crate) fn push(&self, number: i32, records: Vec<Incoming>) {
        let mut state = self.lock();
        let Some(holding) = state.holdings.get_mut(&number) else {
            return;
        };
        if holding.leaving || holding.seeking {
            return;
        }
        for record in records {
            holding.append(record);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Records came that were asked for from `from`; they are dropped where the holding or its place has changed
    /// since.
    pub(crate) fn push_all(&self, number: i32, generation: i64, from: i64, records: Vec<Incoming>) {
        let mut state = self.lock();
        let Some(holding) = state.holdings.get_mut(&number) else {
            return;
        };
        if holding.generation != generation || holding.position != from || holding.leaving {
            return;
        }
        for record in records {
            holding.position = record.offset.saturating_add(1);
            holding.append(record);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// What to read next: partition, generation and place of those with less than a batch waiting.
    pub(crate) fn hungry(&self) -> Vec<(i32, i64, i64)> {
        let state = self.lock();
        let held = state.holdings.iter();
        held.filter(|(_, holding)| !holding.leaving && holding.is_hungry(self.limits))
            .map(|(number, holding)| (*number, holding.generation, holding.position))
            .collect()
    }

    /// Whether a commit for this holding may be sent.
    pub(crate) fn may_commit(&self, assignment: &Assignment) -> bool {
        let state = self.lock();
        let holding = state.holding(assignment);
        holding.is_some_and(|holding| holding.is_trusted(Instant::now()))
    }

    /// The caller is done with its batch.
    pub(crate) fn settled(&self, assignment: &Assignment) {
        if let Some(holding) = self.lock().holding_mut(assignment) {
            holding.out = false;
        }
        self.arrived.notify_one();
    }

    /// The caller wants to go on from `offset`: the seek, and whether the source has to be moved there. The first of a holding
    /// always moves it: what was read ahead of it may be of the holding before, or not in order.
    pub(crate) fn seek(&self, assignment: &Assignment, offset: i64) -> Result<(Seek, bool), Error> {
        let mut state = self.lock();
        let holding = match state.holding_mut(assignment) {
            Some(holding) if !holding.leaving && holding.is_trusted(Instant::now()) => holding,
            _ => return Err(Error::Fenced(assignment.partition.clone())),
        };
        holding.out = false;
        holding.seeks = holding.seeks.saturating_add(1);
        let queued = holding.queue.iter().any(|record| record.offset == offset);
        if queued && !holding.seeking && holding.seeks > 1 {
            while holding
                .queue
                .front()
                .is_some_and(|front| front.offset < offset)
            {
                holding.pop();
            }
        } else {
            holding.queue.clear();
            holding.queued_bytes = 0;
            holding.position = offset;
            holding.seeking = true;
        }
        let seek = Seek {
            number: assignment.partition.number,
            generation: holding.generation,
            offset,
            count: holding.seeks,
        };
        let moves = holding.seeking;
        drop(state);
        self.arrived.notify_one();
        Ok((seek, moves))
    }

    /// The source was moved. Where another seek came meanwhile, that one is still to be done.
    pub(crate) fn sought(&self, seek: &Seek) {
        if let Some(holding) = self.lock().holdings.get_mut(&seek.number)
            && holding.generation == seek.generation
            && holding.seeks == seek.count
        {
            holding.seeking = false;
        }
    }

    /// Where the source is still to be moved to.
    pub(crate) fn seeking(&self) -> Vec<Seek> {
        let state = self.lock();
        let held = state.holdings.iter();
        held.filter(|(_, holding)| holding.seeking && !holding.leaving)
            .map(|(number, holding)| Seek {
                number: *number,
                generation: holding.generation,
                offset: holding.position,
                count: holding.seeks,
            })
            .collect()
    }

    /// Tell the caller of a passing trouble; one is kept, and one of each partition.
    pub(crate) fn trouble(&self, error: Error) {
        let of = |error: &Error| match error {
            Error::Unreadable { partition, .. } => Some(partition.number),
            _ => None,
        };
        let mut state = self.lock();
        state.notices.retain(|known| {
            known
                .as_ref()
                .map_or_else(|known| of(known) != of(&error), |_| true)
        });
        state.notices.push_back(Err(error));
        drop(state);
        self.arrived.notify_one();
    }

    /// What comes next. Cancel-safe: what is taken is returned without another wait.
    pub(crate) async fn next(&self) -> Result<Event, Error> {
        loop {
            let arrived = self.arrived.notified();
            if let Some(event) = self.take() {
                return event;
            }
            arrived.await;
        }
    }

    fn take(&self) -> Option<Result<Event, Error>> {
        let mut state = self.lock();
        if let Some(notice) = state.notices.pop_front() {
            return Some(notice);
        }
        let now = Instant::now();
        let served = state.served;
        let ready = |(_, holding): &(&i32, &mut Holding)| {
            !holding.out && !holding.leaving && !holding.queue.is_empty() && holding.is_trusted(now)
        };
        let after = (
            std::ops::Bound::Excluded(served),
            std::ops::Bound::Unbounded,
        );
        let mut found = state.holdings.range_mut(after).find(ready);
        if found.is_none() {
            found = state.holdings.range_mut(..=served).find(ready);
        }
        let (number, holding) = found?;
        let number = *number;
        holding.out = true;
        let (generation, seek) = (holding.generation, holding.seeks);
        let records = holding.pop_batch(self.limits);
        state.served = number;
        Some(Ok(Event::Batch(Batch {
            assignment: self.assignment(number, generation),
            seek,
            records,
        })))
    }

    fn assignment(&self, number: i32, generation: i64) -> Assignment {
        Assignment {
            partition: Partition {
                topic: self.topic.clone(),
                number,
            },
            generation,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn holding(&self, assignment: &Assignment) -> Option<&Holding> {
        self.holdings
            .get(&assignment.partition.number)
            .filter(|holding| holding.generation == assignment.generation)
    }

    fn holding_mut(&mut self, assignment: &Assignment) -> Option<&mut Holding> {
        self.holdings
            .get_mut(&assignment.partition.number)
            .filter(|holding| holding.generation == assignment.generation)
    }

    /// Take back the notice of an assignment that the caller has not read. Keeps notices bounded.
    fn unread(&mut self, assignment: &Assignment) -> bool {
        let before = self.notices.len();
        self.notices
            .retain(|notice| !matches!(notice, Ok(Event::Assigned(known)) if known == assignment));
        self.notices.len() < before
    }
}

impl Holding {
    fn is_trusted(&self, now: Instant) -> bool {
        self.trusted_until.is_none_or(|until| now < until)
    }

    fn append(&mut self, record: Incoming) {
        self.queued_bytes += size::bytes_of(&record.record);
        self.queue.push_back(record);
    }

    fn pop(&mut self) -> Option<Incoming> {
        let record = self.queue.pop_front()?;
        self.queued_bytes = self
            .queued_bytes
            .saturating_sub(size::bytes_of(&record.record));
        Some(record)
    }

    fn pop_batch(&mut self, limits: BatchLimits) -> Vec<Incoming> {
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        while let Some(front) = self.queue.front() {
            bytes = bytes.saturating_add(size::bytes_of(&front.record));
            let is_over = records.len() >= limits.records || bytes > limits.bytes;
            if is_over && !records.is_empty() {
                break;
            }
            records.extend(self.pop());
        }
        records
    }

    fn is_hungry(&self, limits: BatchLimits) -> bool {
        self.queue.len() < limits.records && self.queued_bytes < limits.bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Record;

    fn record(offset: i64, bytes: usize) -> Incoming {
        Incoming {
            offset,
            published_at_ms: 0,
            record: Record {
                key: String::new(),
                value: Bytes::from(vec![0; bytes]),
                headers: Vec::new(),
            },
        }
    }

    fn intake(records: usize, bytes: usize) -> Intake {
        Intake::new("ratings", BatchLimits { records, bytes })
    }

    fn batch(intake: &Intake) -> Option<Vec<i64>> {
        match intake.take() {
            Some(Ok(Event::Batch(batch))) => {
                Some(batch.records.iter().map(|record| record.offset).collect())
            }
            Some(Ok(Event::Assigned(_))) => batch(intake),
            Some(other) => panic!("no batch but {other:?}"),
            None => None,
        }
    }

    fn ratings(number: i32, generation: i64) -> Assignment {
        intake(1, 1).assignment(number, generation)
    }

    #[test]
    fn one_batch_of_a_partition_is_out_at_a_time() {
        let intake = intake(2, 1000);
        intake.assign(0, 1, 0, None);
        for offset in 0..3 {
            intake.push(0, vec![record(offset, 1)]);
        }
        assert_eq!(batch(&intake), Some(vec![0, 1]));
        assert_eq!(batch(&intake), None);
        intake.settled(&ratings(0, 1));
        assert_eq!(batch(&intake), Some(vec![2]));
    }

    #[test]
    fn a_record_larger_than_a_batch_comes_alone() {
        let intake = intake(10, 100);
        intake.assign(0, 1, 0, None);
        for (offset, bytes) in [(0, 60), (1, 60), (2, 500), (3, 1)] {
            intake.push(0, vec![record(offset, bytes)]);
        }
        for expected in [vec![0], vec![1], vec![2], vec![3]] {
            assert_eq!(batch(&intake), Some(expected));
            intake.settled(&ratings(0, 1));
        }
    }

    #[test]
    fn partitions_take_turns() {
        let intake = intake(1, 1000);
        for number in 0..3 {
            intake.assign(number, 1, 0, None);
            for offset in 0..2 {
                intake.push(number, vec![record(offset, 1)]);
            }
        }
        let mut turns = Vec::new();
        while let Some(event) = intake.take() {
            if let Ok(Event::Batch(batch)) = event {
                turns.push(batch.assignment.partition.number);
                intake.settled(&batch.assignment);
            }
        }
        assert_eq!(turns, [1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn nothing_of_a_revoked_partition_comes_out_and_its_commit_waits_for_the_guard() {
        let intake = intake(1, 1000);
        intake.assign(0, 7, 0, None);
        assert!(matches!(intake.take(), Some(Ok(Event::Assigned(_)))));
        intake.push(0, vec![record(0, 1)]);
        let mut receiver = intake.revoke(0).expect("the caller knows of it");
        intake.push(0, vec![record(1, 1)]);
        let Some(Ok(Event::Revoked(assignment, guard))) = intake.take() else {
            panic!("the caller is told");
        };
        assert!(intake.take().is_none());
        assert!(intake.may_commit(&assignment));
        assert!(receiver.try_recv().is_err());
        drop(guard);
        assert_eq!(
            receiver.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        );
        intake.forget(0);
        assert!(!intake.may_commit(&assignment));
    }

    #[test]
    fn a_holding_the_caller_never_saw_is_taken_back_without_a_word() {
        let intake = intake(1, 1000);
        intake.assign(0, 1, 0, None);
        assert!(intake.revoke(0).is_none());
        intake.forget(0);
        assert!(intake.take().is_none());
    }

    #[test]
    fn records_read_before_a_seek_are_dropped() {
        let intake = intake(10, 1000);
        intake.assign(0, 1, 0, None);
        intake.push_all(0, 1, 0, vec![record(0, 1), record(1, 1)]);
        assert_eq!(batch(&intake), Some(vec![0, 1]));
        let assignment = ratings(0, 1);
        assert!(intake.seek(&assignment, 0).expect("it is held").1);
        intake.push_all(0, 1, 2, vec![record(2, 1)]);
        assert_eq!(batch(&intake), None);
        intake.push_all(0, 1, 0, vec![record(0, 1)]);
        assert_eq!(batch(&intake), Some(vec![0]));
    }

    #[test]
    fn a_seek_that_came_while_another_was_done_is_still_to_be_done() {
        let intake = intake(10, 1000);
        intake.assign(0, 1, 0, None);
        let assignment = ratings(0, 1);
        let (late, _) = intake.seek(&assignment, 7).expect("it is held");
        // The source is being moved to 7, and then a person sets the consumer back.
        let (back, moves) = intake.seek(&assignment, 2).expect("it is held");
        assert!(moves);
        intake.sought(&late);
        intake.push(0, vec![record(7, 1)]);
        assert_eq!(
            intake.seeking(),
            [back],
            "7 would be taken for what is at 2"
        );
        intake.sought(&back);
        intake.push(0, vec![record(2, 1)]);
        intake.take().expect("the notice").expect("no trouble");
        assert_eq!(batch(&intake), Some(vec![2]));
    }

    #[test]
    fn the_first_seek_of_a_holding_believes_nothing_that_was_read_ahead() {
        let intake = intake(10, 1000);
        intake.assign(0, 1, 0, None);
        // As where a queue of its own was made for the partition after the first records had come.
        intake.push(0, vec![record(3, 1), record(4, 1)]);
        intake.push(0, vec![record(1, 1), record(2, 1)]);
        let assignment = ratings(0, 1);
        let (first, moves) = intake.seek(&assignment, 2).expect("it is held");
        assert!(moves, "3 and 4 are gone, and 5 would follow 2");
        intake.sought(&first);
        intake.push(0, vec![record(2, 1), record(3, 1)]);
        let (_, moves) = intake.seek(&assignment, 3).expect("it is held");
        assert!(!moves, "it is read already");
        assert_eq!(batch(&intake), Some(vec![3]));
    }

    #[test]
    fn an_overdue_holding_gives_nothing_and_takes_no_commit() {
        let intake = intake(10, 1000);
        intake.assign(0, 1, 0, Some(Instant::now()));
        intake.push(0, vec![record(0, 1)]);
        assert_eq!(batch(&intake), None);
        assert!(!intake.may_commit(&ratings(0, 1)));
        assert_eq!(intake.overdue(Instant::now()), [0]);
    }

    #[test]
    fn nothing_is_asked_for_while_a_batch_waits() {
        let intake = intake(2, 1000);
        intake.assign(0, 1, 0, None);
        let mut hungry = Vec::new();
        for offset in 0..2 {
            hungry.push(!intake.hungry().is_empty());
            intake.push(0, vec![record(offset, 1)]);
        }
        assert_eq!(hungry, [true, true]);
        assert_eq!(intake.hungry(), []);
    }
}
