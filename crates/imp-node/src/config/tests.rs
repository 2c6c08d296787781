use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::keys::{KEYS, Kind, SERVICE_LIST};
use super::*;

mod faults;
mod notices;

/// A configuration file as the original's users have it: every key of 2021, some values still placeholders.
const FILE_OF_2021: &str = "\
# node of alice
server:
  enabled: true
  grpc_addr: 127.0.0.1:9991 # for the bot
  http_addr: 127.0.0.1:9992
sqlite3:
  username: alice
  password: correct-horse
service_list:
  - service_type: federate
    active: true
    custom_record_number: 100000
    additional_service_data:
  - service_type: vpn
    active: false
    custom_record_number: 200000
    additional_service_data:
  - service_type: message
    active: true
    custom_record_number: 400000
    additional_service_data:
  - service_type: socket
    active: true
    custom_record_number: 500000
    additional_service_data:
  - service_type: sign
    active: true
    custom_record_number: 800000
    additional_service_data:
lightning:
  lnd_node:
    ip: 127.0.0.1
    port: 10001
    pub_key: asdfasdfasdf
    tls_cert: /path/to/tls.cert
    admin_macaroon: /path/to/admin.macaroon
federate:
  ttl: 31560000
  imp_id: alice
vpn:
  price: 250
  server_ip: asdfasdfasdf
  server_port: 51820
  subnet: 10.7.0.0/24
  server_pub_key: asdfasdfasdf
  allowed_ips: 0.0.0.0/0
  binary_path: /usr/bin/wg
  dns: 8.8.8.8
socket:
  server_ip: 1.1.1.1
";

fn inputs(file: Option<&str>, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Inputs {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Inputs {
        file: file.map(|text| ("config.yml".into(), text.to_owned())),
        env: env.iter().map(pair).collect(),
        flags: flags.iter().map(pair).collect(),
        home: Some("/home/alice".into()),
        exists: |path| path.starts_with("/there"),
    }
}

fn load(file: Option<&str>, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Faults> {
    Config::load(&inputs(file, env, flags))
}

fn from_file(text: &str) -> Result<Config, Faults> {
    load(Some(text), &[], &[])
}

/// A configuration file (JSON is YAML) with these settings.
fn file_of(settings: &[(&str, &str)]) -> String {
    let mut root = Map::new();
    let mut services: Map<String, Value> = Map::new();
    for (name, value) in settings {
        let mut path: Vec<&str> = name.split('.').collect();
        let leaf = path.pop().unwrap();
        let mut at = &mut root;
        if path.first() == Some(&SERVICE_LIST) {
            let entry = services.entry(path[1]).or_insert_with(|| json!({ "service_type": path[1] }));
            at = entry.as_object_mut().unwrap();
        } else {
            for section in path {
                at = at.entry(section).or_insert_with(|| json!({})).as_object_mut().unwrap();
            }
        }
        at.insert(leaf.to_owned(), json!(value));
    }
    if !services.is_empty() {
        root.insert(SERVICE_LIST.to_owned(), services.into_iter().map(|(_, entry)| entry).collect());
    }
    Value::Object(root).to_string()
}

/// Without what tells where a setting came from.
fn settings_only(config: Result<Config, Faults>) -> Config {
    let mut config = config.unwrap_or_else(|faults| panic!("{faults}"));
    (config.file, config.notices) = (None, Vec::new());
    config
}

/// Keys and values.
type Pairs = &'static [(&'static str, &'static str)];

const LND: Pairs = &[
    ("lightning.backend", "ldk"),
    ("lightning.lnd_node.ip", "127.0.0.1"),
    ("lightning.lnd_node.port", "10001"),
    ("lightning.lnd_node.tls_cert", "/there/tls.cert"),
    ("lightning.lnd_node.admin_macaroon", "/there/admin.macaroon"),
];

const NODE_KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/// For each key a value other than the default, and what must be set besides for it to show.
const VALUES: &[(&str, &str, Pairs)] = &[
    ("data_dir", "/var/lib/imp", &[]),
    ("log.level", "debug", &[]),
    ("server.enabled", "false", &[]),
    ("server.grpc_addr", "127.0.0.1:1", &[]),
    ("server.http_addr", "[::1]:1", &[]),
    ("server.insecure", "true", &[]),
    ("server.allowed_hosts", "node.example.com", &[]),
    ("server.allowed_origins", "https://app.example.com", &[]),
    ("server.max_body_bytes", "1048576", &[]),
    ("server.unix_socket", "false", &[]),
    ("lightning.backend", "ldk", LND.split_at(1).1),
    ("lightning.fee_limit", "7", &[]),
    ("lightning.lnd_node.ip", "10.0.0.9", LND),
    ("lightning.lnd_node.port", "10009", LND),
    ("lightning.lnd_node.pub_key", NODE_KEY, LND),
    ("lightning.lnd_node.tls_cert", "/there/other.cert", LND),
    ("lightning.lnd_node.admin_macaroon", "/there/other.macaroon", LND),
    ("lightning.ldk.network", "regtest", &[("lightning.ldk.electrum_url", "tcp://127.0.0.1:1")]),
    ("lightning.ldk.bitcoind_url", "http://u:p@127.0.0.1:18443", &[]),
    ("lightning.ldk.bitcoind_cookie_file", "/c", &[("lightning.ldk.bitcoind_url", "http://127.0.0.1")]),
    ("lightning.ldk.esplora_url", "https://esplora.example.com/api", &[]),
    ("lightning.ldk.electrum_url", "ssl://electrum.example.com:50002", &[]),
    ("lightning.ldk.listen", "0.0.0.0:9735", &[]),
    ("lightning.ldk.announce", "node.example.com:9735", &[]),
    ("lightning.ldk.alias", "alice", &[]),
    ("federate.ttl", "86400", &[]),
    ("federate.imp_id", "007", &[]),
    ("federate.accept", "manual", &[]),
    ("federate.allowlist", NODE_KEY, &[]),
    ("federate.peer_rights", "sockets", &[]),
    ("federate.peer_min_sat", "3", &[]),
    ("federate.stranger_rights", "messages", &[]),
    ("federate.stranger_min_sat", "21", &[]),
    ("vpn.sell", "true", &[]),
    ("vpn.price", "5", &[]),
    ("vpn.server_ip", "203.0.113.5", &[]),
    ("vpn.server_port", "51821", &[]),
    ("vpn.server_pub_key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &[]),
    ("vpn.subnet", "10.9.0.0/16", &[]),
    ("vpn.allowed_ips", "10.0.0.0/8", &[]),
    ("vpn.dns", "9.9.9.9", &[]),
    ("vpn.duration_secs", "60", &[]),
    ("vpn.rest_secs", "120", &[]),
    ("vpn.max_hours", "24", &[]),
    ("vpn.data_limit_mb", "500", &[]),
    ("vpn.speed_limit_kbit", "8000", &[]),
    ("vpn.device", "userspace", &[]),
    ("vpn.interface", "imp7", &[]),
    ("vpn.mtu", "1380", &[]),
    ("vpn.resolv_conf", "/run/resolv.conf", &[]),
    ("socket.server_ip", "203.0.113.6", &[]),
    ("socket.port_min", "20002", &[]),
    ("socket.port_max", "30000", &[]),
    ("socket.allow_private", "true", &[]),
    ("socket.idle_secs", "30", &[]),
    ("socket.life_secs", "3600", &[]),
    ("socket.max_relays", "10", &[]),
    ("socket.max_packets", "1000", &[]),
    ("socket.max_bytes", "1000000", &[]),
    ("socket.max_packets_per_sec", "100", &[]),
    ("socket.max_bytes_per_sec", "100000", &[]),
    ("journal.keep_days", "30", &[]),
    ("journal.max_mb", "100", &[]),
    ("answers.daily_sat", "50", &[]),
    ("service_list.federate.active", "false", &[]),
    ("service_list.federate.custom_record_number", "100002", &[]),
    ("service_list.vpn.active", "false", &[]),
    ("service_list.vpn.custom_record_number", "200002", &[]),
    ("service_list.message.active", "false", &[]),
    ("service_list.message.custom_record_number", "400002", &[]),
    ("service_list.socket.active", "false", &[]),
    ("service_list.socket.custom_record_number", "500002", &[]),
    ("service_list.sign.active", "false", &[]),
    ("service_list.sign.custom_record_number", "800002", &[]),
];

#[test]
fn the_table_of_values_has_every_key() {
    let tested: Vec<&str> = VALUES.iter().map(|(name, ..)| *name).collect();
    let used = KEYS.iter().filter(|key| key.kind != Kind::Ignored).map(|key| key.name.as_str());
    assert_eq!(tested, used.collect::<Vec<_>>());
}

#[test]
fn every_key_is_read_from_file_environment_and_flag() {
    for (name, value, besides) in VALUES {
        let base = file_of(besides);
        let env_name = keys::find(name).unwrap().env.as_str();
        let with: Vec<_> =
            besides.iter().filter(|(other, _)| other != name).copied().chain([(*name, *value)]).collect();
        let by_file = settings_only(from_file(&file_of(&with)));
        let by_env = settings_only(load(Some(&base), &[(env_name, value)], &[]));
        let by_flag = settings_only(load(Some(&base), &[], &[(name, value)]));
        assert_eq!(by_file, by_env, "{name}");
        assert_eq!(by_file, by_flag, "{name}");
        let without = from_file(&base).map(|config| settings_only(Ok(config)));
        assert_ne!(Ok(by_file), without, "{name} changes nothing");
    }
}

#[test]
fn environment_goes_over_file_and_flags_over_both() {
    let file = "log: {level: error}\nvpn: {price: 1}\njournal: {keep_days: 1}\n";
    let env = [("IMP_VPN_PRICE", "2"), ("IMP_JOURNAL_KEEP_DAYS", "2"), ("IMP_LOG_LEVEL", "")];
    let config = load(Some(file), &env, &[("journal.keep_days", "3")]).unwrap();
    assert_eq!(
        (config.log.level, config.vpn.price_sat, config.journal.keep_days),
        (tracing::Level::ERROR, 2, 3)
    );
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    let config = load(None, &[], &[]).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("/home/alice/.imp"));
    assert_eq!(config.server.grpc_addr, "127.0.0.1:8881".parse().unwrap());
    assert_eq!(config.server.http_addr, "127.0.0.1:8882".parse().unwrap());
    assert_eq!(config.lightning.backend, Backend::Ldk);
    assert_eq!(config.lightning.ldk.chain.to_string(), format!("Esplora at {PUBLIC_SIGNET_ESPLORA}"));
    assert_eq!(
        (config.journal.keep_days, config.journal.max_mb, config.answers.daily_sat),
        (365, 4096, 1000)
    );
    assert_eq!((config.socket.ports, config.vpn.sell), (20_000..=29_999, false));
    assert_eq!((config.socket.idle, config.socket.life.as_secs()), (Duration::from_secs(120), 86_400));
    assert_eq!((config.socket.max_relays, config.socket.allow_private), (2000, false));
    assert!(config.server.enabled && !config.server.insecure && config.services.inactive.is_empty());
    let [notice] = &config.notices[..] else { panic!("{:?}", config.notices) };
    assert!(notice.text.contains(PUBLIC_SIGNET_ESPLORA), "the public server is told: {notice}");
}

#[test]
fn the_sample_parses_to_the_defaults_and_names_each_key() {
    let text = sample();
    assert_eq!(settings_only(from_file(&text)), settings_only(load(None, &[], &[])));
    let in_sample: Vec<_> = from_file(&text).unwrap().notices.into_iter().map(|notice| notice.kind).collect();
    assert_eq!(in_sample, [NoticeKind::Chosen]);
    // With the comment signs before keys taken away it is a file that names every key, none of them unknown.
    let keys_only = text.lines().map(|line| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        match rest.strip_prefix("# ") {
            Some(key) if key.split(' ').next().is_some_and(|word| word.ends_with(':')) => {
                format!("{indent}{key}")
            }
            Some(_) => String::new(),
            None => line.to_owned(),
        }
    });
    let whole = keys_only.collect::<Vec<_>>().join("\n");
    let settings = collect(&inputs(Some(&whole), &[], &[])).unwrap();
    assert!(settings.faults.is_empty(), "{:?}", settings.faults);
    let mut named: Vec<_> =
        KEYS.iter().filter(|key| settings.is_given(&key.name)).map(|key| &key.name).collect();
    named.extend(
        settings.notices.iter().filter(|notice| notice.kind != NoticeKind::UnknownKey).map(|n| &n.key),
    );
    for key in KEYS.iter().filter(|key| !key.name.ends_with("additional_service_data")) {
        assert!(named.contains(&&key.name), "{} is not in the sample:\n{whole}", key.name);
    }
    assert!(
        !settings.notices.iter().any(|notice| notice.kind == NoticeKind::UnknownKey),
        "{:?}",
        settings.notices
    );
}

#[test]
fn a_file_of_2021_starts_unchanged() {
    let config = from_file(FILE_OF_2021).unwrap();
    assert_eq!(config.server.grpc_addr, "127.0.0.1:9991".parse().unwrap());
    assert_eq!(config.services.inactive, [imp_core::record::Service::Vpn]);
    assert_eq!(config.services.records, imp_core::record::RecordTable::default());
    assert_eq!((config.lightning.backend, &config.lightning.lnd), (Backend::Ldk, &None));
    assert_eq!(config.federate.imp_id, "alice");
    assert_eq!((config.vpn.price_sat, config.vpn.server_ip), (250, None));
    assert_eq!(config.vpn.subnet, "10.7.0.0/24".parse().unwrap());
    assert_eq!(config.socket.server_ip, None);
    assert!(!format!("{config:?}").contains("correct-horse"));
}

#[test]
fn scalars_keep_the_text_they_have_in_the_file() {
    for (yaml, imp_id) in [
        ("007", "007"),
        ("1.10", "1.10"),
        ("on", "on"),
        ("'null'", "null"),
        ("0x10", "0x10"),
        ("true", "true"),
    ] {
        let config = from_file(&format!("federate:\n  imp_id: {yaml}   # name\n")).unwrap();
        assert_eq!(config.federate.imp_id, imp_id);
    }
    let aliased = from_file("vpn: {price: &p 0x0a, dns: 9.9.9.9}\nfederate: {imp_id: *p}\n").unwrap();
    assert_eq!((aliased.vpn.price_sat, aliased.federate.imp_id.as_str()), (10, "0x0a"));
}

#[test]
fn numbers_are_read_as_yaml_writes_them() {
    for price in ["100", "1_00", "100.0", "1e2", "0x64", "'100'", "!!int 100"] {
        let config = from_file(&format!("# wie köstlich\nvpn:\n  price: {price} # sat\n")).unwrap();
        assert_eq!(config.vpn.price_sat, 100, "{price}");
    }
    let file = "service_list:\n  - service_type: sign\n    custom_record_number: 800_000\n";
    assert_eq!(settings_only(from_file(file)), settings_only(load(None, &[], &[])));
}

#[test]
fn numbers_and_truth_values_are_read_as_text_too() {
    let file = "server:\n  enabled: 'yes'\nvpn:\n  server_port: \"51820\"\nlightning:\n  lnd_node:\n    port: '10001'\n";
    assert!(from_file(file).unwrap().server.enabled);
}

#[test]
fn lists_are_read_in_every_spelling() {
    for value in ["[a.example, B.example]", "a.example, b.example", "\n    - a.example\n    - b.example."] {
        let config = from_file(&format!("server:\n  allowed_hosts: {value}\n")).unwrap();
        assert_eq!(config.server.allowed_hosts, ["a.example", "b.example"], "{value}");
    }
    assert!(from_file("server:\n  allowed_hosts:\n").unwrap().server.allowed_hosts.is_empty());
}

#[test]
fn seed_commands_need_no_more_than_the_data_directory() {
    let broken = inputs(Some("data_dir: ~/node\nvpn: {price: free}\n"), &[], &[]);
    assert!(Config::load(&broken).is_err());
    assert_eq!(data_dir(&broken), Ok("/home/alice/node".into()));
    let homeless = Inputs { home: None, ..inputs(None, &[], &[]) };
    assert!(data_dir(&homeless).unwrap_err().to_string().contains("no home directory"));
}

/// Pieces of YAML that meet the reader where it decides.
fn fragment() -> impl Strategy<Value = String> {
    let names = KEYS.iter().flat_map(|key| key.name.split('.').map(str::to_owned)).collect::<Vec<_>>();
    const ODD: &[&str] = &[
        "",
        "~",
        "null",
        "[]",
        "{}",
        "[a, {b: c}]",
        "{a: [b]}",
        "&a [*a]",
        "*a",
        "&a x",
        "<<: *a",
        "!!int x",
        "!x y",
        "- ",
        "? ",
        ": ",
        "\t",
        "'",
        "\"",
        "|\n  x",
        ">",
        "---",
        "...",
        "%YAML 9.9",
        "#",
        "0x",
        ".nan",
        "1e999",
        "-0",
        "\u{feff}",
        "\u{0}",
        "asdfasdfasdf",
        "0.0.0.0:1",
        "99999999999999999999",
        "\\",
        "{",
        "[",
        "service_type: message",
    ];
    prop_oneof![
        proptest::sample::select(names).prop_map(|name| format!("{name}:")),
        proptest::sample::select(ODD).prop_map(str::to_owned),
        Just("\n".to_owned()),
        Just("\n  ".to_owned()),
        Just("\n    ".to_owned()),
        Just(" ".to_owned()),
        ".{0,6}",
    ]
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_a_list_of_faults(text in prop::collection::vec(fragment(), 0..40)) {
        match from_file(&text.concat()) {
            Ok(config) => prop_assert!(!config.data_dir.as_os_str().is_empty()),
            Err(faults) => prop_assert!(!faults.0.is_empty()),
        }
    }

    #[test]
    fn any_value_of_any_key_is_taken_or_faulted_by_name(at in 0..KEYS.len(), value in ".{0,40}") {
        let key = &KEYS[at];
        let by_flag = load(None, &[], &[(key.name.as_str(), value.as_str())]);
        if let Err(faults) = by_flag {
            for fault in &faults.0 {
                prop_assert!(fault.key.is_some() && !fault.remedy.is_empty(), "{}", fault);
            }
        }
    }
}

#[test]
fn rights_may_be_none_and_are_all_where_nothing_is_said() {
    use imp_core::federation::{Rights, Rules};

    assert_eq!(from_file("").unwrap().federate, Rules::default());
    for none in ["peer_rights: []", "peer_rights: \"[]\""] {
        let rules =
            from_file(&format!("federate:\n  {none}\n  stranger_rights: [Messages, sockets]\n")).unwrap();
        assert_eq!(rules.federate.peer_rights, Rights::NONE);
        let messages_and_sockets = Rights { vpn_quotes: false, ..Rights::ALL };
        assert_eq!(rules.federate.stranger_rights, messages_and_sockets);
    }
    let flags = [("federate.peer_rights", "[]"), ("federate.accept", "Manual")];
    let rules = load(None, &[("IMP_FEDERATE_STRANGER_RIGHTS", "[]")], &flags).unwrap().federate;
    assert_eq!((rules.peer_rights, rules.stranger_rights), (Rights::NONE, Rights::NONE));
}
