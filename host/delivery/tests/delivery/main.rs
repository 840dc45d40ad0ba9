//! Delivery against a real PostgreSQL: each module is one promise of the crate.
#![cfg(test)]

mod audit;
mod consume;
mod consumers;
mod event_state;
mod identity;
mod job;
mod lease;
mod limits;
mod messages;
mod migrations;
mod plans;
mod publish;
mod relay;
mod retry;
mod source;
mod support;
mod touches;
