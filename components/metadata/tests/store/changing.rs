//! A movie is changed and deleted in the version that was seen, with its event.

use metadata::domain::{Movie, Patch};
use uuid::Uuid;

use crate::support::Fixture;

/// The next version of a movie, with another title and year.
fn renamed(movie: &Movie, title: &str, year: Option<u16>) -> Movie {
    let patch = Patch {
        title: Some(title.to_owned()),
        year: Some(year),
        ..Patch::default()
    };
    patch.apply(movie).unwrap().unwrap()
}

#[tokio::test]
async fn a_change_is_one_version_more_and_publishes_its_event() {
    let fixture = Fixture::new().await;
    let id = fixture.movie("Alien", None).await;
    let movie = fixture.get(id).await.unwrap();
    let second = renamed(&movie, "Aliens", Some(1986));
    assert_eq!(fixture.replace(&second, true).await, "done");
    assert_eq!(fixture.get(id).await.unwrap(), second);
    assert_eq!(
        fixture.events(id).await,
        ["movie.created 1", "movie.updated 2"]
    );
}

#[tokio::test]
async fn a_change_of_another_version_than_the_last_changes_nothing() {
    let fixture = Fixture::new().await;
    let id = fixture.movie("Alien", None).await;
    let movie = fixture.get(id).await.unwrap();
    let (one, other) = (
        renamed(&movie, "Aliens", None),
        renamed(&movie, "Alien 3", None),
    );
    assert_eq!(fixture.replace(&one, true).await, "done");
    assert_eq!(fixture.replace(&other, true).await, "meanwhile 2");
    assert_eq!(fixture.get(id).await.unwrap().title, "Aliens");
    assert_eq!(fixture.events(id).await.len(), 2);
    let nobody = Movie {
        id: Uuid::now_v7(),
        ..other
    };
    assert_eq!(fixture.replace(&nobody, true).await, "unknown");
}

#[tokio::test]
async fn a_title_and_year_of_another_movie_are_not_to_be_had() {
    let fixture = Fixture::new().await;
    let id = fixture.movie("Alien", Some(1979)).await;
    let other = fixture.movie("Aliens", None).await;
    let other = fixture.get(other).await.unwrap();
    let taken = renamed(&other, "ALIEN", Some(1979));
    assert_eq!(fixture.replace(&taken, true).await, format!("exists {id}"));
    assert_eq!(
        fixture.replace(&renamed(&other, "ALIEN", None), true).await,
        "done"
    );
    assert!(fixture.create("alien", None).await.starts_with("exists "));
    assert!(fixture.create("aliens", None).await.starts_with("new "));
}

#[tokio::test]
async fn what_is_not_renamed_keeps_the_title_that_an_older_rule_let_it_have() {
    let fixture = Fixture::new().await;
    let id = fixture.movie("Strasse", None).await;
    let old = "update movies set is_folded = false;
        insert into movies (id, title, title_key, description, director)
        values ('00000000-0000-7000-8000-000000000001', 'Straße', 'straße', '', 'd')";
    fixture.connection().await.batch(old).await.unwrap();
    let movie = fixture.get(id).await.unwrap();
    let patch = Patch {
        description: Some("new".to_owned()),
        ..Patch::default()
    };
    let described = patch.apply(&movie).unwrap().unwrap();
    assert_eq!(fixture.replace(&described, false).await, "done");
}

#[tokio::test]
async fn a_deleted_movie_is_gone_and_its_title_is_free() {
    let fixture = Fixture::new().await;
    let id = fixture.movie("Alien", None).await;
    assert_eq!(fixture.delete(id, Some(2)).await, "meanwhile 1");
    assert_eq!(fixture.delete(id, Some(u64::MAX)).await, "meanwhile 1");
    assert_eq!(fixture.delete(id, Some(1)).await, "done");
    assert_eq!(fixture.get(id).await, None);
    assert_eq!(fixture.delete(id, None).await, "unknown");
    assert_eq!(
        fixture.events(id).await,
        ["movie.created 1", "movie.deleted -"]
    );
    fixture.movie("ALIEN", None).await;
}
