//! Who may come in: no web page may spend the user's money.
//!
//! The node listens where every page in the user's browser can reach it. A browser says where a request comes from, and
//! that is what is looked at: programs of the user's own send no `Origin`, or their own host's. Three rules, on REST,
//! websocket and gRPC alike:
//!
//! - an `Origin` is the request's own scheme, host and port, or one that the configuration allows;
//! - `Sec-Fetch-Site: cross-site` and `same-site` need an `Origin` that the configuration allows;
//! - the `Host` is an IP address, `localhost`, or a name that the configuration allows: a page whose name was made to
//!   resolve to this machine (DNS rebinding) shows its own name there.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use thiserror::Error;
use tonic::Status;

use imp_api::error::{Code, ErrorInfo, StatusBody};

use super::Edge;
use super::link::Peer;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// How long a browser may remember that a page is allowed, in seconds.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The rules, with what the configuration allows beyond them.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// Why a request may not come in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The host is a name that was not allowed.
    #[error(
        "host {host:?} is refused, for a web page could have made this name up; to allow it, list it in server.allowed_hosts"
    )]
    Host {
        /// The host as sent.
        host: String,
    },
    /// The request comes from a page of another site.
    #[error(
        "origin {origin:?} is refused: pages of other sites may not use this node; to allow one, list it in server.allowed_origins"
    )]
    Origin {
        /// The origin as sent.
        origin: String,
    },
    /// The browser says that another site caused the request.
    #[error(
        "a request from another site is refused (Sec-Fetch-Site: {site}); to allow one, list its origin in server.allowed_origins"
    )]
    FetchSite {
        /// What the browser said.
        site: String,
    },
}

impl Refusal {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Host { .. } => "HOST_REFUSED",
            Self::Origin { .. } => "ORIGIN_REFUSED",
            Self::FetchSite { .. } => "SITE_REFUSED",
        }
    }
}

impl From<&Refusal> for StatusBody {
    fn from(refusal: &Refusal) -> Self {
        let info = Some(ErrorInfo::new(refusal.reason()));
        Self { info, ..Self::new(Code::PermissionDenied, refusal.to_string()) }
    }
}

/// What a request says of where it comes from and where it wants to go.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// Every `Host` and the authority of the request target; several only from a client that cheats, none on the owner's
    /// socket.
    pub hosts: Vec<String>,
    /// Every `Origin`.
    pub origins: Vec<String>,
    /// Every `Sec-Fetch-Site`.
    pub sites: Vec<String>,
}

impl Claims {
    fn of(request: &Request) -> Self {
        let headers = request.headers();
        let all = |name: HeaderName| {
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
        // A socket has no name that could be made up; nor can it be an origin.
        let has_host = request.extensions().get::<Peer>() != Some(&Peer::OwnerSocket);
        let hosts = all(header::HOST).chain(authority).filter(|host| has_host && !host.is_empty());
        Self {
            hosts: hosts.collect(),
            origins: all(header::ORIGIN).collect(),
            sites: all(SEC_FETCH_SITE).collect(),
        }
    }
}

impl Guard {
    /// The rules with `server.allowed_hosts` (names, with or without a port) and `server.allowed_origins` (such as
    /// `https://app.example`).
    pub fn new(allowed_hosts: &[String], allowed_origins: &[String]) -> Self {
        let normalized =
            |list: &[String]| list.iter().map(|entry| entry.trim_end_matches('/').to_lowercase()).collect();
        Self { hosts: normalized(allowed_hosts), origins: normalized(allowed_origins) }
    }

    /// Whether a request may come in. Some text: it comes from a page of this origin, which the configuration allows, and
    /// the browser must be told so.
    ///
    /// # Errors
    /// Why not.
    pub fn decide(&self, claims: &Claims) -> Result<Option<String>, Refusal> {
        if let Some(host) = claims.hosts.iter().find(|host| !self.allows_host(host)) {
            return Err(Refusal::Host { host: host.clone() });
        }
        self.decide_origin(claims)
    }

    /// As [`decide`](Self::decide), without the rule about the host: for answers that tell nothing.
    ///
    /// # Errors
    /// Why not.
    pub fn decide_origin(&self, claims: &Claims) -> Result<Option<String>, Refusal> {
        let mut allowed = None;
        for origin in &claims.origins {
            if self.origins.contains(&origin.to_lowercase()) {
                allowed = Some(origin.clone());
            } else if !is_own_origin(origin, &claims.hosts) {
                return Err(Refusal::Origin { origin: origin.clone() });
            }
        }
        if allowed.is_none()
            && let Some(site) = claims.sites.iter().find(|site| is_foreign_site(site))
        {
            return Err(Refusal::FetchSite { site: site.clone() });
        }
        Ok(allowed)
    }

    fn allows_host(&self, host: &str) -> bool {
        let host = host.to_lowercase();
        let name = without_port(&host);
        let is_address = match name.strip_prefix('[') {
            Some(bracketed) => {
                bracketed.strip_suffix(']').is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
            }
            None => name.parse::<Ipv4Addr>().is_ok(),
        };
        is_address || name == "localhost" || self.hosts.iter().any(|entry| *entry == host || entry == name)
    }
}

/// A host without its port. The brackets of an IPv6 address stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a page with this origin was served from where the request goes. The node speaks plain HTTP only.
fn is_own_origin(origin: &str, hosts: &[String]) -> bool {
    let default_port = |text: &str| text.strip_suffix(":80").unwrap_or(text).to_lowercase();
    match (origin.strip_prefix("http://"), hosts.split_first()) {
        (Some(authority), Some((first, rest))) => {
            rest.iter().all(|host| host == first) && default_port(authority) == default_port(first)
        }
        _ => false,
    }
}

/// Anything but the words for "no page" and "this very origin", so that a word yet to come is refused too.
fn is_foreign_site(site: &str) -> bool {
    !matches!(site, "none" | "same-origin")
}

/// The layer for REST, websocket and event streams.
pub(super) async fn http_layer(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let names_no_host = !request.headers().contains_key(header::HOST);
    let is_tcp = matches!(request.extensions().get::<Peer>(), Some(Peer::Tcp { .. }));
    if is_tcp && names_no_host && request.version() == http::Version::HTTP_11 {
        // RFC 9112, section 3.2: also of a request to an absolute URL. On the owner's socket it is not asked for.
        return super::rest::error(&StatusBody::new(Code::InvalidArgument, "missing required Host header"));
    }
    let claims = Claims::of(&request);
    let decision = match request.uri().path() {
        "/health" | "/ready" => edge.guard.decide_origin(&claims),
        _ => edge.guard.decide(&claims),
    };
    match decision {
        Err(refusal) => {
            edge.metrics.refused(refusal.reason());
            super::rest::error(&StatusBody::from(&refusal))
        }
        Ok(None) => next.run(request).await,
        Ok(Some(origin)) => {
            let preflight = preflight(&request);
            let mut response = match preflight {
                Some(response) => response,
                None => next.run(request).await,
            };
            if let Ok(origin) = HeaderValue::from_str(&origin) {
                response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
            }
            response
        }
    }
}

/// The layer for gRPC.
pub(super) async fn grpc_layer(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    match edge.guard.decide(&Claims::of(&request)) {
        Ok(_) => next.run(request).await,
        Err(refusal) => {
            edge.metrics.refused(refusal.reason());
            Status::from(StatusBody::from(&refusal)).into_http::<Body>()
        }
    }
}

/// The answer to a browser that asks before it sends what an allowed page wants sent.
fn preflight(request: &Request) -> Option<Response> {
    let asked = |name: &HeaderName| request.headers().get(name).cloned();
    let method =
        asked(&header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| request.method() == Method::OPTIONS)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
    if let Some(names) = asked(&header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    if let Some(yes) = asked(&REQUEST_PRIVATE_NETWORK) {
        headers.insert(ALLOW_PRIVATE_NETWORK, yes);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(
            &["Node.example".into(), "with-port.example:8882".into()],
            &["https://App.example/".into(), "null".into()],
        )
    }

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }

    fn decide(hosts: &[&str], origins: &[&str], sites: &[&str]) -> Result<Option<String>, Refusal> {
        guard().decide(&Claims { hosts: list(hosts), origins: list(origins), sites: list(sites) })
    }

    #[test]
    fn addresses_localhost_and_allowed_names_are_hosts() {
        for host in [
            "127.0.0.1:8882",
            "127.0.0.1",
            "192.168.1.7:1",
            "[::1]:8882",
            "[::1]",
            "localhost",
            "LOCALHOST:8882",
            "node.example",
            "NODE.example:9",
            "with-port.example:8882",
        ] {
            assert_eq!(decide(&[host], &[], &[]), Ok(None), "{host}");
        }
        assert_eq!(decide(&[], &[], &[]), Ok(None), "HTTP/1.0 has no host");
    }

    #[test]
    fn other_hosts_are_refused_and_told_the_key() {
        for host in [
            "evil.example",
            "evil.example:8882",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "with-port.example",
            "with-port.example:1",
            "127.1",
            "0x7f.0.0.1",
            "::1",
            "[::1",
            "[localhost]",
            "localhost:80:80",
            "a@localhost",
            "localhost.",
            " localhost",
        ] {
            let refusal = decide(&[host], &[], &[]).expect_err(host);
            assert!(matches!(refusal, Refusal::Host { .. }), "{host}");
            assert!(refusal.to_string().contains("server.allowed_hosts"));
        }
        assert!(decide(&["127.0.0.1", "evil.example"], &[], &[]).is_err(), "every host must be right");
    }

    #[test]
    fn a_page_of_the_own_host_comes_in() {
        for (host, origin) in [
            ("127.0.0.1:8882", "http://127.0.0.1:8882"),
            ("localhost:8882", "http://LocalHost:8882"),
            ("[::1]:8882", "http://[::1]:8882"),
            ("localhost", "http://localhost:80"),
            ("localhost:80", "http://localhost"),
        ] {
            assert_eq!(decide(&[host], &[origin], &["same-origin"]), Ok(None), "{origin}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        for (host, origin) in [
            ("127.0.0.1:8882", "http://localhost:8882"),
            ("127.0.0.1:8882", "http://127.0.0.1:8883"),
            ("127.0.0.1:8882", "http://127.0.0.1"),
            ("127.0.0.1:8882", "https://127.0.0.1:8882"),
            ("127.0.0.1:8882", "127.0.0.1:8882"),
            ("127.0.0.1:8882", "https://evil.example"),
            ("127.0.0.1:8882", ""),
            ("127.0.0.1:8882", "http://app.example"),
            ("127.0.0.1:8882", "https://app.example:444"),
        ] {
            let refusal = decide(&[host], &[origin], &[]).expect_err(origin);
            assert_eq!(refusal, Refusal::Origin { origin: origin.into() });
        }
        assert!(decide(&[], &["http://localhost"], &[]).is_err(), "no host, so no own origin");
        assert!(decide(&["a", "b"], &["http://a"], &[]).is_err());
        let both = decide(&["localhost"], &["http://localhost", "https://evil.example"], &[]);
        assert!(both.is_err(), "every origin must be right");
    }

    #[test]
    fn allowed_origins_come_in_from_other_sites() {
        for origin in ["https://app.example", "https://APP.example", "null"] {
            assert_eq!(decide(&["localhost"], &[origin], &["cross-site"]), Ok(Some(origin.into())));
        }
    }

    #[test]
    fn other_sites_are_refused_with_and_without_origin() {
        for site in ["cross-site", "same-site", "", "word-yet-to-come"] {
            let expected = Err(Refusal::FetchSite { site: site.into() });
            assert_eq!(decide(&["localhost"], &[], &[site]), expected);
            assert_eq!(decide(&["localhost"], &["http://localhost"], &[site]), expected);
            assert_eq!(decide(&["localhost"], &[], &["none", site]), expected);
        }
        assert_eq!(decide(&["localhost"], &[], &["none"]), Ok(None));
        assert_eq!(decide(&["localhost"], &[], &["same-origin"]), Ok(None));
    }

    #[test]
    fn the_host_rule_can_be_left_out_but_not_that_of_the_origin() {
        let claims = Claims { hosts: list(&["evil.example"]), ..Claims::default() };
        assert_eq!(guard().decide_origin(&claims), Ok(None));
        let claims = Claims { origins: list(&["https://evil.example"]), ..claims };
        assert!(guard().decide_origin(&claims).is_err());
    }
}
