//! The library's events as those of the port.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};
use ldk_node::lightning::events::{ClosureReason, PaymentFailureReason};
use ldk_node::payment::PaymentKind;
use ldk_node::{Event, Node, UserChannelId};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::{debug, info, warn};

use crate::ldk::names::{self, payment_id};
use crate::ldk::send::preimage_of;
use crate::ldk::{LdkNode, Phase, Shared};
use crate::port::{FailureReason, LightningError, LightningEvent, PaymentState, ReceivedKind};

/// Sees to it that the oldest event is taken off the queue once, and only after it was handed out.
///
/// The lock travels with the work that takes an event off: a caller that drops its call meanwhile cannot make the next
/// call meet the same event and take off two.
#[derive(Debug, Default)]
pub(super) struct EventGate {
    lock: Arc<Mutex<()>>,
    handed_out: AtomicBool,
    drained: AtomicBool,
}

impl EventGate {
    /// Whether the queue has been empty at some time in this run, so that no event of an earlier run waits to be taken.
    pub(super) fn is_drained(&self, node: &Node) -> bool {
        if node.next_event().is_none() {
            self.drained.store(true, Ordering::Release);
        }
        self.drained.load(Ordering::Acquire)
    }
}

impl LdkNode {
    pub(super) async fn oldest_event(&self) -> LightningEvent {
        let mut phase = self.shared.phase.subscribe();
        loop {
            let guard = Arc::clone(&self.shared.events.lock).lock_owned().await;
            let Ok(node) = self.shared.node() else {
                drop(guard);
                return pending().await;
            };
            self.shared.events.is_drained(&node);
            let stopping = async {
                // An error says that the sender is gone, and so is the node.
                let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
            };
            let event = tokio::select! {
                event = node.next_event_async() => Some(event),
                () = stopping => None,
            };
            let Some(event) = event else {
                drop((node, guard));
                return pending().await;
            };
            let worked_off = match self.note_ready(&event).await {
                Ok(()) => match self.shared.tell(&node, event) {
                    Some(told) => {
                        self.shared.events.handed_out.store(true, Ordering::Release);
                        return told;
                    }
                    None => {
                        drop(node);
                        self.take_off(guard).await
                    }
                },
                Err(fault) => {
                    drop((node, guard));
                    Err(fault)
                }
            };
            if let Err(fault) = worked_off {
                // The event comes again; meanwhile the store may have recovered.
                warn!(%fault, "an event stays in the queue");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }

    /// Stores the name of a channel that is ready, before anybody hears of it.
    async fn note_ready(&self, event: &Event) -> Result<(), LightningError> {
        let Event::ChannelReady { user_channel_id: UserChannelId(name), .. } = *event else { return Ok(()) };
        self.run(move |shared, _| shared.ready.note(name))
            .await?
            .map_err(|fault| LightningError::Failed(fault.to_string()))
    }

    pub(super) async fn acknowledge(&self) -> Result<(), LightningError> {
        self.shared.node()?;
        if !self.shared.events.handed_out.swap(false, Ordering::AcqRel) {
            return Err(LightningError::Invalid("no event was handed out to acknowledge".to_owned()));
        }
        let guard = Arc::clone(&self.shared.events.lock).lock_owned().await;
        self.take_off(guard).await
    }

    async fn take_off(&self, guard: OwnedMutexGuard<()>) -> Result<(), LightningError> {
        self.run(move |shared, node| {
            let closed = match node.next_event() {
                Some(Event::ChannelClosed { user_channel_id: UserChannelId(name), .. }) => Some(name),
                _ => None,
            };
            let taken = node.event_handled();
            if let Some(name) = closed.filter(|_| taken.is_ok()) {
                shared.ready.forget(name);
            }
            drop(guard);
            taken
        })
        .await?
        .map_err(|fault| {
            LightningError::Failed(format!("the event could not be taken off the queue: {fault}"))
        })
    }
}

impl Shared {
    /// What an event of the library means to the daemon, if anything.
    fn tell(&self, node: &Node, event: Event) -> Option<LightningEvent> {
        match event {
            Event::PaymentSuccessful { payment_hash, payment_preimage, fee_paid_msat, .. } => {
                let hash = PaymentHash(payment_hash.0);
                let record = node.payment(&payment_id(&hash));
                let from_record = || record.as_ref().and_then(preimage_of);
                let preimage = payment_preimage.map(|preimage| Preimage(preimage.0)).or_else(from_record);
                let Some(preimage) = preimage else {
                    // The library stores the preimage with the event since long before the oldest state of ours.
                    warn!(%hash, "a payment settled without a preimage");
                    return None;
                };
                let fee = fee_paid_msat.map(Msat);
                self.in_flight.end(&hash, record.is_none(), || PaymentState::Settled { preimage, fee });
                Some(LightningEvent::PaymentSettled { hash, preimage, fee })
            }
            Event::PaymentFailed { payment_id, payment_hash, reason } => {
                let hash = payment_hash.map(|hash| hash.0).or_else(|| payment_id.map(|id| id.0))?;
                let hash = PaymentHash(hash);
                let reason = failure_reason(reason);
                let has_record = node.payment(&names::payment_id(&hash)).is_some();
                self.in_flight.end(&hash, !has_record, || PaymentState::Failed(reason.clone()));
                Some(LightningEvent::PaymentFailed { hash, reason })
            }
            Event::PaymentReceived { payment_hash, amount_msat, custom_records, .. } => {
                let hash = PaymentHash(payment_hash.0);
                let records =
                    custom_records.into_iter().map(|record| (record.type_num, record.value)).collect();
                let kind = match node.payment(&payment_id(&hash)).map(|record| record.kind) {
                    Some(PaymentKind::Spontaneous { preimage: Some(preimage), .. }) => {
                        ReceivedKind::Keysend { preimage: Preimage(preimage.0), records }
                    }
                    _ => ReceivedKind::Invoice,
                };
                Some(LightningEvent::PaymentReceived { hash, amount: Msat(amount_msat), kind })
            }
            Event::ChannelReady { counterparty_node_id, .. } => {
                Some(LightningEvent::ChannelReady { peer: counterparty_node_id.map(NodeId::from) })
            }
            Event::ChannelClosed { channel_id, user_channel_id, counterparty_node_id, reason } => {
                if reason.as_ref().is_some_and(is_agreed) {
                    let mut closed = self.closed_together.lock().unwrap_or_else(PoisonError::into_inner);
                    closed.insert(channel_id);
                }
                let peer = counterparty_node_id.map(NodeId::from);
                let counts = self.ready.may_have_carried(user_channel_id.0, reason.as_ref());
                let reason =
                    reason.map_or_else(|| "for an unknown reason".to_owned(), |reason| reason.to_string());
                if !counts {
                    info!(?peer, "the opening of a channel broke off: {reason}");
                    return None;
                }
                Some(LightningEvent::ChannelClosed { peer, reason })
            }
            Event::PaymentForwarded { .. }
            | Event::PaymentClaimable { .. }
            | Event::ChannelPending { .. }
            | Event::SplicePending { .. }
            | Event::SpliceFailed { .. } => {
                debug!("an event without meaning for the daemon");
                None
            }
        }
    }
}

/// Both ends have made the closing transaction.
const fn is_agreed(reason: &ClosureReason) -> bool {
    matches!(
        reason,
        ClosureReason::LegacyCooperativeClosure
            | ClosureReason::CounterpartyInitiatedCooperativeClosure
            | ClosureReason::LocallyInitiatedCooperativeClosure
    )
}

fn failure_reason(reason: Option<PaymentFailureReason>) -> FailureReason {
    match reason {
        Some(PaymentFailureReason::RecipientRejected) => FailureReason::RecipientRejected,
        Some(PaymentFailureReason::RetriesExhausted) => FailureReason::RetriesExhausted,
        Some(PaymentFailureReason::PaymentExpired) => FailureReason::TimedOut,
        Some(PaymentFailureReason::RouteNotFound) => FailureReason::NoRoute,
        Some(PaymentFailureReason::UserAbandoned) => {
            FailureReason::Other("the payment was given up".to_owned())
        }
        Some(PaymentFailureReason::UnexpectedError) => {
            FailureReason::Other("the Lightning node met an unexpected error".to_owned())
        }
        Some(PaymentFailureReason::UnknownRequiredFeatures) => {
            FailureReason::Other("the payment needs features that this node lacks".to_owned())
        }
        Some(
            reason @ (PaymentFailureReason::InvoiceRequestExpired
            | PaymentFailureReason::InvoiceRequestRejected
            | PaymentFailureReason::BlindedPathCreationFailed),
        ) => FailureReason::Other(format!("{reason:?}")),
        None => FailureReason::Other("the Lightning node gave no reason".to_owned()),
    }
}
