//! The kinds of problems that are the movie system's own.

marquee_problem::kinds! { pub(crate),
    /// No movie has this id.
    UNKNOWN_MOVIE = 404 "unknown-movie", "No movie has this id",
        "The id is well formed, and there is no such movie.";
    /// Another movie has title and year.
    TITLE_TAKEN = 409 "title-taken", "Another movie has this title and year",
        "`existing_id` is that movie's. Titles are compared without letter case and outer blanks; no year is a year of its own.";
    /// The movie is not in the version that `If-Match` names.
    MOVIE_CHANGED = 412 "movie-changed", "The movie has been changed",
        "`If-Match` names another version than the movie has. Read it again, and decide again.";
    /// An idempotency key came with something else than before.
    KEY_REUSED = 422 "key-reused", "The idempotency key belongs to another request",
        "A key names one act: repeated with the same content it is answered as before, and it is refused with any other.";
    /// The user has not rated the movie.
    NOT_RATED = 404 "not-rated", "The user has no rating of this movie",
        "There is such a movie, and the user has not rated it, or took the rating away.";
    /// Another user has the name or the address.
    NAME_TAKEN = 409 "name-taken", "Another user has this name or this e-mail address",
        "Names and addresses are compared without letter case.";
    /// No user has this id.
    UNKNOWN_USER = 404 "unknown-user", "No user has this id",
        "There is no such user, or not any more.";
}
