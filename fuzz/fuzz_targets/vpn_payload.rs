//! Any text as what another node says by the service `vpn`: refused, or one value with one text, without anything that was
//! not checked; and a private key gets into the event of its own configuration only.

#![no_main]

use std::sync::LazyLock;

use imp_core::vpn::payload::{MAX_PAYLOAD_BYTES, Payload};
use imp_core::vpn::{Config, PrivateKey, Request, Response, join_private_key};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::from_random([1; 32]));

fuzz_target!(|text: &str| {
    let joined = join_private_key(text, &KEY);
    let Ok(payload) = Payload::parse(text) else {
        assert!(Request::parse(text).is_err() && Response::parse(text).is_err());
        assert_eq!(joined, text);
        return;
    };
    let written = match &payload {
        Payload::Request(request) => {
            assert_eq!(Request::parse(text).as_ref(), Ok(request));
            assert_eq!(joined, text);
            request.to_json()
        }
        Payload::Response(response) => {
            assert_eq!(Response::parse(text).as_ref(), Ok(response));
            if let Response::Config(config) = response {
                check_config(config, text, &joined);
            } else {
                assert_eq!(joined, text);
            }
            response.to_json()
        }
    };
    assert_eq!(Payload::parse(&written), Ok(payload));
    assert!(written.len() <= MAX_PAYLOAD_BYTES);
    assert!(!written.contains(char::is_control));
});

fn check_config(config: &Config, text: &str, joined: &str) {
    let key = KEY.to_base64();
    if config.client_key == KEY.public() {
        let with_key = format!("\"privkey\":\"{}\"", *key);
        assert_eq!(joined.replace(&with_key, "\"privkey\":\"\""), config.to_json());
        assert_ne!(joined, config.to_json());
    } else {
        assert_eq!(joined, text);
    }
    assert_ne!(config.server_key, config.client_key);
    assert!((1..=64).contains(&config.allowed.len()));
    assert!(config.server.port() != 0 && config.mtu >= 1280);
}
