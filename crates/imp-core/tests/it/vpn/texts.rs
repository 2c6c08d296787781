//! Texts: one for each value, and nothing of another node's but what was checked.

use imp_core::vpn::payload::{MAX_PAYLOAD_BYTES, Payload};
use imp_core::vpn::{Config, PayloadError, Request, Response, join_private_key};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

use super::any;

/// The keys of a text, in order, each with its value.
fn pairs(text: &str) -> Vec<(String, String)> {
    struct Pairs;
    impl<'de> serde::de::Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of texts")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    serde::Deserializer::deserialize_map(&mut json, Pairs).unwrap()
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

proptest! {
    #[test]
    fn a_request_survives_its_text(request in any::request()) {
        let text = request.to_json();
        prop_assert!(text.len() <= MAX_PAYLOAD_BYTES);
        prop_assert_eq!(&pairs(&text)[1].1, request.kind());
        prop_assert_eq!(Request::parse(&text), Ok(request.clone()));
        prop_assert_eq!(Payload::parse(&text), Ok(Payload::Request(request)));
    }

    #[test]
    fn a_response_survives_its_text(response in any::response()) {
        let text = response.to_json();
        prop_assert!(text.len() <= MAX_PAYLOAD_BYTES);
        prop_assert_eq!(&pairs(&text)[1].1, response.kind());
        prop_assert_eq!(Response::parse(&text), Ok(response.clone()));
        prop_assert_eq!(Payload::parse(&text), Ok(Payload::Response(response)));
    }

    #[test]
    fn a_quote_survives_the_store(response in any::response()) {
        if let Response::Quote(quote) = response {
            let kept = serde_json::to_string(&quote).unwrap();
            prop_assert_eq!(serde_json::from_str::<imp_core::vpn::Quote>(&kept).unwrap(), quote);
        }
    }

    #[test]
    fn any_text_is_refused_or_has_one_text(text in any::<String>()) {
        if let Ok(request) = Request::parse(&text) {
            prop_assert_eq!(Request::parse(&request.to_json()), Ok(request));
        }
        if let Ok(response) = Response::parse(&text) {
            prop_assert_eq!(Response::parse(&response.to_json()), Ok(response));
        }
    }

    /// Values of any text under the keys that are known: what is accepted has one text, and it is one of checked values.
    #[test]
    fn a_text_with_a_value_exchanged_is_refused_or_has_one_text(
        text in prop_oneof![
            any::request().prop_map(|request| request.to_json()),
            any::response().prop_map(|response| response.to_json()),
        ],
        at in any::<Index>(),
        value in prop_oneof![
            any::<String>().prop_map(Value::from),
            any::<u64>().prop_map(|number| Value::from(number.to_string())),
            any::<u32>().prop_map(Value::from),
            Just(Value::Null),
        ],
    ) {
        let mut object = object(&text);
        let key = object.keys().nth(at.index(object.len())).unwrap().clone();
        object.insert(key.clone(), value.clone());
        match Payload::parse(&Value::Object(object).to_string()) {
            Ok(payload) => {
                let text = match &payload {
                    Payload::Request(request) => request.to_json(),
                    Payload::Response(response) => response.to_json(),
                };
                prop_assert!(!text.contains(char::is_control));
                prop_assert_eq!(Payload::parse(&text), Ok(payload));
            }
            Err(PayloadError::Field { field, .. } | PayloadError::Number { field, .. }) => prop_assert_eq!(field, key),
            Err(PayloadError::Malformed) => prop_assert!(!value.is_string()),
            Err(PayloadError::TooLong) => prop_assert!(text.len() + value.to_string().len() > MAX_PAYLOAD_BYTES),
            Err(PayloadError::RecordId) => prop_assert_eq!(key, "recordId"),
            Err(PayloadError::UnknownType) => prop_assert_eq!(key, "type"),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_configuration_shows_the_keys_of_2021_first(config in any::config(), key in any::private_key()) {
        let config = any::config_for(config, &key);
        let expected = [
            "recordId", "type", "pubkey", "privkey", "serverIp", "serverPort", "serverPubKey", "clientIp", "allowedIp",
            "dnsIp", "psk", "nonce", "expiry", "duration_secs", "mtu",
        ];
        let sent = config.to_json();
        let joined = join_private_key(&sent, &key);
        prop_assert_eq!(&joined, &config.to_json_with(Some(&key)));
        let (sent, joined) = (pairs(&sent), pairs(&joined));
        let keys: Vec<_> = joined.iter().map(|(key, _)| key.as_str()).collect();
        prop_assert_eq!(&keys[..expected.len()], &expected);
        prop_assert!(["data_bytes", "bytes_per_sec"].iter().filter(|key| keys.contains(key)).eq(&keys[expected.len()..]));
        for (index, (sent, joined)) in sent.into_iter().zip(joined).enumerate() {
            if index == 3 {
                prop_assert_eq!(sent.1, "");
                prop_assert_eq!(&joined.1, &*key.to_base64());
            } else {
                prop_assert_eq!(sent, joined);
            }
        }
    }

    #[test]
    fn a_private_key_is_joined_to_no_other_text(
        text in prop_oneof![any::<String>(), any::response().prop_map(|response| response.to_json())],
        key in any::private_key(),
    ) {
        prop_assert_eq!(join_private_key(&text, &key), text);
    }

    #[test]
    fn nothing_secret_is_printed(config in any::config(), key in any::private_key()) {
        let printed = format!("{:?} {key:?} {:?}", config, Response::Config(Box::new(config.clone())));
        prop_assert!(printed.contains("***"));
        prop_assert!(!printed.contains(key.to_base64().as_str()));
        prop_assert!(!printed.contains(config.psk.to_base64().as_str()));
    }

    /// Refused whatever the field, and the message does not repeat what stood there.
    #[test]
    fn a_line_behind_a_value_of_a_configuration_refuses_it(
        config in any::config(),
        field in select(vec![
            "pubkey", "privkey", "serverIp", "serverPort", "serverPubKey", "clientIp", "allowedIp", "dnsIp", "psk", "nonce",
            "expiry", "duration_secs", "mtu",
        ]),
        line in prop_oneof![
            Just("PostUp = sh -c evil".to_owned()),
            "\\PC{0,40}",
        ],
    ) {
        let mut object = object(&config.to_json());
        let value = object[field].as_str().unwrap();
        object.insert(field.to_owned(), format!("{value}\n{line}").into());
        let text = Value::Object(object).to_string();
        if text.len() <= MAX_PAYLOAD_BYTES {
            let error = Config::try_from(text).unwrap_err();
            prop_assert_eq!(error.field(), Some(field));
            prop_assert!(!error.to_string().contains("PostUp"));
        }
    }
}
