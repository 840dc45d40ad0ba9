//! What rating wants to know of a user: that they are gone.

use super::{Invalid, event::check_user, news::News};

/// Reads an event of topic `users`: the id of a user who was erased; none where it tells of anything else.
pub fn deleted_user(bytes: &[u8]) -> Result<Option<String>, Invalid> {
    let news = News::read(bytes)?;
    let deleted = news.kind == "user.deleted";
    deleted.then(|| Ok(news.subject()?.to_string())).transpose()
}

/// A user's id as other contexts give it, checked.
pub fn parse_user(user_id: &str) -> Result<&str, Invalid> {
    check_user(user_id)?;
    Ok(user_id)
}

#[cfg(test)]
mod tests {
    use super::deleted_user;

    #[test]
    fn a_deleted_user_is_named_by_the_id_that_ratings_have() {
        let check = |text: &str, id: Option<Option<&str>>| {
            let found = deleted_user(text.as_bytes()).ok();
            assert_eq!(found.as_ref().map(Option::as_deref), id, "{text}");
        };
        let id = "0192f0c1-2345-7abc-8def-0123456789ab";
        check(
            &format!(r#"{{"type":"user.deleted","id":"{id}","new":1}}"#),
            Some(Some(id)),
        );
        check(
            &format!(r#"{{"type":"user.deleted","id":"{}"}}"#, id.to_uppercase()),
            Some(Some(id)),
        );
        check(
            &format!(r#"{{"type":"user.created","id":"{id}"}}"#),
            Some(None),
        );
        check(r#"{"type":"users.counted","id":["ann"]}"#, Some(None));
        check(r#"{"type":"user.deleted"}"#, None);
        check(r#"{"type":"user.deleted","id":"ann"}"#, None);
        check("", None);
    }
}
