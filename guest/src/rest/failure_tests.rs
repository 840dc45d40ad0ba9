//! Which problem a failure is, and what of it is sent.

use super::*;

#[test]
fn whatever_its_words_what_is_not_there_is_503_and_what_did_not_answer_504() {
    for text in [
        "canceling statement due to statement timeout",
        "connection refused",
    ] {
        assert_eq!(Failure::unavailable(text.into()).problem.status, 503);
        assert_eq!(Failure::timeout(text.into()).problem.status, 504);
    }
}

#[test]
fn what_operators_should_know_is_not_sent() {
    let failure = Failure::internal("relation \"movies\" does not exist");
    assert!(
        !serde_json::to_string(&failure.problem)
            .unwrap()
            .contains("relation")
    );
}
