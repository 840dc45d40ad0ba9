//! Who may do what, for each role.

use axum::http::HeaderValue;

use super::*;

fn caller(role: Role) -> Caller {
    Caller::User(Principal {
        user_id: "u1".to_owned(),
        role,
        session_id: "s1".to_owned(),
    })
}

/// The user that it comes to, or the status.
fn outcome(result: Result<UserId, Failure>) -> Result<String, u16> {
    result
        .map(|user| user.0)
        .map_err(|failure| failure.problem.status)
}

#[test]
fn a_user_acts_for_themselves_and_a_role_may_act_for_others() {
    let check = |caller: Caller, user: &str, rates: Result<&str, u16>, reads: Result<&str, u16>| {
        let user = UserId(user.to_owned());
        let found = outcome(caller.rates_for(user.clone()));
        assert_eq!(found, rates.map(str::to_owned), "{caller:?} {user:?}");
        let found = outcome(caller.reads_of(user.clone()));
        assert_eq!(found, reads.map(str::to_owned), "{caller:?} {user:?}");
    };
    for role in [Role::User, Role::Moderator, Role::Importer, Role::Admin] {
        assert_eq!(caller(role).reads_of_all(), role != Role::User, "{role:?}");
        check(caller(role), "me", Ok("u1"), Ok("u1"));
        check(caller(role), "u1", Ok("u1"), Ok("u1"));
    }
    check(caller(Role::User), "u2", Err(403), Err(403));
    check(caller(Role::Moderator), "u2", Err(403), Ok("u2"));
    check(caller(Role::Importer), "u2", Ok("u2"), Ok("u2"));
    check(caller(Role::Admin), "u2", Ok("u2"), Ok("u2"));
    check(Caller::Anyone, "u2", Ok("u2"), Ok("u2"));
    check(Caller::Anyone, "me", Err(401), Err(401));
    check(Caller::Nobody, "u2", Err(401), Err(401));
    check(Caller::Nobody, "me", Err(401), Err(401));
}

#[test]
fn only_whoever_has_the_role_edits_movies_and_gives_roles() {
    let status = |result: Result<(), Failure>| result.map_err(|failure| failure.problem.status);
    for (caller, edits, gives) in [
        (caller(Role::User), Err(403), Err(403)),
        (caller(Role::Moderator), Ok(()), Err(403)),
        (caller(Role::Importer), Err(403), Err(403)),
        (caller(Role::Admin), Ok(()), Ok(())),
        (Caller::Anyone, Ok(()), Err(401)),
        (Caller::Nobody, Err(401), Err(401)),
    ] {
        assert_eq!(status(caller.may_edit()), edits, "{caller:?}");
        assert_eq!(status(caller.may_give_roles()), gives, "{caller:?}");
    }
}

#[test]
fn a_bearer_token_is_one_word_of_a_bounded_length_that_came_once() {
    let check = |lines: &[&str], token: Option<&str>| {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_str(line).unwrap();
            headers.append(header::AUTHORIZATION, value);
        }
        assert_eq!(bearer(&headers), token, "{lines:?}");
    };
    check(&["Bearer mqa_1"], Some("mqa_1"));
    check(&["bearer  mqa_1"], Some("mqa_1"));
    check(&[], None);
    check(&["Bearer"], None);
    check(&["Bearer "], None);
    check(&["Basic mqa_1"], None);
    check(&["Bearer mqa_1", "Bearer mqa_2"], None);
    check(
        &[&format!("Bearer {}", "x".repeat(TOKEN_MAX_BYTES + 1))],
        None,
    );
}
