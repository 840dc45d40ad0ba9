//! Answers that are kept, in the movie system with `movie-by-id` cached: a write that was acknowledged is seen within what is
//! stated, by whatever host it was and whatever is lost on the way.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use marquee_testkit::{eventually, proxy};
use tempfile::TempDir;

use crate::{
    host::{Host, Setup},
    manifests,
    raw::{self, Answer},
};

/// The movie system; what metadata says of a movie is kept for so long.
struct Movies {
    setup: Setup,
    manifest: PathBuf,
    _folder: TempDir,
}

impl Movies {
    async fn kept_for(max_age: &str) -> Self {
        let cache = format!(
            "[component.metadata.tool.marquee.cache]\n\
             \"movie:metadata/queries.movie-by-id\" = {{ tags = [\"movie:{{id}}\"], max_age = \"{max_age}\" }}\n"
        );
        let (folder, manifest) = manifests::movies(|text| format!("{text}\n{cache}"));
        let names = ["METADATA", "RATING", "USERS", "BUS"];
        let setup = Setup::application(&manifest, &names).await;
        Self {
            setup: setup.with("SPIN_VARIABLE_AUTH", "open"),
            manifest,
            _folder: folder,
        }
    }

    /// Another host on the same databases.
    fn beside(&self) -> Setup {
        self.setup.release(self.manifest.to_str().expect("text"))
    }
}

async fn create(host: &Host) -> String {
    let body = r#"{"title": "0", "description": "", "director": "Somebody"}"#;
    let headers = ["content-type: application/json"];
    let created = raw::request(host.address(), "POST /v1/movies", &headers, body).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.json()["id"].as_str().expect("an id").to_owned()
}

async fn rename(host: &Host, id: &str, title: &str) {
    let headers = ["content-type: application/merge-patch+json"];
    let patch = format!("PATCH /v1/movies/{id}");
    let body = format!(r#"{{"title": "{title}"}}"#);
    let renamed = raw::request(host.address(), &patch, &headers, &body).await;
    assert_eq!(renamed.status, 200, "{renamed:?}");
}

async fn get(host: &Host, id: &str) -> Answer {
    raw::request(host.address(), &format!("GET /v1/movies/{id}"), &[], "").await
}

async fn title(host: &Host, id: &str) -> String {
    let answer = get(host, id).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["title"].as_str().expect("a title").to_owned()
}

/// Read until it is in the cache: a write behind the host's back is not seen.
async fn is_kept(setup: &Setup, host: &Host, id: &str) {
    let database = setup.connect("METADATA").await;
    eventually(PATIENCE, "it is kept", async || {
        let shown = title(host, id).await;
        let sql = "update movies set director = director || '.' where id = $1::text::uuid
            returning director";
        let row = database.query_one(sql, &[&id]).await.expect("written");
        let director: String = row.get(0);
        let after = get(host, id).await.json();
        after["title"] == shown && after["director"] != director
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_gives_no_answer_that_its_own_acknowledged_write_has_made_void() {
    let movies = Movies::kept_for("5m").await;
    let host = movies.setup.start().await;
    let id = create(&host).await;
    is_kept(&movies.setup, &host, &id).await;
    for n in 1..=100 {
        let name = n.to_string();
        rename(&host, &id, &name).await;
        assert_eq!(title(&host, &id).await, name);
        assert_eq!(title(&host, &id).await, name);
    }
    is_kept(&movies.setup, &host, &id).await;
    let gone = format!("DELETE /v1/movies/{id}");
    let gone = raw::request(host.address(), &gone, &[], "").await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(get(&host, &id).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_host_has_written_is_seen_at_once_and_what_was_touched_by_hand_soon() {
    let movies = Movies::kept_for("5m").await;
    let (one, other) = (movies.setup.start().await, movies.beside().start().await);
    let id = create(&one).await;
    for n in 1..=20 {
        is_kept(&movies.setup, &other, &id).await;
        let name = n.to_string();
        rename(&one, &id, &name).await;
        eventually(STATED, "the other host sees it", async || {
            title(&other, &id).await == name
        })
        .await;
    }

    is_kept(&movies.setup, &other, &id).await;
    let database = movies.setup.connect("METADATA").await;
    let sql = "with changed as (
            update movies set director = 'By Hand' where id = $1::text::uuid returning id
        )
        select marquee.touch('movie:' || id) from changed";
    database.query(sql, &[&id]).await.expect("written");
    for host in [&one, &other] {
        eventually(STATED, "it is seen", async || {
            get(host, &id).await.json()["director"] == "By Hand"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_notifications_are_lost_a_host_sees_what_another_has_written_all_the_same() {
    let movies = Movies::kept_for("5m").await;
    let (one, other) = (movies.setup.start().await, movies.beside().start().await);
    let id = create(&one).await;
    let database = movies.setup.connect("METADATA").await;
    let listening = "from pg_stat_activity
        where datname = current_database() and query = 'listen \"marquee.touches\"'";
    let counted = async |what: &str| {
        let asked = format!("select {what} {listening}");
        let row = database.query_one(&asked, &[]).await.expect("asked");
        row.get::<_, i64>(0)
    };
    for n in 1..=3 {
        is_kept(&movies.setup, &other, &id).await;
        // To end one that listens before the other does would only have it wait longer each time.
        let both = async || counted("count(*)").await == 2;
        eventually(PATIENCE, "both listen", both).await;
        let ended = counted("count(pg_terminate_backend(pid))").await;
        assert_eq!(ended, 2, "both do so no more");
        let name = n.to_string();
        rename(&one, &id, &name).await;
        eventually(STATED, "the other host sees it", async || {
            title(&other, &id).await == name
        })
        .await;
    }
}

/// A host that hears nothing of its database any more answers with what is kept, for as long as is stated.
async fn cut_off(cut: impl FnOnce(&marquee_testkit::Proxy)) {
    const MAX_AGE: Duration = Duration::from_secs(3);
    let movies = Movies::kept_for("3s").await;
    let one = movies.setup.start().await;
    let between = proxy(movies.setup.server("METADATA")).await;
    let beside = movies.beside().through("METADATA", between.addr());
    let other = beside.start().await;
    let id = create(&one).await;
    is_kept(&movies.setup, &other, &id).await;
    cut(&between);
    rename(&one, &id, "new").await;
    let written = Instant::now();
    let (mut old, mut other_than_old) = (0, 0);
    while written.elapsed() < MAX_AGE + Duration::from_secs(2) {
        let asked = written.elapsed();
        let answer = get(&other, &id).await;
        let is_old = answer.status == 200 && answer.json()["title"] != "new";
        assert!(!is_old || asked < MAX_AGE, "old after {asked:?}");
        old += u32::from(is_old);
        other_than_old += u32::from(!is_old);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(old > 0, "it was not kept");
    assert!(other_than_old > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_cut_off_from_its_database_gives_nothing_older_than_is_stated() {
    cut_off(|between| between.cut()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_connections_went_silent_gives_nothing_older_than_is_stated() {
    cut_off(|between| between.swallow()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_a_function_that_is_not_there_stops_the_start() {
    let movies = Movies::kept_for("1s").await;
    let text = fs::read_to_string(&movies.manifest).expect("the manifest");
    fs::write(&movies.manifest, text.replace(".movie-by-id", ".movie")).expect("written");
    let said = movies.setup.refused().await;
    let reason = "component metadata: movie:metadata/queries.movie cannot be cached: it exports no such function";
    assert!(said.contains(reason), "{said}");
}

const PATIENCE: Duration = Duration::from_secs(30);
/// What a write of another host's takes at the most where all is well but the notification: a look and its time.
const STATED: Duration = Duration::from_secs(1);
