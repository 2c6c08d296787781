//! Values that people type: amounts, counts, times, nodes.

/// Satoshis: digits, of which some may be parted by underscores, and at least 1.
pub(super) fn sat(text: &str) -> Result<i64, String> {
    match least_sat(text)? {
        0 => Err("give at least 1 sat".to_owned()),
        sat => Ok(sat),
    }
}

/// Satoshis that may be none.
pub(super) fn least_sat(text: &str) -> Result<i64, String> {
    let digits = digits(text).ok_or("give whole satoshis in digits, such as 1000 or 1_000")?;
    digits.parse().map_err(|_| "that is more bitcoin than there is".to_owned())
}

/// A number of things: written as satoshis are, and at least 1.
pub(super) fn count(text: &str) -> Result<i64, String> {
    match digits(text).ok_or("give a whole number in digits, such as 1000 or 1_000")?.parse() {
        Ok(0) => Err("give at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("give a smaller number".to_owned()),
    }
}

/// Digits without the underscores between them; nothing if there is anything else.
fn digits(text: &str) -> Option<String> {
    let is_group = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    text.split('_').all(is_group).then(|| text.replace('_', ""))
}

/// Seconds, given as 90s, 10m, 2h, 7d or several of them: at least one, and whole.
pub(super) fn secs(text: &str) -> Result<i64, String> {
    let time =
        humantime::parse_duration(text).map_err(|fault| format!("{fault}; give 90s, 10m, 2h or 7d"))?;
    match i64::try_from(time.as_secs()) {
        Ok(secs) if secs > 0 && time.subsec_nanos() == 0 => Ok(secs),
        _ => Err("give whole seconds, at least 1s".to_owned()),
    }
}

/// Milliseconds of a pause, given as 500ms, 2s or 1m: from 100 ms to a minute.
pub(super) fn pause_ms(text: &str) -> Result<i64, String> {
    let time = humantime::parse_duration(text).map_err(|fault| format!("{fault}; give 500ms, 2s or 1m"))?;
    match i64::try_from(time.as_millis()) {
        Ok(ms @ 100..=60_000) => Ok(ms),
        _ => Err("give 100ms to 1m".to_owned()),
    }
}

/// The nonce of a VPN contract, or its beginning.
pub(super) fn nonce(text: &str) -> Result<String, &'static str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=64).contains(&text.len()) && text.bytes().all(is_part) {
        return Ok(text.to_owned());
    }
    Err("a nonce is 1 to 64 letters, digits, - and _; `imp vpn list` shows those of contracts")
}

/// A node, as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// Its Lightning public key: 66 hexadecimal digits, whether or not a node can have it.
    Key(String),
    /// Its local name, which only its own node can look up.
    Name(String),
}

impl std::str::FromStr for Node {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("give a public key, or a local name"),
            _ if text.len() == 66 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Self::Key(text.to_owned()))
            }
            _ => Ok(Self::Name(text.to_owned())),
        }
    }
}

/// A node and where it listens: `NODE@HOST:PORT`.
#[derive(Debug, Clone)]
pub(crate) struct NodeAt {
    pub(crate) node: Node,
    pub(crate) address: String,
}

impl std::str::FromStr for NodeAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A name may have an @, an address has none.
        match text.rsplit_once('@') {
            Some((node, address)) if !node.is_empty() && address.contains(':') => {
                Ok(Self { node: node.parse()?, address: address.to_owned() })
            }
            _ => Err(
                "give NODE@HOST:PORT; `imp node info` of the other node shows its key and where it listens",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_whole_satoshis() {
        for (text, expected) in [("1", 1), ("1000", 1000), ("1_000", 1000), ("21_00_0", 21_000), ("007", 7)] {
            assert_eq!(sat(text), Ok(expected), "{text}");
            assert_eq!(count(text), Ok(expected), "{text}");
        }
        for text in ["", "-1", "+1", "1.5", "1k", "1e3", "_1", "1_", "1__0", "٣", " 1", "9223372036854775808"]
        {
            assert!(sat(text).is_err(), "{text}");
            assert!(least_sat(text).is_err(), "{text}");
            assert!(count(text).is_err(), "{text}");
        }
        for text in ["0", "0_0"] {
            assert_eq!((sat(text).is_err(), count(text).is_err(), least_sat(text)), (true, true, Ok(0)));
        }
    }

    #[test]
    fn times_have_units() {
        for (text, expected) in
            [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("1h30m", 5400), ("1000ms", 1)]
        {
            assert_eq!(secs(text), Ok(expected), "{text}");
        }
        for text in ["", "90", "0s", "1500ms", "-1s", "soon", "99999999999999999999s"] {
            assert!(secs(text).is_err(), "{text}");
        }
        for (text, expected) in [("100ms", 100), ("2s", 2000), ("1m", 60_000)] {
            assert_eq!(pause_ms(text), Ok(expected), "{text}");
        }
        for text in ["", "1", "99ms", "61s", "500000000y"] {
            assert!(pause_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nonces_can_stand_in_a_path() {
        for text in ["n", "gKr6mA5xY9sQnLpV7wCt3d", "a-b_c", &"x".repeat(64)] {
            assert_eq!(nonce(text).as_deref(), Ok(text));
        }
        for text in ["", "a/b", "a b", "é", "..", &"x".repeat(65)] {
            assert!(nonce(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_public_key_is_a_name() {
        let key = format!("02{}", "aB".repeat(32));
        assert_eq!(key.parse(), Ok(Node::Key(key.clone())));
        let longer = format!("{key}0");
        for text in ["bob", "02ab", " ", &key[1..], &longer, &"é".repeat(33), &key.replace('a', "g")] {
            assert_eq!(text.parse(), Ok(Node::Name(text.to_owned())));
        }
        assert!("".parse::<Node>().is_err(), "every node without a name would have it");
    }

    #[test]
    fn a_node_is_named_with_its_address() {
        let node: NodeAt = "bob@home@[::1]:9735".parse().unwrap();
        assert_eq!((node.node, node.address.as_str()), (Node::Name("bob@home".to_owned()), "[::1]:9735"));
        for text in ["", "02ab", "@h:1", "02ab@", "02ab@h"] {
            assert!(text.parse::<NodeAt>().is_err(), "{text}");
        }
    }
}
