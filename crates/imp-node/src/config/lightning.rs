//! The Lightning node: which backend, and how the embedded one reads the chain.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use imp_core::amount::Msat;
use imp_core::id::NodeId;
use imp_lightning::Network;

use super::address;
use super::chain::{self, ChainSource};
use super::fault::NoticeKind;
use super::settings::Settings;

/// The Esplora server that is used on signet when no source is named.
pub const PUBLIC_SIGNET_ESPLORA: &str = "https://mempool.space/signet/api";

/// The `lightning` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightningConfig {
    /// Which node is used.
    pub backend: Backend,
    /// Most that one payment may cost in fees; nothing for 1 % of the amount and at least 10 sat.
    pub fee_limit: Option<Msat>,
    /// The LND node, where `lnd_node` is filled in.
    pub lnd: Option<LndConfig>,
    /// The embedded node.
    pub ldk: LdkConfig,
}

/// A Lightning node to stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The embedded node.
    Ldk,
    /// The LND node of `lightning.lnd_node`.
    Lnd,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ldk => "ldk",
            Self::Lnd => "lnd",
        })
    }
}

/// How an LND node is reached (2021 API).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LndConfig {
    /// IP address or host name of its gRPC.
    pub host: String,
    /// Port of its gRPC.
    pub port: u16,
    /// The key that the node must have, where one was given.
    pub pub_key: Option<NodeId>,
    /// Certificate file.
    pub tls_cert: PathBuf,
    /// Macaroon file.
    pub admin_macaroon: PathBuf,
}

/// The embedded node (LDK).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdkConfig {
    /// The Bitcoin network.
    pub network: Network,
    /// Where the chain is read from.
    pub chain: ChainSource,
    /// Where other Lightning nodes may connect.
    pub listen: Vec<SocketAddr>,
    /// Addresses to announce, `host:port`; empty to announce those of `listen`.
    pub announce: Vec<String>,
    /// Name to announce, at most 32 bytes (BOLT 7).
    pub alias: Option<String>,
}

/// What of the surroundings the section depends on.
pub(super) struct Surroundings<'s> {
    pub(super) home: Option<&'s Path>,
    pub(super) exists: fn(&Path) -> bool,
}

pub(super) fn build(settings: &mut Settings, around: &Surroundings<'_>) -> LightningConfig {
    const BACKEND: &str = "lightning.backend";
    let chosen = settings.optional(BACKEND, "Write ldk or lnd", |text| match text {
        "ldk" => Ok(Backend::Ldk),
        "lnd" => Ok(Backend::Lnd),
        _ => Err("there is no such backend".to_owned()),
    });
    let lnd = lnd(settings, around, chosen);
    let backend = chosen.unwrap_or(if lnd.is_some() { Backend::Lnd } else { Backend::Ldk });
    if backend == Backend::Lnd {
        let (source, why) = match chosen {
            Some(_) => (settings.source(BACKEND), "this version cannot use an LND node yet"),
            None => (
                settings.source("lightning.lnd_node.ip"),
                "lightning.lnd_node is filled in, which chooses the LND node, and this version cannot use one yet",
            ),
        };
        settings.fault(
            source,
            BACKEND,
            Some("lnd"),
            why,
            "Set `backend: ldk` below `lightning:`, or IMP_LIGHTNING_BACKEND=ldk, to run the embedded Lightning node \
             instead; it has a wallet and channels of its own",
        );
    }
    LightningConfig {
        backend,
        fee_limit: settings.optional_number("lightning.fee_limit", 0..=100_000_000).map(Msat::from_sat),
        lnd,
        ldk: ldk(settings, around, backend),
    }
}

const LND_KEYS: [&str; 4] = [
    "lightning.lnd_node.ip",
    "lightning.lnd_node.port",
    "lightning.lnd_node.tls_cert",
    "lightning.lnd_node.admin_macaroon",
];

/// The LND node, if the section names a real one: everything is filled in and the files are there.
fn lnd(settings: &mut Settings, around: &Surroundings<'_>, chosen: Option<Backend>) -> Option<LndConfig> {
    let [ip, port, tls_cert, admin_macaroon] = LND_KEYS;
    let given = LND_KEYS.into_iter().find(|key| settings.is_given(key));
    let host = settings.lenient(ip, address::host);
    let port = settings.optional_number(port, 1..=u64::from(u16::MAX));
    let pub_key = settings
        .lenient("lightning.lnd_node.pub_key", |text| text.parse().map_err(|error| format!("which {error}")));
    let mut file = |key| {
        let path =
            settings.optional(key, "Write an absolute path", |text| super::expand(text, around.home))?;
        let there = (around.exists)(&path);
        if !there && chosen != Some(Backend::Ldk) {
            let text = format!("names {}, which does not exist: not used", path.display());
            settings.notice(NoticeKind::Placeholder, settings.source(key), key, text);
        }
        there.then_some(path)
    };
    let files = (file(tls_cert), file(admin_macaroon));
    if let (Some(host), Some(port), (Some(tls_cert), Some(admin_macaroon))) = (host, port, files) {
        // The range makes the conversion exact.
        return Some(LndConfig { host, port: port as u16, pub_key, tls_cert, admin_macaroon });
    }
    if let Some(key) = given
        && chosen.is_none()
    {
        settings.notice(
            NoticeKind::Chosen,
            settings.source(key),
            "lightning.lnd_node",
            "does not name a whole LND node (address, port, certificate and macaroon files): the embedded Lightning \
             node is used"
                .to_owned(),
        );
    }
    None
}

fn ldk(settings: &mut Settings, around: &Surroundings<'_>, backend: Backend) -> LdkConfig {
    let network =
        settings.required("lightning.ldk.network", "Write bitcoin, testnet, signet or regtest", |text| {
            Network::from_name(text).ok_or_else(|| "there is no such network".to_owned())
        });
    LdkConfig {
        network,
        chain: chain::build(settings, around, network, backend),
        listen: settings.list(
            "lightning.ldk.listen",
            "Write IP addresses with ports, for example 0.0.0.0:9735",
            address::listen,
        ),
        announce: settings.list(
            "lightning.ldk.announce",
            "Write hosts with ports, for example node.example.com:9735",
            address::host_and_port,
        ),
        alias: settings.optional("lightning.ldk.alias", "Write at most 32 bytes on one line", |text| {
            if text.len() > 32 || text.chars().any(char::is_control) {
                return Err("this is too long or holds control characters".to_owned());
            }
            Ok(text.to_owned())
        }),
    }
}
