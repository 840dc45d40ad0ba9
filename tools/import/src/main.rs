//! `marquee-import`: films and ratings into a running Marquee, and a demo that checks itself.
//!
//! Exit codes: 0 done and right, 1 lines failed or the check does not hold, 2 wrong usage.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use marquee_import::{
    api::Client,
    bulk, demo,
    input::{self, Format},
    progress::Progress,
    session::Credentials,
    state::State,
};

/// Bring films and ratings into a running Marquee.
#[derive(Parser)]
#[command(
    name = "marquee-import",
    version,
    after_help = "Example:\n  marquee-import movies films.csv --url http://127.0.0.1:3000"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Send films: columns or fields title, director, and, where known, year and description
    #[command(
        after_help = "Examples:\n  marquee-import movies films.csv\n  cat films.jsonl | marquee-import movies - --format jsonl\nwhere films.csv is\n  title,year,director\n  Playtime,1967,Jacques Tati"
    )]
    Movies(Source),
    /// Send ratings: columns or fields user_id, title (and year, where several have it) or movie_id, and value (1 to 10)
    #[command(
        after_help = "Example:\n  marquee-import ratings ratings.csv\nwhere ratings.csv is\n  user_id,title,value\n  ana,Playtime,9"
    )]
    Ratings(Source),
    /// Send the sample and simulated ratings, then check what is served
    #[command(after_help = "Example:\n  marquee-import demo --ratings 50000 --users 2000 --seed 1")]
    Demo(Demo),
}

#[derive(Args)]
struct Server {
    /// Where Marquee listens
    #[arg(long, env = "MARQUEE_URL", default_value = "http://127.0.0.1:3000")]
    url: String,
    /// Who imports, by name or e-mail address; rating for others needs the role importer
    #[arg(long, env = "MARQUEE_USER", requires = "password")]
    user: Option<String>,
    /// Their password. Others see arguments: better in the environment
    #[arg(long, env = "MARQUEE_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Requests in flight, each with up to 100 films or 500 ratings
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Seconds without any success after which to give up
    #[arg(long, default_value_t = 300)]
    patience: u64,
}

#[derive(Args)]
struct Source {
    /// The file; - is standard input
    file: PathBuf,
    #[command(flatten)]
    server: Server,
    /// How the input is written, where its name does not tell
    #[arg(long)]
    format: Option<Format>,
    /// Where to note what was acknowledged [default: the file's name with .state added]
    #[arg(long)]
    state: Option<PathBuf>,
}

#[derive(Args)]
struct Demo {
    #[command(flatten)]
    server: Server,
    /// How many ratings
    #[arg(long, default_value_t = 50_000)]
    ratings: usize,
    /// By how many users
    #[arg(long, default_value_t = 2_000)]
    users: usize,
    /// Another seed gives other users and other ratings
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds without a newly applied rating after which the wait for them ends
    #[arg(long, default_value_t = 120)]
    apply_patience: u64,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Movies(source) => movies(source).await,
        Verb::Ratings(source) => ratings(source).await,
        Verb::Demo(settings) => run_demo(&settings).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn movies(source: Source) -> Result<bool, Failure> {
    let (client, reader, format, notes) = open(&source)?;
    let progress = Progress::start("films", None);
    let lines = input::movies(reader, format);
    let width = usize::from(source.server.concurrency);
    let summary = bulk::movies(&client, lines, notes, width, &progress).await?;
    drop(progress);
    say(&format!(
        "films: {} created, {} already there, {} done in an earlier run, {} failed",
        summary.sent, summary.existing, summary.skipped, summary.failed
    ))?;
    Ok(summary.failed == 0)
}

async fn ratings(source: Source) -> Result<bool, Failure> {
    let (client, reader, format, notes) = open(&source)?;
    let progress = Progress::start("ratings", None);
    let lines = input::ratings(reader, format);
    let width = usize::from(source.server.concurrency);
    let summary = bulk::ratings(&client, lines, notes, width, &progress).await?;
    drop(progress);
    say(&format!(
        "ratings: {} accepted, {} done in an earlier run, {} failed",
        summary.sent, summary.skipped, summary.failed
    ))?;
    Ok(summary.failed == 0)
}

async fn run_demo(demo: &Demo) -> Result<bool, Failure> {
    let client = connect(&demo.server)?;
    let report = demo::run(
        &client,
        demo::Settings {
            seed: demo.seed,
            users: demo.users,
            ratings: demo.ratings,
            concurrency: usize::from(demo.server.concurrency),
            apply_patience: Duration::from_secs(demo.apply_patience),
        },
    )
    .await?;
    let least = (demo.ratings / report.films.len().max(1)).max(1) as u64;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["film", "average", "ratings"]);
    for (film, tally, average) in report.best(10, least) {
        table.add_row([
            film.name.clone(),
            format!("{average:.2}"),
            tally.count.to_string(),
        ]);
    }
    say(&format!(
        "The ten best rated films with {least} ratings or more:\n{table}"
    ))?;
    say(&format!(
        "films: {} in the sample, {} of them new; ratings by others before: {}",
        report.films.len(),
        report.created,
        report.others
    ))?;
    let rate = |time: Duration| report.sent as f64 / time.as_secs_f64().max(1e-9);
    say(&format!(
        "sent: {} ratings with {} requests in {:.1} s, {:.0} a second; a request p50 {:.2} ms, p99 {:.2} ms; {} tries repeated",
        report.sent,
        report.requests,
        report.sending.as_secs_f64(),
        rate(report.sending),
        report.latency(500).as_secs_f64() * 1e3,
        report.latency(990).as_secs_f64() * 1e3,
        report.retries
    ))?;
    say(&format!(
        "applied: after {:.1} s, {:.0} a second end to end",
        report.applying.as_secs_f64(),
        rate(report.applying)
    ))?;
    let mut wrong = 0;
    for film in report.differences() {
        wrong += 1;
        let average = film.expected.average().map_or_else(
            || "no average".to_owned(),
            |average| format!("average {average}"),
        );
        say(&format!(
            "{}: served {}; must be {average}, count {}",
            film.name, film.answer, film.expected.count
        ))?;
    }
    if wrong == 0 {
        say(&format!(
            "check: ok ({} films, {} ratings, averages and counts equal what was sent)",
            report.films.len(),
            report.sent
        ))?;
    } else {
        say(&format!(
            "check: FAILED ({wrong} of {} films differ)",
            report.films.len()
        ))?;
    }
    Ok(wrong == 0)
}

fn connect(server: &Server) -> Result<Client, Failure> {
    let patience = Duration::from_secs(server.patience);
    let credentials = server.user.clone().zip(server.password.clone());
    let credentials = credentials.map(|(login, password)| Credentials { login, password });
    let client = Client::new(&server.url, usize::from(server.concurrency), patience)?;
    Ok(client.logged_in_as(credentials))
}

type Opened = (Client, Box<dyn Read + Send>, Format, bulk::Notes);

fn open(source: &Source) -> Result<Opened, Failure> {
    let client = connect(&source.server)?;
    let stdin = source.file == Path::new("-");
    let name = source.file.to_string_lossy();
    let format = source.format.or_else(|| Format::of(&name)).ok_or_else(|| {
        format!("{name} does not end in .csv or .jsonl; say how it is written with --format csv or --format jsonl")
    })?;
    let reader: Box<dyn Read + Send> = if stdin {
        Box::new(std::io::stdin())
    } else {
        Box::new(
            File::open(&source.file).map_err(|error| format!("{name} cannot be read: {error}"))?,
        )
    };
    let state = source
        .state
        .clone()
        .or_else(|| (!stdin).then(|| State::beside(&source.file)));
    let notes = state
        .map(|path| State::open(&path, client.base()))
        .transpose()?;
    Ok((client, reader, format, notes))
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}
