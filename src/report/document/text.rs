//! A document for a terminal.

use super::super::display::{aligned, neutralise, pad, truncate};
use super::super::text::page::{verdict_style, Page, BOLD, DIM, INDENT, LABEL};
use super::super::RenderOptions;
use super::{Block, Document, DocumentTable, Layout};

impl Document {
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

fn text_table(page: &mut Page, table: &DocumentTable) {
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
