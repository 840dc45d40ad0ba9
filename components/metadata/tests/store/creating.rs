//! A movie is created once, with its event.

use metadata::{domain::Key, store::commands};
use uuid::Uuid;

use crate::support::{Fixture, new, outcome, send};

#[tokio::test]
async fn a_movie_and_its_event_are_kept_by_one_statement() {
    let fixture = Fixture::new().await;
    let id = fixture.movie("  Alien ", Some(1979)).await;
    let movie = fixture.get(id).await.unwrap();
    assert_eq!((movie.title.as_str(), movie.year), ("Alien", Some(1979)));
    assert_eq!(movie.version, 1);
    assert!(movie.created_at_ms > 1_700_000_000_000);
    assert_eq!(fixture.events(id).await, ["movie.created 1"]);
    assert_eq!(fixture.count("marquee.outbox").await, 1);
}

#[tokio::test]
async fn a_title_that_is_written_in_another_way_names_its_movie_and_publishes_nothing() {
    let fixture = Fixture::new().await;
    let check = async |first: &str, others: &[&str]| {
        let id = fixture.movie(first, None).await;
        for other in others {
            let found = fixture.create(other, None).await;
            assert_eq!(found, format!("exists {id}"), "{first} {other}");
        }
    };
    check("Amélie", &["Amélie", "AMÉLIE", " ame\u{301}lie\n"]).await;
    check("Straße", &["STRASSE", "strasse", "STRAẞE", "straße"]).await;
    check("Οδός", &["ΟΔΌΣ", "οδόσ"]).await;
    check("ﬁn", &["FIN", "fin"]).await;
    check("100%", &["100%"]).await;
    assert_eq!(fixture.count("marquee.outbox").await, 5);
    for other in ["Amelie", "100_", "Straße ist", "A  B", "A B"] {
        fixture.movie(other, None).await;
    }
}

#[tokio::test]
async fn one_title_may_be_a_movie_of_each_year_and_one_without() {
    let fixture = Fixture::new().await;
    for year in [None, Some(1933), Some(2005)] {
        let id = fixture.movie("King Kong", year).await;
        let again = fixture.create("KING KONG", year).await;
        assert_eq!(again, format!("exists {id}"), "{year:?}");
    }
    // No title is taken for another one with its year.
    fixture.movie("King Kong\u{1}2005", None).await;
    fixture.movie("King Kong 2005", None).await;
}

#[tokio::test]
async fn a_title_that_is_taken_while_the_statement_waits_is_found_by_the_second_one() {
    let fixture = Fixture::new().await;
    let alien = new("Alien", Some(1979));
    let mut first = fixture.connection().await;
    first.batch("begin").await.unwrap();
    let id = Uuid::now_v7();
    let rows = send(&mut first, commands::insert(&alien, id, None)).await;
    assert_eq!(outcome(&rows.unwrap()[0], id), format!("new {id}"));
    let (second, ()) = futures::join!(fixture.create("ALIEN", Some(1979)), async {
        fixture.until_one_waits().await;
        first.batch("commit").await.unwrap();
    });
    assert_eq!(second, "meanwhile");
    let rows = fixture.send(commands::holder(&alien)).await;
    assert_eq!(rows[0].get::<_, Uuid>("id"), id);
    assert_eq!(fixture.count("marquee.outbox").await, 1);
}

#[tokio::test]
async fn of_many_that_create_one_movie_at_once_one_does() {
    let fixture = Fixture::new().await;
    let all = (0..20).map(|_| fixture.create("Alien", None));
    let all = futures::future::join_all(all).await;
    let created = all.iter().filter(|outcome| outcome.starts_with("new "));
    assert_eq!(created.count(), 1, "{all:?}");
    assert_eq!(fixture.count("movies").await, 1);
    assert_eq!(fixture.count("marquee.outbox").await, 1);
}

#[tokio::test]
async fn a_creation_with_a_key_happens_once_and_answers_the_same() {
    let fixture = Fixture::new().await;
    let alien = new("Alien", None);
    let first = fixture.create_with(&alien, Some("k")).await;
    let id: Uuid = first.strip_prefix("new ").unwrap().parse().unwrap();
    let again = format!("again {id}");
    assert_eq!(fixture.create_with(&alien, Some("k")).await, again);
    let other = new("Aliens", None);
    assert_eq!(fixture.create_with(&other, Some("k")).await, "reused");
    assert_eq!(
        fixture.create_with(&alien, Some("l")).await,
        format!("exists {id}")
    );
    assert_eq!(fixture.count("movies").await, 1);
    assert_eq!(fixture.events(id).await, ["movie.created 1"]);
    // Whatever becomes of the movie.
    assert_eq!(fixture.delete(id, None).await, "done");
    assert_eq!(fixture.create_with(&alien, Some("k")).await, again);
}

#[tokio::test]
async fn a_creation_that_failed_is_not_remembered() {
    let fixture = Fixture::new().await;
    let id = fixture.movie("Alien", None).await;
    let found = fixture.create_with(&new("ALIEN", None), Some("k")).await;
    assert_eq!(found, format!("exists {id}"));
    let found = fixture.create_with(&new("Aliens", None), Some("k")).await;
    assert!(found.starts_with("new "), "{found}");
}

#[tokio::test]
async fn of_two_creations_with_one_key_at_once_the_second_changes_nothing() {
    let fixture = Fixture::new().await;
    let key = Key::parse("k").unwrap();
    let mut first = fixture.connection().await;
    first.batch("begin").await.unwrap();
    let id = Uuid::now_v7();
    let insert = |title| commands::insert(&new(title, None), Uuid::now_v7(), Some(&key));
    let statement = commands::insert(&new("Alien", None), id, Some(&key));
    send(&mut first, statement).await.unwrap();
    let mut second = fixture.connection().await;
    let (refused, ()) = futures::join!(send(&mut second, insert("Aliens")), async {
        fixture.until_one_waits().await;
        first.batch("commit").await.unwrap();
    });
    let refused = format!("{:?}", refused.unwrap_err());
    assert!(refused.contains("creations_pkey"), "{refused}");
    assert_eq!(fixture.count("movies").await, 1);
    assert_eq!(fixture.count("marquee.outbox").await, 1);
}

#[tokio::test]
async fn keys_are_forgotten_after_a_day_a_few_at_a_time() {
    let fixture = Fixture::new().await;
    let old = "insert into creations (key, request_digest, movie_id, created_at)
        select 'old ' || n, sha256(''), gen_random_uuid(), now() - interval '25 hours' from generate_series(1, 12) as n
        union all select 'young', sha256(''), gen_random_uuid(), now() - interval '23 hours'";
    fixture.connection().await.batch(old).await.unwrap();
    fixture.create("no key", None).await;
    assert_eq!(fixture.count("creations").await, 13);
    fixture.create_with(&new("a", None), Some("a")).await;
    assert_eq!(fixture.count("creations").await, 4);
    fixture.create_with(&new("b", None), Some("b")).await;
    assert_eq!(fixture.count("creations").await, 3);
}

#[tokio::test]
async fn many_are_created_by_one_statement_with_results_in_their_order() {
    let fixture = Fixture::new().await;
    let held = fixture.movie("Zorro", None).await;
    let found = fixture
        .create_many(&[
            ("Zulu", Some(1964)),
            ("ZORRO", None),
            ("Alien", Some(1979)),
            ("zulu", Some(1964)),
            ("Zulu", None),
            ("ALIEN", Some(1979)),
        ])
        .await;
    let id = |n: usize| found[n].strip_prefix("new ").unwrap();
    assert_eq!(found[1], format!("exists {held}"));
    assert_eq!(found[3], format!("exists {}", id(0)));
    assert_eq!(found[5], format!("exists {}", id(2)));
    assert_ne!(id(0), id(4));
    assert_eq!(fixture.count("movies").await, 4);
    for n in [0, 2, 4] {
        let id = id(n).parse().unwrap();
        assert_eq!(fixture.events(id).await, ["movie.created 1"]);
    }
}

#[tokio::test]
async fn batches_with_the_same_titles_in_other_orders_do_not_wait_in_a_circle() {
    let fixture = Fixture::new().await;
    let titles: Vec<String> = (0..100).map(|n| format!("Movie {n}")).collect();
    let forwards: Vec<_> = titles.iter().map(|title| (title.as_str(), None)).collect();
    let backwards: Vec<_> = forwards.iter().rev().copied().collect();
    for _ in 0..5 {
        let batches =
            (0..6).map(|n| fixture.create_many(if n % 2 == 0 { &forwards } else { &backwards }));
        let all = futures::future::join_all(batches).await;
        let created = all.iter().flatten().filter(|one| one.starts_with("new "));
        assert_eq!(created.count(), 100);
        let clean = "delete from movies; delete from lexicon";
        fixture.connection().await.batch(clean).await.unwrap();
    }
}

#[tokio::test]
async fn the_longest_titles_are_kept_however_much_longer_their_words_are() {
    let fixture = Fixture::new().await;
    // Syllables that are three letters when they are taken apart, signs that are words, letters of four bytes.
    for (first, count, step) in [
        (0xAC00, 11_172, 7_919),
        (0x3300, 88, 31),
        (0xFDFA, 1, 1),
        (0x20000, 42_000, 7_919),
    ] {
        let letter = |n: u32| char::from_u32(first + n * step % count).unwrap();
        let title: String = (0..200).map(letter).collect();
        fixture.movie(&title, None).await;
        let spaced: String = (0..200)
            .map(|n| if n % 4 == 1 { ' ' } else { letter(n) })
            .collect();
        fixture.movie(&spaced, None).await;
    }
}

#[tokio::test]
async fn a_list_with_a_key_is_created_once_and_answers_the_same() {
    let fixture = Fixture::new().await;
    let held = fixture.movie("Zorro", None).await;
    let list = [("Alien", Some(1979)), ("ZORRO", None), ("Zulu", None)];
    let create = async |list: &[(&str, Option<u16>)]| {
        let created = fixture.create_many_with(list, Some("k")).await;
        created.unwrap()
    };
    let first = create(&list).await;
    assert_eq!(first[1], format!("exists {held}"));
    let again = first.iter().map(|one| one.replace("new", "again"));
    let again: Vec<_> = again.collect();
    assert_eq!(create(&list).await, again);
    // Another movie in some place: nothing comes of any.
    let other = [("Alien", Some(1979)), ("Ran", None), ("Zulu", Some(1964))];
    assert_eq!(create(&other).await, ["reused"; 3]);
    // What failed is not remembered, and what is added is new.
    let longer = [list[0], ("Heat", None), list[2], ("Ran", None)];
    let found = create(&longer).await;
    assert_eq!([&found[0], &found[2]], [&again[0], &again[2]]);
    assert!(found[1].starts_with("new ") && found[3].starts_with("new "));
    assert_eq!(fixture.count("movies").await, 5);
    assert_eq!(fixture.count("marquee.outbox").await, 5);
    // The first place has the list's own key.
    let alien = new("Alien", Some(1979));
    assert_eq!(fixture.create_with(&alien, Some("k")).await, again[0]);
}

#[tokio::test]
async fn of_lists_with_one_key_at_once_one_creates_movies() {
    let fixture = Fixture::new().await;
    let list = [("Alien", None), ("Zulu", None)];
    let lists = (0..10).map(|_| fixture.create_many_with(&list, Some("k")));
    let all = futures::future::join_all(lists).await;
    let created = all.iter().flatten().flatten();
    let created = created.filter(|one| one.starts_with("new "));
    assert_eq!(created.count(), 2, "{all:?}");
    assert_eq!(fixture.count("marquee.outbox").await, 2);
    assert_eq!(fixture.count("creations").await, 2);
}
