//! Films and ratings in lists, into the real system: each item has its own outcome, and what is served is what was sent.

use std::time::Duration;

use marquee_import::{
    api::{Client, Error, Kept, Movie, Rating},
    bulk, demo, films,
    input::{self, Format},
    progress::Progress,
    state::State,
};
use marquee_testkit::eventually;

use crate::{
    bus::{client, film, nothing_is_left_over, served},
    host::Setup,
};

fn status<T: std::fmt::Debug>(outcome: &Result<T, Error>) -> u16 {
    match outcome {
        Ok(_) => 200,
        Err(Error::Refused { status, .. }) => *status,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_a_list_has_the_outcome_that_it_has_alone() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let client = client(&host.url);
    let heat = client.keep(&film("Heat")).await.expect("kept");

    let malformed = Movie {
        description: "\0".to_owned(),
        ..film("Nul")
    };
    let films = [
        film("Ran"),
        film("heat"),
        malformed,
        film(" "),
        film("Ran"),
        film("Alien"),
    ];
    let kept = client.keep_many(&films).await;
    let Ok(Kept::Created(ran)) = &kept[0] else {
        panic!("{kept:?}");
    };
    assert_eq!(
        kept[1].as_ref().ok(),
        Some(&Kept::Existing(heat.id().to_owned()))
    );
    assert_eq!(status(&kept[2]), 400, "no list can have it");
    assert_eq!(status(&kept[3]), 422);
    assert_eq!(kept[4].as_ref().ok(), Some(&Kept::Existing(ran.clone())));
    assert!(matches!(kept[5], Ok(Kept::Created(_))), "{kept:?}");

    let rating = |movie_id: &str, user: &str, value| Rating {
        movie_id: movie_id.to_owned(),
        user: user.to_owned(),
        value,
    };
    let nowhere = "01936b3e-7d2a-7c31-9c5a-5d2f0c6f8a11";
    let ratings = [
        rating(ran, "ann", 8),
        rating(ran, "bob", 11),
        rating(nowhere, "ann", 8),
        rating(ran, "c\u{1}d", 8),
        rating(ran, "..", 5),
    ];
    let rated = client.rate_many(&ratings).await;
    let statuses: Vec<u16> = rated.iter().map(status).collect();
    assert_eq!(statuses, [200, 422, 404, 400, 200]);
    served(&client, ran, 2, 6.5).await;
}

/// The id of the only film of this title and year.
async fn found(client: &Client, title: &str, year: Option<u16>) -> String {
    let mut films = client.find(title, year).await.expect("found");
    assert_eq!(films.len(), 1, "{title}: {films:?}");
    films.remove(0).id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_imported_line_by_line_and_the_last_rating_of_a_film_counts() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let client = client(&host.url);
    let films = "title,director,year\nHeat,Michael Mann,1995\nRan,Akira Kurosawa,1985\nheat,M,1995\n\
        King Kong,Merian C. Cooper,1933\nKing Kong,Peter Jackson,2005\nKing Kong,John Guillermin,1869\n";
    let progress = Progress::start("lines", None);
    let lines = input::movies(films.as_bytes(), Format::Csv);
    let summary = bulk::movies(&client, lines, None, 4, &progress).await;
    let summary = summary.expect("imported");
    assert_eq!((summary.sent, summary.existing, summary.failed), (4, 1, 1));

    let ran = found(&client, "Ran", None).await;
    let mut text = "user_id,movie,year,value\n".to_owned();
    for user in 0..600 {
        text.push_str(&format!("user-{user},{},,2\n", ["Heat", "heat"][user % 2]));
    }
    text.push_str(&format!(
        "ann,{ran},,3\nann,Nowhere,,3\nann,Ran,,11\nuser-0,Heat,,8\nuser-599,heat,,9\n\
        ann,King Kong,1933,9\nann,king kong,2005,4\nann,King Kong,,5\nann,King Kong,1976,5\n"
    ));
    let folder = tempfile::tempdir().expect("a folder");
    let notes = || State::open(&folder.path().join("notes"), client.base()).expect("notes");
    let lines = || input::ratings(std::io::Cursor::new(text.clone()), Format::Csv);
    let sent = client.requests();
    let summary = bulk::ratings(&client, lines(), Some(notes()), 4, &progress).await;
    let summary = summary.expect("imported");
    assert_eq!((summary.sent, summary.skipped, summary.failed), (605, 0, 4));
    let sent = client.requests() - sent;
    assert!(sent <= 16, "{sent} requests");
    let again = bulk::ratings(&client, lines(), Some(notes()), 4, &progress).await;
    let again = again.expect("imported");
    assert_eq!((again.sent, again.skipped, again.failed), (0, 605, 4));

    let heat = found(&client, "Heat", Some(1995)).await;
    // 598 gave 2, and the last of the other two 8 and 9.
    served(&client, &heat, 600, 1_213.0 / 600.0).await;
    served(&client, &ran, 1, 3.0).await;
    for (year, value) in [(1933, 9.0), (2005, 4.0)] {
        let kong = found(&client, "King Kong", Some(year)).await;
        served(&client, &kong, 1, value).await;
    }
    nothing_is_left_over(&setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_checks_out_with_its_host_killed_meanwhile_and_once_more() {
    let setup = Setup::databases().await;
    let host = setup.start().await;
    let address = host.address().to_owned();
    let client = client(&host.url);
    let settings = demo::Settings {
        seed: 1,
        users: 100,
        ratings: 2_000,
        concurrency: 16,
        apply_patience: Duration::from_secs(60),
    };
    let mut run = std::pin::pin!(demo::run(&client, settings));
    // The films, what they are rated twice over, and a list of ratings.
    let films = films::sample().len() as u64;
    let sending = 3 * films.div_ceil(100) + 1;
    tokio::select! {
        over = run.as_mut() => panic!("it is over: {over:?}"),
        () = eventually(Duration::from_secs(60), "it sends ratings", async || client.requests() >= sending) => {}
    }
    host.kill();
    let _host = setup.start_at(&address).await;
    let report = run.await.expect("a report");
    let wrong: Vec<_> = report.differences().collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(report.sent, 2_000);

    let (asked, repeated) = (client.requests(), client.retries());
    let report = demo::run(&client, settings).await.expect("a report");
    let wrong: Vec<_> = report.differences().collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!((report.created, report.others), (0, 0));
    assert!(
        report.requests <= 4 + report.retries,
        "{} requests",
        report.requests
    );
    // A page of each user's ratings is most of them.
    let asked = client.requests() - asked - (report.retries - repeated);
    assert!(asked < 200, "{asked} requests");
}
