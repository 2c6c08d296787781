use crate::vpn::{Config, PrivateKey};

const TEXT: &str = r#"{"recordId":"VPN_RESPONSE","type":"CONFIG","pubkey":"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=","privkey":"","serverIp":"2001:db8::5","serverPort":"51820","serverPubKey":"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=","clientIp":"10.0.0.10/24","allowedIp":"0.0.0.0/0,::/0","dnsIp":"8.8.8.8","psk":"d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","nonce":"a","expiry":"1","duration_secs":"3600","mtu":"1420"}"#;

#[test]
fn a_configuration_is_what_wg_quick_reads() {
    let config = Config::try_from(TEXT.to_owned()).unwrap();
    let key: PrivateKey = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=".parse().unwrap();
    let expected = "\
[Interface]
PrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=
Address = 10.0.0.10/32
DNS = 8.8.8.8
MTU = 1420

[Peer]
PublicKey = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=
PresharedKey = d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
Endpoint = [2001:db8::5]:51820
AllowedIPs = 0.0.0.0/0, ::/0
PersistentKeepalive = 25
";
    assert_eq!(*config.to_wg_quick(&key), expected);
}
