//! The kinds that mean the same whatever the application is.

/// Declares kinds, and `ALL` with every one of them: `kinds! { pub(crate),` and for each
/// `/// What it is.`, `NAME = STATUS "its-name", "Its title", "What it means.";`
#[macro_export]
macro_rules! kinds {
    ($visibility:vis, $($(#[$doc:meta])+ $constant:ident = $status:literal $name:literal, $title:literal, $meaning:literal;)+) => {
        $(
            $(#[$doc])+
            $visibility const $constant: $crate::Kind =
                $crate::Kind { uri: concat!("/problems/", $name), status: $status, title: $title, meaning: $meaning };
        )+

        /// Every kind of this catalogue.
        $visibility const ALL: &[$crate::Kind] = &[$($constant),+];
    };
}

kinds! { pub,
    /// The server cannot tell whom the request is for.
    BAD_REQUEST = 400 "bad-request", "The request is not one of HTTP",
        "It needs exactly one `Host` header, or an authority in HTTP/2.";
    /// A part of the URL is not what the route takes.
    INVALID_PARAMETER = 400 "invalid-parameter", "A part of the URL is not valid",
        "A wrong escape, a parameter that is missing, repeated or out of its bounds, an id that is not one, or a cursor that this query did not make.";
    /// The body is not JSON.
    MALFORMED_BODY = 400 "malformed-body", "The body is not JSON",
        "It is empty, cut off, not UTF-8, nested too deep, or has more than one JSON value.";
    /// The body is JSON of another shape.
    WRONG_SHAPE = 400 "wrong-shape", "The body does not have the shape that the resource takes",
        "A field is missing, unknown, repeated, of another type, or contains NUL; or the body is no object.";
    /// Nobody has said who asks.
    UNAUTHORIZED = 401 "unauthorized", "Who are you?",
        "`WWW-Authenticate` says how to tell it.";
    /// Whoever asks may not.
    FORBIDDEN = 403 "forbidden", "It is not for you",
        "Another identity may, or nobody.";
    /// No resource has this path.
    NO_SUCH_RESOURCE = 404 "no-such-resource", "There is nothing at this path",
        "`//`, a trailing slash and dot segments are not tidied up.";
    /// The resource has no such method.
    METHOD_NOT_ALLOWED = 405 "method-not-allowed", "The resource has no such method",
        "`Allow` says which it has. Methods are written in capitals.";
    /// The client accepts nothing that the resource can send.
    NOT_ACCEPTABLE = 406 "not-acceptable", "The resource cannot be sent as the client accepts it",
        "`Accept` leaves out what the path sends.";
    /// The body does not come.
    BODY_TOO_SLOW = 408 "body-too-slow", "The body came too slowly",
        "A body has to come with a rate that the server sets, after its first seconds. What had come of it may have been taken.";
    /// The state of the resource does not allow it.
    CONFLICT = 409 "conflict", "The state does not allow it",
        "Read the resource again before the next try.";
    /// The body has too many bytes.
    BODY_TOO_LARGE = 413 "body-too-large", "The body is too large",
        "The detail says how large it may be.";
    /// Path and query have too many bytes.
    URI_TOO_LONG = 414 "uri-too-long", "The URL is too long",
        "Path and query have at most 4,096 bytes together.";
    /// The body is of another media type than is taken.
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported-media-type", "The body must be plain JSON, or for a call of gRPC be gRPC",
        "`Content-Type` is not application/json in UTF-8 (application/grpc for gRPC), or the body is compressed.";
    /// A value of the body is outside its bounds.
    OUT_OF_BOUNDS = 422 "out-of-bounds", "A value is outside its bounds",
        "A text that is too long or empty, a number that is too large or too small.";
    /// The client asks more often than it may.
    TOO_MANY_REQUESTS = 429 "too-many-requests", "Too many requests",
        "`Retry-After` says in how many seconds the client may ask again.";
    /// Anything else.
    INTERNAL = 500 "internal", "Something went wrong on our side",
        "The server's log has it under the problem's `instance`.";
    /// Something that is needed is not there now, and nothing was done.
    UNAVAILABLE = 503 "unavailable", "A part of the service is not available",
        "The server is busy or stopping, or a database cannot be reached. `Retry-After` says when to try again.";
    /// What the request asks for needs another version of HTTP.
    HTTP_VERSION_NOT_SUPPORTED = 505 "http-version-not-supported", "It needs another version of HTTP",
        "A call of gRPC over HTTP/1.1: its status would be lost. It needs HTTP/2 all the way.";
    /// Something that is needed did not answer in time: nobody knows whether it was done.
    DEADLINE_PASSED = 504 "deadline-passed", "A part of the service did not answer in time",
        "It may have been done nevertheless. Try again where doing it twice is doing it once: GET, PUT, DELETE, or with an `Idempotency-Key`.";
}
