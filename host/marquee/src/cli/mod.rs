//! The command line: one file a verb.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or a manifest with problems.

mod audit;
mod compile;
mod config;
mod console;
mod consumers;
mod deploy;
mod health;
mod hosts;
mod inspect;
mod messages;
mod metrics;
mod migrate;
mod outbox;
mod pull;
mod query;
mod remote;
mod shadow;
mod sign;
mod text;
mod top;
mod traces;
mod up;
mod versions;
mod watch;

use std::{
    collections::BTreeMap,
    io::{ErrorKind, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::app::ManifestProblems;

/// Run WebAssembly components over PostgreSQL and Kafka.
#[derive(Debug, Parser)]
#[command(
    name = "marquee",
    version,
    about,
    max_term_width = 100,
    after_help = "Example:\n  marquee up --listen 127.0.0.1:8080"
)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::Up),
    Deploy(deploy::Deploy),
    Sign(sign::Sign),
    Promote(deploy::PromoteVerb),
    Rollback(deploy::RollbackVerb),
    Unlabel(deploy::Unlabel),
    Unshadow(deploy::Unshadow),
    Pin(deploy::PinVerb),
    Versions(versions::Versions),
    History(versions::HistoryVerb),
    Hosts(hosts::Hosts),
    Watch(watch::Watch),
    Health(health::Health),
    Inspect(inspect::Inspect),
    Diff(inspect::Diff),
    Migrate(migrate::Migrate),
    Topics(consumers::Topics),
    Consumers(consumers::Consumers),
    Outbox(outbox::Outbox),
    Messages(messages::Messages),
    Audit(audit::Audit),
    Console(console::Console),
    Top(top::Top),
    Traces(traces::TracesVerb),
    Metrics(metrics::Metrics),
    Config(config::Config),
    Compile(compile::Compile),
}

impl Command {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Up(verb) => verb.run().await,
            Verb::Deploy(verb) => verb.run().await,
            Verb::Sign(verb) => verb.run(),
            Verb::Promote(verb) => verb.run().await,
            Verb::Rollback(verb) => verb.run().await,
            Verb::Unlabel(verb) => verb.run().await,
            Verb::Unshadow(verb) => verb.run().await,
            Verb::Pin(verb) => verb.run().await,
            Verb::Versions(verb) => verb.run().await,
            Verb::History(verb) => verb.run().await,
            Verb::Hosts(verb) => verb.run().await,
            Verb::Watch(verb) => verb.run().await,
            Verb::Health(verb) => verb.run().await,
            Verb::Inspect(verb) => verb.run(),
            Verb::Diff(verb) => verb.run().await,
            Verb::Migrate(verb) => verb.run().await,
            Verb::Topics(verb) => verb.run().await,
            Verb::Consumers(verb) => verb.run().await,
            Verb::Outbox(verb) => verb.run().await,
            Verb::Messages(verb) => verb.run().await,
            Verb::Audit(verb) => verb.run().await,
            Verb::Console(verb) => verb.run().await,
            Verb::Top(verb) => verb.run().await,
            Verb::Traces(verb) => verb.run().await,
            Verb::Metrics(verb) => verb.run(),
            Verb::Config(verb) => verb.run(),
            Verb::Compile(verb) => verb.run(),
        }
    }
}

/// The environment, read once.
fn environment() -> BTreeMap<String, String> {
    // What is not UTF-8 cannot name a setting of ours.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Whether what is written on standard error may have colours: a person reads it, who has not said otherwise
/// (<https://no-color.org>).
fn has_colours() -> bool {
    let refused = environment()
        .get("NO_COLOR")
        .is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !refused
}

/// Print to standard output. A reader that has gone is no failure; a disk that is full is one.
fn print(text: impl AsRef<str>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        _ => Ok(()),
    }
}

/// The command line, or what to end with where there is nothing to do: it asked for help, or is wrong.
pub(crate) fn parse() -> Result<Command, ExitCode> {
    Command::try_parse().map_err(|said| match said.print() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            report(&anyhow::Error::new(error).context("the help cannot be written"))
        }
        _ => u8::try_from(said.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    })
}

/// Say why the process fails, and with which code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let mut err = std::io::stderr().lock();
    if let Some(problems) = error.downcast_ref::<ManifestProblems>() {
        let _ = write!(err, "{}", problems.render(has_colours()));
        return ExitCode::from(2);
    }
    let mut causes = error.chain();
    let _ = writeln!(
        err,
        "error: {}",
        causes.next().map(ToString::to_string).unwrap_or_default()
    );
    for cause in causes {
        let _ = writeln!(err, "  because: {cause}");
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    /// Clap looks flags up by their ids: of two types, whichever is asked for panics.
    fn check(verb: &clap::Command, above: &BTreeSet<String>) {
        let ids = |of: &clap::Arg| of.get_id().to_string();
        let mut below = above.clone();
        for flag in verb.get_arguments() {
            let (name, id) = (verb.get_name(), ids(flag));
            assert!(!above.contains(&id), "{name} has its own --{id}");
            if flag.is_global_set() {
                below.insert(id);
            }
        }
        for verb in verb.get_subcommands() {
            check(verb, &below);
        }
    }

    #[test]
    fn no_verb_has_a_flag_with_the_name_of_one_that_all_of_its_kind_have() {
        check(&super::Command::command(), &BTreeSet::new());
    }
}
