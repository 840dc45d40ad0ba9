//! What was measured, as a table that Markdown shows.

use comfy_table::{Cell, CellAlignment, Table, presets};

/// A name and its figures a row.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = (String, Vec<String>)>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header);
    for (name, figures) in rows {
        let right = |figure| Cell::new(figure).set_alignment(CellAlignment::Right);
        let figures = figures.into_iter().map(right);
        table.add_row(std::iter::once(Cell::new(name)).chain(figures));
    }
    table.to_string()
}
