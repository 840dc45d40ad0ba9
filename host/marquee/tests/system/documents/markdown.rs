//! The fenced blocks of a document.

/// What a block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `sh`: a reader pastes it.
    Paste,
    /// `text`: what the block before it prints.
    Printed,
    /// `sh no-test`: a reader pastes it, but the test cannot.
    NotHere,
}

/// A fenced block.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// Where it begins, counted from 1.
    pub(super) line: usize,
    pub(super) text: String,
}

impl Block {
    /// What stands before a line `sleep ...`, and what behind it.
    pub(super) fn around_sleep(&self) -> (&str, Option<&str>) {
        let text = &self.text;
        let start = if text.starts_with("sleep ") {
            Some(0)
        } else {
            text.find("\nsleep ").map(|end| end + 1)
        };
        match start.map(|start| text.split_at(start)) {
            Some((once, rest)) => (once, rest.split_once('\n').map(|(_, again)| again)),
            None => (text, None),
        }
    }
}

/// All blocks, in order. One of a kind that nothing checks is a failure: it would rot.
pub(super) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        // A block in a list is indented as a whole.
        let indent = line.len() - line.trim_start().len();
        let Some(info) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let kind = match info.trim() {
            "sh" => Kind::Paste,
            "text" => Kind::Printed,
            "sh no-test" => Kind::NotHere,
            other => panic!("line {}: nothing checks a block of {other:?}", number + 1),
        };
        let inside = lines
            .by_ref()
            .map(|(_, line)| line.get(indent..).unwrap_or_default())
            .take_while(|line| !line.starts_with("```"));
        blocks.push(Block {
            kind,
            line: number + 1,
            text: inside.map(|line| format!("{line}\n")).collect(),
        });
    }
    blocks
}

#[test]
fn blocks_are_found_in_lists_too() {
    let found = blocks("a\n```sh\nls\n```\n1. b\n   ```text\n     c\n   ```\n");
    let found: Vec<_> = found.iter().map(|b| (b.kind, b.line, &*b.text)).collect();
    assert_eq!(
        found,
        [(Kind::Paste, 2, "ls\n"), (Kind::Printed, 6, "  c\n")]
    );
}
