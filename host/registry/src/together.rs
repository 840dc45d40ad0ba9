//! Several components that change in one step: the same rules, for all of them or for none.

use std::collections::BTreeSet;

use marquee_manifest::ComponentId;

use crate::{
    Refused, State, Weight,
    state::{States, Together},
};

impl State {
    /// The components that a rollback of this one goes back with: none beside itself where it goes back alone.
    pub fn goes_back_with(&self) -> impl Iterator<Item = &ComponentId> {
        let whole = self.active.canary.is_none();
        self.together.keys().filter(move |_| whole)
    }
}

/// Make versions live, each with all calls, at one moment. What of them is live already stays as it is.
pub fn deploy(
    states: &States,
    versions: &Together,
    label: impl Fn(&ComponentId) -> Option<String>,
) -> Result<States, Refused> {
    let mut next = each(states, |id, state| {
        let digest = versions.get(id).copied();
        let digest = digest.ok_or_else(|| Refused::Unknown(id.to_string()))?;
        state.deploy(digest, Weight::ALL, label(id).as_deref())
    })?;
    let changes = |(id, state): &(&ComponentId, &State)| {
        let before = states.get(*id);
        before.is_none_or(|before| before.active.stable != state.active.stable)
    };
    let changed = next.iter().filter(changes);
    let changed = changed.map(|(id, state)| (id.clone(), state.active.stable));
    let changed: Together = changed.collect();
    if changed.len() > 1 {
        for (_, state) in next.iter_mut().filter(|(id, _)| changed.contains_key(*id)) {
            state.together.clone_from(&changed);
        }
    }
    Ok(next)
}

/// Leave what came last, in all of these components: what came in one step goes in one.
pub fn rollback(states: &States) -> Result<States, Refused> {
    if states.len() > 1 {
        let among: BTreeSet<&ComponentId> = states.keys().collect();
        let first = states.values().next().map(|state| &state.together);
        for (id, state) in states {
            let is_as_it_came = Some(&state.together) == first
                && state.together.keys().collect::<BTreeSet<_>>() == among
                && state.together.get(id) == Some(&state.active.stable)
                && state.active.canary.is_none();
            if !is_as_it_came {
                return Err(Refused::Parted(id.clone()));
            }
        }
    }
    each(states, |id, state| {
        match state.goes_back_with().find(|it| !states.contains_key(*it)) {
            Some(_) => Err(Refused::Parted(id.clone())),
            None => state.rollback(),
        }
    })
}

/// Each by itself, all or none. Where there are several, a refusal says of which.
pub fn each(
    states: &States,
    next: impl Fn(&ComponentId, &State) -> Result<State, Refused>,
) -> Result<States, Refused> {
    let alone = states.len() == 1;
    let next = states.iter().map(|(id, state)| match next(id, state) {
        Ok(next) => Ok((id.clone(), next)),
        Err(refused) if alone => Err(refused),
        Err(refused) => Err(Refused::Of(id.clone(), Box::new(refused))),
    });
    next.collect()
}

/// Those of these states that change: `next` says how, or None. Where none does, there is nothing to be done.
pub fn some(
    states: &States,
    next: impl Fn(&State) -> Option<Result<State, Refused>>,
) -> Result<States, Refused> {
    let mut changed = false;
    let all = states.iter().map(|(id, state)| match next(state) {
        Some(next) => {
            changed = true;
            Ok((id.clone(), next?))
        }
        None => Ok((id.clone(), state.clone())),
    });
    let all: Result<States, Refused> = all.collect();
    all.and_then(|all| changed.then_some(all).ok_or(Refused::Idle))
}

/// What is live, in words.
pub fn told(states: &States) -> String {
    let alone = states.len() == 1;
    let told = states.iter().map(|(id, state)| match alone {
        true => state.to_string(),
        false => format!("{id}: {state}"),
    });
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Active, Digest};

    fn id(name: &str) -> ComponentId {
        name.parse().expect("a plain name")
    }

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn states(names: &[&str]) -> States {
        let state = |name: &&str| (id(name), State::new(digest(name)));
        names.iter().map(state).collect()
    }

    fn versions(all: &[(&str, &str)]) -> Together {
        let version = |(name, version): &(&str, &str)| (id(name), digest(version));
        all.iter().map(version).collect()
    }

    #[test]
    fn what_came_in_one_step_goes_in_one() {
        let before = states(&["a", "b"]);
        let two = versions(&[("a", "a2"), ("b", "b2")]);
        let after = deploy(&before, &two, |_| Some("2.0".to_owned())).expect("deployed");
        for (name, version) in [("a", "a2"), ("b", "b2")] {
            let state = &after[&id(name)];
            assert_eq!(state.active, Active::only(digest(version)));
            assert_eq!(state.labels["2.0"], digest(version));
            let with: Vec<&ComponentId> = state.goes_back_with().collect();
            assert_eq!(with, [&id("a"), &id("b")]);
        }
        let back = rollback(&after).expect("rolled back");
        for (name, state) in &back {
            assert_eq!(state.active, before[name].active);
            assert_eq!(state.goes_back_with().count(), 0);
        }
    }

    #[test]
    fn one_that_took_another_step_since_stops_the_others_from_going_back_without_it() {
        let two = versions(&[("a", "a2"), ("b", "b2")]);
        let mut after = deploy(&states(&["a", "b"]), &two, |_| None).expect("deployed");
        let alone = after[&id("b")].deploy(digest("b3"), Weight::ALL, None);
        after.insert(id("b"), alone.expect("deployed"));
        assert_eq!(after[&id("b")].goes_back_with().count(), 0);
        assert_eq!(rollback(&after), Err(Refused::Parted(id("b"))));
    }

    #[test]
    fn what_was_live_already_is_no_part_of_the_step() {
        let same = versions(&[("a", "a"), ("b", "b2")]);
        let after = deploy(&states(&["a", "b"]), &same, |_| None).expect("deployed");
        for state in after.values() {
            assert_eq!(state.goes_back_with().count(), 0);
        }
    }

    #[test]
    fn one_that_is_pinned_stops_all_and_is_named() {
        let mut before = states(&["a", "b"]);
        let pinned = before[&id("b")].pin(true).expect("pinned");
        before.insert(id("b"), pinned);
        let two = versions(&[("a", "a2"), ("b", "b2")]);
        let refused = deploy(&before, &two, |_| None).expect_err("it is pinned");
        assert_eq!(
            refused.to_string(),
            "component b: it is pinned; take the pin away first"
        );
    }
}
