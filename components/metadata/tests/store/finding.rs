//! Movies are found by words, however they are written.

use metadata::domain::Sort;

use crate::support::{Fixture, List};

fn by(query: &str) -> List<'_> {
    List {
        query: Some(query),
        sort: Sort::Relevance,
        ..List::default()
    }
}

async fn library() -> Fixture {
    let fixture = Fixture::new().await;
    for title in [
        "The Godfather",
        "The Godfather Part II",
        "Godfather of Harlem",
        "Amélie",
        "Le Fabuleux Destin d’Amélie Poulain",
        "Straße der Nacht",
        "WALL·E",
        "Spider-Man",
        "The Matrix",
        "七人の侍",
        "Ёлки",
        "C++",
        "'; drop table movies; --",
        "!!!",
    ] {
        fixture.movie(title, None).await;
    }
    fixture
}

#[tokio::test]
async fn each_word_of_a_query_is_one_of_the_title_and_the_last_one_begins_one() {
    let fixture = library().await;
    let check = async |query: &str, titles: &[&str]| {
        for limit in [1, 2, 100] {
            let found = fixture.walk(&by(query), limit).await;
            assert_eq!(found, titles, "{query} {limit}");
        }
    };
    let godfathers = [
        "Godfather of Harlem",
        "The Godfather",
        "The Godfather Part II",
    ];
    check("godfather", &godfathers).await;
    check("GODF", &godfathers).await;
    check("godfather the", &["The Godfather", "The Godfather Part II"]).await;
    check("god the", &[]).await;
    check("godfather p", &["The Godfather Part II"]).await;
    check("the godfather of h", &[]).await;
    check("godfather of h", &["Godfather of Harlem"]).await;
    check("g", &godfathers).await;
    check("ii p", &["The Godfather Part II"]).await;
    check("the god", &["The Godfather", "The Godfather Part II"]).await;
    check("part godfather ii", &["The Godfather Part II"]).await;
    check("amelie", &["Amélie", "Le Fabuleux Destin d’Amélie Poulain"]).await;
    check("AMÉLIE poul", &["Le Fabuleux Destin d’Amélie Poulain"]).await;
    check("strasse", &["Straße der Nacht"]).await;
    check("wall-e", &["WALL·E"]).await;
    check("spider man", &["Spider-Man"]).await;
    check("елки", &["Ёлки"]).await;
    check("七人", &["七人の侍"]).await;
    check("c++", &["C++"]).await;
    check("father", &[]).await;
}

#[tokio::test]
async fn what_is_a_sign_to_the_search_is_none_in_a_query() {
    let fixture = library().await;
    for query in ["!!!", "?", "' \\ '", ":*", "\u{301}", "--"] {
        assert_eq!(fixture.walk(&by(query), 10).await, [""; 0], "{query}");
        assert_eq!(fixture.near(query).await, [""; 0], "{query}");
    }
    let check = async |query: &str, title: &str| {
        assert_eq!(fixture.walk(&by(query), 10).await, [title], "{query}");
    };
    check("'; drop table movies; --", "'; drop table movies; --").await;
    check("matrix:*", "The Matrix").await;
    check("!matrix", "The Matrix").await;
    check("(matrix", "The Matrix").await;
    check("wall & e", "WALL·E").await;
}

#[tokio::test]
async fn a_query_narrows_every_order_and_goes_with_a_prefix_and_a_year() {
    let fixture = library().await;
    fixture.movie("The Godfather", Some(1972)).await;
    let walk = async |list: List<'static>| fixture.walk(&list, 1).await;
    let god = List {
        query: Some("god"),
        ..List::default()
    };
    for sort in [Sort::Title, Sort::Year, Sort::Newest, Sort::Relevance] {
        let list = List { sort, ..god };
        assert_eq!(walk(list).await.len(), 4, "{sort:?}");
        let list = List {
            prefix: Some("the"),
            ..list
        };
        assert_eq!(walk(list).await.len(), 3, "{sort:?}");
        let list = List {
            year: Some(1972),
            ..list
        };
        assert_eq!(walk(list).await, ["The Godfather"], "{sort:?}");
    }
}

#[tokio::test]
async fn words_with_a_typing_error_are_near() {
    let fixture = library().await;
    let check = async |query: &str, first: &str| {
        let found = fixture.near(query).await;
        assert_eq!(
            found.first().map(String::as_str),
            Some(first),
            "{query}: {found:?}"
        );
    };
    check("godfater", "The Godfather").await;
    check("matrxi", "The Matrix").await;
    check("the matrx", "The Matrix").await;
    check("spiderman", "Spider-Man").await;
    check("ameli poulin", "Le Fabuleux Destin d’Amélie Poulain").await;
    check("strase", "Straße der Nacht").await;
    // A word that there is has no typing error, however like another one it is.
    assert_eq!(
        fixture.near("part godfater").await,
        ["The Godfather Part II"]
    );
    fixture.movie("Parts", None).await;
    assert_eq!(fixture.near("part").await, [""; 0]);
    // Nor has the beginning of one, where it may be all that is typed yet.
    assert_eq!(fixture.near("parts of the godf").await, [""; 0]);
    // What the words themselves find is not near, it is there.
    assert_eq!(fixture.near("matrix").await, [""; 0]);
    assert_eq!(fixture.near("xylophone").await, [""; 0]);
}

#[tokio::test]
async fn a_word_of_a_new_title_is_near_at_once() {
    let fixture = Fixture::new().await;
    let id = fixture.movie("Alien", None).await;
    let movie = fixture.get(id).await.unwrap();
    let patch = metadata::domain::Patch {
        title: Some("Koyaanisqatsi".to_owned()),
        ..metadata::domain::Patch::default()
    };
    let renamed = patch.apply(&movie).unwrap().unwrap();
    assert_eq!(fixture.replace(&renamed, true).await, "done");
    assert_eq!(fixture.near("koyanisqatsi").await, ["Koyaanisqatsi"]);
    assert_eq!(fixture.near("alein").await, [""; 0]);
}
