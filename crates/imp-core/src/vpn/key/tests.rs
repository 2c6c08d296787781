use super::*;

/// Keys of RFC 7748, section 6.1.
const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
const ALICE_PUBLIC: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
const BOB_PUBLIC: &str = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";

fn bytes(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

#[test]
fn public_keys_are_those_of_rfc_7748() {
    for (private, public) in [(ALICE, ALICE_PUBLIC), (BOB, BOB_PUBLIC)] {
        let public = PublicKey::from_bytes(bytes(public));
        assert_eq!(PrivateKey::from_bytes(bytes(private)).public(), public);
        assert_eq!(PrivateKey::from_random(bytes(private)).public(), public);
        assert!(public.is_canonical() && !public.is_low_order());
    }
    // Section 5.2, the first iteration: the scalar and the point are both 9.
    let mut nine = [0; 32];
    nine[0] = 9;
    let once = bytes("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    assert_eq!(PrivateKey::from_bytes(nine).public().as_bytes(), &once);
}

#[test]
fn a_private_key_is_made_as_wg_makes_it() {
    for random in [[0; 32], [0xff; 32], bytes(ALICE)] {
        let key = PrivateKey::from_random(random);
        assert_eq!(key.as_bytes()[0] & 7, 0);
        assert_eq!(key.as_bytes()[31] & 0xc0, 0x40);
        assert_eq!(key.as_bytes()[1..31], random[1..31]);
    }
}

#[test]
fn every_spelling_of_every_point_of_low_order_is_one() {
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        let mut point = bytes(point);
        assert!(PublicKey::from_bytes(point).is_low_order(), "{point:02x?}");
        point[31] |= 0x80;
        assert!(PublicKey::from_bytes(point).is_low_order(), "{point:02x?}");
    }
}

#[test]
fn keys_that_people_have_are_not_of_low_order() {
    for byte in 0..=255 {
        let key = PrivateKey::from_random([byte; 32]).public();
        assert!(key.is_canonical() && !key.is_low_order());
    }
}

#[test]
fn only_one_spelling_of_a_point_is_canonical() {
    let mut key = bytes("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    assert!(PublicKey::from_bytes(key).is_canonical());
    key[0] += 1;
    assert!(!PublicKey::from_bytes(key).is_canonical());
    assert!(!PublicKey::from_bytes([0xff; 32]).is_canonical());
    let mut other = bytes(ALICE_PUBLIC);
    other[31] |= 0x80;
    assert!(!PublicKey::from_bytes(other).is_canonical());
}

#[test]
fn a_text_with_other_bits_other_padding_or_another_alphabet_is_no_key() {
    let text = "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let key: PublicKey = text.parse().unwrap();
    assert_eq!(key.to_string(), text);
    assert_eq!(text.len(), KEY_TEXT_BYTES);
    for wrong in [
        "",
        "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
        "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
        "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "d2gq-_8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        " 2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    ] {
        assert_eq!(wrong.parse::<PublicKey>(), Err(KeyError), "{wrong}");
        assert_eq!(wrong.parse::<PrivateKey>(), Err(KeyError), "{wrong}");
        assert_eq!(wrong.parse::<PresharedKey>(), Err(KeyError), "{wrong}");
    }
}

#[test]
fn secrets_survive_text_and_are_not_printed() {
    let private = PrivateKey::from_random(bytes(ALICE));
    let preshared = PresharedKey::from_random(bytes(BOB));
    assert_eq!(private.to_base64().parse(), Ok(private.clone()));
    assert_eq!(preshared.to_base64().parse(), Ok(preshared.clone()));
    assert_eq!(format!("{private:?} {preshared:?}"), "PrivateKey(***) PresharedKey(***)");
}

#[test]
fn keys_are_kept_as_their_text() {
    let private = PrivateKey::from_random(bytes(ALICE));
    let kept = serde_json::to_string(&(&private, private.public())).unwrap();
    assert_eq!(kept, format!("[\"{}\",\"{}\"]", *private.to_base64(), private.public()));
    let (key, public): (PrivateKey, PublicKey) = serde_json::from_str(&kept).unwrap();
    assert_eq!((key.public(), &key), (public, &private));
    let secret = "d2gq-_8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let error = serde_json::from_str::<PrivateKey>(&format!("\"{secret}\"")).unwrap_err();
    assert!(!error.to_string().contains("d2gq"), "{error}");
}
