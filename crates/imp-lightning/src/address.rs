//! Addresses of Lightning nodes as people write them.

use crate::port::LightningError;

/// Checks that a text is `host:port`, where an IPv6 address stands in brackets.
///
/// # Errors
///
/// [`LightningError::Invalid`].
pub fn check(text: &str) -> Result<(), LightningError> {
    let well_formed = text.rsplit_once(':').is_some_and(|(host, port)| {
        let in_brackets = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && (in_brackets || !host.contains(':'))
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if well_formed {
        return Ok(());
    }
    Err(LightningError::Invalid(format!("{text:?} is no address of a node: give host:port")))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_host_and_port_are_an_address() {
        for good in ["127.0.0.1:9735", "[::1]:9735", "node.example:1", "x.onion:65535"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", ":", "host", "host:", ":9735", "host:0", "host:65536", "::1:9735", "a b:1", "host:x"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
