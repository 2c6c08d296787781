//! What a node answers by itself: to strangers who ask a lot, and while it is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use imp_core::federation::{Payload, TTL_SECS};
use imp_core::time::UnixMillis;
use imp_lightning::{ReceivedKind, SendError};
use imp_node::store::OutboxStore;
use imp_node::store::sqlite::Crash;

use super::*;

/// For how long a stranger listens where nothing comes.
const QUIET: Duration = Duration::from_millis(20);

fn federate() -> RecordType {
    RecordTable::default().record_type(Service::Federate)
}

/// A stranger who asks to federate.
struct Asker {
    stranger: Stranger,
    /// The requests that were answered, and by which messages.
    told: BTreeMap<String, Vec<MessageId>>,
}

impl Asker {
    fn new(network: &FakeNetwork, name: &str) -> Self {
        Self { stranger: Stranger::new(network, name), told: BTreeMap::new() }
    }

    /// Begins to pay for a request.
    async fn ask(&mut self, to: NodeId, n: u8) -> Result<(), SendError> {
        let request = Payload::Request { imp_id: String::new(), ttl_secs: *TTL_SECS.end() }.to_json();
        let preimage = self.stranger.preimage();
        let header = Header { unordered: true, ..header(n, 0, 0, 0) };
        let record = self.stranger.envelope_of(federate(), to, header, request.as_bytes(), &preimage).await;
        let keysend = Keysend {
            recipient: to,
            preimage,
            amount: Msat::from_sat(1),
            fee_limit: Msat::ZERO,
            record: Some((federate(), record)),
        };
        self.stranger.node.send_keysend(keysend).await
    }

    /// Takes in what it is told, until nothing comes for a moment.
    async fn listen(&mut self) {
        let node = Arc::clone(&self.stranger.node);
        while let Ok(event) = tokio::time::timeout(QUIET, node.next_event()).await {
            if let LightningEvent::PaymentReceived { kind: ReceivedKind::Keysend { records, .. }, .. } = event
            {
                let envelope = Envelope::decode(&records[0].1).unwrap();
                let request = envelope.header().reply_to.as_ref().unwrap().to_string();
                self.told.entry(request).or_default().push(envelope.header().id);
            }
            node.acknowledge_event().await.unwrap();
        }
    }
}

#[tokio::test]
async fn whoever_asks_a_hundred_times_is_answered_for_20_sat() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let mut mallory = Asker::new(&network, "mallory");
    for n in 0..100 {
        mallory.ask(bob.id, n).await.unwrap();
        mallory.listen().await;
    }
    counted(&bob, "answers_refused", 80).await;
    bob.outbox_is_done().await;
    mallory.listen().await;
    assert_eq!(mallory.told.len(), 20, "a sat each, since nobody takes a fee");
    assert!(mallory.told.values().all(|by| by.len() == 1));
    let cost = bob.store.answers_since(UnixMillis(0), mallory.stranger.node.id()).await.unwrap();
    assert_eq!(cost.to_one, Msat::from_sat(20));

    let mut eve = Asker::new(&network, "eve");
    eve.ask(bob.id, 200).await.unwrap();
    wait_for("eve's answer", async || {
        eve.listen().await;
        eve.told.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_node_killed_at_any_commit_answers_everybody_once() {
    let mut died = 0;
    for commit in 1..24 {
        let network = network(FakeOptions { seed: 300 + commit, ..FakeOptions::default() });
        let bob = TestNode::start_dying(&network, "bob", Crash::StopAfterCommit(commit)).await;
        let mut askers = ["eve", "mallory", "trudy"].map(|name| Asker::new(&network, name));
        let mut is_away = false;
        for (n, asker) in (0..).zip(&mut askers) {
            is_away |= asker.ask(bob.id, 10 + n).await.is_err();
            is_away |= asker.ask(bob.id, 20 + n).await.is_err();
        }
        if is_away {
            // It died before it was up.
            continue;
        }
        wait_for("the answers or the kill", async || bob.store_is_dead() || all_told(&mut askers).await)
            .await;
        died += u32::from(bob.store_is_dead());
        let bob = bob.restart().await;
        wait_for("the answers", async || all_told(&mut askers).await).await;
        bob.outbox_is_done().await;
        all_told(&mut askers).await;
        let mut told = Vec::new();
        for asker in &askers {
            assert!(asker.told.values().all(|by| by.len() == 1), "commit {commit}: {:?}", asker.told);
            told.extend(asker.told.values().flatten().map(ToString::to_string));
        }
        let mut sent: Vec<_> =
            bob.messages().await.iter().map(|stored| stored.message.id.to_string()).collect();
        told.sort();
        sent.sort();
        assert_eq!(told, sent, "commit {commit}: what was told, and what is in the outbox");
    }
    assert!(died >= 12, "only {died} kills");
}

/// Whether both requests of each are answered.
async fn all_told(askers: &mut [Asker]) -> bool {
    for asker in &mut *askers {
        asker.listen().await;
    }
    askers.iter().all(|asker| asker.told.len() == 2)
}

#[tokio::test]
async fn what_was_said_of_federation_before_the_last_word_is_counted_and_not_answered() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let mut mallory = Asker::new(&network, "mallory");
    let to = bob.id;
    let request = Payload::Request { imp_id: String::new(), ttl_secs: 60 };
    for (n, seq, payload) in [(1, 3, &request), (2, 1, &Payload::Leave), (3, 2, &request)] {
        let preimage = mallory.stranger.preimage();
        let text = payload.to_json();
        let header = header(n, 1, seq, 0);
        let record = mallory.stranger.envelope_of(federate(), to, header, text.as_bytes(), &preimage).await;
        let keysend = Keysend {
            recipient: to,
            preimage,
            amount: Msat::from_sat(1),
            fee_limit: Msat::ZERO,
            record: Some((federate(), record)),
        };
        mallory.stranger.node.send_keysend(keysend).await.unwrap();
        if n == 1 {
            wait_for("the answer", async || {
                mallory.listen().await;
                mallory.told.len() == 1
            })
            .await;
        }
    }
    counted(&bob, "federate_late", 2).await;
    bob.outbox_is_done().await;
    assert_eq!(bob.journal().await.len(), 2, "a request and its answer");
    assert_eq!(bob.messages().await.len(), 1);
    let of = mallory.stranger.node.id().to_string();
    let info = bob.call(async move |services| services.federate.get(&of).await).await.unwrap();
    assert_eq!(info.view.peer.state, imp_core::federation::State::Federated);
}
