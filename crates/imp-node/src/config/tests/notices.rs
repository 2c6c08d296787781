//! What does not keep the daemon from starting and must be said.

use super::*;

fn notices(config: Result<Config, Faults>) -> Vec<Notice> {
    let mut notices = config.unwrap_or_else(|faults| panic!("{faults}")).notices;
    // The public server stands in every configuration that names no source of the chain.
    notices.retain(|notice| notice.key != "lightning.ldk.esplora_url");
    notices
}

/// The only notice of a configuration.
fn notice(config: Result<Config, Faults>) -> (NoticeKind, String) {
    let notices = notices(config);
    let [notice] = &notices[..] else { panic!("{notices:?}") };
    (notice.kind, notice.to_string())
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_one() {
    for (file, said) in [
        (
            "server:\n  htp_addr: x\n",
            "line 2: server.htp_addr is no known key and has no effect; did you mean server.http_addr?",
        ),
        (
            "servr:\n\n  # of alice\n  http_addr: x\n",
            "line 1: servr is no known key and has no effect; did you mean server?",
        ),
        (
            "log: {level: info}\nserverr: [x]\n",
            "line 2: serverr is no known key and has no effect; did you mean server?",
        ),
        (
            "lightning:\n  lnd_nod:\n    ip: x\n",
            "line 2: lightning.lnd_nod is no known key and has no effect; did you mean lightning.lnd_node?",
        ),
        ("lightning: {ldk: {netwrk: x}}", "did you mean lightning.ldk.network?"),
        (
            "service_list:\n  - service_type: mesage\n    active: true\n",
            "service_list.mesage is no known key and has no effect; did you mean service_list.message?",
        ),
        (
            "service_list:\n  - service_type: message\n    activ: true\n",
            "did you mean service_list.message.active?",
        ),
        ("completely_different: {a: {b: c}}", "completely_different is no known key and has no effect"),
    ] {
        let (kind, text) = notice(from_file(file));
        assert_eq!(kind, NoticeKind::UnknownKey, "{text}");
        assert!(text.contains(said), "{said:?} is not in: {text}");
    }
}

#[test]
fn an_unknown_variable_of_a_section_is_told_and_others_are_not() {
    let (kind, text) = notice(load(None, &[("IMP_SERVER_INSECUR", "true")], &[]));
    assert_eq!(kind, NoticeKind::UnknownKey);
    assert!(
        text.contains("IMP_SERVER_INSECUR is no known key") && text.contains("IMP_SERVER_INSECURE?"),
        "{text}"
    );
    assert!(notices(load(None, &[("IMP_ADDR", "127.0.0.1:1"), ("IMPORTANT", "x")], &[])).is_empty());
}

#[test]
fn placeholders_are_told_and_not_used() {
    for (name, value, said) in [
        ("federate.imp_id", "", "is empty"),
        ("federate.imp_id", "YOUR_IMP_ID", "placeholder"),
        ("federate.imp_id", &"long".repeat(20), "longer than 64 bytes"),
        ("vpn.server_ip", "asdfasdfasdf", "placeholder"),
        ("vpn.server_ip", "vpn.example.com", "no IP address"),
        ("vpn.server_ip", "0.0.0.0", "no machine"),
        ("vpn.server_pub_key", "asdfasdfasdf", "placeholder"),
        ("vpn.server_pub_key", "my key", "no WireGuard key"),
        ("vpn.dns", "none", "no IP address"),
        ("socket.server_ip", "1.1.1.1", "belongs to somebody else"),
        ("socket.server_ip", "example", "no IP address"),
        ("server.http_addr", "asdfasdfasdf", "placeholder"),
        ("vpn.price", "", "is empty"),
        ("lightning.lnd_node.pub_key", "asdfasdfasdf", "placeholder"),
        ("lightning.lnd_node.pub_key", "02ab", "66 hexadecimal digits"),
    ] {
        let config = from_file(&file_of(&[(name, value)]));
        assert_eq!(settings_only(config.clone()), settings_only(load(None, &[], &[])), "{name}: {value}");
        let (kind, text) = notice(config);
        assert_eq!(kind, NoticeKind::Placeholder, "{text}");
        for part in [name, said, "not used"] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }
}

#[test]
fn a_placeholder_replaces_no_value_of_another_layer() {
    let config =
        load(Some("vpn: {price: 7}"), &[("IMP_VPN_PRICE", "asdfasdfasdf")], &[("vpn.price", "")]).unwrap();
    assert_eq!(config.vpn.price_sat, 7);
}

#[test]
fn what_the_original_needed_and_this_node_does_not_is_told() {
    for (name, value) in
        [("sqlite3.username", "admin"), ("sqlite3.password", "x"), ("vpn.binary_path", "/usr/bin/wg")]
    {
        let (kind, text) = notice(from_file(&file_of(&[(name, value)])));
        assert_eq!(kind, NoticeKind::Ignored, "{text}");
        assert!(text.contains(name) && text.contains("ignored"), "{text}");
    }
    assert!(
        notices(from_file("service_list:\n  - service_type: sign\n    additional_service_data:\n"))
            .is_empty()
    );
}

#[test]
fn what_is_ignored_may_be_anything() {
    for (file, said) in [
        (
            "service_list:\n  - service_type: sign\n    additional_service_data: {a: [1]}\n",
            "line 3: service_list.sign.additional_service_data is ignored",
        ),
        (
            "service_list:\n  - service_type: sign\n    additional_service_data:\n      - a: 1\n",
            "line 3: service_list.sign.additional_service_data is ignored",
        ),
        ("sqlite3:\n  password:\n    a: b\n", "line 2: sqlite3.password is ignored"),
        ("sqlite3:\n  username: [a, [b]]\n", "line 2: sqlite3.username is ignored"),
        ("vpn:\n  binary_path: [/usr/bin/wg]\n", "line 2: vpn.binary_path is ignored"),
        ("sqlite3: none\n", "line 1: sqlite3 is ignored"),
    ] {
        let (kind, text) = notice(from_file(file));
        assert_eq!(kind, NoticeKind::Ignored, "{text}");
        assert!(text.contains(said), "{said:?} is not in: {text}");
    }
}

#[test]
fn half_an_lnd_node_gives_the_embedded_one_and_says_so() {
    let missing = [
        ("lightning.lnd_node.ip", "127.0.0.1"),
        ("lightning.lnd_node.port", "10001"),
        ("lightning.lnd_node.tls_cert", "/gone/tls.cert"),
        ("lightning.lnd_node.admin_macaroon", "/there/admin.macaroon"),
    ];
    let config = from_file(&file_of(&missing)).unwrap();
    assert_eq!((config.lightning.backend, &config.lightning.lnd), (Backend::Ldk, &None));
    let told = notices(Ok(config)).iter().map(|notice| format!("{notice}\n")).collect::<String>();
    assert!(told.contains("/gone/tls.cert, which does not exist"), "{told}");
    assert!(told.contains("the embedded Lightning node is used"), "{told}");
}

#[test]
fn a_file_of_2021_is_answered_with_what_is_not_used_of_it() {
    let told = notices(from_file(FILE_OF_2021));
    let keys: Vec<_> = told.iter().map(|notice| notice.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "sqlite3.username",
            "sqlite3.password",
            "lightning.lnd_node.pub_key",
            "lightning.lnd_node.tls_cert",
            "lightning.lnd_node.admin_macaroon",
            "vpn.server_ip",
            "vpn.server_pub_key",
            "vpn.binary_path",
            "lightning.lnd_node",
            "socket.server_ip",
        ]
    );
    assert!(told.iter().all(|notice| notice.kind != NoticeKind::UnknownKey));
    assert!(!told.iter().any(|notice| notice.to_string().contains("correct-horse")));
}
