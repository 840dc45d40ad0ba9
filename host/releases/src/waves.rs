//! From host to host: a step reaches some hosts first, and the others when those have it.
//!
//! Promise: if a host that is there cannot load what the step brings, the step is taken back on all hosts, and whoever asked
//! for it is told which host and why. A host that is away is not waited for: it catches up. If the host that leads the step
//! goes, another one takes the step back. Bound: the time that a step has. A rollback waits for nobody.

use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt as _;
use marquee_manifest::ComponentId;
use marquee_registry::{Refused, State, States, together};

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

    /// The ids of the hosts that are there beside this one.
    pub(super) async fn everywhere(&self, ledger: &Ledger) -> Result<BTreeSet<String>, Error> {
        let others = self.others(ledger).await?;
        Ok(others.into_iter().map(|host| host.id).collect())
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
        next: impl Fn(&States) -> Result<States, Refused> + Send + Sync,
    ) -> Result<States, Error> {
        let first = self.first(hosts).await?;
        let me = self.ledger.as_ref().map(Ledger::host).unwrap_or_default();
        let begin = |states: &States| {
            let next = next(states)?;
            let begun = next.into_iter().map(|(id, next)| match states.get(&id) {
                Some(state) if first.spreads && next.active != state.active => {
                    (id, next.first_on(first.hosts.clone(), me, state))
                }
                _ => (id, next),
            });
            Ok(begun.collect())
        };
        let states = self.take(step, begin).await?;
        let Some(ledger) = &self.ledger else {
            return Ok(states);
        };
        let spread = self.spread(step, ledger, states).boxed();
        let error = match spread.await {
            Ok(states) => return Ok(states),
            Err(error) => error,
        };
        let back = self.back(step.who, &step.components).await;
        match self.take(&back, given_up(ledger.host())).await {
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
        mut states: States,
    ) -> Result<States, Error> {
        let me = ledger.host();
        // All of a step have the same.
        while let Some(wave) = states.values().find_map(|state| state.wave.clone()) {
            self.bounded(step, self.settled(step, ledger, &wave.hosts))
                .await?;
            let others = self.bounded(step, self.everywhere(ledger)).await?;
            let more = Some(&others).filter(|others| !others.is_subset(&wave.hosts));
            let reach = |state: &State| {
                let led = state.wave.as_ref()?;
                Some(led).filter(|led| led.led_by == me)?;
                Some(state.reach(me, more, now_ms()))
            };
            let reached = |states: &States| match together::some(states, reach) {
                Err(Refused::Idle) => Err(Refused::TakenBack),
                reached => reached,
            };
            states = self.take(step, reached).await?;
        }
        Ok(states)
    }

    /// Wait until each of these hosts that is there has done what it is to do, or one says that it cannot.
    pub(super) async fn settled(
        &self,
        step: &Step<'_>,
        ledger: &Ledger,
        hosts: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let revision = self.desired.lock().await.revision();
        let of: Vec<String> = step.components.iter().map(ToString::to_string).collect();
        loop {
            let mut others = self.others(ledger).await?;
            others.retain(|host| hosts.contains(&host.id));
            let mut done = others.iter().filter(|host| host.revision >= revision);
            let why = |host: &HostReport| of.iter().find_map(|id| host.failing.get(id).cloned());
            let failed = done.find_map(|host| Some((host, why(host)?)));
            if let Some((host, reason)) = failed {
                return Err(Error::NotEverywhere {
                    host: host.host.clone(),
                    reason,
                });
            }
            if others.iter().all(|host| host.revision >= revision) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whatever has become of it, the step of these components is over.
    async fn back<'a>(
        &self,
        who: &'a str,
        components: impl IntoIterator<Item = &ComponentId>,
    ) -> Step<'a> {
        let mut back = self.step_of(who, components, "take back").await;
        back.widen = true;
        back.effect = Effect::AtOnce;
        back
    }

    /// Take back the steps whose leaders are gone.
    pub(super) async fn end_of_leaders(&self, ledger: &Ledger) {
        let desired = self.desired.lock().await;
        let led = self.order.iter().filter_map(|id| {
            let state = desired.state(id)?;
            let of = state.together.into_keys();
            let of: BTreeSet<ComponentId> = of.chain([id.clone()]).collect();
            Some((state.wave?.led_by, of))
        });
        let mut led: BTreeSet<(String, BTreeSet<ComponentId>)> = led.collect();
        drop(desired);
        led.retain(|(leader, _)| leader != ledger.host());
        if led.is_empty() {
            return;
        }
        // Without it nothing is known; it is asked again soon.
        let Ok(hosts) = ledger.hosts().await else {
            return;
        };
        for (leader, of) in led {
            let is_leader = |host: &&HostReport| host.id == leader;
            if hosts
                .iter()
                .find(is_leader)
                .is_some_and(HostReport::is_there)
            {
                continue;
            }
            let who = "host, since the one that led the step is gone";
            let back = self.back(who, &of).await;
            let result = self.take(&back, given_up(&leader)).await;
            self.end_unless_idle(back, result).await;
        }
    }
}

/// The steps that a host leads are taken back.
fn given_up(leader: &str) -> impl Fn(&States) -> Result<States, Refused> + Send + Sync {
    move |states| together::some(states, |state| state.give_up(leader).map(Ok))
}

const LOOK: Duration = Duration::from_millis(50);
