//! Each manifest in `err/` has exactly the problems that stand in the file beside it.
//!
//! After a change of wording, `UPDATE=1 cargo test -p marquee-manifest` writes them anew; read the difference.

#![expect(
    clippy::disallowed_methods,
    reason = "whether to write the expectations anew is said in the environment"
)]

use std::{fmt::Write as _, path::Path};

use marquee_manifest::App;

#[test]
fn a_manifest_with_problems_is_refused_with_all_of_them_and_their_places() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/err");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).expect("the cases") {
        let path = entry.expect("a case").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a manifest");
        let problems = App::parse(&text).expect_err("it has problems");
        let mut told = String::new();
        for problem in problems {
            writeln!(
                told,
                "{}:{}: {}",
                problem.line, problem.column, problem.message
            )
            .expect("a string");
            if let Some(help) = problem.help {
                writeln!(told, "  help: {help}").expect("a string");
            }
        }
        let beside = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&beside, &told).expect("written");
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        assert_eq!(told, expected, "{}", path.display());
        cases += 1;
    }
    assert!(cases >= 25, "{cases} cases");
}
