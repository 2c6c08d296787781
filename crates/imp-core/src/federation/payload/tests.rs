use proptest::prelude::*;

use super::*;

fn terms() -> Rights {
    Rights { messages: true, sockets: false, vpn_quotes: true, min_message_sat: 5 }
}

#[test]
fn each_type_has_one_spelling() {
    let texts = [
        (
            Payload::Request { imp_id: "al\"ice".to_owned(), ttl_secs: 60 },
            r#"{"recordId":"FEDERATE","type":"REQUEST","impId":"al\"ice","ttl":60}"#,
        ),
        (
            Payload::Accept { imp_id: String::new(), ttl_secs: 1, terms: terms() },
            r#"{"recordId":"FEDERATE","type":"ACCEPT","impId":"","ttl":1,"messages":true,"sockets":false,"vpnQuotes":true,"minMessageSat":5}"#,
        ),
        (
            Payload::Reject { reason: "refused".to_owned() },
            r#"{"recordId":"FEDERATE","type":"REJECT","reason":"refused"}"#,
        ),
        (Payload::Leave, r#"{"recordId":"FEDERATE","type":"LEAVE"}"#),
        (
            Payload::Renew { imp_id: "é".to_owned(), ttl_secs: 3_155_760_000 },
            r#"{"recordId":"FEDERATE","type":"RENEW","impId":"é","ttl":3155760000}"#,
        ),
    ];
    for (payload, text) in texts {
        assert_eq!(payload.to_json(), text);
        assert_eq!(Payload::parse(text), Ok(payload));
    }
}

#[test]
fn an_event_about_the_node_itself_names_the_peer() {
    let peer = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
    let text = Payload::Expired.to_json_about(&peer);
    assert_eq!(text, format!(r#"{{"recordId":"FEDERATE","type":"EXPIRED","pubkey":"{peer}"}}"#));
    assert_eq!(Payload::parse(&text), Err(PayloadError::UnknownType), "it is never sent");
}

#[test]
fn unknown_keys_are_left_out_and_a_name_may_be_missing() {
    let text = r#"{"x":{"y":[1]},"ttl":9,"type":"REQUEST","pubkey":"forged","recordId":"FEDERATE"}"#;
    let payload = Payload::parse(text).unwrap();
    assert_eq!(payload.to_json(), r#"{"recordId":"FEDERATE","type":"REQUEST","impId":"","ttl":9}"#);
}

#[test]
fn what_is_out_of_bounds_is_refused_by_its_own_error() {
    let request =
        |rest: &str| Payload::parse(&format!(r#"{{"recordId":"FEDERATE","type":"REQUEST",{rest}}}"#));
    let long = "x".repeat(65);
    assert_eq!(request(r#""impId":"","ttl":0"#), Err(PayloadError::Ttl));
    assert_eq!(request(r#""impId":"","ttl":3155760001"#), Err(PayloadError::Ttl));
    assert_eq!(request(r#""impId":"""#), Err(PayloadError::Ttl));
    assert_eq!(request(r#""ttl":-1"#), Err(PayloadError::Malformed));
    assert_eq!(request(r#""ttl":1.5"#), Err(PayloadError::Malformed));
    assert_eq!(request(r#""ttl":"60""#), Err(PayloadError::Malformed));
    assert_eq!(request(r#""ttl":60,"ttl":61"#), Err(PayloadError::Malformed));
    assert_eq!(request(&format!(r#""ttl":1,"impId":"{long}""#)), Err(PayloadError::ImpId));
    assert_eq!(request(r#""ttl":1,"impId":"a\u0007b""#), Err(PayloadError::ImpId));
    assert_eq!(request(r#""ttl":1,"impId":"a\u0085b""#), Err(PayloadError::ImpId));
    let reject = r#"{"recordId":"FEDERATE","type":"REJECT","reason":"\n"}"#;
    assert_eq!(Payload::parse(reject), Err(PayloadError::Reason));
    let accept = r#"{"recordId":"FEDERATE","type":"ACCEPT","ttl":1,"messages":true}"#;
    assert_eq!(Payload::parse(accept), Err(PayloadError::Terms));
    assert_eq!(Payload::parse(r#"{"recordId":"SOCKET","type":"LEAVE"}"#), Err(PayloadError::RecordId));
    assert_eq!(Payload::parse(r#"{"recordId":"FEDERATE","type":"leave"}"#), Err(PayloadError::UnknownType));
    assert_eq!(Payload::parse("hello"), Err(PayloadError::Malformed));
    let list = r#"["FEDERATE","LEAVE","",null,"",null,null,null,null]"#;
    assert_eq!(Payload::parse(list), Err(PayloadError::Malformed));
    assert_eq!(Payload::parse(&"[".repeat(4000)), Err(PayloadError::Malformed));
    assert_eq!(Payload::parse(&" ".repeat(5000)), Err(PayloadError::TooLong));
}

proptest! {
    #[test]
    fn what_can_be_read_is_written_and_read_the_same(text in ".{0,200}", ttl in TTL_SECS, sat in 0..=MAX_SAT) {
        let _ = Payload::parse(&text);
        let request = serde_json::json!({"recordId": "FEDERATE", "type": "REQUEST", "impId": text, "ttl": ttl});
        match Payload::parse(&request.to_string()) {
            Ok(read) => prop_assert_eq!(Payload::parse(&read.to_json()), Ok(read)),
            Err(error) => prop_assert_eq!(error, PayloadError::ImpId),
        }
        let terms = Rights { min_message_sat: sat, ..terms() };
        let accept = Payload::Accept { imp_id: String::new(), ttl_secs: ttl, terms };
        prop_assert_eq!(Payload::parse(&accept.to_json()), Ok(accept));
    }
}
