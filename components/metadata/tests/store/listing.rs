//! Lists in every order, page by page.

use metadata::{
    domain::{Ids, Sort},
    store::queries,
};
use uuid::Uuid;

use crate::support::{Fixture, List, movie};

const LENGTHS: [u32; 4] = [1, 2, 7, 100];

#[tokio::test]
async fn titles_are_in_the_order_in_which_people_look_for_them() {
    let fixture = Fixture::new().await;
    let titles = [
        "(500) Days of Summer",
        "12 Angry Men",
        "alien",
        "Alien",
        "Aliens",
        "Élan",
        "Elana",
        "Straße",
        "Strassen",
        "Zorro",
        "Ёлки",
        "七人の侍",
    ];
    for (n, title) in titles.iter().enumerate() {
        let year = Some(1990 + u16::try_from(n).unwrap());
        fixture.movie(title, year).await;
    }
    for limit in LENGTHS {
        let found = fixture.walk(&List::default(), limit).await;
        assert_eq!(found, titles, "{limit}");
    }
}

#[tokio::test]
async fn movies_of_one_title_are_each_shown_once() {
    let fixture = Fixture::new().await;
    for year in 0..10 {
        fixture.movie("King Kong", Some(1990 + year)).await;
    }
    for sort in [Sort::Title, Sort::Year, Sort::Newest] {
        for prefix in [None, Some("king")] {
            let list = List {
                sort,
                prefix,
                ..List::default()
            };
            for limit in LENGTHS {
                let found = fixture.walk(&list, limit).await;
                assert_eq!(found.len(), 10, "{sort:?} {prefix:?} {limit}");
            }
        }
    }
}

#[tokio::test]
async fn by_year_the_oldest_come_first_and_those_without_a_year_last() {
    let fixture = Fixture::new().await;
    for (title, year) in [
        ("B", Some(1999)),
        ("C", None),
        ("D", Some(1927)),
        ("A", Some(1999)),
        ("é", Some(1999)),
        ("A", None),
    ] {
        fixture.movie(title, year).await;
    }
    let list = List {
        sort: Sort::Year,
        ..List::default()
    };
    for limit in LENGTHS {
        let found = fixture.walk(&list, limit).await;
        assert_eq!(found, ["D", "A", "B", "é", "A", "C"], "{limit}");
    }
    let list = List {
        year: Some(1999),
        ..List::default()
    };
    for sort in [Sort::Title, Sort::Year] {
        let found = fixture.walk(&List { sort, ..list }, 2).await;
        assert_eq!(found, ["A", "B", "é"], "{sort:?}");
    }
}

#[tokio::test]
async fn the_newest_is_the_one_that_was_created_last() {
    let fixture = Fixture::new().await;
    for title in ["b", "c", "a", "d"] {
        fixture.movie(title, None).await;
    }
    let list = List {
        sort: Sort::Newest,
        ..List::default()
    };
    for limit in LENGTHS {
        assert_eq!(fixture.walk(&list, limit).await, ["d", "a", "c", "b"]);
    }
}

#[tokio::test]
async fn what_a_pattern_would_take_for_a_sign_is_itself_in_a_prefix() {
    let fixture = Fixture::new().await;
    for title in [
        r"100% A", "100 B", "1_0", "110", r"a\b", "ab", "aB%c", "$1", "'; --", "Straßen", "Les",
        "Lézard",
    ] {
        fixture.movie(title, None).await;
    }
    let check = async |prefix: &str, titles: &[&str]| {
        let list = List {
            prefix: Some(prefix),
            ..List::default()
        };
        assert_eq!(fixture.walk(&list, 1).await, titles, "{prefix}");
        let list = List {
            sort: Sort::Newest,
            ..list
        };
        assert_eq!(fixture.walk(&list, 1).await.len(), titles.len(), "{prefix}");
    };
    check("100%", &["100% A"]).await;
    check("1_", &["1_0"]).await;
    check("%", &[]).await;
    check("_", &[]).await;
    check(r"a\", &[r"a\b"]).await;
    check("ab", &["ab", "aB%c"]).await;
    check("$", &["$1"]).await;
    check("'", &["'; --"]).await;
    check("strass", &["Straßen"]).await;
    check("STRAẞ", &["Straßen"]).await;
    check("l", &["Les", "Lézard"]).await;
    check("\u{10ffff}", &[]).await;
}

#[tokio::test]
async fn movies_by_ids_come_in_the_order_of_the_ids() {
    let fixture = Fixture::new().await;
    let (a, b) = (
        fixture.movie("a", None).await,
        fixture.movie("b", None).await,
    );
    let ids = [b, Uuid::now_v7(), a].map(|id| id.to_string());
    let ids = Ids::parse(&ids, 100).unwrap();
    let rows = fixture.send(queries::many(&ids)).await;
    let titles: Vec<_> = rows.iter().map(|row| movie(row).title).collect();
    assert_eq!(titles, ["b", "a"]);
}

#[tokio::test]
async fn of_some_ids_those_are_named_that_there_are_and_the_time_by_the_database() {
    let fixture = Fixture::new().await;
    let id = fixture.movie("a", None).await;
    let ids = [id, Uuid::now_v7(), id].map(|id| id.to_string());
    let ids = Ids::parse(&ids, 500).unwrap();
    let now = async || {
        let rows = fixture.send(queries::some(&ids)).await;
        assert_eq!(rows[0].get::<_, Vec<String>>("ids"), [id.to_string()]);
        rows[0].get::<_, i64>("now_us")
    };
    let (first, second) = (now().await, now().await);
    assert!(1_700_000_000_000_000 < first && first < second);
}
