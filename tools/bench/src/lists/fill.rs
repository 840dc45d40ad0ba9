//! Rows by the million, made in the databases.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

/// Movies 1 to `count`. How long it took.
pub(super) async fn metadata(url: &str, count: u32) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let client = connect(url).await?;
    let syllables = SYLLABLES.join(",");
    let words = format!(
        "create function pg_temp.word(n integer) returns text language sql immutable
        return ('{{{syllables}}}'::text[])[1 + n % 50] || ('{{{syllables}}}'::text[])[1 + n / 50 % 50]
            || ('{{{syllables}}}'::text[])[1 + n / 2500 % 50];
        select setseed(0.42);
        set session_replication_role = replica"
    );
    client.batch_execute(&words).await?;
    for first in (1..=count).step_by(CHUNK as usize) {
        let last = count.min(first + CHUNK - 1);
        let movies = format!(
            "insert into movies (id, title, title_key, year, description, director, is_folded)
            select ('{ID}' || lpad(to_hex(n), 12, '0'))::uuid, t.title, 'bench ' || n,
                case when n % 10 > 0 then 1900 + n % 127 end, repeat('About it. ', 20), 'Director ' || n % 5000, true
            from generate_series({first}, {last}) as n
            cross join lateral (
                select initcap(string_agg(pg_temp.word((power(random(), 3) * 125000)::integer), ' '))
                    || ' ' || pg_temp.word(n * 17 % 125000) as title
                from generate_series(1, 1 + n % 5)
            ) as t
            on conflict do nothing"
        );
        client.batch_execute(&movies).await?;
    }
    let rest = "
        insert into lexicon (word)
        select distinct w.word
        from movies as m
        cross join unnest(string_to_array(m.title_words, ' ')) as w (word)
        on conflict do nothing";
    client.batch_execute(rest).await?;
    client.batch_execute("vacuum analyze movies").await?;
    client.batch_execute("vacuum analyze lexicon").await?;
    Ok(begun.elapsed())
}

/// Ratings of movies 1 to `movies`, `count` in all; without the counts of each value, which nothing here asks for. How
/// long it took.
pub(super) async fn rating(url: &str, movies: u32, count: u32) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let each = count / movies;
    let client = connect(url).await?;
    client
        .batch_execute("set session_replication_role = replica")
        .await?;
    for first in (1..=movies).step_by(CHUNK as usize) {
        let last = movies.min(first + CHUNK - 1);
        let ratings = format!(
            "insert into aggregated_ratings (record_type, record_id, rating_sum, rating_count)
            select 'movie', '{ID}' || lpad(to_hex(n), 12, '0'), coalesce(r.sum, 0), {each}
            from generate_series({first}, {last}) as n
            cross join lateral (select sum(1 + n % 7 + k % 4) from generate_series(1, {each}) as k) as r (sum);
            insert into ratings (record_type, record_id, user_id, value, occurred_at_us, event_id)
            select 'movie', '{ID}' || lpad(to_hex(n), 12, '0'), 'bench-' || k * 10000 + n % 10000, 1 + n % 7 + k % 4,
                1700000000000000 + n, gen_random_uuid()
            from generate_series({first}, {last}) as n, generate_series(1, {each}) as k"
        );
        client.batch_execute(&ratings).await?;
    }
    client.batch_execute("vacuum analyze ratings").await?;
    client
        .batch_execute("vacuum analyze aggregated_ratings")
        .await?;
    Ok(begun.elapsed())
}

/// Movie `n`.
pub(super) fn id(n: u64) -> String {
    format!("{ID}{n:012x}")
}

/// Word `n` of 125,000.
pub(super) fn word(n: u64) -> String {
    let syllable = |n: u64| {
        let index = usize::try_from(n % 50).unwrap_or(0);
        SYLLABLES.get(index).copied().unwrap_or_default()
    };
    [syllable(n), syllable(n / 50), syllable(n / 2_500)].concat()
}

pub(super) async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends when the client is dropped.
    #[expect(
        clippy::disallowed_methods,
        reason = "owned by the client's life, which is one run"
    )]
    tokio::spawn(connection);
    Ok(client)
}

/// Rows of a statement.
const CHUNK: u32 = 100_000;
/// What every id begins with.
const ID: &str = "0192f0c1-2345-7000-8000-";
const SYLLABLES: [&str; 50] = [
    "ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "qui", "ro", "su",
    "ta", "ve", "wi", "xo", "zu", "bra", "cle", "dri", "flo", "gru", "pla", "spe", "sti", "tro",
    "shu", "cha", "the", "phi", "blo", "cru", "dra", "fle", "gri", "plo", "stru", "ban", "cer",
    "din", "for", "gul", "han", "jer", "kin", "lor", "mun",
];
