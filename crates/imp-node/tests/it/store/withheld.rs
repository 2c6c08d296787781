//! Messages that came in and were not published.

use imp_core::federation::Denial;
use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use imp_node::store::inbox::{InboxChange, Withheld, WithheldPage, WithheldQuery};
use imp_node::store::{InboxStore, SqliteStore};

use super::{node, store};

fn other() -> NodeId {
    "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5".parse().unwrap()
}

fn withheld(n: u64, sender: NodeId) -> Withheld {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    Withheld {
        sender,
        id: MessageId::from_random(id),
        service: if n.is_multiple_of(2) { Service::Message } else { Service::Socket },
        amount_sat: n,
        bytes: n + 1,
        reason: Denial::BelowMinimum,
        at: UnixMillis(n),
    }
}

async fn withhold(store: &SqliteStore, withheld: Vec<Withheld>) {
    store.commit_inbox(InboxChange { withheld, ..InboxChange::default() }).await.unwrap();
}

async fn page(
    store: &SqliteStore,
    before: Option<u64>,
    limit: usize,
    sender: Option<NodeId>,
) -> WithheldPage {
    store.list_withheld(WithheldQuery { before, limit, sender }).await.unwrap()
}

#[tokio::test]
async fn withheld_messages_are_listed_newest_first_page_by_page_and_by_sender() {
    let (_dir, store) = store();
    assert_eq!(page(&store, None, 10, None).await, WithheldPage::default());
    let of = |n: u64| withheld(n, if n.is_multiple_of(3) { other() } else { node() });
    withhold(&store, (0..7).map(of).collect()).await;
    let mut seen = Vec::new();
    let (mut before, mut pages) = (None, 0);
    loop {
        let page = page(&store, before, 3, None).await;
        assert_eq!(page.total, 7);
        seen.extend(page.messages);
        pages += 1;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), ((0..7).rev().map(of).collect(), 3));
    let of_other = page(&store, None, 3, Some(other())).await;
    assert_eq!((of_other.messages, of_other.next), (vec![of(6), of(3), of(0)], None));
    assert_eq!(store.withheld_counts(vec![other(), node()]).await, Ok(vec![3, 4]));
}

#[tokio::test]
async fn the_newest_10_000_are_listed_and_all_are_counted() {
    let (_dir, store) = store();
    withhold(&store, (0..10_001).map(|n| withheld(n, node())).collect()).await;
    withhold(&store, vec![withheld(10_001, other())]).await;
    let page = page(&store, None, 20_000, None).await;
    assert_eq!((page.messages.len(), page.total), (10_000, 10_002));
    assert_eq!(page.messages.first(), Some(&withheld(10_001, other())));
    assert_eq!(page.messages.last(), Some(&withheld(2, node())));
    assert_eq!(store.withheld_counts(vec![node(), other()]).await, Ok(vec![10_001, 1]));
    assert_eq!(store.withheld_counts(Vec::new()).await, Ok(Vec::new()));
}
