//! What keeps the daemon from starting.

use super::*;

/// The only fault of a configuration.
fn fault(config: Result<Config, Faults>) -> String {
    let faults = config.expect_err("the configuration is at fault");
    assert_eq!(faults.0.len(), 1, "{faults}");
    faults.to_string()
}

#[test]
fn each_bad_value_is_named_with_key_reason_and_remedy() {
    for (name, value, why, remedy) in [
        ("log.level", "loud", "no such level", "debug"),
        ("server.enabled", "maybe", "neither true nor false", "true or false"),
        ("server.grpc_addr", "here", "no IP address and port", "127.0.0.1:8882"),
        ("server.max_body_bytes", "4 MiB", "no whole number", "from 1024 to"),
        ("server.max_body_bytes", "0", "out of range", "from 1024 to"),
        ("server.allowed_hosts", "http://x", "no host name", "node.example.com"),
        ("server.allowed_origins", "*", "every web page", "https://"),
        ("lightning.backend", "cln", "no such backend", "ldk or lnd"),
        ("lightning.fee_limit", "-1", "no whole number", "from 0 to"),
        ("lightning.lnd_node.port", "65536", "out of range", "from 1 to 65535"),
        ("lightning.ldk.network", "mutinynet", "no such network", "signet"),
        ("lightning.ldk.esplora_url", "esplora.example.com", "no URL", "https://"),
        ("lightning.ldk.electrum_url", "http://h:1", "scheme", "tcp://"),
        ("lightning.ldk.electrum_url", "tcp://h", "port is missing", "tcp://"),
        ("lightning.ldk.listen", "example.com:9735", "no IP address and port", "0.0.0.0:9735"),
        ("lightning.ldk.announce", "example.com", "port is missing", "node.example.com:9735"),
        ("lightning.ldk.alias", "a name that is longer than 32 bytes", "too long", "32 bytes"),
        ("federate.ttl", "0", "out of range", "from 1 to"),
        ("federate.accept", "nobody", "no such policy", "auto, manual or allowlist"),
        ("federate.allowlist", "02ab", "66 hexadecimal digits", "public keys"),
        ("federate.peer_rights", "money", "no such right", "vpn_quotes"),
        ("federate.stranger_min_sat", "-1", "no whole number", "from 0 to"),
        ("vpn.price", "0", "out of range", "from 1 to"),
        ("vpn.price", "0144", "begins with a 0", "from 1 to"),
        ("vpn.subnet", "10.0.0.0/31", "prefix length", "10.0.0.0/24"),
        ("vpn.subnet", "fd00::/64", "no IPv4 network", "10.0.0.0/24"),
        ("vpn.allowed_ips", "everything", "no network", "0.0.0.0/0"),
        ("vpn.server_port", "0", "out of range", "from 1 to 65535"),
        ("socket.port_min", "30000", "two ports", "port_max above"),
        ("socket.max_relays", "0", "out of range", "from 1 to 32767"),
        ("socket.idle_secs", "86401", "out of range", "from 1 to 86400"),
        ("journal.max_mb", "1.5", "no whole number", "from 16 to"),
        ("answers.daily_sat", "lots", "no whole number", "from 0 to"),
        ("service_list.message.custom_record_number", "5", "65536", "peers' nodes need the same"),
        ("service_list.message.custom_record_number", "106823", "another protocol", "65536"),
    ] {
        let text = fault(load(None, &[], &[(name, value)]));
        let key = keys::find(name).unwrap();
        let shown = if key.secret { "\"***\"".to_owned() } else { format!("\"{value}\"") };
        for part in [name, &shown, why, remedy, &key.flag] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }
}

#[test]
fn all_faults_are_reported_together_with_their_places() {
    let file = "server:\n  http_addr: nowhere\nvpn:\n  price: cheap\n";
    let faults = load(Some(file), &[("IMP_LOG_LEVEL", "loud")], &[("journal.keep_days", "x")]).unwrap_err();
    let text = faults.to_string();
    assert_eq!(faults.0.len(), 4, "{text}");
    for place in [
        "config.yml, line 2: server.http_addr",
        "config.yml, line 4: vpn.price",
        "IMP_LOG_LEVEL",
        "--journal-keep-days",
    ] {
        assert!(text.contains(place), "{place} is not in: {text}");
    }
}

#[test]
fn addresses_off_loopback_need_consent() {
    let file = "server:\n  http_addr: 0.0.0.0:8882\n";
    let text = fault(from_file(file));
    for part in [
        "line 2: server.http_addr is \"0.0.0.0:8882\"",
        "insecure: true",
        "IMP_SERVER_INSECURE=true",
        "127.0.0.1",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let allowed = [
        load(Some(file), &[("IMP_SERVER_INSECURE", "true")], &[]),
        load(Some(file), &[], &[("server.insecure", "true")]),
        from_file(&format!("{file}  insecure: true\n")),
        // No listener, no risk.
        from_file(&format!("{file}  enabled: false\n")),
    ];
    for config in allowed {
        assert_eq!(config.unwrap().server.http_addr, "0.0.0.0:8882".parse().unwrap());
    }
    for addr in [":8881", "[::]:8881", "192.168.1.5:8881", "[::ffff:10.0.0.1]:8881"] {
        assert!(fault(load(None, &[], &[("server.grpc_addr", addr)])).contains("insecure"), "{addr}");
    }
    for addr in ["127.9.9.9:1", "[::1]:1", "localhost:1", "[::ffff:127.0.0.1]:1"] {
        load(None, &[], &[("server.grpc_addr", addr)]).unwrap();
    }
}

#[test]
fn two_listeners_need_two_addresses() {
    let same = [("server.grpc_addr", "127.0.0.1:7"), ("server.http_addr", "127.0.0.1:7")];
    assert!(fault(load(None, &[], &same)).contains("the same address"));
    let any_port = [("server.grpc_addr", "127.0.0.1:0"), ("server.http_addr", "127.0.0.1:0")];
    load(None, &[], &any_port).unwrap();
}

#[test]
fn a_whole_lnd_node_is_refused_naming_the_way_round() {
    let lnd = LND.split_at(1).1;
    let text = fault(from_file(&file_of(lnd)));
    for part in ["lightning.lnd_node is filled in", "backend: ldk", "IMP_LIGHTNING_BACKEND=ldk"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let config = from_file(&file_of(LND)).unwrap();
    assert_eq!((config.lightning.backend, config.lightning.lnd.unwrap().port), (Backend::Ldk, 10_001));
    assert!(fault(load(None, &[], &[("lightning.backend", "lnd")])).contains("cannot use an LND node yet"));
}

#[test]
fn a_chain_needs_one_source() {
    const NETWORK: &str = "lightning.ldk.network";
    for network in ["bitcoin", "mainnet", "testnet", "regtest"] {
        let text = fault(load(None, &[], &[(NETWORK, network)]));
        assert!(text.contains("no source") && text.contains("bitcoind_url"), "{text}");
    }
    let two = [("lightning.ldk.esplora_url", "https://e"), ("lightning.ldk.electrum_url", "tcp://e:1")];
    assert!(fault(load(None, &[], &two)).contains("Keep one of them"));
    let cookie = [("lightning.ldk.bitcoind_cookie_file", "/c")];
    assert!(fault(load(None, &[], &cookie)).contains("no Bitcoin Core node"));
}

#[test]
fn a_value_that_may_hold_a_password_is_not_repeated() {
    let text = fault(load(None, &[], &[("lightning.ldk.bitcoind_url", "https://user:hunter2@h:1")]));
    assert!(text.contains("\"***\"") && !text.contains("hunter2"), "{text}");
    let text = fault(from_file("lightning: {ldk: {esplora_url: 'hunter2 hunter2'}}\nvpn: {price: 1}"));
    assert!(!text.contains("hunter2"), "{text}");
    let unreadable = fault(from_file("sqlite3:\n  password: hunter2\n\tusername: x\n"));
    assert!(!unreadable.contains("hunter2"), "{unreadable}");
}

#[test]
fn vpn_settings_that_can_never_work_are_faults() {
    for (key, value) in [
        ("device", "tap"),
        ("interface", "a-name-that-is-too-long"),
        ("interface", "a/b"),
        ("mtu", "1000"),
        ("resolv_conf", "resolv.conf"),
        ("duration_secs", "0"),
    ] {
        let text = fault(from_file(&format!("vpn: {{{key}: {value}}}")));
        assert!(text.contains(&format!("vpn.{key}")), "{text}");
    }
    let many = |count: u8| (0..count).map(|n| format!("203.0.113.{n}/32")).collect::<Vec<_>>().join(", ");
    let text = fault(from_file(&format!("vpn: {{allowed_ips: [{}]}}", many(65))));
    assert!(text.contains("vpn.allowed_ips") && text.contains("65 networks"), "{text}");
    assert!(from_file(&format!("vpn: {{allowed_ips: [{}]}}", many(64))).is_ok());
}

#[test]
fn values_of_the_wrong_shape_are_faults_and_hide_no_others() {
    let file = "\
server: yes
vpn:
  price: {sats: 5}
  dns: [8.8.8.8]
  allowed_ips: [{a: b}]
service_list: none
journal:
  keep_days: never
";
    let text = from_file(file).unwrap_err().to_string();
    for part in [
        "line 1: server: this is a section",
        "vpn.price: it holds keys of its own",
        "vpn.dns: a list is given",
        "vpn.allowed_ips: it holds keys of its own",
        "service_list: this is no list",
        "journal.keep_days is \"never\"",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn entries_of_the_service_list_need_a_name_of_their_own() {
    let file = "\
service_list:
  - message
  - active: true
  - service_type: [a]
  - service_type: message
  - service_type: message
  - service_type: socket
    custom_record_number: 400001
";
    let text = from_file(file).unwrap_err().to_string();
    for part in
        ["holds no keys", "line 3: service_list: an entry has no service_type", "twice", "once made odd"]
    {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn files_that_are_no_configuration_are_told_so() {
    let bomb = {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = level - 1;
            text += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 10].join(", "));
        }
        text
    };
    let too_much = "more than any configuration";
    for (text, part) in [
        ("- a\n- b\n", "no list of"),
        ("just text", "no list of"),
        ("a: [", "not YAML"),
        ("a: *nowhere\n", "not YAML"),
        (&bomb, too_much),
        (&"[".repeat(10_000), "not YAML"),
        (&"a: ".repeat(5_000), "not YAML"),
        (&(0..5_000).map(|depth| " ".repeat(depth) + "a:\n").collect::<String>(), "larger than"),
        (&(0..500).map(|depth| " ".repeat(depth) + "a:\n").collect::<String>(), too_much),
        (&"x: y\n".repeat(MAX_FILE_BYTES), "larger than"),
    ] {
        let told = fault(from_file(text));
        assert!(told.contains(part) && told.contains("config.yml"), "{part} is not in: {told}");
        assert!(told.len() < 1000, "{} bytes", told.len());
    }
}

#[test]
fn what_cannot_be_read_as_yaml_is_told_for_who_runs_the_node() {
    for (text, said) in [
        ("vpn:\n  price: 5\n  price: 6\n", "line 3: price is set a second time. Keep one of the lines."),
        ("vpn:\n  price: 5\nvpn:\n  dns: 9.9.9.9\n", "line 3: vpn is set a second time. Keep one"),
        ("vpn: {price: 5}\n---\nlog: {level: info}\n", "the file holds a second YAML document"),
        ("vpn:\n  ~: 5\n", "line 2: a key has no name"),
        ("null: 5\n", "line 1: a key has no name"),
        (": 5\n", "line 1: a key has no name"),
        ("vpn:\n\tprice: 5\n", "line 2: a tab stands where the line is indented"),
        ("vpn:\n  price: 5\n\tdns: 9.9.9.9\n", "line 3: a tab stands where the line is indented"),
        ("vpn:\n  price: 5\n  \tdns: 9.9.9.9\n", "line 3: a tab stands where the line is indented"),
        ("vpn:\n  sell: false\n\nlog:\n\t\tlevel: info\n", "line 5: a tab stands where"),
        ("service_list:\n\t- service_type: vpn\n", "line 2: a tab stands where"),
        ("service_list:\n  - service_type: vpn\n\t  active: false\n", "line 3: a tab stands where"),
        ("a: &a {x: *a}\n", "not YAML"),
        ("vpn:\n  price: 5\n dns: 9.9.9.9\n", "not YAML"),
    ] {
        let told = fault(from_file(text));
        assert!(told.contains(said), "{said:?} is not in: {told}");
        for advice in ["Options", "Option<", "Policy", "breach", "policy", " at line "] {
            assert!(!told.contains(advice), "{advice:?} is in: {told}");
        }
    }
}
