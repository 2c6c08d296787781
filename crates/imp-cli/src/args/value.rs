//! Values that people type: amounts, times, nodes.

/// Satoshis: digits, of which some may be parted by underscores, and at least 1.
pub(super) fn sat(text: &str) -> Result<i64, String> {
    let is_group = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    if !text.split('_').all(is_group) {
        return Err("give whole satoshis in digits, such as 1000 or 1_000".to_owned());
    }
    match text.replace('_', "").parse() {
        Ok(0) => Err("give at least 1 sat".to_owned()),
        Ok(sat) => Ok(sat),
        Err(_) => Err("that is more bitcoin than there is".to_owned()),
    }
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

/// A node and where it listens: `PUBKEY@HOST:PORT`.
#[derive(Debug, Clone)]
pub(crate) struct NodeAt {
    pub(crate) pubkey: String,
    pub(crate) address: String,
}

impl std::str::FromStr for NodeAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('@') {
            Some((pubkey, address)) if !pubkey.is_empty() && address.contains(':') => {
                Ok(Self { pubkey: pubkey.to_owned(), address: address.to_owned() })
            }
            _ => Err("give PUBKEY@HOST:PORT; `imp node info` of the other node shows both"),
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
        }
        for text in [
            "",
            "0",
            "0_0",
            "-1",
            "+1",
            "1.5",
            "1k",
            "1e3",
            "_1",
            "1_",
            "1__0",
            "٣",
            " 1",
            "9223372036854775808",
        ] {
            assert!(sat(text).is_err(), "{text}");
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
    }

    #[test]
    fn a_node_is_its_key_and_its_address() {
        let node: NodeAt = "02ab@[::1]:9735".parse().unwrap();
        assert_eq!((node.pubkey.as_str(), node.address.as_str()), ("02ab", "[::1]:9735"));
        for text in ["", "02ab", "@h:1", "02ab@", "02ab@h"] {
            assert!(text.parse::<NodeAt>().is_err(), "{text}");
        }
    }
}
