//! What the inbox brings to its reception, and what it does with what comes of it.

use async_trait::async_trait;
use imp_core::federation::Denial;
use imp_core::id::MessageId;

use super::super::reception::{PublishAll, Receipt, Whole};
use super::*;
use crate::store::OutboxStore;
use crate::store::inbox::{Withheld, WithheldQuery};
use crate::store::journal::{Bite, NewEvent, ServiceSet};
use crate::store::outbox::{Answer, OutboxMessage};

/// Withholds texts that bring less than 10 sat, and answers what is said of federation.
struct Gate {
    /// Messages since the last commit.
    open: u32,
}

impl Gate {
    fn boxed() -> Box<dyn Reception> {
        Box::new(Self { open: 0 })
    }
}

#[async_trait]
impl Reception for Gate {
    async fn receive(&mut self, whole: Whole) -> Result<Receipt, StoreError> {
        self.open += 1;
        match whole.service {
            Service::Message if whole.amount_sat() < 10 => {
                let withheld = Withheld {
                    sender: whole.sender,
                    id: whole.id,
                    service: whole.service,
                    amount_sat: whole.amount_sat(),
                    bytes: whole.text.len() as u64,
                    reason: Denial::BelowMinimum,
                    at: whole.at,
                };
                Ok(Receipt { withheld: Some(withheld), ..Receipt::default() })
            }
            Service::Federate => {
                let answers = vec![answer_to(&whole)];
                let receipt = PublishAll.receive(whole).await?;
                Ok(Receipt { answers, count: vec!["answered"], ..receipt })
            }
            _ => PublishAll.receive(whole).await,
        }
    }

    async fn committed(&mut self) {
        self.open = 0;
    }
}

fn answer_to(whole: &Whole) -> Answer {
    let mut id = *whole.id.as_bytes();
    id[15] ^= 1;
    let message = OutboxMessage {
        id: MessageId::from_bytes(id),
        service: whole.service,
        record_type: RecordTable::default().record_type(whole.service),
        recipient: whole.sender,
        body_bytes: 3,
        reply_to: whole.id.to_string(),
        amount_sat: 1,
        parts: 1,
        unordered: true,
        accepted: whole.at,
        keep_until: Some(whole.at.plus(HOUR)),
        answer: Some(Msat::from_sat(11)),
        fee_limit: None,
    };
    Answer { message, body: Arc::from(*b"yes") }
}

impl Lab {
    async fn events(&self) -> Vec<NewEvent> {
        let everything = Bite { events: usize::MAX, bytes: usize::MAX, looked_at: usize::MAX };
        let stretch = self.store.read_events(0, ServiceSet::all(), everything).await.unwrap();
        stretch.events.into_iter().map(|event| event.event).collect()
    }

    async fn ids(&self) -> Vec<String> {
        self.events().await.into_iter().map(|event| event.id).collect()
    }

    async fn withheld(&self) -> Vec<Withheld> {
        let query = WithheldQuery { limit: 100, ..WithheldQuery::default() };
        self.store.list_withheld(query).await.unwrap().messages
    }

    async fn counted(&self, name: &'static str) -> u64 {
        self.store.counter(name).await.unwrap()
    }
}

fn ids_of(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|n| whole(*n, 0).id.to_string()).collect()
}

fn part(n: u32, index: u16) -> Header {
    Header { part: Some(PartOf { index, count: 2 }), ..first_of_two(n) }
}

#[tokio::test]
async fn what_is_withheld_has_had_its_turn() {
    let mut lab = Lab::with(Gate::boxed).await;
    lab.pay_sat(2, Service::Message, whole(0, 0), 10).await;
    lab.pay_sat(2, Service::Message, whole(1, 1), 9).await;
    lab.pay_sat(2, Service::Message, whole(2, 2), 10).await;
    assert_eq!(lab.ids().await, ids_of(&[0, 2]), "nothing waits for it");
    lab.pay_sat(2, Service::Message, Header { floor_back: 1, ..whole(4, 4) }, 10).await;
    assert_eq!(lab.published(), 2);
    lab.pay_sat(2, Service::Message, whole(3, 3), 1).await;
    assert_eq!(lab.ids().await, ids_of(&[0, 2, 4]), "it lets out what waited for it");
    let withheld: Vec<_> = lab.withheld().await.into_iter().map(|w| (w.id, w.amount_sat)).collect();
    assert_eq!(withheld, [(whole(3, 0).id, 1), (whole(1, 0).id, 9)]);
    lab.pay_sat(2, Service::Message, whole(3, 3), 10).await;
    assert_eq!(lab.counted("inbox_repeated").await, 1, "whoever pays more later pays for nothing");
}

#[tokio::test]
async fn a_message_brings_what_all_its_parts_bring() {
    let mut lab = Lab::with(Gate::boxed).await;
    for (n, sat) in [(0, 4), (1, 5)] {
        lab.pay_sat(2, Service::Message, part(n, 0), sat).await;
        lab.pay_sat(2, Service::Message, part(n, 1), sat).await;
    }
    let events = lab.events().await;
    assert_eq!(events.iter().map(|event| event.amount_sat).collect::<Vec<_>>(), [10]);
    let withheld: Vec<_> = lab.withheld().await.into_iter().map(|w| (w.amount_sat, w.bytes)).collect();
    assert_eq!(withheld, [(8, 8)]);
}

#[tokio::test]
async fn what_is_late_goes_to_the_reception_too() {
    let mut lab = Lab::with(Gate::boxed).await;
    lab.pay_sat(2, Service::Message, whole(0, 0), 10).await;
    lab.pay_sat(2, Service::Message, whole(2, 2), 10).await;
    lab.pay_sat(2, Service::Message, whole(1, 1), 10).await;
    lab.pay_sat(2, Service::Message, Header { stream: 0, ..whole(3, 7) }, 9).await;
    let late: Vec<_> = lab.events().await.into_iter().map(|event| event.late).collect();
    assert_eq!((late, lab.withheld().await.len()), (vec![false, false, true], 1));
}

#[tokio::test]
async fn services_do_not_wait_for_each_other() {
    let mut lab = Lab::new().await;
    let read = [Service::Message, Service::Socket, Service::Federate, Service::Vpn];
    for service in read {
        let n = 10 * lab.paid as u32;
        lab.pay_sat(2, service, whole(n, 0), 1).await;
        lab.pay_sat(2, service, Header { floor_back: 2, ..whole(n + 2, 2) }, 1).await;
    }
    assert_eq!(lab.published(), 4, "each misses one of its own");
    lab.pay_sat(2, Service::Socket, whole(99, 1), 1).await;
    let services: Vec<_> = lab.events().await.into_iter().map(|event| event.service).collect();
    assert_eq!(
        services,
        [&read[..], &[Service::Socket; 2]].concat().into_iter().map(Into::into).collect::<Vec<_>>()
    );
    lab.pay_sat(2, Service::Sign, whole(100, 0), 1).await;
    assert_eq!(lab.counted("inbox_unread").await, 1);
}

#[tokio::test]
async fn an_id_belongs_to_the_service_that_had_it_first() {
    let mut lab = Lab::new().await;
    lab.pay_sat(2, Service::Message, whole(0, 0), 1).await;
    lab.pay_sat(2, Service::Federate, whole(0, 0), 1).await;
    assert_eq!(lab.counted("inbox_repeated").await, 1);
    lab.pay_sat(2, Service::Federate, part(0, 1), 1).await;
    assert_eq!(lab.counted("inbox_other_service").await, 1);

    lab.pay_sat(2, Service::Socket, part(1, 0), 1).await;
    lab.pay_sat(2, Service::Message, part(1, 1), 1).await;
    assert_eq!((lab.counted("inbox_other_service").await, lab.published()), (2, 1));
    lab.clock.go_on(9 * 24 * HOUR);
    lab.store.forget_payments_before(lab.clock.now()).await.unwrap();
    lab.restart().await;
    lab.pay_sat(2, Service::Message, part(1, 1), 1).await;
    assert_eq!((lab.counted("inbox_other_service").await, lab.published()), (3, 1));
    lab.pay_sat(3, Service::Message, whole(1, 0), 1).await;
    assert_eq!(lab.published(), 2, "of another sender it is another id");
    lab.pay_sat(2, Service::Socket, part(1, 1), 1).await;
    assert_eq!(lab.published(), 3);
}

#[tokio::test]
async fn an_answer_is_in_the_outbox_when_its_payment_is_in_the_inbox() {
    let mut lab = Lab::with(Gate::boxed).await;
    lab.pay_sat(2, Service::Federate, whole(0, 0), 1).await;
    let open = lab.store.open_messages().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].message.recipient, &open[0].message.reply_to), (node(2), &ids_of(&[0])[0]));
    assert_eq!((lab.counted("answered").await, lab.published()), (1, 1));
}

#[tokio::test]
async fn what_an_earlier_run_could_not_publish_goes_to_the_reception() {
    let mut lab = Lab::with(Gate::boxed).await;
    lab.pay_sat(2, Service::Message, whole(0, 0), 10).await;
    for (n, sat) in [(2, 9), (3, 10)] {
        lab.pay_sat(2, Service::Message, Header { floor_back: n as u16, ..whole(n, n) }, sat).await;
    }
    assert_eq!(lab.published(), 1);
    let database = rusqlite::Connection::open(lab.dir.path().join("imp.db")).unwrap();
    // As if the message between had been published.
    assert_eq!(database.execute("UPDATE inbox_order SET snapshot = '1:2'", []).unwrap(), 1);
    lab.restart().await;
    assert_eq!(lab.ids().await, ids_of(&[0, 3]));
    assert_eq!(lab.withheld().await.len(), 1);
    assert!(lab.store.waiting_senders().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_reception_hears_of_every_commit() {
    let mut lab = Lab::with(|| Box::new(Strict(Gate { open: 0 }))).await;
    for (n, seq) in [(0, 0), (1, 1), (3, 3), (2, 2), (5, 5)] {
        lab.pay_sat(2, Service::Message, Header { floor_back: seq.min(1) as u16, ..whole(n, seq) }, 10).await;
    }
    lab.clock.go_on(HOUR);
    lab.inbox.expire().await.unwrap();
    assert_eq!(lab.published(), 5);
}

/// Sees to it that one change holds no more than two messages, and that none is brought before the last change is durable.
struct Strict(Gate);

#[async_trait]
impl Reception for Strict {
    async fn receive(&mut self, whole: Whole) -> Result<Receipt, StoreError> {
        assert!(self.0.open < 2, "of these, two at most come out at once");
        self.0.receive(whole).await
    }

    async fn committed(&mut self) {
        self.0.committed().await;
    }
}
