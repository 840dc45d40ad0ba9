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
async fn however_it_is_looked_up_a_word_is_like_the_same_words() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.connection().await;
    // Every word of three letters and of lengths where a letter more or less decides, and some that nobody would write.
    let fill = "
        create temporary table letters as select unnest('{A,B,C}'::text[]) as l;
        create temporary table words as
        select a.l || b.l as w from letters as a, letters as b
        union select a.l || b.l || c.l from letters as a, letters as b, letters as c
        union select w.w || c.l || d.l from (select a.l || b.l as w from letters as a, letters as b) as w, letters as c, letters as d
        union select repeat(l, n) from letters, generate_series(1, 12) as n;
        insert into words select w.w || l.l from words as w, letters as l where length(w.w) = 4;
        insert into lexicon (word)
        select w from words union select w || l from words, letters where length(w) = 5";
    connection.batch(fill).await.unwrap();
    let differ = "
        select t.word
        from (
            select u.word
            from (
                select w from words
                union select a.w || b.w from words as a, words as b where length(a.w) = 5 and length(b.w) between 2 and 3
            ) as u (word)
            order by md5(u.word)
            limit 600
        ) as t
        where array(select lexicon_like(t.word, 5000)) <> array(
            select x.word from lexicon as x
            where similarity(x.word, t.word) >= 0.4::real
            order by similarity(x.word, t.word) desc, x.word
        )";
    let rows = connection.query(differ, &[]).await.unwrap();
    let words: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(words, [""; 0]);
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
