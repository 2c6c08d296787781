//! Contracts, quotes and payments as callers see them.

use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::time::UnixMillis;
use zeroize::Zeroizing;

/// On which side of a contract this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It bought.
    Bought,
    /// It sold.
    Sold,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Bought, Self::Sold];

    /// Its name in requests and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bought => "bought",
            Self::Sold => "sold",
        }
    }
}

/// A contract. Keys of a tunnel that must not be seen are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractView {
    /// Its name.
    pub nonce: String,
    /// On which side this node is.
    pub role: Role,
    /// The other node.
    pub node: NodeId,
    /// How it stands, by name.
    pub state: &'static str,
    /// Satoshis for each [`Self::duration_secs`].
    pub price_sat: u64,
    /// Seconds that one payment buys.
    pub duration_secs: u64,
    /// When it was paid for.
    pub made: UnixMillis,
    /// When its time began.
    pub started: Option<UnixMillis>,
    /// When its time ends or ended.
    pub ends: Option<UnixMillis>,
    /// What was paid for it, refreshes included, without routing fees.
    pub paid_sat: u64,
    /// What came back, or was given back.
    pub refunded_sat: u64,
    /// The address in the tunnel with the length of its network's prefix; empty before it is known.
    pub client_ip: String,
    /// The seller's IP address and UDP port; empty before they are known.
    pub endpoint: String,
    /// The buyer's WireGuard public key.
    pub client_public_key: String,
    /// The seller's WireGuard public key; empty before it is known.
    pub server_public_key: String,
    /// Networks that the buyer reaches through the tunnel.
    pub allowed_ips: Vec<String>,
    /// The DNS server; empty before it is known.
    pub dns_ip: String,
    /// The tunnel's MTU in bytes; 0 before it is known.
    pub mtu: u16,
    /// Bytes from the buyer, as far as this node carried the tunnel.
    pub received_bytes: u64,
    /// Bytes to the buyer, likewise.
    pub sent_bytes: u64,
    /// The newest handshake.
    pub last_handshake: Option<UnixMillis>,
    /// Bytes that may go through in all.
    pub data_limit_bytes: Option<u64>,
    /// Why it ended or was refunded, in a few words.
    pub reason: String,
    /// Of what was bought: the tunnel, where it is up.
    pub tunnel: Option<TunnelView>,
    /// Of what was bought: what refreshes by themselves may cost in all.
    pub auto_refresh_limit_sat: Option<u64>,
    /// Of what was bought: what refreshes by themselves have cost.
    pub auto_refresh_spent_sat: u64,
}

/// Some contracts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContractPage {
    /// Newest first.
    pub contracts: Vec<ContractView>,
    /// Where to go on; empty where there are no more.
    pub next_cursor: String,
}

/// A tunnel that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelView {
    /// The network interface.
    pub interface: String,
    /// Networks that go through it.
    pub routes: Vec<String>,
    /// Networks that the seller names and that do not go through it, since they are private.
    pub left_out: Vec<String>,
    /// The DNS server that the system uses meanwhile; empty where that was left as it was.
    pub dns_ip: String,
    /// When it was brought up.
    pub since: UnixMillis,
}

/// A configuration for `wg-quick`. It holds the private key.
pub struct ConfigFile {
    /// What the file is to be called: the interface's name, and `.conf`.
    pub name: String,
    /// Its text.
    pub text: Zeroizing<String>,
}

impl std::fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A quote of another node that this one holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteView {
    /// Its name.
    pub nonce: String,
    /// Who made it.
    pub node: NodeId,
    /// The request that it answers.
    pub request_id: MessageId,
    /// Satoshis for each [`Self::duration_secs`].
    pub price_sat: u64,
    /// Seconds that one payment buys.
    pub duration_secs: u64,
    /// When it came.
    pub received: UnixMillis,
    /// Until when this node accepts it.
    pub accept_until: UnixMillis,
    /// The most seconds that a contract can have left after a refresh.
    pub max_secs: Option<u64>,
    /// Bytes that one payment buys.
    pub data_limit_bytes: Option<u64>,
    /// Bytes of a second, each way.
    pub bytes_per_sec: Option<u64>,
}

/// A payment of a buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentView {
    /// The payment.
    pub hash: PaymentHash,
    /// Who paid.
    pub node: NodeId,
    /// The buyer's message.
    pub message: MessageId,
    /// `contract` or `refresh`.
    pub kind: &'static str,
    /// The nonce that it names.
    pub nonce: String,
    /// What came.
    pub received: Msat,
    /// When.
    pub at: UnixMillis,
    /// How it stands, by name.
    pub state: &'static str,
    /// Why it was not served, in a few words.
    pub reason: String,
    /// What the refund gives back.
    pub refund_sat: u64,
    /// The message that answers it.
    pub answer_id: Option<MessageId>,
    /// Why the last try of the refund failed.
    pub error: String,
}

/// Some payments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentPage {
    /// Newest first.
    pub payments: Vec<PaymentView>,
    /// Where to go on; nothing where there are no more.
    pub next_cursor: Option<i64>,
}

/// This node as a seller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SellerView {
    /// The configuration has it sell.
    pub enabled: bool,
    /// It can.
    pub selling: bool,
    /// What is missing where it is enabled and cannot.
    pub problem: String,
    /// Satoshis for each [`Self::duration_secs`].
    pub price_sat: u64,
    /// Seconds that one payment buys.
    pub duration_secs: u64,
    /// The network interface.
    pub interface: String,
    /// `kernel` or `userspace`; empty while there is no device.
    pub device: String,
    /// The IP address and UDP port where buyers find it.
    pub endpoint: String,
    /// Its WireGuard public key.
    pub public_key: String,
    /// The network of the buyers.
    pub subnet: String,
    /// Addresses in it that are free.
    pub free_addresses: u64,
    /// Contracts that have time left.
    pub contracts: u64,
    /// Payments whose refund is due.
    pub refunds_due: u64,
}
