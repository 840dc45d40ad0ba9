//! How long a client waits for its call.
//!
//! Promise: it has an answer by then, and a call whose time is up is not begun. What is under way in another component
//! is not dropped here: it goes on, to its end or the host's deadline, and may take effect. A client that hangs up, as
//! most do at their deadline, cancels it as a whole; that is the host's doing, for every protocol.

use std::{pin::pin, time::Duration};

use axum::{http::HeaderMap, response::Response};
use futures::future::{self, Either};
use spin_sdk::{time::sleep, wit_bindgen::spawn};
use tonic::Status;

/// The time that is left, by the header `grpc-timeout`.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let timeout = value.to_str().ok().and_then(parse);
    let wrong = || Status::invalid_argument("grpc-timeout must be 1 to 8 digits and a unit");
    timeout.map(Some).ok_or_else(wrong)
}

/// Answers by the deadline.
pub(super) async fn keep(
    deadline: Option<Duration>,
    answer: impl Future<Output = Response> + 'static,
) -> Response {
    let Some(deadline) = deadline else {
        return answer.await;
    };
    if deadline.is_zero() {
        return passed();
    }
    match future::select(Box::pin(answer), pin!(sleep(deadline))).await {
        Either::Left((response, _)) => response,
        Either::Right(((), answer)) => {
            spawn(async { drop(answer.await) });
            passed()
        }
    }
}

fn passed() -> Response {
    Status::deadline_exceeded("what was asked for may have happened").into_http()
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let well_formed =
        (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| well_formed)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use marquee_fuzz::mangled_text;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let check = |text, timeout| assert_eq!(parse(text), timeout, "{text:?}");
        check("1S", Some(Duration::from_secs(1)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("2M", Some(Duration::from_secs(120)));
        check("007m", Some(Duration::from_millis(7)));
        check("5u", Some(Duration::from_micros(5)));
        check("0n", Some(Duration::ZERO));
        for text in [
            "",
            "S",
            "1",
            "1s",
            "1 S",
            "+1S",
            "-1S",
            "1.5S",
            "123456789S",
            "1é",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_a_timeout_is_not_longer_than_the_protocol_has_it(text in mangled_text(["1S", "99999999H", "250m", "0n"])) {
            if let Some(timeout) = parse(&text) {
                prop_assert!((2..=9).contains(&text.len()));
                prop_assert!(timeout <= Duration::from_secs(99_999_999 * 3_600));
            }
        }
    }
}
