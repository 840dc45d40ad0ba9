//! A release of a consumer that is no good: it dies of messages that say `trap`, and rejects all others. For tests of
//! what becomes of its messages, and of what takes it back.

use bindings::exports::marquee::messaging::consumer;
use marquee_guest::messaging::{Message, Verdict};
use spin_sdk::{
    http::{IntoResponse, Request, StatusCode},
    http_service,
};

marquee_guest::component!(Unfit, {
    path: "../../../wit/marquee-messaging",
    world: "marquee:messaging/subscriber",
    with: { "marquee:messaging/types@0.1.0": marquee_guest::messaging },
    generate_all,
});

struct Unfit;

#[http_service]
async fn http(_: Request) -> impl IntoResponse {
    (StatusCode::INTERNAL_SERVER_ERROR, "Oh no.\n".to_owned())
}

impl consumer::Guest for Unfit {
    async fn handle(messages: Vec<Message>) -> Result<Vec<Verdict>, String> {
        if messages.iter().any(kills) {
            std::process::abort();
        }
        let rejected = |_: &Message| Verdict::Reject("it rejects everything".to_owned());
        Ok(messages.iter().map(rejected).collect())
    }
}

fn kills(message: &Message) -> bool {
    message.value.windows(4).any(|word| word == b"trap")
}
