//! The plans of the statements behind lists and searches, as PostgreSQL ran them.

use std::fmt::Write as _;

use marquee_guest::sql::Param;
use metadata::{
    domain::{Part, Selection, Sort},
    store::{Statement, queries},
};
use tokio_postgres::Client;

use super::fill::{connect, word};

/// One plan after the other, in Markdown.
pub(super) async fn all(url: &str) -> anyhow::Result<String> {
    let client = connect(url).await?;
    let (frequent, rare, wrong) = (word(7), word(60_007), "bacedx");
    let both = format!("{frequent} {rare}");
    let lists = [
        ("by title", None, None, Sort::Title),
        ("by year", None, None, Sort::Year),
        ("the newest first", None, None, Sort::Newest),
        ("with a prefix", None, Some("ba"), Sort::Title),
        (
            "a frequent word",
            Some(frequent.as_str()),
            None,
            Sort::Title,
        ),
        (
            "a frequent word, by year",
            Some(frequent.as_str()),
            None,
            Sort::Year,
        ),
        ("a rare word", Some(rare.as_str()), None, Sort::Relevance),
        (
            "a frequent and a rare word",
            Some(both.as_str()),
            None,
            Sort::Relevance,
        ),
    ];
    let mut text = String::new();
    for (name, query, prefix, sort) in lists {
        let selection = selection(query, prefix, sort)?;
        let statement = queries::stretch(&selection, Part::Others, 21);
        explain(&client, name, statement, &mut text).await?;
    }
    let selection = selection(Some(wrong), None, Sort::Relevance)?;
    explain(
        &client,
        "words like a word",
        queries::like(&selection),
        &mut text,
    )
    .await?;
    Ok(text)
}

fn selection(query: Option<&str>, prefix: Option<&str>, sort: Sort) -> anyhow::Result<Selection> {
    Ok(Selection::parse(query, prefix, None, sort, None, 20)?)
}

async fn explain(
    client: &Client,
    name: &str,
    statement: Statement,
    text: &mut String,
) -> anyhow::Result<()> {
    let values: Vec<String> = statement.params.iter().map(literal).collect();
    let prepare = format!("deallocate all; prepare planned as {}", statement.sql);
    client.batch_execute(&prepare).await?;
    let explain = format!(
        "explain (analyze, buffers, costs off) execute planned ({})",
        values.join(", ")
    );
    write!(text, "### {name}\n\n```text\n")?;
    for message in client.simple_query(&explain).await? {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            writeln!(text, "{}", row.get(0).unwrap_or_default())?;
        }
    }
    text.push_str("```\n\n");
    Ok(())
}

/// The parameters that these statements have.
fn literal(param: &Param) -> String {
    match param {
        Param::Int32(number) => number.to_string(),
        Param::Int64(number) => number.to_string(),
        Param::Str(text) => format!("'{}'", text.replace('\'', "''")),
        _ => "null".to_owned(),
    }
}
