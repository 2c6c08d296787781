use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::proto::imp::node::v1::{Channel, ConnectPeerRequest, GetNodeResponse, ListChannelsResponse};
use crate::proto::messaging::{SendMessageRequest, SendMessageResponse};
use crate::proto::socket::{StartSocketResponse, StopSocketRequest, StopSocketResponse};
use crate::proto::vpn::AcceptContractRequest;
use crate::proto::websocket::{SubscribeRequest, SubscribeResponse};

fn send(body: impl AsRef<[u8]>) -> Result<SendMessageRequest, String> {
    from_json(body.as_ref()).map_err(|error| error.to_string())
}

fn request(msg: &str, amount: i64) -> SendMessageRequest {
    SendMessageRequest { msg: msg.into(), amount, ..Default::default() }
}

#[test]
fn every_row_of_the_table_of_bodies() {
    let accepted: &[(&[u8], SendMessageRequest)] = &[
        (b"", request("", 0)),
        (b" \r\n\t ", request("", 0)),
        (b"{}", request("", 0)),
        (br#" { "msg" : "hi" } "#, request("hi", 0)),
        (br#"{"msg":"hi","pubkeys":1,"x":{"msg":2,"y":[{}, "]", null]},"z":[[],{}]}"#, request("hi", 0)),
        (br#"{"Msg":"hi","PUBKEY":5,"reply_to_Id":true}"#, request("", 0)),
        (br#"{"msg":null,"amount":null,"replyToId":null}"#, request("", 0)),
        (br#"{"msg":"hi"}{"msg":"again"}"#, request("hi", 0)),
        (b"{\"msg\":\"hi\"} rubbish \xff", request("hi", 0)),
        (br#"{"msg":"a\u0000b"}"#, request("a\0b", 0)),
        (br#"{"msg":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}"#, request("\"\\/\u{8}\u{c}\n\r\té😀", 0)),
        (r#"{"msg":"é😀"}"#.as_bytes(), request("é😀", 0)),
        (br#"{"m\u0073g":"hi"}"#, request("hi", 0)),
    ];
    for (body, expected) in accepted {
        assert_eq!(send(body).as_ref(), Ok(expected), "{}", String::from_utf8_lossy(body));
    }
    for name in ["replyToId", "reply_to_id"] {
        assert_eq!(send(format!(r#"{{"{name}":"x"}}"#)).unwrap().reply_to_id, "x");
    }

    let refused: &[(&[u8], &str)] = &[
        (br#"{"msg":"a","msg":"b"}"#, r#"duplicate field "msg""#),
        (br#"{"msg":null,"msg":"b"}"#, r#"duplicate field "msg""#),
        (br#"{"reply_to_id":"a","replyToId":"b"}"#, r#"duplicate field "replyToId""#),
        (br#"{"replyToId":"a","reply_to_id":"b"}"#, r#"duplicate field "replyToId""#),
        (b"null", "syntax error (line 1:1): unexpected token null"),
        (b"[]", "syntax error (line 1:1): unexpected token ["),
        (b"\n \"x\"", "syntax error (line 2:2): unexpected token \"x\""),
        (b"{bad", "invalid character 'b' looking for beginning of object key string (line 1:2)"),
        (b"{\"msg\":\"a\",}", "invalid character '}' looking for beginning of object key string"),
        (b"{\"msg\" \"a\"}", "invalid character '\"' after object key"),
        (b"{\"msg\":\"a\" \"b\"}", "invalid character '\"' after object key:value pair"),
        (b"{\"x\":[1 2]}", "invalid character '2' after array element"),
        (b"{\"x\":[1,]}", "invalid character ']' looking for beginning of value"),
        (b"{\"x\":trie}", "invalid character 'i' in literal true (expecting 'u')"),
        (b"{\"x\":-a}", "invalid character 'a' in numeric literal"),
        (b"{\"x\":1.}", "invalid character '}' after decimal point in numeric literal"),
        (b"{\"x\":1e}", "invalid character '}' in exponent of numeric literal"),
        (b"{\"x\":01}", "invalid character '1' after object key:value pair"),
        (b"{\"msg\":\"a\nb\"}", "invalid character '\\n' in string literal"),
        (br#"{"msg":"\x"}"#, "invalid character 'x' in string escape code"),
        (br#"{"msg":"\u00g0"}"#, "invalid character 'g' in \\u hexadecimal character escape"),
        (b"\xef\xbb\xbf{}", "invalid character 'ï' looking for beginning of value (line 1:1)"),
        (b"{\"msg\":\"\xff\"}", "invalid UTF-8 in string (line 1:9)"),
        (b"{\"x\":{\"y\":\"\xc3\"}}", "invalid UTF-8 in string"),
        (br#"{"msg":"\ud83d"}"#, "in string (line 1:9): half of a surrogate pair"),
        (br#"{"x":"\ude00\ud83d"}"#, "half of a surrogate pair"),
        (br#"{"msg":"\ud83d\u0041"}"#, "half of a surrogate pair"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"}", "invalid character '}' looking for beginning of value"),
    ];
    for (body, expected) in refused {
        let error = send(body).expect_err(&String::from_utf8_lossy(body));
        assert!(error.contains(expected), "{}: {error}", String::from_utf8_lossy(body));
    }
}

#[test]
fn every_cut_of_a_body_is_an_unexpected_end() {
    let body = br#"{"msg":"a\u0041\ud83d\ude00","amount":10,"x":[true,{"y":null},-1.5e+3],"pubkey":""}"#;
    assert!(send(body).is_ok());
    for length in 1..body.len() {
        assert!(send(&body[..length]).unwrap_err().starts_with("unexpected EOF"), "{length}");
    }
}

#[test]
fn every_row_of_the_table_of_numbers() {
    let accepted = [
        ("10", 10),
        (r#""10""#, 10),
        ("10.0", 10),
        (r#""10.0""#, 10),
        ("1e2", 100),
        (r#""1e2""#, 100),
        ("1E+2", 100),
        ("1200e-2", 12),
        ("0.5e1", 5),
        ("null", 0),
        ("-5", -5),
        (r#""-5""#, -5),
        ("-0", 0),
        ("0e999999999999999999999", 0),
        (r#""1\u0030""#, 10),
        ("9223372036854775807", i64::MAX),
        (r#""9223372036854775807.000""#, i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("9007199254740993.0", 9_007_199_254_740_993),
    ];
    for (text, expected) in accepted {
        assert_eq!(send(format!(r#"{{"amount":{text}}}"#)), Ok(request("", expected)), "{text}");
    }
    let refused = [
        "1.5",
        r#""abc""#,
        r#""""#,
        r#"" 10""#,
        r#""10 ""#,
        "true",
        "false",
        "9223372036854775808",
        "-9223372036854775809",
        "1e19",
        "1e99",
        "1e99999999999999999999",
        "1e-1",
        r#""01""#,
        r#""+1""#,
        r#""1.""#,
        r#"".5""#,
        r#""0x10""#,
        r#""1_0""#,
        r#""NaN""#,
        r#""-""#,
        "123456789012345678901",
        r#""٣""#,
    ];
    for text in refused {
        let error = send(format!(r#"{{"amount":{text}}}"#)).unwrap_err();
        assert_eq!(error, format!("field amount: invalid value for int64 type: {text}"));
    }
    for (text, token) in [("{}", "{"), ("[1]", "[")] {
        let error = send(format!(r#"{{"amount":{text}}}"#)).unwrap_err();
        assert_eq!(error, format!("field amount: invalid value for int64 type: {token}"));
    }
}

#[test]
fn text_fields_take_only_strings() {
    for text in ["5", "1.5", "{\"a\":1}", "[]", "true"] {
        let error = send(format!(r#"{{"msg":{text}}}"#)).unwrap_err();
        assert!(error.starts_with("field msg: invalid value for string type: "), "{error}");
    }
    let error =
        from_json::<AcceptContractRequest>(br#"{"pubkey":"02","nonce":"n","price":100}"#).unwrap_err();
    assert_eq!(error.to_string(), "field price: invalid value for string type: 100");
}

#[test]
fn a_long_value_is_not_repeated_whole() {
    let error = send(format!(r#"{{"amount":"{}"}}"#, "é".repeat(1_000_000))).unwrap_err();
    assert!(error.len() < 300 && error.ends_with("..."), "{error}");
}

#[test]
fn nesting_is_bounded_and_costs_no_stack() {
    let nested = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(send(nested(MAX_DEPTH)).is_ok());
    assert!(send(nested(MAX_DEPTH + 1)).unwrap_err().contains("exceeded max depth"));
    assert!(send("[".repeat(3_000_000)).unwrap_err().contains("exceeded max depth"));
}

#[test]
fn bools_lists_and_messages_are_read() {
    let body = br#"{"channels":[{"pubkey":"a","ready":true,"capacitySat":"7"},{},{"announced":false}]}"#;
    let expected = ListChannelsResponse {
        channels: vec![
            Channel { pubkey: "a".into(), ready: true, capacity_sat: 7, ..Default::default() },
            Channel::default(),
            Channel::default(),
        ],
    };
    assert_eq!(from_json::<ListChannelsResponse>(body), Ok(expected));
    let node = from_json::<GetNodeResponse>(br#"{"listen":["a","b"],"blockHeight":4294967295}"#).unwrap();
    assert_eq!((node.listen, node.block_height), (vec!["a".to_owned(), "b".to_owned()], u32::MAX));

    for (body, expected) in [
        (r#"{"listen":"a"}"#, "unexpected token \"a\", an array is needed"),
        (r#"{"listen":[null]}"#, "field listen: invalid value for string type: null"),
        (r#"{"synced":"true"}"#, "field synced: invalid value for bool type: \"true\""),
        (r#"{"synced":1}"#, "field synced: invalid value for bool type: 1"),
        (r#"{"blockHeight":-1}"#, "field blockHeight: invalid value for uint32 type: -1"),
        (r#"{"blockHeight":4294967296}"#, "field blockHeight: invalid value for uint32 type: 4294967296"),
    ] {
        let error = from_json::<GetNodeResponse>(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
    }
    let error =
        from_json::<ListChannelsResponse>(br#"{"channels":[{"pubkey":"a","pubkey":"b"}]}"#).unwrap_err();
    assert_eq!(error, JsonError::DuplicateField { field: "pubkey".into() });
    let error = from_json::<ListChannelsResponse>(br#"{"channels":[7]}"#).unwrap_err();
    assert!(error.to_string().contains("unexpected token 7, an object is needed"), "{error}");
}

#[test]
fn an_optional_zero_is_kept_apart_from_an_absent_one() {
    let asked = |body: &[u8]| from_json::<SubscribeRequest>(body).unwrap().after;
    assert_eq!(asked(br#"{"after":0}"#), Some(0));
    assert_eq!(asked(br#"{"after":null}"#), None);
    assert_eq!(asked(b"{}"), None);
}

#[test]
fn a_query_string_is_read_like_text() {
    let read = |query: &str| {
        decode_query(&descriptors::of::<SubscribeRequest>(), query)
            .map(|protobuf| SubscribeRequest::decode(protobuf.as_slice()).unwrap())
            .map_err(|error| error.to_string())
    };
    let expected = |after, cursor| Ok(SubscribeRequest { after, cursor, ..Default::default() });
    assert_eq!(read(""), expected(None, None));
    assert_eq!(read("after=7&cursor=true&token=x&&="), expected(Some(7), Some(true)));
    assert_eq!(read("after=1e2&cursor=0"), expected(Some(100), Some(false)));
    assert_eq!(read("%61fter=%37"), expected(Some(7), None));
    assert_eq!(read("After=x"), expected(None, None));
    assert_eq!(read("after=x"), Err("field after: invalid value for int64 type: \"x\"".into()));
    assert_eq!(read("after="), Err("field after: invalid value for int64 type: \"\"".into()));
    assert_eq!(read("cursor=yes"), Err("field cursor: invalid value for bool type: \"yes\"".into()));
    assert_eq!(read("after=1&after=1"), Err("duplicate field \"after\"".into()));

    let desc = descriptors::of::<ConnectPeerRequest>();
    let protobuf = decode_query(&desc, "pubkey=a+b%20c&address=%C3%A9").unwrap();
    let expected = ConnectPeerRequest { pubkey: "a b c".into(), address: "é".into() };
    assert_eq!(ConnectPeerRequest::decode(protobuf.as_slice()), Ok(expected));
}

#[test]
fn answers_are_written_as_the_original_did() {
    assert_eq!(to_json(&SendMessageResponse { id: "x".into(), state: None }), r#"{"id":"x"}"#);
    assert_eq!(to_json(&StopSocketResponse {}), "{}");
    let socket = StartSocketResponse { protocol: "udp".into(), port1: ":6000".into(), ..Default::default() };
    assert_eq!(to_json(&socket), r#"{"protocol":"udp","ip":"","port1":":6000","port2":""}"#);
    let event = SubscribeResponse { data: "a\"\n<é>".into(), amount: i64::MIN, ..Default::default() };
    assert_eq!(
        to_json(&event),
        r#"{"id":"","replyToId":"","fromPubkey":"","data":"a\"\n<é>","serviceType":"","amount":"-9223372036854775808"}"#
    );
    assert!(to_json(&SubscribeResponse { cursor: Some(0), ..event }).ends_with(r#","cursor":"0"}"#));
    assert_eq!(to_json(&ListChannelsResponse::default()), r#"{"channels":[]}"#);
    let node: Value = serde_json::from_str(&to_json(&GetNodeResponse::default())).unwrap();
    assert_eq!(node["blockHeight"], json!(0), "32-bit numbers are numbers");
    assert_eq!(node["onchainSat"], json!("0"));
    assert_eq!(node["synced"], json!(false));
}

#[test]
fn bytes_that_are_no_such_message_are_an_error() {
    assert!(encode_response(&descriptors::of::<SendMessageResponse>(), &[0xff; 3]).is_err());
}

/// JSON values that come near to what the API takes: its field names, its kinds of values, and everything else.
fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "-?[0-9]{0,22}(\\.[0-9]{0,3})?(e-?[0-9]{1,3})?".prop_map(Value::from),
    ];
    let name = prop_oneof![
        any::<String>(),
        Just("channels".to_owned()),
        Just("pubkey".to_owned()),
        Just("capacitySat".to_owned()),
        Just("capacity_sat".to_owned()),
        Just("ready".to_owned()),
    ];
    scalar.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

fn any_request() -> impl Strategy<Value = SendMessageRequest> {
    (any::<String>(), any::<String>(), any::<i64>(), any::<String>(), any::<Option<i64>>()).prop_map(
        |(msg, pubkey, amount, reply_to_id, keep_secs)| SendMessageRequest {
            msg,
            pubkey,
            amount,
            reply_to_id,
            keep_secs,
            idempotency_key: None,
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = from_json::<ListChannelsResponse>(&body) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_text_of_json_letters_is_read_or_refused(body in r#"[{}\[\]",:\\u0-9aeflnrstd. -]{0,60}"#) {
        let valid = serde_json::from_str::<Value>(&body).is_ok();
        let read = from_json::<StopSocketRequest>(body.as_bytes());
        if valid && !matches!(read, Err(JsonError::UnexpectedToken { .. })) {
            prop_assert_eq!(read, Ok(StopSocketRequest {}));
        }
    }

    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        let text = value.to_string();
        let _ = from_json::<ListChannelsResponse>(text.as_bytes());
        // A message without fields takes any object there is.
        let empty = from_json::<StopSocketRequest>(text.as_bytes());
        prop_assert_eq!(empty.is_ok(), value.is_object());
        let cut = text.floor_char_boundary(text.len() / 2);
        let _ = from_json::<ListChannelsResponse>(&text.as_bytes()[..cut]);
    }

    #[test]
    fn a_message_survives_json(request in any_request()) {
        prop_assert_eq!(from_json::<SendMessageRequest>(to_json(&request).as_bytes()), Ok(request));
    }

    #[test]
    fn an_event_reads_the_same_to_any_parser(data in any::<String>(), amount in any::<i64>()) {
        let event = SubscribeResponse { data: data.clone(), amount, ..Default::default() };
        let parsed: Value = serde_json::from_str(&to_json(&event)).unwrap();
        prop_assert_eq!(&parsed["data"], &json!(data));
        prop_assert_eq!(&parsed["amount"], &json!(amount.to_string()));
    }

    #[test]
    fn a_whole_number_means_the_same_in_every_spelling(number in any::<i64>(), zeros in 0_usize..5) {
        let padded = format!("{number}{}", "0".repeat(zeros));
        for text in [format!("{number}.0"), format!("{padded}e-{zeros}"), format!("{number}e0")] {
            let body = format!(r#"{{"amount":{text}}}"#);
            prop_assert_eq!(from_json::<SendMessageRequest>(body.as_bytes()).unwrap().amount, number, "{}", text);
        }
    }

    #[test]
    fn any_query_string_is_read_or_refused(query in "[a-z%0-9&=+_.é-]{0,60}") {
        let _ = decode_query(&descriptors::of::<SubscribeRequest>(), &format!("after={query}"));
    }
}
