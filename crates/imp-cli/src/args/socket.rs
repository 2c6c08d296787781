//! What can be typed of UDP relays and of their local ends.

use clap::Subcommand;

use super::options::Key;
use super::value::{Node, count, pause_ms, secs};

#[derive(Debug, Subcommand)]
pub(crate) enum SocketCommand {
    /// Starts the node's default relay, and tells where it listens.
    Start,
    /// Stops the default relay.
    Stop,
    /// Sends a relay's address to a node, which gets it as an event. Starts the default relay where it does not run.
    Send(SendSocket),
    /// Opens a relay of its own, beside the default one.
    Open(OpenRelay),
    /// Lists the relays that run, oldest first.
    List {
        /// Only those of this owner.
        #[arg(long)]
        owner: Option<String>,
    },
    /// Shows a relay: who uses it, what went through, and what was dropped.
    Show {
        /// The relay's id.
        id: String,
    },
    /// Closes a relay, and its ports.
    Close {
        /// The relay's id.
        id: String,
    },
    /// Shows the relays that run, again and again, until Ctrl-C.
    Watch(WatchRelays),
    /// Joins a relay that another node offered: a program of this machine reaches it by a local UDP port.
    Connect(Connect),
    /// Lists the local ends of relays of other nodes, oldest first.
    Connections,
    /// Closes a local end, and its port.
    Disconnect {
        /// The local end's id, as `socket connections` shows it.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct SendSocket {
    /// The recipient: its Lightning public key, or its local name.
    pub(crate) node: Node,
    /// The relay's id [default: the default relay].
    #[arg(long, value_name = "ID")]
    pub(crate) relay: Option<String>,
    #[command(flatten)]
    pub(crate) key: Key,
}

/// How a relay is to be. What is not given is as the node's configuration says.
#[derive(Debug, clap::Args)]
pub(crate) struct OpenRelay {
    /// What it is for, for people.
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// For how long a side may be silent before it is forgotten; the relay ends once both are: 90s, 10m, 2h.
    #[arg(long, value_name = "DURATION", value_parser = secs)]
    pub(crate) idle: Option<i64>,
    /// After how long the relay ends: 10m, 2h, 7d.
    #[arg(long, value_name = "DURATION", value_parser = secs)]
    pub(crate) life: Option<i64>,
    /// Packets after which the relay ends.
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_packets: Option<i64>,
    /// Bytes of payload after which the relay ends.
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_bytes: Option<i64>,
    /// Packets that go through in a second; what is above is dropped.
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_packets_per_sec: Option<i64>,
    /// Bytes of payload that go through in a second; what is above is dropped.
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_bytes_per_sec: Option<i64>,
    /// Let in only those whose first packet is the relay's token.
    #[arg(long)]
    pub(crate) require_token: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WatchRelays {
    /// Only the relay with this id.
    pub(crate) id: Option<String>,
    /// How long to wait from one look to the next: 100ms to 1m [default: 1s].
    #[arg(long, value_name = "DURATION", value_parser = pause_ms)]
    pub(crate) every: Option<i64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Connect {
    /// The id of the event that offers the relay, as `imp watch` and `imp events list --service socket` show it.
    #[arg(value_name = "EVENT_ID")]
    pub(crate) event_id: String,
    /// The local UDP port, on 127.0.0.1 [default: one that is free].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Join by the relay's first port, or by its second, which is the far end's [default: 2].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=2))]
    pub(crate) side: Option<u32>,
    /// Join relays at loopback, private, link-local and own addresses too. The address in an event is its sender's choice.
    #[arg(long)]
    pub(crate) allow_private: bool,
}
