//! Making copies: the live version and the shadow are asked again, in a dry run each, and what differs is noted.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use marquee_manifest::ComponentId;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Comparison, Copied, Difference, Pair,
    compare::{self, differences},
    copy::{Asked, BYTES, Copy, Head},
    hide, now_ms,
};
use crate::{
    Call, CallError, DryRun, Manner, Message, Runtime,
    entry::Entry,
    guest::{consumer, http as web},
    outcome::Kind,
    pool::Pool,
    runtime::Shared,
};

/// What came of a run.
struct Run {
    document: Value,
    is_answered: bool,
}

impl Runtime {
    /// Make the copies of calls that shadows get, one after the other, until `stop`.
    pub async fn shadow(&self, stop: CancellationToken) {
        let shadows = &self.0.shadows;
        let mut waiting = shadows.waiting.lock().await;
        let work = async {
            while let Some(copy) = waiting.recv().await {
                Box::pin(self.0.compare(&copy)).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// The copy of a batch that a component is about to judge, if its shadow gets one. To be dropped when what it has done
    /// of it stands.
    pub fn copied(
        &self,
        component: &ComponentId,
        call: &Call,
        messages: impl FnOnce() -> Vec<Message>,
    ) -> Option<Copied> {
        let live = self.0.registry.live(component)?;
        let asked = || Asked::messages(messages());
        self.0.shadows.copied(component, &live, call, asked)
    }

    /// What came of the copies that a component's shadow got here. None: it has no shadow.
    pub fn comparison(&self, component: &ComponentId) -> Option<Comparison> {
        let pair = Pair::of(&*self.0.registry.live(component)?)?;
        let known = self.0.shadows.lock();
        let known = known.get(component).filter(|known| known.is_of(pair));
        Some(known.cloned().unwrap_or_else(|| Comparison::new(pair)))
    }
}

impl Shared {
    /// Have both versions do what a call did, and note what is different.
    async fn compare(self: &Arc<Self>, copy: &Copy) {
        let Some(live) = self.registry.live(&copy.component) else {
            return;
        };
        // Another step was taken since.
        let Some(shadow) = live
            .shadow
            .as_ref()
            .filter(|_| Pair::of(&live) == Some(copy.pair))
        else {
            return;
        };
        let (live, shadow) = (&live.stable.payload.0, &shadow.version.payload.0);
        let note = |what: &dyn Fn(&mut Comparison)| {
            self.shadows.note(&copy.component, copy.pair, what);
        };
        let (Some(first), Some(second)) =
            (self.run(live, copy).await, self.run(shadow, copy).await)
        else {
            return note(&|known| known.dropped += 1);
        };
        let mut found = differences(&first.document, &second.document);
        if found.is_empty() {
            return note(&|known| {
                known.compared += 1;
                known.equal += 1;
            });
        }
        let Some(again) = self.run(live, copy).await else {
            return note(&|known| known.dropped += 1);
        };
        let moving = differences(&first.document, &again.document);
        found.retain(|one| !moving.iter().any(|other| one.is_near(other)));
        if found.is_empty() {
            return note(&|known| {
                known.compared += 1;
                known.unsteady += 1;
            });
        }
        let difference = Difference {
            at_ms: now_ms(),
            asked: copy.asked.name(),
            with: copy.asked.shown(live, self.engine()),
            more: found.len().saturating_sub(SHOWN),
            differs: found.into_iter().take(SHOWN).map(hide::shown).collect(),
        };
        let has_failed = first.is_answered && !second.is_answered;
        self.shadows.note(&copy.component, copy.pair, |known| {
            known.compared += 1;
            known.different += 1;
            known.failed += u64::from(has_failed);
            known.keep(difference);
        });
    }

    /// Have a version do what a call did, so that nothing of it stands. None: there was no room for that, or others were in
    /// the way.
    async fn run(self: &Arc<Self>, version: &Arc<Pool>, copy: &Copy) -> Option<Run> {
        let pool = version.beside();
        let limits = &pool.component.spec.limits;
        let deadline = Instant::now() + limits.deadline.min(LONGEST);
        let dry_run = DryRun::default();
        let call = Call::new(format!("shadow-{:016x}", rand::random::<u64>()), deadline)
            .with_choice(copy.choice.clone())
            .as_dry_run(dry_run.clone());
        let id = &copy.component;
        let answer = match &copy.asked {
            Asked::Function(target, params) => {
                let params = Arc::clone(params);
                let answer = self.discard_function(&pool, target, params, call).await;
                answer.as_ref().map(compare::value).map_err(Clone::clone)
            }
            Asked::Http(head, seen) => {
                let request = request(head, seen.whole()?);
                let ask = |call| answered(Arc::clone(&pool), request, call);
                self.discard(id, call, Manner::Alone, |_| true, ask).await
            }
            Asked::Messages(messages) => {
                let entry = Entry::of(Arc::clone(&pool));
                let judge = |call| consumer::judge(&entry, messages.clone(), call);
                let stands = |verdicts: &Result<_, _>| verdicts.is_ok();
                let verdicts = self.discard(id, call, Manner::Unit, stands, judge).await;
                verdicts
                    .as_ref()
                    .map(compare::verdicts)
                    .map_err(Clone::clone)
            }
        };
        let effects = dry_run.effects();
        if effects.gave_way {
            return None;
        }
        let (outcome, answer) = match answer {
            Ok(answer) => ("answered", answer),
            Err(
                CallError::Overloaded(_)
                | CallError::NoRoom(_)
                | CallError::Cancelled(_)
                | CallError::UnknownComponent(_),
            ) => return None,
            Err(error) => (named(error.outcome(id).kind), Value::Null),
        };
        Some(Run {
            is_answered: outcome == "answered",
            document: json!({
                "outcome": outcome,
                "answer": answer,
                "effects": compare::effects(&effects),
            }),
        })
    }
}

fn request(head: &Head, body: Bytes) -> web::Request {
    let body = Full::new(body).map_err(|never: Infallible| match never {});
    let mut request = http::Request::new(body.boxed_unsync());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    request
}

/// An answer over HTTP, read to its end.
async fn answered(
    version: Arc<Pool>,
    request: web::Request,
    call: Call,
) -> Result<Value, CallError> {
    let (head, mut body) = web::ask(Entry::of(version), request, call, None)
        .await?
        .into_parts();
    let (mut bytes, mut trailers) = (BytesMut::new(), HeaderMap::new());
    let mut end = "whole";
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            end = "broken off";
            break;
        };
        match frame.into_data() {
            Ok(data) if bytes.len() + data.len() > BYTES => {
                end = "longer than what is compared";
                break;
            }
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    let mut answer = compare::response(head.status.as_u16(), &head.headers, &trailers, &bytes);
    if let Value::Object(answer) = &mut answer {
        answer.insert("end".to_owned(), json!(end));
    }
    Ok(answer)
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Done | Kind::Failed => "answered",
        Kind::Trapped => "trapped",
        Kind::Late => "late",
        Kind::Cancelled => "cancelled",
        Kind::Refused => "refused",
        Kind::Undone => "rolled back",
    }
}

/// For each run. What it has locked in a database is locked for so long at the most: no call is to wait for longer.
pub(super) const LONGEST: Duration = Duration::from_secs(1);
const SHOWN: usize = 20;
