use async_trait::async_trait;

use super::*;
use crate::store::StoreError;

/// Keys in memory.
#[derive(Default)]
struct Rows(Mutex<HashMap<Name, NewKey>>);

#[async_trait]
impl IdempotencyStore for Rows {
    async fn find_key(&self, method: &'static str, key: String) -> Result<Option<StoredKey>, StoreError> {
        tokio::task::yield_now().await;
        Ok(self.0.lock().unwrap().get(&(method, key)).cloned().map(|row| StoredKey {
            request_digest: row.request_digest,
            subject: row.subject,
            created: row.created,
        }))
    }

    async fn store_key(&self, key: NewKey) -> Result<(), StoreError> {
        self.0.lock().unwrap().insert((key.method, key.key.clone()), key);
        Ok(())
    }

    async fn set_key_subject(&self, _: &'static str, _: String, _: Vec<u8>) -> Result<(), StoreError> {
        unreachable!("no test sets a subject")
    }

    async fn remove_key(&self, method: &'static str, key: String) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(&(method, key));
        Ok(())
    }

    async fn forget_keys_before(&self, _: UnixMillis) -> Result<usize, StoreError> {
        unreachable!("no test forgets keys")
    }
}

const METHOD: &str = "messaging.Messaging/SendMessage";

fn call(key: &str, request: &str) -> CallKey {
    CallKey::of_call(METHOD, Some(key.as_bytes()), [], request.as_bytes()).unwrap().unwrap()
}

#[test]
fn a_key_is_1_to_255_printable_ascii_characters_given_once() {
    let longest = "k".repeat(255);
    for key in ["k", " ", "~ a!", &longest] {
        let field = CallKey::of_call(METHOD, Some(key.as_bytes()), [], b"r").unwrap();
        let metadata = CallKey::of_call(METHOD, None, [key.as_bytes()], b"r").unwrap();
        let both = CallKey::of_call(METHOD, Some(key.as_bytes()), [key.as_bytes()], b"r").unwrap();
        assert!(field.is_some() && field == metadata && field == both, "{key}");
    }
    assert_eq!(CallKey::of_call(METHOD, None, [], b"r"), Ok(None));
    let too_long = "k".repeat(256);
    for key in ["", "ä", "tab\t", "nul\0", "\x7f", &too_long] {
        let refused = CallKey::of_call(METHOD, Some(key.as_bytes()), [], b"r").unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{key}");
        assert!(refused.to_string().contains("failed"), "{refused}");
    }
    for (field, metadata) in [(Some(&b"a"[..]), vec![&b"b"[..]]), (None, vec![&b"a"[..], b"b"])] {
        let refused = CallKey::of_call(METHOD, field, metadata, b"r").unwrap_err();
        assert!(refused.to_string().contains("more than once"), "{refused}");
    }
}

#[tokio::test]
async fn of_calls_at_once_under_one_key_one_begins_and_the_others_see_what_it_stored() {
    let rows = Arc::new(Rows::default());
    let keys = Keys::new(Arc::clone(&rows) as _);
    let calls = (0..20).map(|_| async {
        match keys.claim(call("k", "r")).await.unwrap() {
            KeyUse::Used(stored) => {
                assert_eq!(stored.subject, [7]);
                false
            }
            KeyUse::Fresh(claim) => {
                tokio::task::yield_now().await;
                rows.store_key(claim.key([7], UnixMillis(1))).await.unwrap();
                true
            }
        }
    });
    let began = futures_util::future::join_all(calls).await.into_iter().filter(|began| *began).count();
    assert_eq!(began, 1);
    assert!(keys.claims().is_empty(), "nothing is left of claims that were given back");
}

#[tokio::test]
async fn a_call_that_ends_before_its_commit_leaves_the_key_to_the_next() {
    let keys = Keys::new(Arc::new(Rows::default()));
    let first = keys.claim(call("k", "r")).await.unwrap();
    let waiting = keys.claim(call("k", "r"));
    let mut given_up = Box::pin(keys.claim(call("k", "r")));
    assert!(futures_util::poll!(&mut given_up).is_pending());
    drop((given_up, first));
    assert!(matches!(waiting.await.unwrap(), KeyUse::Fresh(_)));
    assert!(keys.claims().is_empty());
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused_and_another_method_is_not() {
    let rows = Arc::new(Rows::default());
    let keys = Keys::new(Arc::clone(&rows) as _);
    let KeyUse::Fresh(claim) = keys.claim(call("k", "r")).await.unwrap() else { panic!("not fresh") };
    rows.store_key(claim.key([7], UnixMillis(1))).await.unwrap();
    drop(claim);
    let refused = keys.claim(call("k", "s")).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.to_string().contains("failed"), "{refused}");
    let other = CallKey::of_call("lightning.Lightning/PayInvoice", Some(b"k"), [], b"s").unwrap().unwrap();
    assert!(matches!(keys.claim(other).await.unwrap(), KeyUse::Fresh(_)));
}
