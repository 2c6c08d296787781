//! What all lists of the API have in common: how many rows, from where on, and names of what is wanted.

use crate::error::Error;

/// Rows of a page, where the caller does not say.
pub const DEFAULT_ROWS: usize = 100;

/// Most rows of a page.
pub const MAX_ROWS: usize = 1_000;

/// Characters of a name that an error repeats.
const ECHO_MAX: usize = 60;

/// How many rows a page has at most, by the field `limit`: 1 to 1,000, and 0 for 100.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for any other number.
pub fn rows(limit: i64) -> Result<usize, Error> {
    match usize::try_from(limit) {
        Ok(0) => Ok(DEFAULT_ROWS),
        Ok(rows) if rows <= MAX_ROWS => Ok(rows),
        _ => {
            let problem =
                format!("is {limit}; a page has 1 to {MAX_ROWS} rows, and 0 stands for {DEFAULT_ROWS}");
            Err(Error::invalid("limit", problem))
        }
    }
}

/// Where a page goes on, by the field `cursor`; 0 for the first page.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a number below 0.
pub fn cursor(cursor: i64) -> Result<Option<i64>, Error> {
    if cursor < 0 {
        let problem = format!("is {cursor}; give the next_cursor of the page before, or 0");
        return Err(Error::invalid("cursor", problem));
    }
    Ok((cursor > 0).then_some(cursor))
}

/// What a field names, with commas between, each once; blanks and empty names are ignored.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a name that is not one of `known`; it names those.
pub fn names<T: Copy + PartialEq>(
    field: &'static str,
    list: &str,
    known: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<Vec<T>, Error> {
    let mut wanted = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let found = known.iter().copied().find(|one| name_of(*one) == name).ok_or_else(|| {
            let all: Vec<&str> = known.iter().copied().map(&name_of).collect();
            let end = name.char_indices().nth(ECHO_MAX).map_or(name.len(), |(end, _)| end);
            Error::invalid(field, format!("there is no {:?}, only {}", &name[..end], all.join(", ")))
        })?;
        if !wanted.contains(&found) {
            wanted.push(found);
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use imp_api::error::Code;

    use super::*;

    #[test]
    fn a_page_has_1_to_1000_rows() {
        assert_eq!((rows(0), rows(1), rows(1000)), (Ok(100), Ok(1), Ok(1000)));
        for limit in [-1, 1001, i64::MIN, i64::MAX] {
            let refused = rows(limit).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.to_string().starts_with("limit: is "), "{refused}");
        }
    }

    #[test]
    fn a_cursor_is_one_that_a_page_ended_with() {
        assert_eq!((cursor(0), cursor(7)), (Ok(None), Ok(Some(7))));
        assert!(cursor(-1).unwrap_err().to_string().starts_with("cursor: is -1"));
    }

    #[test]
    fn names_are_trimmed_and_count_once() {
        let named = |list| names("state", list, &["open", "paid"], |name| name);
        assert_eq!(named(" paid ,open,, paid"), Ok(vec!["paid", "open"]));
        assert_eq!(named(" , "), Ok(vec![]));
        let refused = named("open,Paid").unwrap_err();
        assert_eq!(refused.to_string(), "state: there is no \"Paid\", only open, paid");
        assert!(named(&"é".repeat(1000)).unwrap_err().to_string().len() < 300);
    }
}
