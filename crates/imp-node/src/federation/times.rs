//! What time brings: renewals before the end, and the end.

use std::sync::Arc;
use std::time::Duration;

use imp_core::federation::{Due, Payload, Peer};
use imp_core::id::NodeId;
use imp_core::time::UnixMillis;

use super::{Inner, KEEP_ANSWER, Manner, until};
use crate::error::Error;
use crate::outbox::{ANSWERS_REFUSED, Allowed, AnswerTo};
use crate::runtime::clock::Steady;
use crate::store::federate::{FederateChange, PeerRow};

/// Peers that one transaction forgets.
const FORGET_AT_ONCE: usize = 64;

/// Peers to which one transaction brings what is due. The backend is asked about each that is renewed, and the inbox waits.
const DUE_AT_ONCE: usize = 8;

/// The longest that this sleeps: the clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A difference between the clock and the time that passed which is a step of the clock.
const STEP: Duration = Duration::from_secs(1);

/// Follows the clock. Ends early where the store cannot; whoever started it starts it again.
pub(super) async fn keep(inner: &Arc<Inner>) {
    let mut expected = Steady::new(UnixMillis(u64::MAX));
    loop {
        let now = inner.clock.now();
        // What the first look finds may be of a run under another clock.
        let stepped_back = expected.now() > now.plus(STEP);
        match turn(inner, now, stepped_back).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!("federations cannot be kept: {error}");
                return;
            }
        }
        expected = Steady::new(now);
        let next = inner.peers.lock().await.next_due();
        let pause = next.map_or(LONGEST_SLEEP, |next| next.since(inner.clock.now()).min(LONGEST_SLEEP));
        tokio::select! {
            () = inner.changed.notified() => {}
            () = tokio::time::sleep(pause.max(Duration::from_millis(1))) => {}
        }
    }
}

/// One transaction; says whether there is more to do now.
async fn turn(inner: &Arc<Inner>, now: UnixMillis, stepped_back: bool) -> Result<bool, Error> {
    inner.conclude_all().await?;
    let mut peers = inner.peers.lock().await;
    let (mut change, mut shares) = (FederateChange::default(), Vec::new());
    if stepped_back {
        for node in peers.nodes() {
            let Some(mut peer) = peers.get(&node).cloned() else { continue };
            if peer.keep_within(now) {
                change.peers.push(PeerRow { node, peer });
            }
        }
    }
    if change.peers.is_empty() {
        for node in peers.due(now, DUE_AT_ONCE) {
            let Some(peer) = peers.get(&node).cloned() else { continue };
            shares.extend(due(inner, node, peer, now, &mut change).await?);
        }
    }
    if change.peers.is_empty() {
        change.forget = peers.beyond(inner.capacity.ended, FORGET_AT_ONCE);
    }
    let is_done = change == FederateChange::default();
    if !is_done {
        inner.commit(&mut peers, change).await?;
    }
    // The rows of what is sent count from here on.
    drop(shares);
    Ok(!is_done)
}

/// Adds to the change what time brings to one peer.
async fn due(
    inner: &Inner,
    node: NodeId,
    mut peer: Peer,
    now: UnixMillis,
    change: &mut FederateChange,
) -> Result<Option<Allowed>, Error> {
    let mut share = None;
    match peer.due(now) {
        None => return Ok(None),
        Some(Due::Expire) => {
            peer.expire(now);
            change.publish.push(inner.expired_event(node)?);
            tracing::info!(peer = %node, "what was with a peer has expired");
        }
        Some(Due::Renew) if !inner.active => peer.put_off_renewal(now),
        Some(Due::Renew) => {
            let ttl_secs = inner.rules.ttl_secs;
            let payload = Payload::Renew { imp_id: inner.rules.imp_id.clone(), ttl_secs };
            let keep = KEEP_ANSWER.min(until(peer.until, now));
            let manner = Manner { unordered: true, keep, answer: Some(AnswerTo::Peer) };
            match inner.prepare(node, &payload, None, manner).await? {
                Some(prepared) => {
                    let id = prepared.answer.message.id;
                    peer.renew(id, now);
                    change.publish.push(inner.own_event(id, None, &node, &payload));
                    change.answers.push(prepared.answer);
                    share = prepared.allowed;
                }
                None => {
                    peer.put_off_renewal(now);
                    change.count.push(ANSWERS_REFUSED);
                }
            }
        }
    }
    change.peers.push(PeerRow { node, peer });
    Ok(share)
}
