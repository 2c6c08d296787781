//! Addresses as they stand in a configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `IP:port` to listen on. `localhost` and, as the original took it, a bare `:port` for every address are read too.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let with_host = match text.rsplit_once(':') {
        Some(("", port)) => format!("{}:{port}", Ipv4Addr::UNSPECIFIED),
        Some(("localhost", port)) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        _ => text.to_owned(),
    };
    with_host.parse().map_err(|_| "this is no IP address and port".to_owned())
}

/// An IP address that other machines can be told.
pub(super) fn public_ip(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "which is no IP address".to_owned())?;
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("which is the address of no machine".to_owned());
    }
    Ok(address)
}

/// `host:port` as it is announced to others.
pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    let port: u16 = port.parse().map_err(|_| "the port is no number up to 65535".to_owned())?;
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(host),
    };
    if !is_host || port == 0 {
        return Err("this is no host and port".to_owned());
    }
    Ok(text.to_owned())
}

/// An IP address or a host name.
pub(super) fn host(text: &str) -> Result<String, String> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => host_name(text).map_err(|_| "which is no host".to_owned()),
    }
}

/// A host name without port, in lower case.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    if is_host_name(&name) { Ok(name) } else { Err("this is no host name".to_owned()) }
}

/// Letters, digits, hyphens, dots and underscores, at most 253 of them (RFC 1123, and underscores as containers use them).
fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// An origin (RFC 6454) as browsers write it: scheme and host in lower case, the scheme's own port left out.
pub(super) fn origin(text: &str) -> Result<String, String> {
    if text == "*" || text.eq_ignore_ascii_case("null") {
        return Err("this would let in every web page".to_owned());
    }
    let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://").ok_or("the scheme is missing")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(host),
    };
    let port = port
        .map(|port| port.parse::<u16>().map_err(|_| "the port is no number up to 65535".to_owned()))
        .transpose()?;
    if !is_scheme || !is_host {
        return Err("this is no origin".to_owned());
    }
    Ok(match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_read_as_the_original_did() {
        for (text, address) in [
            ("127.0.0.1:8881", "127.0.0.1:8881"),
            ("localhost:1", "127.0.0.1:1"),
            (":8882", "0.0.0.0:8882"),
            ("[::1]:0", "[::1]:0"),
        ] {
            assert_eq!(listen(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in ["", "8882", "127.0.0.1", "example.com:80", "127.0.0.1:65536", "http://127.0.0.1:1"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_are_normalised_and_wildcards_refused() {
        for (text, normal) in [
            ("https://App.Example.com/", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(normal), "{text}");
        }
        for text in
            ["*", "null", "example.com", "https://", "https://a/b", "https://a:99999", "https://*.a", "://a"]
        {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn announced_addresses_need_host_and_port() {
        for text in ["example.com:9735", "203.0.113.5:9735", "[2001:db8::1]:9735"] {
            assert!(host_and_port(text).is_ok(), "{text}");
        }
        for text in ["example.com", ":9735", "a b:1", "2001:db8::1:9735", "example.com:0"] {
            assert!(host_and_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        for (text, read) in [("::1", "::1"), ("127.0.0.1", "127.0.0.1"), ("LND.local.", "lnd.local")] {
            assert_eq!(host(text).as_deref(), Ok(read));
        }
        assert!(host("a:1").is_err() && host("").is_err());
    }

    #[test]
    fn only_addresses_of_machines_are_public() {
        assert!(public_ip("203.0.113.5").is_ok() && public_ip("::1").is_ok());
        for text in
            ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::ffff:0.0.0.0", "vpn.example.com", "203.0.113.5:1"]
        {
            assert!(public_ip(text).is_err(), "{text}");
        }
    }
}
