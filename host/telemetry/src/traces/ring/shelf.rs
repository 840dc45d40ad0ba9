//! Which traces stay when there is no room for all.
//!
//! A trace comes to the *recent* ones. When those have no more room the oldest goes to the *failed* ones if something failed
//! in it; else to the *slow* ones if it is among the slowest of its name: so a job that always takes long leaves room for a
//! request that seldom does. Each part has a bound of its own, so that a minute of failures takes nothing from what is slow.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque, hash_map::Entry},
    time::Duration,
};

use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::SpanData;

use super::{
    Missing,
    kept::{Kept, since},
};

/// How much stays.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of spans, roughly: half for the recent ones, a quarter each for those that failed and that were slow.
    pub bytes: usize,
    /// Spans of one trace; those behind them are counted only.
    pub spans: usize,
    /// The slowest of one name.
    pub slowest: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // Some thousand traces of a request; little beside one instance's memory.
            bytes: 16 << 20,
            // A page that anybody reads to its end has fewer.
            spans: 500,
            slowest: 16,
        }
    }
}

/// All that are kept.
#[derive(Debug)]
pub(super) struct Shelf {
    bounds: Bounds,
    traces: HashMap<TraceId, (Part, Kept)>,
    /// The oldest first.
    recent: VecDeque<TraceId>,
    failed: VecDeque<TraceId>,
    /// By name, the quickest first. With how long each took when it came here.
    slow: HashMap<String, BTreeSet<(Duration, [u8; 16])>>,
    /// Of each part.
    bytes: [usize; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Recent,
    Failed,
    Slow,
}

/// The spans of a trace and of those that go on with it.
pub(super) struct Parts {
    pub(super) spans: Vec<SpanData>,
    pub(super) left_out: usize,
}

impl Shelf {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            traces: HashMap::new(),
            recent: VecDeque::new(),
            failed: VecDeque::new(),
            slow: HashMap::new(),
            bytes: [0; 3],
        }
    }

    /// One span more.
    pub(super) fn take(&mut self, span: SpanData) {
        let id = span.span_context.trace_id();
        let (part, kept) = match self.traces.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.recent.push_back(id);
                new.insert((Part::Recent, Kept::default()))
            }
        };
        *bytes_of(&mut self.bytes, *part) += kept.take(span, self.bounds.spans);
        self.make_room();
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Kept> {
        self.traces.values().map(|(_, kept)| kept)
    }

    pub(super) fn one(&self, id: TraceId) -> Option<&Kept> {
        self.traces.get(&id).map(|(_, kept)| kept)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    /// The trace whose id begins so.
    pub(super) fn named(&self, name: &str) -> Result<TraceId, Missing> {
        let digits = name.bytes().all(|it| it.is_ascii_hexdigit());
        if !digits || !(4..=32).contains(&name.len()) {
            return Err(Missing::Name);
        }
        let name = name.to_ascii_lowercase();
        let ids = self.traces.keys();
        let mut found = ids.filter(|id| id.to_string().starts_with(&name));
        match (found.next(), found.next()) {
            (None, _) => Err(Missing::Unknown),
            (Some(id), None) => Ok(*id),
            (Some(_), Some(_)) => Err(Missing::Several),
        }
    }

    /// A trace and what goes on with it: those that are linked to it, to them in turn, and so on.
    pub(super) fn with_followers(&self, id: TraceId) -> Parts {
        let (mut line, mut known) = (VecDeque::from([id]), HashSet::from([id]));
        let (mut spans, mut left_out) = (Vec::new(), 0);
        while let Some(next) = line.pop_front() {
            let Some(kept) = self.one(next) else { continue };
            left_out += kept.left_out;
            if known.len() > FOLLOWERS {
                left_out += kept.spans().len();
                continue;
            }
            spans.extend_from_slice(kept.spans());
            let linked = self.traces.iter();
            let linked = linked.filter(|(_, (_, kept))| kept.links.contains(&next));
            for (id, _) in linked {
                if known.insert(*id) {
                    line.push_back(*id);
                }
            }
        }
        Parts { spans, left_out }
    }

    fn make_room(&mut self) {
        while self.over(Part::Recent, 2)
            && let Some(oldest) = self.recent.pop_front()
        {
            self.goes_on(oldest);
        }
        while self.over(Part::Failed, 4)
            && let Some(oldest) = self.failed.pop_front()
        {
            self.remove(oldest);
        }
        while self.over(Part::Slow, 4)
            && let Some(quickest) = self.quickest_of_most()
        {
            self.remove(quickest);
        }
    }

    fn over(&mut self, part: Part, share: usize) -> bool {
        *bytes_of(&mut self.bytes, part) > self.bounds.bytes / share
    }

    /// Where one goes that is recent no more.
    fn goes_on(&mut self, id: TraceId) {
        let Some((_, kept)) = self.traces.get(&id) else {
            return;
        };
        if kept.errors() > 0 {
            self.failed.push_back(id);
            return self.moved(id, Part::Failed);
        }
        let key = (kept.took(), id.to_bytes());
        let peers = self.slow.entry(kept.name().to_owned()).or_default();
        if peers.len() >= self.bounds.slowest {
            // Old ones first: a slow hour long ago says nothing of the last minutes.
            let began = kept.began();
            let of = |id: &[u8; 16]| self.traces.get(&TraceId::from_bytes(*id));
            let old = peers
                .iter()
                .copied()
                .find(|(_, id)| of(id).is_none_or(|(_, peer)| since(began, peer.began()) > OLD));
            let gives_way = old.or_else(|| peers.first().copied().filter(|least| *least < key));
            let Some(gives_way) = gives_way else {
                return self.remove(id);
            };
            peers.remove(&gives_way);
            peers.insert(key);
            self.remove(TraceId::from_bytes(gives_way.1));
        } else {
            peers.insert(key);
        }
        self.moved(id, Part::Slow);
    }

    fn moved(&mut self, id: TraceId, to: Part) {
        if let Some((part, kept)) = self.traces.get_mut(&id) {
            *bytes_of(&mut self.bytes, *part) -= kept.bytes;
            *bytes_of(&mut self.bytes, to) += kept.bytes;
            *part = to;
        }
    }

    fn remove(&mut self, id: TraceId) {
        if let Some((part, kept)) = self.traces.remove(&id) {
            *bytes_of(&mut self.bytes, part) -= kept.bytes;
        }
    }

    /// Taken out of the largest of the sets, which are few and small.
    fn quickest_of_most(&mut self) -> Option<TraceId> {
        let most = self.slow.iter_mut().max_by_key(|(_, peers)| peers.len());
        let (name, peers) = most.map(|(name, peers)| (name.clone(), peers))?;
        let quickest = peers.pop_first();
        if peers.is_empty() {
            self.slow.remove(&name);
        }
        quickest.map(|(_, id)| TraceId::from_bytes(id))
    }
}

fn bytes_of(bytes: &mut [usize; 3], part: Part) -> &mut usize {
    let [recent, failed, slow] = bytes;
    match part {
        Part::Recent => recent,
        Part::Failed => failed,
        Part::Slow => slow,
    }
}

/// A message that many consumers take is a long page already.
const FOLLOWERS: usize = 16;
/// "The last minutes".
const OLD: Duration = Duration::from_secs(15 * 60);
