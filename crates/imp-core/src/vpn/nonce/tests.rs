use super::*;

#[test]
fn made_nonces_have_22_characters_that_do_not_look_alike() {
    assert_eq!(Nonce::from_random([0; 16]).as_str(), "2".repeat(22));
    assert_eq!(Nonce::from_random([0xff; 16]).as_str(), "oZEq7ovRbLq6UnGMPwc8B5");
    let mut one = [0; 16];
    one[15] = 57;
    assert_eq!(Nonce::from_random(one).as_str(), format!("{}32", "2".repeat(20)));
}

#[test]
fn a_nonce_is_a_short_word() {
    for good in ["a", "DjPL6L35WGdvxhiRz6PqZU", "-_-", &"Z9".repeat(32)] {
        let nonce: Nonce = good.parse().unwrap();
        assert_eq!(nonce.as_str(), good);
        assert_eq!(serde_json::from_str::<Nonce>(&serde_json::to_string(&nonce).unwrap()).unwrap(), nonce);
    }
    for bad in ["", "a b", "a\n", "../a", "é", "a.b", "a/b", &"Z".repeat(65)] {
        assert_eq!(bad.parse::<Nonce>(), Err(NonceError), "{bad:?}");
        assert!(serde_json::from_str::<Nonce>(&serde_json::to_string(bad).unwrap()).is_err());
    }
}
