//! A report as a tree of headings, fields, tables, lists and notes, with two layouts: text and Markdown.
//!
//! Texts stand in the tree as they are; each layout neutralises or escapes them. Most blocks are in both
//! layouts, some in one of the two.

use anstyle::Style;

use super::display::{aligned, neutralise, pad, truncate};
use super::markdown::{details, escape, row_of, shorten, sign};
use super::markdown::{CELL, MOST_CHARACTERS, SENTENCE, TEXT};
use super::schema::{Note, NoteLevel, Outcome};
use super::text::explained_codes;
use super::text::page::{verdict_style, Page, BOLD, DIM, INDENT, LABEL, YELLOW};
use super::RenderOptions;

/// A report, ready to be laid out.
pub(super) struct Document {
    outcome: Outcome,
    word: &'static str,
    /// What stands behind the verdict's word.
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
    Table(Table),
    /// A table that a click unfolds. The first to go where the document is too long.
    Folded { title: String, table: Table },
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
pub(super) struct Table {
    /// Column names, and whether a column's cells are aligned to the right.
    pub columns: Vec<(String, bool)>,
    /// A cell for each column.
    pub rows: Vec<Vec<Vec<String>>>,
}

impl Table {
    /// A table without rows; `left` columns at its left hold words, the others numbers.
    pub fn new(left: usize, columns: &[&str]) -> Self {
        let column = |(i, name): (usize, &&str)| ((*name).to_owned(), i >= left);
        Table { columns: columns.iter().enumerate().map(column).collect(), rows: Vec::new() }
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

    /// Adds a report's notes, and which words `audit explain` explains.
    pub fn notes(&mut self, notes: &[Note]) {
        if !notes.is_empty() {
            self.push(Block::Gap);
        }
        for note in notes {
            let (kind, style) = match note.level {
                NoteLevel::Warning => ("warning", YELLOW),
                NoteLevel::Note => ("note", DIM),
            };
            let text = format!("{} [{}]", note.message, note.code);
            self.push(Block::Remark { kind, style, about: None, text, hint: note.hint.clone() });
        }
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

    /// The document for a terminal.
    pub fn text(&self, options: &RenderOptions) -> String {
        let mut page = Page::new(options);
        page.parts(verdict_style(self.outcome), self.word, &self.parts);
        let mut section: Option<&str> = None;
        for block in self.blocks_in(Layout::Text) {
            match block {
                Block::Section { title, .. } => section = Some(title),
                Block::Gap => section = None,
                _ => {}
            }
            text_block(&mut page, block, section);
        }
        page.finish()
    }

    /// The document as Markdown, short enough for a comment.
    pub fn markdown(&self) -> String {
        let full = self.markdown_with(true);
        match full.chars().count() <= MOST_CHARACTERS {
            true => full,
            false => shorten(self.markdown_with(false)),
        }
    }

    fn markdown_with(&self, folded: bool) -> String {
        let parts: Vec<&str> =
            self.parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let behind = if parts.is_empty() { "" } else { ": " };
        let parts = escape(&parts.join(", "), SENTENCE);
        let mut out = format!("## {} {}{behind}{parts}\n", sign(self.outcome), self.word);
        let mut in_list = false;
        for block in self.blocks_in(Layout::Markdown) {
            let is_item =
                matches!(block, Block::Field { .. } | Block::Path { .. } | Block::Remark { .. });
            if matches!(block, Block::Gap) || (!folded && matches!(block, Block::Folded { .. })) {
                in_list = false;
                continue;
            }
            if !(is_item && in_list) && !matches!(block, Block::Folded { .. }) {
                out.push('\n');
            }
            in_list = is_item;
            out.push_str(&markdown_block(block));
        }
        out
    }
}

fn text_block(page: &mut Page, block: &Block, section: Option<&str>) {
    match block {
        Block::Section { title, parts } => page.parts(BOLD, title, parts),
        Block::Field { name, lines } => {
            for (i, line) in lines.iter().enumerate() {
                page.field(if i == 0 { name } else { "" }, line);
            }
        }
        Block::Path { name, path, about } => page.path(name, path, about),
        Block::Paragraph(text) => page.field("", text),
        Block::Table(table) | Block::Folded { table, .. } => text_table(page, table),
        Block::List { title, items } => {
            let indent = " ".repeat(if section.is_some() { INDENT } else { 0 });
            let title = page.paint(BOLD, title);
            page.line(&format!("{indent}{title}"));
            for item in items {
                let item = truncate(&neutralise(item), page.width - INDENT);
                page.line(&format!("{}{item}", " ".repeat(INDENT)));
            }
        }
        Block::Remark { kind, style, about, text, hint } => {
            let about = about.as_deref().filter(|about| section != Some(*about));
            let about = about.map(|about| format!("{about}: ")).unwrap_or_default();
            page.remark(INDENT, *style, kind, &format!("{about}{text}"));
            if let Some(hint) = hint {
                page.remark(INDENT + 2, DIM, "hint", hint);
            }
        }
        Block::Gap => page.blank(),
    }
}

fn text_table(page: &mut Page, table: &Table) {
    let mut header: Vec<String> = table.columns.iter().map(|(name, _)| name.clone()).collect();
    // Numbers begin where the text of a field does.
    header[0] = pad(&header[0], LABEL - 2);
    let cells =
        |row: &Vec<Vec<String>>| row.iter().map(|cell| neutralise(&cell.join(" "))).collect();
    let rows: Vec<_> = std::iter::once(header).chain(table.rows.iter().map(cells)).collect();
    let lines = aligned(&rows, |i| table.columns[i].1);
    for (number, line) in lines.iter().enumerate() {
        let line = format!("{}{}", " ".repeat(INDENT), line.trim_end());
        let line = if number == 0 { page.paint(DIM, &line) } else { line };
        page.line(&line);
    }
}

fn markdown_block(block: &Block) -> String {
    match block {
        Block::Section { title, parts } => {
            let title = [&[title.clone()], &parts[..]].concat().join("  ");
            format!("### {}\n", escape(&title, SENTENCE))
        }
        Block::Field { name, lines } => {
            let lines: Vec<String> = lines.iter().map(|line| escape(line, SENTENCE)).collect();
            format!("- **{}**: {}\n", escape(name, CELL), lines.join("<br>"))
        }
        Block::Path { name, path, about } => {
            let text = format!("{path}{about}");
            format!("- **{}**: {}\n", escape(name, CELL), escape(&text, SENTENCE))
        }
        Block::Paragraph(text) => format!("{}\n", escape(text, SENTENCE)),
        Block::Table(table) => markdown_table(table, CELL),
        Block::Folded { title, table } => {
            details(&escape(title, TEXT), &markdown_table(table, TEXT))
        }
        Block::List { title, items } => {
            let items = items.iter().map(|item| format!("- {}\n", escape(item, SENTENCE)));
            format!("**{title}**\n\n{}", items.collect::<String>())
        }
        Block::Remark { kind, about, text, hint, .. } => {
            let about = about.as_ref().map(|about| format!(" ({})", escape(about, CELL)));
            let hint = hint.as_ref().map(|hint| format!(" Hint: {}", escape(hint, SENTENCE)));
            let (about, hint) = (about.unwrap_or_default(), hint.unwrap_or_default());
            format!("- **{kind}**{about}: {}{hint}\n", escape(text, SENTENCE))
        }
        Block::Gap => String::new(),
    }
}

/// A table whose lines of cells are cut at `limit` columns each.
fn markdown_table(table: &Table, limit: usize) -> String {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
    let rule = |(_, right): &(String, bool)| if *right { "--:|" } else { "---|" };
    let rules: String = table.columns.iter().map(rule).collect();
    let mut out = format!("{}|{rules}\n", row_of(&names));
    for row in &table.rows {
        let cell = |lines: &Vec<String>| {
            lines.iter().map(|line| escape(line, limit)).collect::<Vec<_>>().join("<br>")
        };
        out.push_str(&row_of(&row.iter().map(cell).collect::<Vec<_>>()));
    }
    out
}
