//! Standard output: text for people, or JSON.

use std::fmt::Write as _;
use std::io::{self, Write};

use imp_api::json;
use prost::{Message, Name};

/// How answers are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints an answer as JSON in one line, or as `text` says it.
    pub(crate) fn print<M: Message + Name>(
        self,
        answer: &M,
        text: impl FnOnce(&M) -> String,
    ) -> io::Result<()> {
        let text = if self.json { json::to_json(answer) } else { text(answer) };
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.trim_end_matches('\n').as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }
}

/// Lines of `key: value`, the values below each other.
pub(crate) fn fields(fields: &[(&str, &str)]) -> String {
    let width = fields.iter().map(|(key, _)| key.len() + 1).max().unwrap_or(0);
    fields.iter().fold(String::new(), |mut text, (key, value)| {
        let key = format!("{key}:");
        writeln!(text, "{key:width$} {}", one_line(value)).expect("writing to memory cannot fail");
        text
    })
}

/// A table with a head, columns aligned. Numbers stand to the right.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(one_line(cell).chars().count());
        }
    }
    let is_number = |cell: &str| !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit());
    let mut text = String::new();
    for row in std::iter::once(head.map(str::to_owned)).chain(rows.iter().cloned()) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let cell = one_line(cell);
            if is_number(&cell) {
                write!(line, "{cell:>width$}  ").expect("writing to memory cannot fail");
            } else {
                write!(line, "{cell:width$}  ").expect("writing to memory cannot fail");
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Text of whoever wrote it, safe for a terminal: without what moves the cursor, clears the screen, sets the title or
/// turns the direction of writing.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        let turns =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns || matches!(character, '\u{2028}' | '\u{2029}') {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_below_each_other() {
        assert_eq!(fields(&[("a", "1"), ("long", "2")]), "a:    1\nlong: 2\n");
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [["é".to_owned(), "10".to_owned()], ["longer".to_owned(), "7".to_owned()]];
        assert_eq!(table(["NAME", "SAT"], &rows), "NAME    SAT\né        10\nlonger    7\n");
    }

    #[test]
    fn a_text_cannot_command_the_terminal() {
        assert_eq!(one_line("a\x1b[2J\nb\u{202e}c\u{9b}é"), "a\\u{1b}[2J\\nb\\u{202e}c\\u{9b}é");
    }
}
