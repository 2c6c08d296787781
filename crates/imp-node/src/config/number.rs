//! Whole numbers as YAML writes them.

/// Largest number up to which every whole number is a float of its own: 2^53.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// Reads a whole number: decimal, hexadecimal (`0x64`), with underscores between digits (`1_000`), or as a float without
/// a fraction (`100.0`, `1e2`).
///
/// Decimals that begin with a zero are refused: YAML 1.1 took them for octal numbers and YAML 1.2 does not, so it cannot
/// be told which one is meant.
pub(super) fn whole_number(text: &str) -> Result<u64, String> {
    let none = || "this is no whole number, or too large a one".to_owned();
    let digits = without_underscores(text).ok_or_else(none)?;
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        // The standard library takes a sign there.
        let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return u64::from_str_radix(hex, 16).ok().filter(|_| is_hex).ok_or_else(none);
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("this number begins with a 0, which some readers of YAML take for octal".to_owned());
    }
    digits.parse().ok().or_else(|| whole_float(&digits)).ok_or_else(none)
}

/// The text without underscores; nothing where one does not stand between digits.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_hexdigit);
    let between =
        text.match_indices('_').all(|(at, _)| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)));
    between.then(|| text.replace('_', ""))
}

fn whole_float(text: &str) -> Option<u64> {
    // Neither a sign nor the names of what is no number.
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    // The bounds make the conversion exact.
    (number.fract() == 0.0 && (0.0..=MAX_EXACT_FLOAT).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_in_every_spelling() {
        for (text, number) in [
            ("0", 0),
            ("100", 100),
            ("+7", 7),
            ("1_000", 1000),
            ("800_000", 800_000),
            ("100.0", 100),
            ("0.0", 0),
            ("1e2", 100),
            ("1.5e3", 1500),
            ("0x64", 100),
            ("0xFF_FF", 65_535),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(whole_number(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_is_refused() {
        for text in [
            "",
            "-1",
            "-0",
            "1.5",
            "1e-1",
            "1e400",
            "1e300",
            "inf",
            "nan",
            "0x",
            "0x+1",
            "0xg",
            "_1",
            "1_",
            "1__0",
            "4 MiB",
            "1,000",
            "18446744073709551616",
            "12:30",
        ] {
            assert!(whole_number(text).is_err_and(|why| why.contains("no whole number")), "{text}");
        }
    }

    #[test]
    fn a_leading_zero_is_refused_and_said() {
        for text in ["0144", "00", "007", "0_7"] {
            assert!(whole_number(text).is_err_and(|why| why.contains("begins with a 0")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn each_spelling_of_a_number_is_that_number(number in 0..=1_u64 << 53) {
            for text in [format!("{number}"), format!("{number:#x}"), format!("{number}.0"), format!("{number}e0")] {
                prop_assert_eq!(whole_number(&text), Ok(number), "{}", text);
            }
        }
    }
}
