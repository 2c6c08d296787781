//! Where the embedded Lightning node reads the chain from.

use std::path::PathBuf;
use std::{fmt, fs, io};

use imp_lightning::Network;
use percent_encoding::percent_decode_str;
use url::Url;
use zeroize::Zeroizing;

use super::fault::{NoticeKind, Source};
use super::lightning::{Backend, PUBLIC_SIGNET_ESPLORA, Surroundings};
use super::secret::Secret;
use super::settings::Settings;

/// A source of blocks. Prints without user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainSource {
    /// Bitcoin Core's JSON-RPC.
    Bitcoind {
        /// Host name or IP address, the latter without brackets.
        host: String,
        /// Port.
        port: u16,
        /// How to log in.
        auth: RpcAuth,
    },
    /// An Esplora server.
    Esplora {
        /// Its URL; may hold a password.
        url: Secret<String>,
    },
    /// An Electrum server.
    Electrum {
        /// `tcp://host:port` or `ssl://host:port`.
        url: Secret<String>,
    },
}

impl fmt::Display for ChainSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bitcoind { host, port, .. } => write!(f, "Bitcoin Core at {host}, port {port}"),
            Self::Esplora { url } => write!(f, "Esplora at {}", without_credentials(url.expose())),
            Self::Electrum { url } => write!(f, "Electrum at {}", without_credentials(url.expose())),
        }
    }
}

/// How to log in to Bitcoin Core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcAuth {
    /// By name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret<String>,
    },
    /// By the file that Bitcoin Core writes anew at each start.
    CookieFile(PathBuf),
}

impl RpcAuth {
    /// Name and password, read from the cookie file where that is the way.
    pub fn credentials(&self) -> io::Result<(String, Secret<String>)> {
        match self {
            Self::Password { user, password } => Ok((user.clone(), password.clone())),
            Self::CookieFile(path) => {
                let text = Zeroizing::new(fs::read_to_string(path)?);
                let (user, password) = text.trim().split_once(':').ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "there is no user:password in the file")
                })?;
                Ok((user.to_owned(), Secret::new(password.to_owned())))
            }
        }
    }
}

/// Hides the user's part of a URL that is to be shown.
fn without_credentials(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) => {
            let hidden = parsed.set_username("").and_then(|()| parsed.set_password(None));
            parsed.set_query(None);
            if hidden.is_ok() || parsed.username().is_empty() { parsed.to_string() } else { "***".to_owned() }
        }
        Err(_) => "***".to_owned(),
    }
}

const BITCOIND: &str = "lightning.ldk.bitcoind_url";
const COOKIE: &str = "lightning.ldk.bitcoind_cookie_file";
const ESPLORA: &str = "lightning.ldk.esplora_url";
const ELECTRUM: &str = "lightning.ldk.electrum_url";

pub(super) fn build(
    settings: &mut Settings,
    around: &Surroundings<'_>,
    network: Network,
    backend: Backend,
) -> ChainSource {
    let cookie = settings.optional(COOKIE, "Write an absolute path", |text| super::expand(text, around.home));
    let bitcoind = settings.optional(
        BITCOIND,
        "Write http://user:password@host:port, or http://host:port and name the cookie file in bitcoind_cookie_file",
        |text| bitcoind(text, network, cookie.clone()),
    );
    let esplora = settings.optional(ESPLORA, "Write http://host/path or https://host/path", |text| {
        let url = parse(text, &["http", "https"])?;
        Ok(ChainSource::Esplora { url: Secret::new(url.as_str().trim_end_matches('/').to_owned()) })
    });
    let electrum = settings.optional(ELECTRUM, "Write tcp://host:port or ssl://host:port", |text| {
        let url = parse(text, &["tcp", "ssl"])?;
        url.port().ok_or("the port is missing")?;
        Ok(ChainSource::Electrum { url: Secret::new(text.trim_end_matches('/').to_owned()) })
    });
    if cookie.is_some() && !settings.is_given(BITCOIND) {
        settings.fault(
            settings.source(COOKIE),
            COOKIE,
            None,
            "a cookie file is named, but no Bitcoin Core node",
            "Write lightning.ldk.bitcoind_url as http://host:port",
        );
    }
    let given: Vec<_> =
        [BITCOIND, ESPLORA, ELECTRUM].into_iter().filter(|key| settings.is_given(key)).collect();
    if let [_, second, ..] = given[..] {
        settings.fault(
            settings.source(second),
            second,
            None,
            &format!("{} name two sources of one chain", given.join(" and ")),
            "Keep one of them",
        );
    }
    if given.is_empty() && backend == Backend::Ldk {
        match network {
            Network::Signet => settings.notice(
                NoticeKind::Chosen,
                Source::Nowhere,
                ESPLORA,
                format!("is not set: the public server {PUBLIC_SIGNET_ESPLORA} is asked, and learns this node's addresses"),
            ),
            Network::Bitcoin | Network::Testnet | Network::Regtest => settings.fault(
                settings.source("lightning.ldk.network"),
                "lightning.ldk.network",
                Some(network.name()),
                "no source of this network's chain is named",
                "Set one of bitcoind_url, esplora_url and electrum_url below `lightning: ldk:`; only signet has a default",
            ),
        }
    }
    bitcoind
        .or(esplora)
        .or(electrum)
        .unwrap_or_else(|| ChainSource::Esplora { url: Secret::new(PUBLIC_SIGNET_ESPLORA.to_owned()) })
}

fn parse(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
    if !schemes.contains(&url.scheme()) {
        return Err(format!("its scheme is not {}", schemes.join(" or ")));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the host is missing".to_owned());
    }
    Ok(url)
}

/// Bitcoin Core's address and login. The port defaults to the one that Bitcoin Core has on the network.
fn bitcoind(text: &str, network: Network, cookie: Option<PathBuf>) -> Result<ChainSource, String> {
    let url = parse(text, &["http"])?;
    if url.path() != "/" || url.query().is_some() {
        return Err("there is a path behind the port".to_owned());
    }
    let decoded = |part: &str| {
        percent_decode_str(part)
            .decode_utf8()
            .map(|part| part.into_owned())
            .map_err(|error| error.to_string())
    };
    let auth = match (url.password(), cookie) {
        (Some(_), Some(_)) => return Err("a cookie file is named as well as a password".to_owned()),
        (Some(password), None) => {
            RpcAuth::Password { user: decoded(url.username())?, password: Secret::new(decoded(password)?) }
        }
        (None, Some(path)) => RpcAuth::CookieFile(path),
        (None, None) => return Err("user and password are missing, and no cookie file is named".to_owned()),
    };
    let port = match network {
        Network::Bitcoin => 8332,
        Network::Testnet => 18332,
        Network::Signet => 38332,
        Network::Regtest => 18443,
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    // A parser of http drops the port 80, which is not the default here; one of an unknown scheme keeps it.
    let exact = Url::parse(&text.replacen(url.scheme(), "rpc", 1)).ok();
    let port = exact.and_then(|exact| exact.port()).unwrap_or(port);
    Ok(ChainSource::Bitcoind { host, port, auth })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> RpcAuth {
        RpcAuth::Password { user: user.into(), password: Secret::new(password.into()) }
    }

    #[test]
    fn a_bitcoind_url_gives_address_and_login() {
        for (text, host, port, auth) in [
            ("http://u:p@127.0.0.1:18443", "127.0.0.1", 18443, password("u", "p")),
            ("http://u:p%40%3A%2F@node.example:1/", "node.example", 1, password("u", "p@:/")),
            ("http://u:p@[::1]", "::1", 38332, password("u", "p")),
            ("http://u:p@localhost:80", "localhost", 80, password("u", "p")),
        ] {
            let expected = ChainSource::Bitcoind { host: host.into(), port, auth };
            assert_eq!(bitcoind(text, Network::Signet, None), Ok(expected), "{text}");
        }
        for text in
            ["https://u:p@h:1", "http://h:1", "http://u:p@h:1/wallet", "u:p@h:1", "http://u:p@h:99999", ""]
        {
            assert!(bitcoind(text, Network::Signet, None).is_err(), "{text}");
        }
    }

    #[test]
    fn the_cookie_file_is_read_at_each_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cookie");
        let source = bitcoind("http://127.0.0.1:8332", Network::Bitcoin, Some(path.clone())).unwrap();
        let ChainSource::Bitcoind { auth, .. } = source else { panic!("no bitcoind: {source}") };
        assert_eq!(auth.credentials().unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "__cookie__:12:34\n").unwrap();
        assert_eq!(auth.credentials().unwrap(), ("__cookie__".into(), Secret::new("12:34".into())));
        fs::write(&path, "nothing").unwrap();
        assert_eq!(auth.credentials().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn no_source_prints_its_password() {
        let url = || Secret::new("https://user:hunter2@example.com/api?token=hunter2".to_owned());
        for source in [
            ChainSource::Esplora { url: url() },
            ChainSource::Electrum { url: Secret::new("ssl://user:hunter2@example.com:50002".into()) },
            ChainSource::Bitcoind { host: "h".into(), port: 1, auth: password("u", "hunter2") },
        ] {
            let printed = format!("{source} {source:?}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
        assert_eq!(ChainSource::Esplora { url: url() }.to_string(), "Esplora at https://example.com/api");
    }
}
