//! A report as a tree of headings, fields, tables, lists and notes, with two layouts: text and Markdown.
//!
//! The tree holds raw text; each layout neutralises or escapes it. A block may be for one layout only.

mod markdown;
mod text;

use std::ops::Range;

use anstyle::Style;

use super::schema::{Note, NoteLevel, Outcome};
use super::text::explained_codes;
use super::text::page::{DIM, YELLOW};
use super::RenderOptions;
pub(super) use markdown::{verdict_sign, CELL};

/// A report, ready to be laid out.
pub(super) struct Document {
    outcome: Outcome,
    word: &'static str,
    /// Shown behind the verdict.
    parts: Vec<String>,
    blocks: Vec<(Option<Layout>, Block)>,
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// For a terminal.
    Text,
    /// For a pull request comment.
    Markdown,
}

/// A part of a document.
pub(super) enum Block {
    /// A heading of what follows, up to the next [`Block::Gap`].
    Section { title: String, parts: Vec<String> },
    /// A name and its text, in one line or several.
    Field { name: &'static str, lines: Vec<String> },
    /// A name and a path, with a remark behind it.
    Path { name: String, path: String, about: String },
    /// A sentence or more.
    Paragraph(String),
    /// A table.
    Table(DocumentTable),
    /// A table that a click unfolds. The first to go where the document is too long.
    Folded { title: String, table: DocumentTable },
    /// A title and a line for each item.
    List { title: &'static str, items: Vec<String> },
    /// A reason, a warning, a note: its kind, what it is about, what to do.
    Remark {
        kind: &'static str,
        style: Style,
        about: Option<String>,
        text: String,
        hint: Option<String>,
    },
    /// The end of a section.
    Gap,
}

/// Rows of cells under a header; a cell has a line or more.
pub(super) struct DocumentTable {
    /// Column names, and whether a column's cells are aligned to the right.
    pub columns: Vec<(String, bool)>,
    /// A cell for each column.
    pub rows: Vec<Vec<Vec<String>>>,
}

impl DocumentTable {
    /// A table without rows; the columns `numbers` are aligned to the right.
    pub fn new(numbers: Range<usize>, columns: &[&str]) -> Self {
        let column = |(i, name): (usize, &&str)| ((*name).to_owned(), numbers.contains(&i));
        DocumentTable {
            columns: columns.iter().enumerate().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row of one-line cells.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| vec![cell]).collect());
    }
}

impl Document {
    /// A document with its verdict and what is to be known first.
    pub fn new(outcome: Outcome, word: &'static str, parts: Vec<String>) -> Self {
        Document { outcome, word, parts, blocks: Vec::new() }
    }

    /// Adds a block to both layouts.
    pub fn push(&mut self, block: Block) {
        self.blocks.push((None, block));
    }

    /// Adds a block to one layout.
    pub fn push_in(&mut self, layout: Layout, block: Block) {
        self.blocks.push((Some(layout), block));
    }

    /// Adds a field of one line.
    pub fn field(&mut self, name: &'static str, text: String) {
        self.push(Block::Field { name, lines: vec![text] });
    }

    /// Adds a note about a row, or about the whole.
    pub fn note(&mut self, note: &Note, about: Option<String>) {
        let (kind, style) = match note.level {
            NoteLevel::Warning => ("warning", YELLOW),
            NoteLevel::Note => ("note", DIM),
        };
        let text = format!("{} [{}]", note.message, note.code);
        self.push(Block::Remark { kind, style, about, text, hint: note.hint.clone() });
    }

    /// Adds a report's notes, and which words `audit explain` explains.
    pub fn notes(&mut self, notes: &[Note]) {
        if !notes.is_empty() {
            self.push(Block::Gap);
        }
        notes.iter().for_each(|note| self.note(note, None));
        if let Some(text) = explained_codes(notes.iter()) {
            let more = Block::Remark { kind: "more", style: DIM, about: None, text, hint: None };
            self.push_in(Layout::Text, more);
        }
    }

    fn blocks_in(&self, layout: Layout) -> impl Iterator<Item = &Block> {
        let is_in = move |only: Option<Layout>| only.is_none_or(|only| only == layout);
        self.blocks.iter().filter(move |(only, _)| is_in(*only)).map(|(_, block)| block)
    }

    /// The document in a layout; `options` are of the terminal.
    pub fn written(&self, layout: Layout, options: &RenderOptions) -> String {
        match layout {
            Layout::Text => self.text(options),
            Layout::Markdown => self.markdown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document with a block of every kind.
    fn every_block() -> Document {
        let mut document = Document::new(Outcome::Preserved, "PRESERVED", vec!["a|b".to_owned()]);
        let (title, path) = ("a section".to_owned(), "some/folder".to_owned());
        let mut table = DocumentTable::new(1..2, &["name", "number"]);
        table.row(["σ".to_owned(), "0.5".to_owned()]);
        let mut folded = DocumentTable::new(0..0, &["folded"]);
        folded.row(["unfolded".to_owned()]);
        let (name, about) = ("a path".to_owned(), " (old)".to_owned());
        for block in [
            Block::Paragraph("a *paragraph*".to_owned()),
            Block::Section { title, parts: vec!["part".to_owned()] },
            Block::Field { name: "field", lines: vec!["one".to_owned(), "two".to_owned()] },
            Block::Path { name, path, about },
            Block::Table(table),
            Block::List { title: "a list", items: vec!["an <item>".to_owned()] },
            Block::Gap,
            Block::Folded { title: "a fold".to_owned(), table: folded },
        ] {
            document.push(block);
        }
        let (code, hint) = ("vacuous".to_owned(), Some("do so".to_owned()));
        let (level, message) = (NoteLevel::Warning, "odd".to_owned());
        document.note(&Note { code, level, message, hint }, Some("sst2".to_owned()));
        document
    }

    #[test]
    fn every_block_is_in_the_text() {
        let text = "\
PRESERVED  a|b
              a *paragraph*
a section  part
  field       one
              two
  a path      some/folder (old)
  name        number
  σ              0.5
  a list
  an <item>

  folded
  unfolded
  warning: sst2: odd [vacuous]
    hint: do so
";
        assert_eq!(every_block().text(&RenderOptions::default()), text);
    }

    #[test]
    fn every_block_is_in_markdown_and_user_text_is_escaped() {
        let markdown = "\
## ✅ PRESERVED: a&#124;b

a &#42;paragraph&#42;

### a section: part

- **field**: one<br>two
- **a path**: some/folder (old)

| name | number |
|---|--:|
| σ | 0.5 |

**a list**

- an &lt;item&gt;

<details>
<summary>a fold</summary>

| folded |
|---|
| unfolded |

</details>

- **warning** (sst2): odd &#91;vacuous&#93; Hint: do so
";
        assert_eq!(every_block().markdown(), markdown);
    }
}
