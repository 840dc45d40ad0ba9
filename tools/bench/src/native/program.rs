//! The same by a program without a host: axum, and the two statements of a movie's details.
//!
//! It runs in a process of its own, as a host does, so that what each takes of the machine can be told apart.

use std::sync::Arc;

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use clap::Args;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use metadata::store::queries;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};
use uuid::Uuid;

use crate::{bare, servers::Connected};

/// What `marquee-bench native` compares a host with.
#[derive(Debug, Args)]
pub(crate) struct Program {
    /// The movies.
    #[arg(long)]
    metadata: String,
    /// Their ratings.
    #[arg(long)]
    rating: String,
    /// All statements go down one connection a database, without waiting for the answers of others.
    #[arg(long)]
    pipelined: bool,
    /// Answer these bytes to everything and ask no database.
    #[arg(long)]
    bare: Option<String>,
}

/// Serve until the process is ended. Its address is the first line that it prints.
pub(crate) async fn run(command: Program) -> anyhow::Result<()> {
    if let Some(body) = command.bare {
        let (address, serving) = bare::serve(body.into()).await?;
        tell(&address.to_string());
        return Ok(serving.await?);
    }
    let databases = match command.pipelined {
        true => Databases::One(Box::new([
            Pipelined::to(&command.metadata, by_id()).await?,
            Pipelined::to(&command.rating, AGGREGATE).await?,
        ])),
        false => Databases::Pools([pool(&command.metadata)?, pool(&command.rating)?]),
    };
    let routes = Router::new()
        .route("/v1/movies/{id}/details", get(details))
        .with_state(Arc::new(databases));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    tell(&listener.local_addr()?.to_string());
    Ok(axum::serve(listener, routes).await?)
}

#[expect(clippy::print_stdout, reason = "whoever started it reads it")]
fn tell(text: &str) {
    println!("{text}");
}

/// Of movies, and of ratings.
enum Databases {
    Pools([Pool; 2]),
    One(Box<[Pipelined; 2]>),
}

/// A connection with the one statement that is sent down it.
struct Pipelined {
    client: Connected,
    statement: Statement,
}

impl Pipelined {
    async fn to(url: &str, statement: &str) -> anyhow::Result<Self> {
        let client = Connected::to(url).await?;
        let statement = client.prepare(statement).await?;
        Ok(Self { client, statement })
    }
}

fn pool(url: &str) -> anyhow::Result<Pool> {
    let config: Config = url.parse()?;
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(config, NoTls, recycling);
    // As many as a host has.
    Ok(Pool::builder(manager).max_size(16).build()?)
}

async fn details(
    State(databases): State<Arc<Databases>>,
    Path(id): Path<Uuid>,
) -> Result<Json<Details>, StatusCode> {
    let (movie, rating) = match &*databases {
        Databases::Pools([metadata, rating]) => {
            tokio::try_join!(pooled_movie(metadata, id), pooled_rating(rating, id))
        }
        Databases::One(both) => {
            let [metadata, rating] = &**both;
            tokio::try_join!(
                movie(&metadata.client, &metadata.statement, id),
                aggregate(&rating.client, &rating.statement, id)
            )
        }
    }
    .map_err(|error| {
        tell(&format!("{error:#}"));
        StatusCode::SERVICE_UNAVAILABLE
    })?;
    let metadata = movie.ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(Details {
        metadata,
        rating,
        warnings: [],
    }))
}

async fn pooled_movie(pool: &Pool, id: Uuid) -> anyhow::Result<Option<Movie>> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(by_id()).await?;
    movie(&client, &statement, id).await
}

async fn pooled_rating(pool: &Pool, id: Uuid) -> anyhow::Result<Aggregate> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(AGGREGATE).await?;
    aggregate(&client, &statement, id).await
}

async fn movie(client: &Client, statement: &Statement, id: Uuid) -> anyhow::Result<Option<Movie>> {
    let row = client.query_opt(statement, &[&id]).await?;
    row.as_ref().map(Movie::of).transpose()
}

async fn aggregate(client: &Client, statement: &Statement, id: Uuid) -> anyhow::Result<Aggregate> {
    let row = client
        .query_opt(statement, &[&"movie", &[id.to_string()].as_slice()])
        .await?;
    let Some(row) = row else {
        return Ok(Aggregate {
            average: None,
            count: 0,
        });
    };
    let (sum, count): (i64, i64) = (row.try_get("rating_sum")?, row.try_get("rating_count")?);
    let (sum, of) = (i32::try_from(sum)?, i32::try_from(count)?);
    Ok(Aggregate {
        average: (count > 0).then(|| f64::from(sum) / f64::from(of)),
        count,
    })
}

/// As the metadata component asks for one movie.
fn by_id() -> &'static str {
    queries::one(Uuid::nil()).sql
}

#[derive(Serialize)]
struct Details {
    metadata: Movie,
    rating: Aggregate,
    warnings: [(); 0],
}

#[derive(Serialize)]
struct Movie {
    id: String,
    title: String,
    year: Option<i16>,
    description: String,
    director: String,
    version: i64,
    created_at_ms: i64,
}

impl Movie {
    fn of(row: &Row) -> anyhow::Result<Self> {
        Ok(Self {
            id: row.try_get::<_, Uuid>("id")?.to_string(),
            title: row.try_get("title")?,
            year: row.try_get("year")?,
            description: row.try_get("description")?,
            director: row.try_get("director")?,
            version: row.try_get("version").context("version")?,
            created_at_ms: row.try_get("created_at_ms")?,
        })
    }
}

#[derive(Serialize)]
struct Aggregate {
    average: Option<f64>,
    count: i64,
}

/// As the rating component asks it for one movie.
const AGGREGATE: &str = "
select a.record_id, a.rating_sum, a.rating_count
from aggregated_ratings as a
where a.record_type = $1 and a.record_id = any ($2::text[]) and a.deleted_at is null";
