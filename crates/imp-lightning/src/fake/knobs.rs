//! What tests turn to make things go wrong. Nodes are named as in [`FakeNetwork::node`].

use std::sync::Arc;

use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash};

use crate::fake::channel::ChannelState;
use crate::fake::world::World;
use crate::fake::{FakeNetwork, FakeNode, Moment};
use crate::port::{FailureReason, SendError};

impl World {
    /// Ends the daemon's run: its handles are dead, its node cannot be reached.
    pub(super) fn crash(&mut self, id: &NodeId) {
        let node = self.node_mut(id);
        node.up = false;
        node.run += 1;
        node.told = false;
    }

    /// Whether the run ends at this moment, and if so, ends it.
    pub(super) fn crash_due(&mut self, id: &NodeId, moment: Moment) -> bool {
        match self.node_mut(id).knobs.crash.take() {
            Some((at, 0)) if at == moment => {
                self.crash(id);
                true
            }
            Some((at, skip)) if at == moment => {
                self.node_mut(id).knobs.crash = Some((at, skip - 1));
                false
            }
            other => {
                self.node_mut(id).knobs.crash = other;
                false
            }
        }
    }
}

impl FakeNetwork {
    /// Ends the run of a node's daemon as a kill does: handles are dead from here on, and the node is away.
    pub fn crash(&self, name: &str) {
        self.act(|world| {
            let id = world.named(name);
            world.crash(&id);
        });
    }

    /// Starts a node again, after a crash or straight away. Events that were not acknowledged are handed out again.
    pub fn restart(&self, name: &str) -> Arc<FakeNode> {
        self.act(|world| {
            let id = world.named(name);
            world.crash(&id);
            let node = world.node_mut(&id);
            node.up = true;
            let run = node.run;
            world.wake();
            Arc::new(FakeNode::new(self.clone(), id, run))
        })
    }

    /// Crashes a node the next time that it comes to this moment, or after `skip` more such times. The call during which
    /// it crashes never returns.
    pub fn crash_at(&self, name: &str, moment: Moment, skip: usize) {
        self.act(|world| {
            let id = world.named(name);
            world.node_mut(&id).knobs.crash = Some((moment, skip));
        });
    }

    /// Waits until a node's run has ended, by a crash or a shutdown.
    pub async fn crashed(&self, name: &str) {
        let id = self.id(name);
        self.wait_for(|world| (!world.node(&id).up).then_some(())).await;
    }

    /// Takes a node off the network or puts it back; its daemon goes on. What is in flight waits.
    pub fn set_online(&self, name: &str, online: bool) {
        self.act(|world| {
            let id = world.named(name);
            world.node_mut(&id).online = online;
            world.wake();
        });
    }

    /// Whether a path is found from one node to another. It is, unless a test says otherwise.
    pub fn set_route(&self, from: &str, to: &str, found: bool) {
        self.act(|world| {
            let direction = (world.named(from), world.named(to));
            if found {
                world.blocked.remove(&direction);
            } else {
                world.blocked.insert(direction);
            }
        });
    }

    /// Has payments from one node to another go by way of nodes that take `fee` for each; nothing: directly, as they do
    /// unless a test says otherwise.
    pub fn set_forwarding_fee(&self, from: &str, to: &str, fee: Option<Msat>) {
        self.act(|world| {
            let direction = (world.named(from), world.named(to));
            match fee {
                Some(fee) => world.forwarding.insert(direction, fee),
                None => world.forwarding.remove(&direction),
            };
        });
    }

    /// Sets what `from` can send to `to` in each of their channels. The difference appears or vanishes.
    pub fn set_balance(&self, from: &str, to: &str, balance: Msat) {
        self.act(|world| {
            let (from, to) = (world.named(from), world.named(to));
            for channel in world.channels.iter_mut().filter(|channel| channel.joins(&from, &to)) {
                if let Some(end) = channel.end(&from).filter(|_| channel.is_ready()) {
                    channel.balance[end] = balance;
                    channel.capacity_sat = (channel.balance[0] + channel.balance[1]).to_sat_ceil();
                }
            }
        });
    }

    /// Sets how many payments may be in flight at once in each channel between two nodes, each direction.
    pub fn set_slots(&self, a: &str, b: &str, slots: usize) {
        self.act(|world| {
            let (a, b) = (world.named(a), world.named(b));
            for channel in world.channels.iter_mut().filter(|channel| channel.joins(&a, &b)) {
                channel.slots = slots;
            }
        });
    }

    /// Whether payments from one node to another stop at the recipient and stay in flight until [`Self::release`] or
    /// [`Self::fail_held`].
    pub fn hold(&self, from: &str, to: &str, hold: bool) {
        self.act(|world| {
            let direction = (world.named(from), world.named(to));
            if hold {
                world.held.insert(direction);
            } else {
                world.held.remove(&direction);
            }
        });
    }

    /// The payments that are held now, in the order of their hashes.
    pub fn held(&self) -> Vec<PaymentHash> {
        self.look().held_payments().iter().map(|payment| payment.hash).collect()
    }

    /// Waits until `count` payments are held.
    pub async fn holds(&self, count: usize) -> Vec<PaymentHash> {
        self.wait_for(|world| {
            let held = world.held_payments();
            (held.len() >= count).then(|| held.iter().map(|payment| payment.hash).collect())
        })
        .await
    }

    /// Lets a held payment reach its recipient.
    pub fn release(&self, hash: PaymentHash) {
        let now = self.now();
        self.act(|world| world.release(hash, None, now));
    }

    /// Lets a held payment fail.
    pub fn fail_held(&self, hash: PaymentHash, reason: FailureReason) {
        let now = self.now();
        self.act(|world| world.release(hash, Some(reason), now));
    }

    /// Lets all held payments reach their recipients, and holds no more.
    pub fn release_all(&self) {
        let now = self.now();
        self.act(|world| {
            world.held.clear();
            for payment in world.held_payments() {
                world.release(payment.hash, None, now);
            }
        });
    }

    /// The next `count` payments of a node begin and then fail for this reason.
    pub fn fail_next(&self, from: &str, count: usize, reason: FailureReason) {
        self.act(|world| {
            let id = world.named(from);
            world.node_mut(&id).knobs.fail.extend(std::iter::repeat_n(reason, count));
        });
    }

    /// The next `count` payments of a node are not begun: the call answers this error.
    pub fn refuse_next(&self, from: &str, count: usize, error: SendError) {
        self.act(|world| {
            let id = world.named(from);
            world.node_mut(&id).knobs.refuse.extend(std::iter::repeat_n(error, count));
        });
    }

    /// The next `count` payments of a node are begun, and the call answers [`SendError::Unknown`] all the same.
    pub fn lose_replies(&self, from: &str, count: usize) {
        self.act(|world| {
            let id = world.named(from);
            world.node_mut(&id).knobs.lose_replies = count;
        });
    }

    /// The next `count` payments of a node are not begun, and the call answers [`SendError::Unknown`].
    pub fn lose_requests(&self, from: &str, count: usize) {
        self.act(|world| {
            let id = world.named(from);
            world.node_mut(&id).knobs.lose_requests = count;
        });
    }

    /// Whether a node refuses every payment to it.
    pub fn set_rejects(&self, name: &str, rejects: bool) {
        self.act(|world| {
            let id = world.named(name);
            world.node_mut(&id).knobs.reject = rejects;
        });
    }

    /// Closes the channels between two nodes. What was in flight on them stays so until [`Self::mine`]; then it fails for
    /// the sender, also where the recipient has had it, as happens on Lightning to amounts too small for the chain.
    pub fn close_channels(&self, a: &str, b: &str) {
        self.act(|world| {
            let (a, b) = (world.named(a), world.named(b));
            for index in 0..world.channels.len() {
                let channel = &world.channels[index];
                if channel.joins(&a, &b) && channel.state != ChannelState::Closed {
                    world.close(index, [1, 1], "closed by a test");
                }
            }
        });
    }

    /// Mines a block.
    pub fn mine(&self) {
        self.act(World::mine);
    }

    /// Adds to a node's on-chain balance.
    pub fn fund(&self, name: &str, amount: Msat) {
        self.act(|world| {
            let id = world.named(name);
            let wallet = &mut world.node_mut(&id).wallet;
            wallet.confirmed = wallet.confirmed.saturating_add(amount);
        });
    }

    /// Tells the event that a node acknowledged last once more, as a backend may after a crash.
    pub fn repeat_event(&self, name: &str) {
        self.act(|world| {
            let id = world.named(name);
            let node = world.node_mut(&id);
            node.events.extend(node.acknowledged.clone());
        });
    }
}
