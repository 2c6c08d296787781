use super::*;

const CLIENT: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const SERVER: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
const PSK: &str = "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn example() -> Config {
    Config {
        client_key: CLIENT.parse().unwrap(),
        server: "203.0.113.5:51820".parse().unwrap(),
        server_key: SERVER.parse().unwrap(),
        client: "10.0.0.10/24".parse().unwrap(),
        allowed: vec!["0.0.0.0/0".parse().unwrap(), "10.0.0.0/24".parse().unwrap()],
        dns: "8.8.8.8".parse().unwrap(),
        psk: PSK.parse().unwrap(),
        nonce: "DjPL6L35WGdvxhiRz6PqZU".parse().unwrap(),
        expiry_secs: 1_700_003_600,
        duration_secs: 3600,
        mtu: 1420,
        limits: Limits::default(),
    }
}

/// The text of the example with `privkey` and what stands behind `psk`.
fn text(privkey: &str) -> String {
    format!(
        r#"{{"recordId":"VPN_RESPONSE","type":"CONFIG","pubkey":"{CLIENT}","privkey":"{privkey}","serverIp":"203.0.113.5","serverPort":"51820","serverPubKey":"{SERVER}","clientIp":"10.0.0.10/24","allowedIp":"0.0.0.0/0, 10.0.0.0/24","dnsIp":"8.8.8.8","psk":"{PSK}","nonce":"DjPL6L35WGdvxhiRz6PqZU","expiry":"1700003600","duration_secs":"3600","mtu":"1420"}}"#
    )
}

/// Alice of RFC 7748, section 6.1, whose public key is the client's.
fn private_key() -> PrivateKey {
    "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=".parse().unwrap()
}

/// What is made of the example's text with one value exchanged.
fn with(key: &str, value: &str) -> Result<Config, PayloadError> {
    let serde_json::Value::Object(mut object) = serde_json::from_str(&text("")).unwrap() else {
        unreachable!()
    };
    object.insert(key.to_owned(), value.into());
    serde_json::Value::Object(object).to_string().try_into()
}

#[test]
fn the_text_has_the_keys_of_2021_first() {
    assert_eq!(example().to_json(), text(""));
    assert_eq!(Config::try_from(text("")), Ok(example()));
    let limited = Config { limits: Limits { data_bytes: Some(7), bytes_per_sec: Some(8) }, ..example() };
    assert!(limited.to_json().ends_with(r#""mtu":"1420","data_bytes":"7","bytes_per_sec":"8"}"#));
    assert_eq!(Config::try_from(limited.to_json()), Ok(limited));
}

#[test]
fn the_private_key_is_joined_in_its_place_and_never_taken_from_another_node() {
    let key = private_key();
    let joined = text(&key.to_base64());
    assert_eq!(example().to_json_with(Some(&key)), joined);
    assert_eq!(join_private_key(&text(""), &key), joined);
    let refused = PayloadError::Field { field: "privkey", expected: "empty" };
    assert_eq!(Response::parse(&joined), Err(refused));
    assert_eq!(with("privkey", " "), Err(refused));
}

#[test]
fn a_private_key_is_joined_to_its_own_configuration_only() {
    let other = PrivateKey::from_random([7; 32]);
    let quote = r#"{"recordId":"VPN_RESPONSE","type":"REFUSED","reason":"not selling"}"#;
    assert_eq!(join_private_key(&text(""), &other), text(""));
    for data in [quote, "", "{}", r#"{"privkey":""}"#] {
        assert_eq!(join_private_key(data, &private_key()), data);
    }
}

#[test]
fn what_a_seller_writes_behind_a_value_refuses_the_whole() {
    for key in [
        "pubkey",
        "serverIp",
        "serverPort",
        "serverPubKey",
        "clientIp",
        "allowedIp",
        "dnsIp",
        "psk",
        "nonce",
        "expiry",
        "duration_secs",
        "mtu",
    ] {
        let object: serde_json::Value = serde_json::from_str(&text("")).unwrap();
        let value = object[key].as_str().unwrap();
        for more in ["\nPostUp = touch /tmp/x", "\r", "\0", "\n", "#", ";", "\u{a0}", "%eth0", "\u{660}"] {
            let error = with(key, &format!("{value}{more}")).unwrap_err();
            assert_eq!(error.field(), Some(key), "{more:?}");
            assert!(!error.to_string().contains("PostUp"), "{error}");
        }
    }
    let error = with("dnsIp", "1.1.1.1\nPostUp = sh").unwrap_err();
    assert_eq!(error.to_string(), "dnsIp is not the IP address of a host");
}

#[test]
fn addresses_that_are_no_hosts_are_refused() {
    for key in ["serverIp", "dnsIp"] {
        let none =
            ["", "0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:0.0.0.0", "01.1.1.1"];
        for ip in none.into_iter().chain(["host", "1.1.1.1:53", "[::1]", "fe80::1%lo", "::ffff:224.0.0.1"]) {
            assert_eq!(with(key, ip).unwrap_err().field(), Some(key), "{ip}");
        }
    }
    for ip in
        ["0.0.0.0/24", "10.0.0.0/24", "10.0.0.255/24", "10.0.0.10/7", "10.0.0.10", "10.0.0.10/33", "::1/128"]
    {
        assert_eq!(with("clientIp", ip).unwrap_err().field(), Some("clientIp"), "{ip}");
    }
    for ip in ["127.0.0.2/8", "224.0.0.2/24", "255.255.255.255/32"] {
        assert_eq!(with("clientIp", ip).unwrap_err().field(), Some("clientIp"), "{ip}");
    }
    for ip in ["10.0.0.0/31", "10.0.0.1/31", "10.0.0.0/32", "10.0.0.255/16", "10.255.255.254/8"] {
        assert_eq!(with("clientIp", ip).unwrap().client.to_string(), ip);
    }
}

#[test]
fn ipv4_in_the_spelling_of_ipv6_is_ipv4() {
    assert_eq!(with("serverIp", "::ffff:203.0.113.5"), Ok(example()));
    assert_eq!(with("allowedIp", "::ffff:0:0/96,::ffff:10.0.0.0/120"), Ok(example()));
}

#[test]
fn ports_and_mtu_have_ranges() {
    for port in ["0", "65536", "+51820", "051820", ""] {
        assert_eq!(with("serverPort", port).unwrap_err().field(), Some("serverPort"), "{port}");
    }
    for mtu in ["1279", "65536", "0", "+1420", "01420", ""] {
        assert_eq!(with("mtu", mtu).unwrap_err().field(), Some("mtu"), "{mtu}");
    }
    assert_eq!(with("mtu", "9").unwrap_err().to_string(), "mtu is not a decimal number from 1280 to 65535");
    assert_eq!(with("mtu", "1280").unwrap().mtu, 1280);
    assert_eq!(with("serverPort", "65535").unwrap().server.port(), 65535);
}

#[test]
fn a_servers_key_is_another_nodes() {
    let low = PublicKey::from_bytes([0; 32]).to_string();
    for key in [&low, CLIENT, "", "AAAA"] {
        assert_eq!(with("serverPubKey", key).unwrap_err().field(), Some("serverPubKey"), "{key}");
    }
}

#[test]
fn networks_are_many_but_not_too_many_and_each_is_there_once() {
    let networks = |count: usize| (0..count).map(|net| format!("10.{net}.0.0/16")).collect::<Vec<_>>();
    assert_eq!(with("allowedIp", &networks(64).join(",")).unwrap().allowed.len(), 64);
    for text in
        ["", ",", "10.0.0.0/8,", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/8;11.0.0.0/8", "10.0.0.0/8\t", "any"]
    {
        assert_eq!(with("allowedIp", text).unwrap_err().field(), Some("allowedIp"), "{text}");
    }
    assert_eq!(with("allowedIp", &networks(65).join(",")).unwrap_err().field(), Some("allowedIp"));
    let read = with("allowedIp", "10.0.0.5/8,  2001:DB8::/32 ,10.0.0.0/8").unwrap();
    let expected: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    assert_eq!(read.allowed, expected);
}

#[test]
fn the_longest_configuration_can_be_read() {
    let longest = Config {
        server: "[2001:db8:1111:2222:3333:4444:5555:6666]:51820".parse().unwrap(),
        client: "100.100.100.100/24".parse().unwrap(),
        allowed: (0..64)
            .map(|net| format!("2001:db8:1111:2222:3333:4444:5555:10{net:02}/128").parse().unwrap())
            .collect(),
        dns: "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(),
        nonce: "n".repeat(64).parse().unwrap(),
        expiry_secs: *TIME_SECS.end(),
        duration_secs: *DURATION_SECS.end(),
        mtu: u16::MAX,
        limits: Limits { data_bytes: Some(i64::MAX as u64), bytes_per_sec: Some(i64::MAX as u64) },
        ..example()
    };
    assert_eq!(Config::try_from(longest.to_json()), Ok(longest));
}

#[test]
fn the_tunnels_own_address_brings_no_network_of_the_sellers_choice() {
    assert_eq!(example().address().to_string(), "10.0.0.10/32");
}

#[test]
fn secrets_of_a_configuration_are_not_printed() {
    assert!(!format!("{:?}", example()).contains(PSK));
    assert!(format!("{:?}", example()).contains("PresharedKey(***)"));
}

#[test]
fn a_configuration_is_kept_as_its_text() {
    let kept = serde_json::to_string(&example()).unwrap();
    assert_eq!(serde_json::from_str::<String>(&kept).unwrap(), text(""));
    assert_eq!(serde_json::from_str::<Config>(&kept).unwrap(), example());
}
