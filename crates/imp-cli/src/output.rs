//! Standard output: text for people, or JSON.

use std::fmt::Write as _;
use std::io::{self, Write};

use imp_api::error::StatusBody;
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

    /// Whether a program reads what is printed.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints an answer as JSON in one line, or as `text` says it.
    pub(crate) fn print<M: Message + Name>(
        self,
        answer: &M,
        text: impl FnOnce(&M) -> String,
    ) -> io::Result<()> {
        line(&if self.json { json::to_json(answer) } else { text(answer) })
    }

    /// Prints a refusal as REST would have, for those who want JSON.
    pub(crate) fn print_refusal(self, body: &StatusBody) -> io::Result<()> {
        if self.json { line(&body.to_json()) } else { Ok(()) }
    }
}

fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.trim_end_matches('\n').as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Lines of `key: value`, the values below each other.
pub(crate) fn fields<V: AsRef<str>>(fields: &[(&str, V)]) -> String {
    let width = fields.iter().map(|(key, _)| key.len() + 1).max().unwrap_or(0);
    fields.iter().fold(String::new(), |mut text, (key, value)| {
        let key = format!("{key}:");
        writeln!(text, "{key:width$} {}", one_line(value.as_ref())).expect("writing to memory cannot fail");
        text
    })
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// Text, which stands to the left.
    Text(&'static str),
    /// Amounts and counts, which stand to the right.
    Number(&'static str),
}

/// A table with a head, columns aligned.
pub(crate) fn table<const N: usize>(columns: [Column; N], rows: &[[String; N]]) -> String {
    let head = columns.map(|column| match column {
        Column::Text(head) | Column::Number(head) => head.to_owned(),
    });
    let safe = |row: &[String; N]| row.each_ref().map(|cell| one_line(cell));
    let lines: Vec<[String; N]> = std::iter::once(&head).chain(rows).map(safe).collect();
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut written = String::new();
        for ((cell, width), column) in line.iter().zip(widths).zip(columns) {
            match column {
                Column::Text(_) => write!(written, "{cell:width$}  "),
                Column::Number(_) => write!(written, "{cell:>width$}  "),
            }
            .expect("writing to memory cannot fail");
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text
}

/// Millisatoshis in satoshis. Always three decimals, so that the points stand below each other.
pub(crate) fn sat_of_msat(msat: i64) -> String {
    format!("{}{}.{:03}", if msat < 0 { "-" } else { "" }, (msat / 1000).abs(), (msat % 1000).abs())
}

/// Bytes in their largest unit of which there is at least one, rounded down.
pub(crate) fn bytes(count: i64) -> String {
    let count = u64::try_from(count).unwrap_or_default();
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match units.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", count / unit, count % unit / (unit / 10)),
        None => format!("{count} B"),
    }
}

/// A word for what is empty or absent, so that a table keeps its columns.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
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
    fn a_table_is_as_wide_as_its_cells_and_amounts_stand_to_the_right() {
        let rows = [["é".to_owned(), "1000".to_owned()], ["longer".to_owned(), "7".to_owned()]];
        let text = table([Column::Text("NAME"), Column::Number("SAT")], &rows);
        assert_eq!(text, "NAME     SAT\né       1000\nlonger     7\n");
    }

    #[test]
    fn millisatoshis_are_not_rounded() {
        for (msat, expected) in [
            (0, "0.000"),
            (1, "0.001"),
            (1500, "1.500"),
            (-500, "-0.500"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(sat_of_msat(msat), expected);
        }
    }

    #[test]
    fn bytes_have_a_unit() {
        for (count, expected) in [
            (-1, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_999_999, "1.9 MB"),
            (1_500_000_000, "1.5 GB"),
            (i64::MAX, "9223372.0 TB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn a_text_cannot_command_the_terminal() {
        assert_eq!(one_line("a\x1b[2J\nb\u{202e}c\u{9b}é"), "a\\u{1b}[2J\\nb\\u{202e}c\\u{9b}é");
    }
}
