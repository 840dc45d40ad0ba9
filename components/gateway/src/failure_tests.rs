//! Which problem a failure is, and what of it is sent.

use super::*;

#[test]
fn a_passed_deadline_is_told_by_its_words() {
    let check = |text: &str, status| {
        assert_eq!(
            Failure::unavailable(text.into()).problem.status,
            status,
            "{text}"
        )
    };
    check("deadline exceeded", 504);
    check("canceling statement due to statement timeout", 504);
    check("component metadata did not answer in time", 504);
    check("the bus did not acknowledge in time", 504);
    check("connection refused", 503);
    check("", 503);
}

#[test]
fn what_operators_should_know_is_not_sent() {
    let failure = Failure::internal("relation \"movies\" does not exist".into());
    assert!(
        !serde_json::to_string(&failure.problem)
            .unwrap()
            .contains("relation")
    );
}
