//! Whole numbers in every spelling that JSON has for them: `10`, `10.0`, `1e1`, `100e-1`.

/// The whole number that a JSON number denotes, exactly; nothing if the text is no JSON number, has a fraction, or has
/// more than 20 digits, which no 64-bit number has.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || !is_digits(whole)
        || !is_digits(fraction)
        || (whole.len() > 1 && whole.starts_with('0'))
    {
        return None;
    }

    let all = [whole, fraction].concat();
    let significant = all.trim_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let trailing_zeros = all.len() - all.trim_end_matches('0').len();
    // The number is the significant digits times ten to this power.
    let power = exponent
        .saturating_sub(i64::try_from(fraction.len()).ok()?)
        .saturating_add(i64::try_from(trailing_zeros).ok()?);
    let power = u32::try_from(power).ok()?;
    if significant.len() > 20 || power > 20 || significant.len() + power as usize > 20 {
        return None;
    }
    let magnitude = significant.parse::<i128>().ok()? * 10_i128.pow(power);
    Some(if negative { -magnitude } else { magnitude })
}

/// The exponent after the `e`. One that is too large for any number at hand becomes the largest there is.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.trim_start_matches('0');
    let magnitude = if magnitude.is_empty() { 0 } else { magnitude.parse().unwrap_or(i64::MAX) };
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}
