//! Databases that a host cannot work on: told at the start, or while they are so.

use crate::{
    host::Setup,
    pooler::{Mode, pooler},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_keeps_no_unicode_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let setup = Setup::databases().await;
        let (_, name) = setup.url("RATING").rsplit_once('/').expect("a name");
        let beside = setup.connect("METADATA").await;
        for sql in [
            format!("drop database {name}"),
            format!(
                "create database {name} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
            ),
        ] {
            beside.batch_execute(&sql).await.expect("done");
        }
        let said = setup.refused().await;
        assert!(
            said.contains(&format!("database rating has the encoding {encoding}"))
                && said.contains("encoding 'UTF8'"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused() {
    let setup = Setup::databases().await;
    let pooler = pooler(setup.server("RATING"), Mode::Transaction).await;
    let setup = setup.through("RATING", pooler.addr);
    let said = setup.refused().await;
    assert!(
        said.contains("database rating is behind a pooler") && said.contains("in session mode"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_drops_what_sessions_ask_for_is_refused() {
    let setup = Setup::databases().await;
    let pooler = pooler(setup.server("RATING"), Mode::Session).await;
    let setup = setup.through("RATING", pooler.addr);
    let said = setup.refused().await;
    assert!(
        said.contains("database rating does not give its sessions what they ask for")
            && said.contains("statement_timeout is 0 and not 5000")
            && said.contains("passes on `options`"),
        "{said}"
    );
}
