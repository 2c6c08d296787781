//! The table of all configuration keys. File, environment, flags, sample and help are derived from it.

use std::sync::LazyLock;

use imp_core::record::Service;

use Kind::{Bool, Ignored, List, Value};

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// One value: a text, a number, an address.
    Value,
    /// Several values: a YAML list, or one text with commas between.
    List,
    /// The original had this key; its value is not used.
    Ignored,
}

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// Section and key with dots between, as in the file.
    pub name: String,
    /// `--section-key`.
    pub flag: String,
    /// `IMP_SECTION_KEY`.
    pub env: String,
    /// What it takes.
    pub kind: Kind,
    /// The default as it would stand in the file; nothing where the key is unset by default.
    pub default: Option<&'static str>,
    /// A value for the sample where there is no default.
    pub example: &'static str,
    /// What it does, in one sentence or two.
    pub doc: &'static str,
    /// Its value may hold a password and is never repeated.
    pub secret: bool,
}

/// A row of the table: name, kind, default, example where there is no default, documentation.
type Row = (&'static str, Kind, Option<&'static str>, &'static str, &'static str);

/// Every key but those of `service_list`, in the order of the sample.
const ROWS: &[Row] = &[
    ("data_dir", Value, Some("~/.imp"), "", "Directory of the database, the seed, the lock and the log."),
    (
        "log.level",
        Value,
        Some("info"),
        "",
        "Least severe level that is logged: error, warn, info, debug or trace.",
    ),
    ("server.enabled", Bool, Some("true"), "", "Open the gRPC, REST and websocket listeners."),
    ("server.grpc_addr", Value, Some("127.0.0.1:8881"), "", "IP:port of gRPC."),
    ("server.http_addr", Value, Some("127.0.0.1:8882"), "", "IP:port of REST and websocket."),
    (
        "server.insecure",
        Bool,
        Some("false"),
        "",
        "Allow addresses that other machines reach, although whoever reaches them can spend this node's money.",
    ),
    (
        "server.allowed_hosts",
        List,
        Some("[]"),
        "",
        "Host names, besides IP addresses and localhost, under which programs may call this node.",
    ),
    (
        "server.allowed_origins",
        List,
        Some("[]"),
        "",
        "Origins (scheme://host:port) of web pages that may call this node, besides its own.",
    ),
    ("server.max_body_bytes", Value, Some("4194304"), "", "Largest request in bytes."),
    (
        "server.unix_socket",
        Bool,
        Some("true"),
        "",
        "Listen on the unix socket imp.sock in the data directory too, for programs of this user only.",
    ),
    (
        "lightning.backend",
        Value,
        None,
        "ldk",
        "Either ldk, the embedded node, or lnd, that of lnd_node. Unset: lnd where lnd_node is filled in, else ldk.",
    ),
    (
        "lightning.fee_limit",
        Value,
        None,
        "100",
        "Most satoshis that one payment may cost in fees. Unset: 1 % of the amount, at least 10.",
    ),
    ("lightning.lnd_node.ip", Value, None, "127.0.0.1", "Host of LND's gRPC."),
    ("lightning.lnd_node.port", Value, None, "10009", "Port of LND's gRPC."),
    ("lightning.lnd_node.pub_key", Value, None, "", "Public key that the LND node must have."),
    ("lightning.lnd_node.tls_cert", Value, None, "~/.lnd/tls.cert", "LND's certificate file."),
    (
        "lightning.lnd_node.admin_macaroon",
        Value,
        None,
        "~/.lnd/data/chain/bitcoin/mainnet/admin.macaroon",
        "LND's macaroon file.",
    ),
    ("lightning.ldk.network", Value, Some("signet"), "", "bitcoin, testnet, signet or regtest."),
    (
        "lightning.ldk.bitcoind_url",
        Value,
        None,
        "http://user:password@127.0.0.1:38332",
        "A Bitcoin Core node to read the chain from.",
    ),
    (
        "lightning.ldk.bitcoind_cookie_file",
        Value,
        None,
        "~/.bitcoin/signet/.cookie",
        "Bitcoin Core's cookie file, instead of user and password in the URL.",
    ),
    (
        "lightning.ldk.esplora_url",
        Value,
        None,
        super::lightning::PUBLIC_SIGNET_ESPLORA,
        "An Esplora server to read the chain from. Unset, with no other source: a public one on signet.",
    ),
    (
        "lightning.ldk.electrum_url",
        Value,
        None,
        "tcp://127.0.0.1:50001",
        "An Electrum server (tcp or ssl) to read the chain from.",
    ),
    (
        "lightning.ldk.listen",
        List,
        Some("[]"),
        "",
        "IP:port addresses where other Lightning nodes may connect; none means that this node only dials.",
    ),
    (
        "lightning.ldk.announce",
        List,
        Some("[]"),
        "",
        "host:port addresses that are announced to the network, where they differ from those of listen.",
    ),
    (
        "lightning.ldk.alias",
        Value,
        None,
        "my-node",
        "Name announced to the Lightning network, at most 32 bytes.",
    ),
    ("federate.ttl", Value, Some("31560000"), "", "Seconds until a federation ends."),
    (
        "federate.imp_id",
        Value,
        None,
        "my-node",
        "Name of this node among its federated peers, at most 64 bytes.",
    ),
    (
        "federate.accept",
        Value,
        Some("auto"),
        "",
        "Who is federated that asks: auto, everybody, with the rights of strangers; manual, those whom you accept; \
         allowlist, those in allowlist.",
    ),
    ("federate.allowlist", List, Some("[]"), "", "Public keys of nodes that are federated when they ask."),
    (
        "federate.peer_rights",
        List,
        Some("[messages, sockets, vpn_quotes]"),
        "",
        "What federated nodes may do, but those that were accepted by auto; [] for nothing.",
    ),
    (
        "federate.peer_min_sat",
        Value,
        Some("0"),
        "",
        "Least satoshis of a message of theirs, over all its parts; what brings less is withheld.",
    ),
    (
        "federate.stranger_rights",
        List,
        Some("[messages, sockets, vpn_quotes]"),
        "",
        "What everybody else may do; [] for nothing.",
    ),
    (
        "federate.stranger_min_sat",
        Value,
        Some("0"),
        "",
        "Least satoshis of a message of theirs; programs of 2021 send 1.",
    ),
    ("vpn.sell", Bool, Some("false"), "", "Sell VPN connections, whose traffic leaves by this machine."),
    ("vpn.price", Value, Some("100"), "", "Satoshis for each vpn.duration_secs: by default, for an hour."),
    (
        "vpn.server_ip",
        Value,
        None,
        "203.0.113.5",
        "Public IP address of the WireGuard server. Default: that of the default route.",
    ),
    ("vpn.server_port", Value, Some("51820"), "", "UDP port of the WireGuard server."),
    (
        "vpn.server_pub_key",
        Value,
        None,
        "",
        "Not needed: the node makes the server's key pair and keeps it. Another key is reported and not used.",
    ),
    ("vpn.subnet", Value, Some("10.0.0.0/24"), "", "Addresses of clients; the first one is the server's."),
    (
        "vpn.allowed_ips",
        List,
        Some("[0.0.0.0/0]"),
        "",
        "Networks that clients may reach. Private ones only where they are named here themselves.",
    ),
    ("vpn.dns", Value, Some("8.8.8.8"), "", "DNS server that clients are told."),
    ("vpn.duration_secs", Value, Some("3600"), "", "Seconds that one payment buys."),
    (
        "vpn.rest_secs",
        Value,
        Some("3600"),
        "",
        "Seconds after its end for which a contract can be refreshed.",
    ),
    ("vpn.max_hours", Value, Some("168"), "", "Most hours that a contract can have left after a refresh."),
    (
        "vpn.data_limit_mb",
        Value,
        Some("0"),
        "",
        "Megabytes that one payment buys, both ways; 0 for no limit.",
    ),
    (
        "vpn.speed_limit_kbit",
        Value,
        Some("0"),
        "",
        "Kilobits a second for each client and way; 0 for no limit.",
    ),
    (
        "vpn.device",
        Value,
        Some("auto"),
        "",
        "WireGuard of the `kernel`, in `userspace`, or whichever there is: `auto`.",
    ),
    ("vpn.interface", Value, Some("imp0"), "", "Name of the network interface that clients come in by."),
    ("vpn.mtu", Value, Some("1420"), "", "Largest packet in a tunnel, in bytes."),
    (
        "vpn.resolv_conf",
        Value,
        Some("/etc/resolv.conf"),
        "",
        "File that names the DNS servers of this machine, for tunnels that it buys.",
    ),
    (
        "vpn.binary_path",
        Ignored,
        None,
        "",
        "Path of the wg tool. Not needed: this node speaks WireGuard itself.",
    ),
    ("socket.server_ip", Value, None, "203.0.113.5", "Public IP address of UDP relays."),
    ("socket.port_min", Value, Some("20000"), "", "First UDP port that relays may use."),
    ("socket.port_max", Value, Some("29999"), "", "Last UDP port that relays may use."),
    (
        "socket.allow_private",
        Bool,
        Some("false"),
        "",
        "Let private and link-local addresses into relays although server_ip is a public one.",
    ),
    (
        "socket.idle_secs",
        Value,
        Some("120"),
        "",
        "Seconds without a packet after which a relay forgets a side, and ends once both are forgotten.",
    ),
    (
        "socket.life_secs",
        Value,
        Some("86400"),
        "",
        "Seconds after which a relay ends; that of StartSocket goes on until it is stopped.",
    ),
    ("socket.max_relays", Value, Some("2000"), "", "Relays that may run at once."),
    (
        "socket.max_packets",
        Value,
        Some("10000000000"),
        "",
        "Packets of both sides after which a relay ends; a relay may be given another limit.",
    ),
    (
        "socket.max_bytes",
        Value,
        Some("1000000000000"),
        "",
        "Bytes of both sides after which a relay ends; a relay may be given another limit.",
    ),
    (
        "socket.max_packets_per_sec",
        Value,
        Some("1000000"),
        "",
        "Packets that a relay passes on in a second; a relay may be given another limit.",
    ),
    (
        "socket.max_bytes_per_sec",
        Value,
        Some("1250000000"),
        "",
        "Bytes that a relay passes on in a second; a relay may be given another limit.",
    ),
    ("journal.keep_days", Value, Some("365"), "", "Days for which events can be replayed."),
    ("journal.max_mb", Value, Some("4096"), "", "Megabytes that events may take; the oldest go first."),
    (
        "answers.daily_sat",
        Value,
        Some("1000"),
        "",
        "Satoshis a day for answers that strangers cause: quotes, accepts, rejects.",
    ),
    ("sqlite3.username", Ignored, None, "", "Login of the original's database. Not needed."),
    ("sqlite3.password", Ignored, None, "", "Login of the original's database. Not needed."),
];

/// Keys whose values may hold a password.
const SECRET: [&str; 5] = [
    "sqlite3.username",
    "sqlite3.password",
    "lightning.ldk.bitcoind_url",
    "lightning.ldk.esplora_url",
    "lightning.ldk.electrum_url",
];

/// The list of services in the file; its entries are the keys `service_list.<service_type>.<key>`.
pub const SERVICE_LIST: &str = "service_list";

/// Every key, in the order of the sample.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys: Vec<Key> = ROWS
        .iter()
        .map(|&(name, kind, default, example, doc)| key(name, kind, default, example, doc))
        .collect();
    for service in Service::ALL {
        let name = |leaf| format!("{SERVICE_LIST}.{}.{leaf}", service.name());
        let number = match service {
            Service::Federate => "100000",
            Service::Vpn => "200000",
            Service::Message => "400000",
            Service::Socket => "500000",
            Service::Sign => "800000",
        };
        keys.push(key(&name("active"), Bool, Some("true"), "", "Whether this service's calls are answered."));
        keys.push(key(
            &name("custom_record_number"),
            Value,
            Some(number),
            "",
            "Lightning record of this service; the same at both ends of a message.",
        ));
        keys.push(key(&name("additional_service_data"), Ignored, None, "", "Never used."));
    }
    keys
});

fn key(
    name: &str,
    kind: Kind,
    default: Option<&'static str>,
    example: &'static str,
    doc: &'static str,
) -> Key {
    let words = name.replace('.', "_");
    Key {
        flag: format!("--{}", words.replace('_', "-")),
        env: format!("IMP_{}", words.to_uppercase()),
        secret: SECRET.contains(&name),
        name: name.to_owned(),
        kind,
        default,
        example,
        doc,
    }
}

/// The key with this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether keys begin with this section.
pub fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// Every section, outer ones before those within; some more than once.
pub fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter().flat_map(|key| key.name.match_indices('.').map(|(at, _)| &key.name[..at]))
}

/// A key of this section if none of its keys is used.
pub fn ignored_section(name: &str) -> Option<&'static Key> {
    let within = |key: &&Key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    let mut keys = KEYS.iter().filter(within);
    let first = keys.next().filter(|key| key.kind == Ignored)?;
    keys.all(|key| key.kind == Ignored).then_some(first)
}

/// The name among `known` that a misspelt `name` most likely means, or nothing where none is close.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Long names are attacks on the quadratic distance, not typing errors.
    if name.len() > 100 {
        return None;
    }
    let wrong = name.to_lowercase();
    known
        .map(|candidate| (strsim::damerau_levenshtein(&wrong, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        // Two typing errors in three letters make another word.
        .filter(|(distance, _)| *distance <= (name.len() / 3).max(2.min(name.len() / 2)))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_flags_and_variables_are_unique() {
        for spelling in
            [|key: &Key| &key.name, |key: &Key| &key.flag, |key: &Key| &key.env] as [fn(&Key) -> &String; 3]
        {
            assert_eq!(KEYS.iter().map(spelling).collect::<BTreeSet<_>>().len(), KEYS.len());
        }
    }

    #[test]
    fn flag_and_variable_are_derived_from_the_name() {
        let key = find("lightning.ldk.network").unwrap();
        assert_eq!(
            (key.flag.as_str(), key.env.as_str()),
            ("--lightning-ldk-network", "IMP_LIGHTNING_LDK_NETWORK")
        );
        assert_eq!(find("data_dir").unwrap().env, "IMP_DATA_DIR");
    }

    #[test]
    fn service_numbers_are_those_of_the_record_table() {
        for service in Service::ALL {
            let key = find(&format!("{SERVICE_LIST}.{}.custom_record_number", service.name())).unwrap();
            assert_eq!(key.default.unwrap().parse::<u64>().unwrap(), service.default_record_number());
        }
    }

    #[test]
    fn each_secret_is_a_key_and_each_doc_is_a_sentence() {
        assert!(SECRET.iter().all(|name| find(name).is_some_and(|key| key.secret)));
        assert!(KEYS.iter().all(|key| key.doc.ends_with('.')));
    }

    #[test]
    fn the_nearest_key_is_found_and_a_far_one_is_not() {
        let names = || KEYS.iter().map(|key| key.name.as_str());
        assert_eq!(nearest("server.http_adr", names()), Some("server.http_addr"));
        assert_eq!(nearest("SERVER.HTTP_ADDR", names()), Some("server.http_addr"));
        assert_eq!(nearest("vnp", sections()), Some("vpn"));
        assert_eq!(nearest("tor", sections()), None);
        assert_eq!(nearest("unrelated.and.far.away", names()), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), names()), None);
    }
}
