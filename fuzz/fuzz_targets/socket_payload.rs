//! Any bytes as the text that another node sends by the service `socket`: refused, or one offer with one text.

#![no_main]

use imp_core::socket::Offer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(offer) = Offer::parse(text) else { return };
    assert!(offer.port1 != 0 && offer.port2 != 0);
    assert_eq!(offer.ip, offer.ip.to_canonical());
    let written = offer.to_json();
    assert_eq!(Offer::parse(&written).as_ref(), Ok(&offer));
    // Nothing of the text comes through but what was checked.
    assert!(written.len() < 400 && written.is_ascii());
});
