//! Any bytes as the JSON body of each REST call: refused, or a message that comes out as JSON and goes in again.

#![no_main]

use imp_api::json::{decode_query, decode_request, encode_response};
use imp_api::rest::routes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    let count = routes().iter().count();
    let Some(route) = routes().iter().nth(usize::from(*choice) % count) else { return };
    if let Ok(query) = std::str::from_utf8(body) {
        // A refusal is as good as a message.
        let _ = decode_query(&route.input, query);
    }
    let Ok(message) = decode_request(&route.input, body) else { return };
    let json = encode_response(&route.input, &message).expect("what was decoded can be encoded");
    let again = decode_request(&route.input, json.as_bytes()).expect("what was encoded can be decoded");
    // Not the bytes: what was left out comes back as written zeros.
    assert_eq!(encode_response(&route.input, &again).expect("as before"), json);
});
