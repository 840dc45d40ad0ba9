//! The version of the component before, on the database of this one: its statements, as it sends them.

use uuid::Uuid;

use crate::support::{Fixture, List, movie, new};

#[tokio::test]
async fn titles_that_the_old_rule_told_apart_survive_the_migration() {
    let fixture = Fixture::empty().await;
    fixture.migrate("0001").await;
    for (title, key) in [
        ("Straße", "straße"),
        ("STRASSE", "strasse"),
        ("Alien", "alien"),
    ] {
        assert_eq!(insert(&fixture, title, key).await.len(), 1, "{title}");
    }
    fixture.migrate("").await;
    let list = List::default();
    assert_eq!(fixture.walk(&list, 2).await, ["Alien", "STRASSE", "Straße"]);
    // Each of them keeps its title.
    for title in ["straße", "Strasse", "ALIEN"] {
        let found = fixture.create(title, None).await;
        assert!(found.starts_with("exists "), "{title}: {found}");
    }
    assert_eq!(fixture.near("allien").await, ["Alien"]);
    let rows = fixture
        .connection()
        .await
        .query("select version from movies", &[])
        .await;
    assert!(rows.unwrap().iter().all(|row| row.get::<_, i64>(0) == 1));
}

#[tokio::test]
async fn the_old_code_creates_and_finds_movies_as_before() {
    let fixture = Fixture::new().await;
    let with_year = fixture.movie("King Kong", Some(1933)).await;
    let [(true, id)] = insert(&fixture, "King Kong", "king kong").await[..] else {
        panic!("it was not kept");
    };
    assert_eq!(
        insert(&fixture, "KING KONG", "king kong").await,
        [(false, id)]
    );
    let alien = fixture.movie("Alien", None).await;
    assert_eq!(insert(&fixture, "ALIEN", "alien").await, [(false, alien)]);
    let holder = "select id from movies where title_key = $1";
    let rows = fixture.connection().await.query(holder, &[&"alien"]).await;
    assert_eq!(rows.unwrap()[0].get::<_, Uuid>(0), alien);
    // In its list stands what either version created, in the order of its keys.
    let page = "select id, title, description, director from movies
        where title_key >= $1 and title_key < $3 order by title_key limit $2";
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&"king", &10_i64, &"kinh"];
    let rows = fixture
        .connection()
        .await
        .query(page, &params)
        .await
        .unwrap();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(ids, [id, with_year]);
}

#[tokio::test]
async fn what_the_old_code_creates_is_listed_and_found_by_the_new() {
    let fixture = Fixture::new().await;
    let [(true, id)] = insert(&fixture, "Straße der Nacht", "straße der nacht").await[..] else {
        panic!("it was not kept");
    };
    let found = fixture.create("STRASSE DER NACHT", None).await;
    assert_eq!(found, format!("exists {id}"));
    assert_eq!(fixture.near("strase").await, ["Straße der Nacht"]);
    let rows = fixture.send(metadata::store::queries::one(id)).await;
    assert_eq!(movie(&rows[0]).version, 1);
}

#[tokio::test]
async fn a_key_of_a_title_is_what_the_old_code_computes() {
    let fixture = Fixture::new().await;
    let check = async |title: &str, year: Option<u16>, key: &str| {
        let id = fixture.movie(title, year).await;
        let sql = "select title_key from movies where id = $1";
        let rows = fixture.connection().await.query(sql, &[&id]).await.unwrap();
        assert_eq!(rows[0].get::<_, &str>(0), key, "{title}");
    };
    check("Ame\u{301}lie", None, "amélie").await;
    check("Straße", None, "straße").await;
    check("ΟΔΌΣ ΟΔΌΣ", None, "οδόσ οδόσ").await;
    check("ISTANBUL İ", None, "istanbul i\u{307}").await;
    check("Alien", Some(1979), "alien\u{1}1979 ").await;
}

/// Whether it was kept, and the id that has the title.
async fn insert(fixture: &Fixture, title: &str, key: &str) -> Vec<(bool, Uuid)> {
    let new = new(title, None);
    let id = Uuid::now_v7();
    let event = new.created_event(id).into_bytes();
    let rows = fixture
        .connection()
        .await
        .query(INSERT, &[&id, &title, &key, &"about", &"somebody", &event])
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

const INSERT: &str = "
with inserted as (
    insert into movies (id, title, title_key, description, director)
    values ($1::uuid, $2, $3, $4, $5)
    on conflict on constraint movies_title_key_key do nothing
    returning id
)
select true as is_new, i.id, marquee.publish('metadata', i.id::text, '{}', $6)
from inserted as i
union all
select false, m.id, null
from movies as m
where m.title_key = $3";
