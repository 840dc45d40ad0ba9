//! The manifest as a file: read, parsed, and its problems shown where they are.

use std::{fmt, path::Path};

use anyhow::Context as _;
use marquee_manifest::{App, Problem};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};

/// Read and check a manifest.
pub(crate) fn read(path: &Path) -> anyhow::Result<App> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "the manifest {} cannot be read; name another one with --manifest",
            path.display()
        )
    })?;
    App::parse(&text).map_err(|problems| {
        ManifestProblems {
            path: path.display().to_string(),
            text,
            problems,
        }
        .into()
    })
}

/// A manifest that cannot be used, with everything that is wrong with it.
#[derive(Debug)]
pub(crate) struct ManifestProblems {
    path: String,
    text: String,
    problems: Vec<Problem>,
}

impl ManifestProblems {
    /// All problems, each with its lines.
    pub(crate) fn render(&self, has_colours: bool) -> String {
        let theme = if has_colours {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::none()
        };
        let handler = GraphicalReportHandler::new_themed(theme);
        let mut shown = String::new();
        for problem in &self.problems {
            let label = LabeledSpan::new_with_span(None, problem.span.clone());
            let mut diagnostic = MietteDiagnostic::new(problem.message.clone()).with_label(label);
            if let Some(help) = &problem.help {
                diagnostic = diagnostic.with_help(help.clone());
            }
            let source = NamedSource::new(&self.path, self.text.clone());
            let report = Report::new(diagnostic).with_source_code(source);
            // Writing to a String cannot fail.
            let _ = handler.render_report(&mut shown, report.as_ref());
        }
        shown
    }
}

impl fmt::Display for ManifestProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the manifest {} has {} problems",
            self.path,
            self.problems.len()
        )
    }
}

impl std::error::Error for ManifestProblems {}
