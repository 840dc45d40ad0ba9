//! What the README shows of the ledger is what the ledger is.

const README: &str = include_str!("../../../../README.md");
const LEDGER: &str = include_str!("../src/lib.rs");
const WIT: &str = include_str!("../../wit/orders.wit");

/// Lines without their indentation, so that a block may stand anywhere.
fn lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("\n")
}

/// The README's blocks of a language in the section on components.
fn blocks(language: &str) -> Vec<String> {
    let (_, section) = README
        .split_once("\n## A component of your own\n")
        .expect("the section");
    let (section, _) = section.split_once("\n## ").expect("one after it");
    let section = lines(section);
    let fence = format!("```{language}\n");
    section
        .split(&fence)
        .skip(1)
        .map(|block| block.split("\n```").next().expect("text").to_owned())
        .collect()
}

#[test]
fn the_readme_shows_code_of_the_ledger() {
    let check = |language: &str, source: &str| {
        let found = blocks(language);
        assert!(!found.is_empty(), "{language}");
        for block in found {
            assert!(lines(source).contains(&block), "{block}");
        }
    };
    check("rust", LEDGER);
    check("wit", WIT);
}
