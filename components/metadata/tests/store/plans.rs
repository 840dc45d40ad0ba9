//! Which plans PostgreSQL takes, over tables with rows and statistics.

use marquee_database::Connection;
use metadata::{
    domain::{Part, Sort},
    store::{Statement, queries},
};

use crate::support::{Fixture, List, send};

/// 20,000 movies: every second one is of love, every thousandth of a dragon. Without a hundred words that recur PostgreSQL
/// does not count words.
async fn library() -> Fixture {
    let fixture = Fixture::new().await;
    let mut connection = fixture.connection().await;
    // A statement has its time.
    for last in (2_000..=20_000).step_by(2_000) {
        let fill = format!(
            "insert into movies (id, title, title_key, year, description, director)
            select gen_random_uuid(),
                chr(65 + n % 26) || n || ' w' || n % 300 || case when n % 2 = 0 then ' love' else ' hate' end
                    || case when n % 1000 = 0 then ' dragon' else '' end,
                md5(n::text), 1900 + n % 120, '', 'd'
            from generate_series({last} - 1999, {last}) as n"
        );
        connection.batch(&fill).await.unwrap();
    }
    connection
        .batch("vacuum analyze movies, lexicon")
        .await
        .unwrap();
    fixture
}

async fn plan(fixture: &Fixture, mut statement: Statement) -> String {
    let sql = format!("explain {}", statement.sql);
    statement.sql = Box::leak(sql.into_boxed_str());
    let rows = fixture.send(statement).await;
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

fn page(list: &List<'_>, after: Option<&str>) -> Statement {
    queries::stretch(&list.selection(after, 20), Part::Others, 21)
}

async fn later(fixture: &Fixture, list: &List<'_>) -> Option<String> {
    let selection = list.selection(None, 20);
    selection.cut(fixture.page(&selection).await).1
}

#[tokio::test]
async fn every_order_is_that_of_an_index_on_every_page() {
    let fixture = library().await;
    let check = async |list: List<'static>, index: &str| {
        let next = later(&fixture, &list).await;
        assert!(next.is_some());
        for after in [None, next.as_deref()] {
            let plan = plan(&fixture, page(&list, after)).await;
            assert!(plan.contains(index), "{plan}");
            for costly in ["Sort", "Seq Scan", "InitPlan"] {
                assert!(!plan.contains(costly), "{plan}");
            }
        }
    };
    let by = |sort| List {
        sort,
        ..List::default()
    };
    check(by(Sort::Title), "movies_by_title_idx").await;
    check(by(Sort::Year), "movies_by_year_idx").await;
    check(by(Sort::Newest), "movies_pkey").await;
    let list = List {
        prefix: Some("b"),
        ..by(Sort::Title)
    };
    check(list, "movies_by_folded_title_idx").await;
    let list = List {
        year: Some(1950),
        ..by(Sort::Title)
    };
    check(list, "movies_by_year_idx").await;
}

#[tokio::test]
async fn a_rare_word_is_looked_up_and_a_common_one_is_met_on_the_way() {
    let fixture = library().await;
    let check = async |query: &'static str, sort, index: &str| {
        let list = List {
            query: Some(query),
            sort,
            ..List::default()
        };
        let plan = plan(&fixture, page(&list, None)).await;
        assert!(plan.contains(index), "{query} {sort:?}: {plan}");
        assert!(!plan.contains("Seq Scan"), "{plan}");
    };
    for sort in [Sort::Relevance, Sort::Title, Sort::Year, Sort::Newest] {
        check("dragon", sort, "movies_words_idx").await;
    }
    // And it is met in the index: no row is looked at.
    let scan = |index| format!("Index Only Scan using {index}");
    check("love", Sort::Relevance, &scan("movies_by_words_idx")).await;
    check("love", Sort::Title, &scan("movies_by_title_idx")).await;
    check("love", Sort::Year, &scan("movies_by_year_idx")).await;
    let newest = scan("movies_pkey").replace("Scan", "Scan Backward");
    check("love", Sort::Newest, &newest).await;
    // Of two words the rare one finds the movies; the beginning of many is looked for together with the other.
    for (query, asked) in [
        ("dragon w", ["'DRAGON'", "{W}"]),
        ("love dragon", ["'LOVE' & 'DRAGON':*", ""]),
        ("love dr", ["'LOVE'", "{DR}"]),
    ] {
        let list = List {
            query: Some(query),
            sort: Sort::Relevance,
            ..List::default()
        };
        let plan = plan(&fixture, page(&list, None)).await;
        let words = asked[0].replace('\'', "''");
        let words = format!("title_lexemes @@ '{words}'");
        let condition = plan.lines().find(|line| line.contains("Index Cond"));
        let condition = condition.unwrap_or_default();
        assert!(condition.contains(&words), "{query}: {plan}");
        assert!(condition.contains(asked[1]), "{query}: {plan}");
    }
}

#[tokio::test]
async fn a_list_is_never_planned_for_all_values_at_once() {
    let fixture = library().await;
    let mut connection = fixture.connection().await;
    for query in ["love", "dragon"].repeat(10) {
        let list = List {
            query: Some(query),
            ..List::default()
        };
        send(&mut connection, page(&list, None)).await.unwrap();
    }
    let sql = "select generic_plans, custom_plans from pg_prepared_statements where statement like 'select id, title%'";
    let rows = connection.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, i64>(0), 0);
    assert_eq!(rows[0].get::<_, i64>(1), 20);
}

#[tokio::test]
async fn words_that_are_like_a_word_are_found_by_their_index() {
    let fixture = library().await;
    let list = List {
        query: Some("drgon"),
        sort: Sort::Relevance,
        ..List::default()
    };
    let mut connection = fixture.connection().await;
    connection.batch("begin").await.unwrap();
    let before = scans(&mut connection).await;
    let statement = queries::like(&list.selection(None, 20));
    let rows = send(&mut connection, statement).await.unwrap();
    let words: String = rows[0].get("words");
    assert!(words.contains("DRAGON"), "{words}");
    let after = scans(&mut connection).await;
    connection.batch("rollback").await.unwrap();
    assert_eq!(after[0], before[0]);
    // The word itself; and those that are like it: by what they share, by their letter, and nine short ones, which newer
    // servers look for at once.
    let by_index = after[1] - before[1];
    assert!((4..=12).contains(&by_index), "{by_index}");
}

/// How often the lexicon was read as a whole, and by an index: what a function does stands in no plan. What the connection
/// did before may count too.
async fn scans(connection: &mut Connection) -> [i64; 2] {
    let sql = "select seq_scan, idx_scan from pg_stat_xact_user_tables where relname = 'lexicon'";
    let rows = connection.query(sql, &[]).await.unwrap();
    [0, 1].map(|n| rows[0].get(n))
}
