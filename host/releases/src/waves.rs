//! From host to host: a step reaches some hosts first, and the others when those have it.
//!
//! Promise: if a host that is there cannot load what the step brings, the step is taken back on all hosts, and whoever asked
//! for it is told which host and why. A host that is away is not waited for: it catches up. If the host that leads the step
//! goes, another one takes the step back. Bound: the time that a step has. A rollback waits for nobody.

use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use marquee_registry::{Refused, State};

use super::{
    Error, Inner, Ledger,
    ledger::HostReport,
    now_ms,
    step::{Effect, Step},
};

/// The hosts that a step begins on.
pub(super) struct First {
    hosts: BTreeSet<String>,
    /// There are others.
    spreads: bool,
}

impl Inner {
    /// The hosts that are there beside this one.
    async fn others(&self, ledger: &Ledger) -> Result<Vec<HostReport>, Error> {
        let mut hosts = ledger.hosts().await?;
        hosts.retain(|host| host.is_there() && host.id != ledger.host());
        Ok(hosts)
    }

    /// Whether other hosts are there.
    pub(super) async fn has_others(&self) -> Result<bool, Error> {
        match &self.ledger {
            Some(ledger) => Ok(!self.others(ledger).await?.is_empty()),
            None => Ok(false),
        }
    }

    /// The hosts that a step begins on: this one, and others until there are `wanted`; None: all.
    pub(super) async fn first(&self, wanted: Option<u32>) -> Result<First, Error> {
        let Some(ledger) = &self.ledger else {
            return Ok(First {
                hosts: BTreeSet::new(),
                spreads: false,
            });
        };
        let others = self.others(ledger).await?;
        let spreads = !others.is_empty();
        let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok());
        let wanted = wanted.unwrap_or(usize::MAX);
        let ids = others.into_iter().map(|host| host.id);
        let hosts = [ledger.host().to_owned()].into_iter().chain(ids);
        Ok(First {
            hosts: hosts.take(wanted.max(1)).collect(),
            spreads,
        })
    }

    /// Take a step that begins on some hosts to all of them.
    pub(super) async fn advance(
        &self,
        step: &Step<'_>,
        hosts: Option<u32>,
        next: impl Fn(&State) -> Result<State, Refused> + Send + Sync,
    ) -> Result<State, Error> {
        let first = self.first(hosts).await?;
        let me = self.ledger.as_ref().map(Ledger::host).unwrap_or_default();
        let begin = |state: &State| {
            let next = next(state)?;
            if !first.spreads || next.active == state.active {
                return Ok(next);
            }
            Ok(next.first_on(first.hosts.clone(), me, state))
        };
        let state = self.take(step, begin).await?;
        let Some(ledger) = &self.ledger else {
            return Ok(state);
        };
        let spread = self.spread(step, ledger, state).boxed();
        let error = match spread.await {
            Ok(state) => return Ok(state),
            Err(error) => error,
        };
        let back = self.back(step.who, step.component).await;
        let given_up = |state: &State| state.give_up(ledger.host()).ok_or(Refused::Idle);
        match self.take(&back, given_up).await {
            // Somebody else has.
            Ok(_) | Err(Error::Refused(Refused::Idle)) => Err(error),
            Err(worse) => Err(worse),
        }
    }

    /// From the hosts that have a step to the others, until all have it.
    async fn spread(
        &self,
        step: &Step<'_>,
        ledger: &Ledger,
        mut state: State,
    ) -> Result<State, Error> {
        let me = ledger.host();
        while let Some(wave) = state.wave.take() {
            self.bounded(step, self.settled(step, ledger, &wave.hosts))
                .await?;
            let others = self.bounded(step, self.others(ledger)).await?;
            let others: BTreeSet<String> = others.into_iter().map(|host| host.id).collect();
            let more = Some(&others).filter(|others| !others.is_subset(&wave.hosts));
            state = self
                .take(step, |state| state.reach(me, more, now_ms()))
                .await?;
        }
        Ok(state)
    }

    /// Wait until each of these hosts that is there has done what it is to do, or one says that it cannot.
    async fn settled(
        &self,
        step: &Step<'_>,
        ledger: &Ledger,
        hosts: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let revision = self.desired.lock().await.revision();
        let component = step.component.to_string();
        loop {
            let mut others = self.others(ledger).await?;
            others.retain(|host| hosts.contains(&host.id));
            let mut done = others.iter().filter(|host| host.revision >= revision);
            let failed = done.find_map(|host| Some((host, host.failing.get(&component)?)));
            if let Some((host, reason)) = failed {
                return Err(Error::NotEverywhere {
                    host: host.host.clone(),
                    reason: reason.clone(),
                });
            }
            if others.iter().all(|host| host.revision >= revision) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whatever has become of it, the step of a component is over.
    async fn back<'a>(&self, who: &'a str, component: &'a ComponentId) -> Step<'a> {
        let mut back = self.step(who, component, "take back").await;
        back.widen = true;
        back.effect = Effect::AtOnce;
        back
    }

    /// Take back the steps whose leaders are gone.
    pub(super) async fn end_of_leaders(&self, ledger: &Ledger) {
        let desired = self.desired.lock().await;
        let leader = |id: &ComponentId| Some(desired.state(id)?.wave?.led_by);
        let led = self.order.iter().filter_map(|id| Some((id, leader(id)?)));
        let mut led: Vec<(&ComponentId, String)> = led.collect();
        drop(desired);
        led.retain(|(_, leader)| leader != ledger.host());
        if led.is_empty() {
            return;
        }
        // Without it nothing is known; it is asked again soon.
        let Ok(hosts) = ledger.hosts().await else {
            return;
        };
        for (id, leader) in led {
            let is_leader = |host: &&HostReport| host.id == leader;
            if hosts
                .iter()
                .find(is_leader)
                .is_some_and(HostReport::is_there)
            {
                continue;
            }
            let who = "host, since the one that led the step is gone";
            let back = self.back(who, id).await;
            let given_up = |state: &State| state.give_up(&leader).ok_or(Refused::Idle);
            let result = self.take(&back, given_up).await;
            self.end_unless_idle(back, result).await;
        }
    }
}

const LOOK: Duration = Duration::from_millis(50);
