use marquee_fuzz::mangled_text;
use proptest::prelude::*;

use super::*;

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn weight(text: &str) -> Weight {
    text.parse().expect("a weight")
}

fn canary(stable: &str, tried: &str, share: &str) -> Active {
    Active {
        stable: digest(stable),
        canary: Some(Trial {
            digest: digest(tried),
            weight: weight(share),
        }),
        shadow: None,
    }
}

#[test]
fn a_deployed_version_is_live_and_a_rollback_brings_back_what_was_once() {
    let one = State::new(digest("one"));
    let two = one
        .deploy(digest("two"), Weight::ALL, None)
        .expect("deployed");
    assert_eq!(two.active, Active::only(digest("two")));
    let back = two.rollback().expect("rolled back");
    assert_eq!(back.active, one.active);
    assert_eq!(back.rollback(), Err(Refused::NoPrevious));
    assert_eq!(one.rollback(), Err(Refused::NoPrevious));
}

#[test]
fn deploying_what_is_live_already_changes_nothing_that_a_rollback_would_miss() {
    let two = State::new(digest("one"))
        .deploy(digest("two"), Weight::ALL, None)
        .expect("deployed");
    assert_eq!(two.deploy(digest("two"), Weight::ALL, None), Ok(two));
}

#[test]
fn a_rollback_leaves_the_canary_and_after_its_promotion_all_of_it() {
    let one = State::new(digest("one"));
    let tenth = one
        .deploy(digest("two"), weight("10%"), Some("next"))
        .expect("tried");
    assert_eq!(tenth.active, canary("one", "two", "10%"));
    assert_eq!(tenth.labels["next"], digest("two"));
    let half = tenth
        .deploy(digest("two"), weight("50%"), None)
        .expect("tried more");
    for tried in [&tenth, &half] {
        assert_eq!(tried.rollback().expect("a step").active, one.active);
    }
    let all = half
        .deploy(digest("two"), Weight::ALL, None)
        .expect("promoted");
    assert_eq!(all.active, Active::only(digest("two")));
    let back = all.rollback().expect("a step");
    assert_eq!(back.active, one.active);
    assert_eq!(back.rollback(), Err(Refused::NoPrevious));
    // As a release before kept it.
    let mut kept = all;
    kept.previous = Some(half.active);
    assert_eq!(kept.rollback().expect("a step").active, one.active);
    assert_eq!(
        one.deploy(digest("one"), weight("10%"), None),
        Err(Refused::IsStable(digest("one")))
    );
}

#[test]
fn a_withdrawn_canary_is_gone_and_no_rollback_brings_it_back() {
    let half = State::new(digest("one"))
        .deploy(digest("two"), weight("10%"), None)
        .and_then(|state| state.deploy(digest("two"), weight("50%"), None))
        .expect("tried more");
    let pinned = half.pin(true).expect("at rest");
    for state in [half, pinned] {
        assert_eq!(state.withdraw(digest("one")), None, "it is not the canary");
        let gone = state.withdraw(digest("two")).expect("it is the canary");
        assert_eq!(gone.active, Active::only(digest("one")));
        assert_eq!(gone.previous, None);
    }
}

#[test]
fn a_pinned_component_stays_as_it_is() {
    let two = State::new(digest("one"))
        .deploy(digest("two"), Weight::ALL, None)
        .expect("deployed")
        .pin(true)
        .expect("at rest");
    assert_eq!(
        two.deploy(digest("three"), Weight::ALL, None),
        Err(Refused::Pinned)
    );
    assert_eq!(two.rollback(), Err(Refused::Pinned));
    let started = two.started(digest("three"));
    assert_eq!(started.active, two.active);
    // What was built meanwhile was seen: taking the pin away does not make it live at some later start.
    assert_eq!(
        started
            .pin(false)
            .expect("at rest")
            .started(digest("three"))
            .active,
        two.active
    );
    assert!(two.pin(false).expect("at rest").rollback().is_ok());
}

#[test]
fn a_start_changes_what_is_live_only_if_the_manifests_file_changed() {
    let deployed = State::new(digest("one"))
        .deploy(digest("two"), Weight::ALL, None)
        .expect("deployed");
    assert_eq!(deployed.started(digest("one")), deployed);
    let rebuilt = deployed.started(digest("three"));
    assert_eq!(rebuilt.active, Active::only(digest("three")));
    assert_eq!(rebuilt.rollback().expect("a step").active, deployed.active);
}

#[test]
fn a_version_is_named_by_label_or_by_its_first_digits() {
    let state = State::new(digest("one"))
        .label("1.4.0", digest("one"))
        .expect("a label");
    let known = [digest("one"), digest("two")];
    assert_eq!(state.resolve("1.4.0", &known), Ok(digest("one")));
    let two = format!("{:#}", digest("two"));
    assert_eq!(state.resolve(&two[..12], &known), Ok(digest("two")));
    assert_eq!(
        state.resolve(&two.to_uppercase(), &known),
        Ok(digest("two"))
    );
    assert_eq!(
        state.resolve(&two[..5], &known),
        Err(Refused::Unknown(two[..5].to_owned()))
    );
    assert_eq!(
        state.resolve("1.5.0", &known),
        Err(Refused::Unknown("1.5.0".to_owned()))
    );
    let twice = [digest("two"), digest("two")];
    assert!(matches!(
        state.resolve(&two[..12], &twice),
        Err(Refused::Ambiguous(_))
    ));
    for label in ["", "a b", "abcdef", "caf\u{e9}", &"x".repeat(65)] {
        assert!(
            matches!(state.label(label, digest("one")), Err(Refused::Label(_))),
            "{label:?}"
        );
    }
}

#[test]
fn what_is_live_what_it_may_go_back_to_and_what_has_a_name_is_needed() {
    let state = State::new(digest("one"))
        .deploy(digest("two"), Weight::ALL, Some("named"))
        .and_then(|state| state.deploy(digest("three"), Weight::ALL, None))
        .and_then(|state| state.deploy(digest("four"), weight("1%"), None))
        .expect("deployed");
    let needed: Vec<_> = state.needed().collect();
    let is = |name, need| (digest(name), need);
    assert_eq!(
        needed,
        [
            is("three", Need::Live),
            is("four", Need::Live),
            is("two", Need::Previous),
            is("two", Need::Label)
        ]
    );
}

#[test]
fn a_name_is_taken_away_and_keeps_nothing_any_more() {
    let state = State::new(digest("one"))
        .label("old", digest("zero"))
        .expect("a label");
    let next = state.unlabel("old").expect("it has it");
    assert_eq!(next, State::new(digest("one")));
    let unknown = Refused::Unknown("old".to_owned());
    assert_eq!(next.unlabel("old"), Err(unknown));
}

#[test]
fn a_rollback_to_a_version_leaves_all_that_came_since_for_good() {
    let three = State::new(digest("one"))
        .deploy(digest("two"), Weight::ALL, None)
        .and_then(|state| state.deploy(digest("three"), Weight::ALL, None))
        .and_then(|state| state.deploy(digest("four"), weight("10%"), None))
        .expect("deployed");
    let back = three.rollback_to(digest("one")).expect("a step");
    assert_eq!(back.active, Active::only(digest("one")));
    assert_eq!(back.rollback(), Err(Refused::NoPrevious));
    // To what is live: only the canary is left.
    let same = three.rollback_to(digest("three")).expect("a step");
    assert_eq!(same.active, Active::only(digest("three")));
    assert_eq!(same.previous, three.previous);
    assert_eq!(
        three.pin(true).expect("at rest").rollback_to(digest("one")),
        Err(Refused::Pinned)
    );
}

#[test]
fn it_reads_what_it_writes_and_what_is_not_there_yet() {
    let state = State::new(digest("one"))
        .deploy(digest("two"), weight("0.5%"), Some("next"))
        .expect("tried");
    let text = serde_json::to_string(&state).expect("JSON");
    assert!(text.contains("\"0.5%\"") && text.contains(&format!("{:#}", digest("two"))));
    assert_eq!(serde_json::from_str::<State>(&text).expect("read"), state);
    // Of a release before or after: what it does not know is nothing to it.
    let newer = text.replacen('{', "{\"waves\":[1,2],", 1);
    assert_eq!(serde_json::from_str::<State>(&newer).expect("read"), state);
    let one = digest("one");
    let older = format!("{{\"active\":{{\"stable\":\"{one:#}\"}},\"source\":\"{one:#}\"}}");
    assert_eq!(
        serde_json::from_str::<State>(&older).expect("read"),
        State::new(one)
    );
    for broken in [text.replace("0.5%", "500%"), text[1..].to_owned()] {
        assert!(serde_json::from_str::<State>(&broken).is_err(), "{broken}");
    }
}

#[test]
fn a_ramp_rises_when_its_time_comes_and_ends_with_whoever_takes_a_step() {
    let [one, two] = ["one", "two"].map(digest);
    let ramp: Ramp = "1%,50%,100%".parse().expect("a ramp");
    let state = State::new(one);
    let first = state.ramp(two, &ramp, 1_000, 5_000, Some("2.0"));
    let first = first.expect("it begins");
    let said = format!("{one} is live, 1% of the calls go to {two}, 50% come next");
    assert_eq!(first.to_string(), said);
    assert_eq!(first.risen(5_999), None, "its time has not come");
    let second = first.risen(6_100).expect("it rises");
    let said = format!("{one} is live, 50% of the calls go to {two}, 100% come next");
    assert_eq!(second.to_string(), said);
    assert_eq!(second.risen(7_000), None, "from when it was done");
    let last = second.risen(7_100).expect("it rises");
    assert_eq!(last.active, Active::only(two));
    assert_eq!(last.risen(u64::MAX), None);
    assert_eq!(last.rollback().expect("back").active, Active::only(one));

    assert_eq!(second.pin(true).expect("at rest").risen(u64::MAX), None);
    for ended in [
        second.withdraw(two).expect("it is the canary"),
        second.rollback().expect("back"),
        second.deploy(two, Weight::ALL, None).expect("live"),
    ] {
        assert_eq!(ended.rising, None);
    }
    let labelled = second.label("again", two).expect("a name");
    assert!(labelled.rising.is_some());
}

#[test]
fn a_step_from_host_to_host_is_live_where_it_came_and_is_taken_back_whole() {
    let [one, two] = ["one", "two"].map(digest);
    let before = State::new(one);
    let next = before.deploy(two, Weight::ALL, Some("2.0")).expect("live");
    let hosts = BTreeSet::from(["a".to_owned()]);
    let state = next.clone().first_on(hosts, "a", &before);
    assert_eq!(*state.on("a"), Active::only(two));
    assert_eq!(*state.on("b"), Active::only(one));
    let mut needed = state.needed();
    assert!(needed.any(|need| need == (one, Need::Live)));
    // Meanwhile nobody else takes a step, but back.
    assert_eq!(state.deploy(one, Weight::ALL, None), Err(Refused::UnderWay));
    assert_eq!(state.pin(true), Err(Refused::UnderWay));
    assert_eq!(state.rollback(), Ok(before.clone()));
    assert_eq!(state.rollback_to(one).expect("back").active, before.active);
    assert_eq!(state.give_up("a"), Some(before.clone()));
    assert_eq!(state.give_up("b"), None, "another one leads it");
    let more = BTreeSet::from(["b".to_owned()]);
    let wider = state.reach("a", Some(&more), 0).expect("it goes on");
    assert_eq!(*wider.on("b"), Active::only(two));
    assert_eq!(*wider.on("c"), Active::only(one));
    assert_eq!(wider.reach("a", None, 0), Ok(next));
    assert_eq!(before.reach("a", None, 0), Err(Refused::TakenBack));
}

#[test]
fn what_was_released_without_a_migration_that_took_something_away_is_not_live_again() {
    let deploy = |state: &State, name: &str, migration| {
        let state = state.released_with(digest(name), migration);
        state.deploy(digest(name), Weight::ALL, None)
    };
    let one = State::new(digest("one"));
    let two = deploy(&one, "two", Some(3)).expect("deployed");
    assert_eq!(one.contract(3), Err(Refused::NeedsOld(digest("one"), 3)));
    let tried = two.deploy(digest("one"), weight("10%"), None);
    let tried = tried.expect("a canary").contract(3);
    assert_eq!(tried, Err(Refused::NeedsOld(digest("one"), 3)));
    let gone = two.contract(3).expect("all that is live knows of it");

    let contracted = Refused::Contracted(digest("one"), 3);
    assert_eq!(gone.rollback(), Err(contracted.clone()));
    assert_eq!(gone.rollback_to(digest("one")), Err(contracted.clone()));
    assert_eq!(deploy(&gone, "one", None), Err(contracted));
    assert_eq!(gone.started(digest("one")).active, two.active);
    let three = deploy(&gone, "three", Some(4)).expect("deployed");
    assert_eq!(three.rollback().expect("it knows of it").active, two.active);
}

#[test]
fn a_shadow_stays_beside_what_is_live_until_it_is_ended_or_gets_calls_itself() {
    let [one, two, three] = ["one", "two", "three"].map(digest);
    let share = weight("5%");
    let state = State::new(one)
        .shadow(three, share, Some("next"))
        .expect("copied to");
    assert_eq!(state.active.stable, one);
    assert_eq!(state.labels["next"], three);
    let trial = Trial {
        digest: three,
        weight: share,
    };
    assert_eq!(state.active.shadow, Some(trial.clone()));
    assert!(state.needed().any(|need| need == (three, Need::Live)));
    assert!(
        state.to_string().contains("5% of the calls are copied to"),
        "{state}"
    );
    // Other steps go on beside it: there is always the version that is live to compare it with.
    let ramp = "1%,10%".parse().expect("a ramp");
    let risen = state.ramp(two, &ramp, 10, 0, None).expect("tried");
    let again = risen
        .shadow(three, weight("9%"), None)
        .expect("another share");
    assert!(again.rising.is_some(), "the ramp is not its matter");
    let live = state.deploy(two, Weight::ALL, None).expect("live");
    for beside in [
        &risen,
        &live,
        &risen.withdraw(two).expect("the canary"),
        &live.rollback().expect("back"),
        &live.rollback_to(one).expect("back"),
        &live.started(digest("new")),
    ] {
        assert_eq!(beside.active.shadow, Some(trial.clone()));
    }
    assert_eq!(live.rollback().expect("back").active.stable, one);
    for own in [
        state.deploy(three, Weight::ALL, None).expect("live"),
        state.deploy(three, share, None).expect("tried"),
        state.rollback_to(three).expect("back"),
        state.unshadow().expect("ended"),
    ] {
        assert_eq!(own.active.shadow, None);
    }
    assert_eq!(state.unshadow().expect("ended").active, Active::only(one));
    assert_eq!(State::new(one).unshadow(), Err(Refused::NoShadow));
    assert_eq!(
        state.shadow(one, share, None),
        Err(Refused::GetsCalls(one)),
        "it would be compared with itself"
    );
    assert_eq!(risen.shadow(two, share, None), Err(Refused::GetsCalls(two)));
    let pinned = state.pin(true).expect("at rest");
    assert_eq!(pinned.shadow(two, share, None), Err(Refused::Pinned));
    assert_eq!(pinned.unshadow().expect("ended").active, Active::only(one));
}

proptest! {
    #[test]
    fn whatever_comes_a_label_names_its_version_and_is_taken_for_no_other(text in mangled_text(["1.5.0", "e887c9cb", "release_2-rc.1"])) {
        let one = State::new(digest("one"));
        let known = [digest("one"), digest("two")];
        let meant = one.resolve(&text, &known);
        if let Ok(meant) = meant {
            let digits = format!("{meant:#}");
            prop_assert!(digits.starts_with(&text.to_ascii_lowercase()));
        }
        if let Ok(named) = one.label(&text, digest("two")) {
            prop_assert!(meant.is_err());
            prop_assert_eq!(named.resolve(&text, &known), Ok(digest("two")));
            prop_assert_eq!(named.unlabel(&text), Ok(one));
        }
    }
}
