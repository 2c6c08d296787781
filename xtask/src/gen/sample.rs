//! Values for examples. A field that an example can do without has none.

use serde_json::{Map, Value, json};

use super::interface::{Call, Field, Kind};

/// The address at which a node listens unless it is told otherwise.
pub(super) const NODE: &str = "http://127.0.0.1:8882";

/// A value that fits a field, by its name and comment.
pub(super) fn of(field: &Field) -> Option<Value> {
    Some(match field.name.as_str() {
        // The key whose private half is 1: nobody's node.
        "pubkey" | "fromPubkey" => {
            json!("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
        }
        "id" => json!("8565923e-cfd6-47da-91e6-fa5c9ca9598a"),
        "msg" => json!("hello"),
        "amount" | "amountSat" if !field.comment.contains("Absent") => json!("1000"),
        "amount" => json!("5"),
        "capacitySat" => json!("500000"),
        "price" => json!("100"),
        "nonce" => json!("0a1b2c3d"),
        "invoice" => json!("lnbc10u1p..."),
        "signature" => json!("rdx1g6b8..."),
        "address" if field.comment.contains("host:port") => json!("127.0.0.1:9735"),
        "address" => json!("bcrt1q..."),
        "userChannelId" => json!("312467582304967"),
        _ => return None,
    })
}

/// The command that makes a call with curl.
pub(super) fn curl(call: &Call) -> String {
    let mut path = call.path.clone();
    for field in call.input.fields.iter().filter(|field| call.in_path(field)) {
        let value = of(field);
        let value = value.as_ref().and_then(Value::as_str).unwrap_or("...");
        path = path.replace(&format!("{{{}}}", field.proto_name), value);
    }
    let options = if call.streams { "-sN" } else { "-s" };
    if call.verb == "GET" {
        return format!("curl {options} {NODE}{path}");
    }
    let value = |field: &Field| match (&field.kind, of(field)?) {
        // Either is read, and a number is what people write.
        (Kind::Int64, Value::String(digits)) => Some(json!(digits.parse::<i64>().ok()?)),
        (_, value) => Some(value),
    };
    let body: Map<_, _> =
        call.fields().filter_map(|field| Some((field.name.clone(), value(field)?))).collect();
    format!("curl {options} {NODE}{path} -d '{}'", Value::Object(body))
}
