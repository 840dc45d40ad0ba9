//! `marquee-bench`: what a movie system does under load. One file a verb.

mod bare;
mod chaos;
mod costs;
mod events;
mod host;
mod lab;
mod lists;
mod load;
mod log_ins;
mod movies;
mod native;
mod neighbours;
mod requests;
mod seeded;
mod servers;
mod steps;
mod swaps;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measure Marquee under load.
#[derive(Debug, Parser)]
#[command(
    name = "marquee-bench",
    version,
    about,
    after_help = "Example:\n  marquee-bench swaps --rounds 100"
)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Requests(requests::Requests),
    Swaps(swaps::Swaps),
    Costs(costs::Costs),
    Native(native::Native),
    #[command(hide = true)]
    NativeProgram(native::Program),
    Steps(steps::Steps),
    Neighbours(neighbours::Neighbours),
    LogIns(log_ins::LogIns),
    Lists(lists::Lists),
    Events(events::Events),
    Chaos(chaos::Chaos),
    Seeded(seeded::Seeded),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Command::parse().verb {
        Verb::Requests(verb) => requests::run(verb).await.map(|table| (table, true)),
        Verb::Swaps(verb) => swaps::run(verb).await,
        Verb::Chaos(verb) => chaos::run(verb).await,
        Verb::Seeded(verb) => seeded::run(verb).await,
        Verb::Neighbours(verb) => neighbours::run(verb).await.map(|table| (table, true)),
        Verb::LogIns(verb) => log_ins::run(verb).await.map(|table| (table, true)),
        Verb::Lists(verb) => lists::run(verb).await.map(|table| (table, true)),
        Verb::Events(verb) => events::run(verb).await.map(|table| (table, true)),
        Verb::Native(verb) => native::run(verb).await.map(|table| (table, true)),
        Verb::Steps(verb) => steps::run(verb).await.map(|table| (table, true)),
        Verb::NativeProgram(verb) => native::serve(verb).await.map(|()| (String::new(), true)),
        Verb::Costs(verb) => costs::run(verb).await.map(|table| (table, true)),
    };
    match done {
        Ok((text, holds)) => {
            print(&text);
            if holds {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            print(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what it is for")]
fn print(text: &str) {
    println!("{text}");
}
