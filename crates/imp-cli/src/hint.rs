//! What to do next, for each way in which a command can fail.

use std::io;

use imp_api::client::ClientError;
use imp_api::error::{Code, StatusBody};

use crate::args::Command;
use crate::args::federate::FederateCommand;
use crate::args::lightning::InvoiceCommand;
use crate::args::messaging::MessageCommand;
use crate::args::node::{ChannelCommand, WalletCommand};
use crate::args::options::Key as KeyOption;
use crate::args::socket::SocketCommand;
use crate::args::vpn::VpnCommand;
use crate::failure::Failure;

/// What it means for the node that a command was run.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Nothing: it can be run again at will.
    Harmless,
    /// As harmless, but what it prints is a stream of its own kind.
    Stream,
    /// Money moves, or others are told.
    Matters {
        /// The command that shows what became of it.
        look: &'static str,
        /// Whether running it twice would do it twice.
        key: Key,
    },
}

/// Whether a command is safe to repeat.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    Given,
    NotGiven,
    /// The call takes none.
    None,
}

impl From<&KeyOption> for Key {
    fn from(option: &KeyOption) -> Self {
        if option.key.is_some() { Self::Given } else { Self::NotGiven }
    }
}

const MESSAGES: &str = "imp message list";
const PAYMENTS: &str = "imp payment list";
const CHANNELS: &str = "imp channel list";
const PEERS: &str = "imp federate list";
const RELAYS: &str = "imp socket list";
const QUOTES: &str = "imp vpn quotes";
const CONTRACTS: &str = "imp vpn list";

impl Effect {
    pub(crate) fn of(command: &Command) -> Self {
        let matters = |look, key| Self::Matters { look, key };
        match command {
            Command::Message(MessageCommand::Send(send)) => matters(MESSAGES, (&send.key).into()),
            Command::Message(MessageCommand::Retry { .. }) => matters(MESSAGES, Key::None),
            Command::Federate(FederateCommand::Request(told) | FederateCommand::Leave(told)) => {
                matters(MESSAGES, (&told.key).into())
            }
            Command::Federate(FederateCommand::Accept(_) | FederateCommand::Reject(_)) => {
                matters(PEERS, Key::None)
            }
            Command::Socket(SocketCommand::Send(send)) => matters(MESSAGES, (&send.key).into()),
            Command::Socket(SocketCommand::Open(_)) => matters(RELAYS, Key::None),
            Command::Socket(SocketCommand::Connect(_)) => matters("imp socket connections", Key::None),
            Command::Vpn(VpnCommand::Quote(ask)) => matters(QUOTES, (&ask.key).into()),
            Command::Vpn(VpnCommand::Buy(buy)) => matters(CONTRACTS, (&buy.key).into()),
            Command::Vpn(VpnCommand::Contract(accept)) => matters(CONTRACTS, (&accept.key).into()),
            Command::Vpn(VpnCommand::Refresh(refresh)) => matters(CONTRACTS, (&refresh.key).into()),
            Command::Invoice(InvoiceCommand::Pay { key, .. }) => matters(PAYMENTS, key.into()),
            Command::Keysend(keysend) => matters(PAYMENTS, (&keysend.key).into()),
            Command::Wallet(WalletCommand::Send(send)) => matters("imp wallet balance", (&send.key).into()),
            Command::Channel(ChannelCommand::Open { key, .. }) => matters(CHANNELS, key.into()),
            Command::Channel(ChannelCommand::Close { .. }) => matters(CHANNELS, Key::None),
            Command::Watch(_) | Command::Socket(SocketCommand::Watch(_)) => Self::Stream,
            _ => Self::Harmless,
        }
    }
}

/// Where what answers is not gRPC.
const OTHER_PORT: &str = "gRPC is another port than REST: --addr is the node's server.grpc_addr, port 8881 by default, \
                          and not its server.http_addr, port 8882";

/// The hint for a failure, if there is one.
pub(crate) fn of(failure: &Failure, effect: &Effect) -> Option<String> {
    match failure {
        Failure::Client(ClientError::NotReachable { source, .. }) if is_forbidden(source.as_ref()) => {
            Some("the socket belongs to another user: be the one that impd runs as".to_owned())
        }
        Failure::Client(ClientError::NotReachable { .. }) => {
            Some("--addr, --data-dir or IMP_ADDR name another node".to_owned())
        }
        Failure::Client(ClientError::Lost { greeted: true, .. }) => Some(doubt(effect, "may have been done")),
        Failure::Client(ClientError::Lost { greeted: false, .. }) => Some(match effect {
            Effect::Harmless | Effect::Stream => OTHER_PORT.to_owned(),
            Effect::Matters { .. } => {
                format!("{OTHER_PORT}; if that is right, {}", doubt(effect, "may have been done"))
            }
        }),
        Failure::Client(ClientError::Refused(body)) => refusal(body, effect),
        Failure::NoSuchName { name } => Some(format!(
            "`imp federate name PUBKEY {name:?}` gives a node this name; `imp federate list` shows all names"
        )),
        Failure::NotInTime { later, .. } => Some(later.clone()),
        Failure::TooDear { hourly_sat, .. } => Some(format!("--max-price {hourly_sat} buys it")),
        Failure::NotServed { nonce, .. } => Some(format!("`imp vpn show {nonce}` tells how it stands")),
        Failure::NobodyToAsk { .. } => Some("--yes answers it".to_owned()),
        Failure::Interrupted if matches!(effect, Effect::Matters { .. }) => {
            Some(doubt(effect, "may go on at the node"))
        }
        _ => None,
    }
}

/// What to do where it is not known what became of a call.
fn doubt(effect: &Effect, may: &str) -> String {
    let Effect::Matters { look, key } = effect else { return "run it again".to_owned() };
    match key {
        Key::Given => format!("it {may}: run it again with the same --key, and nothing is done twice"),
        Key::NotGiven => {
            format!(
                "it {may}: look with `{look}` before you run it again; with --key it could be repeated safely"
            )
        }
        Key::None => format!("it {may}: look with `{look}` before you run it again"),
    }
}

fn refusal(body: &StatusBody, effect: &Effect) -> Option<String> {
    let reason = body.info.as_ref().map_or("", |info| info.reason());
    let message = body.info.as_ref().and_then(|info| info.get("messageId"));
    let hint = match (body.code, reason) {
        (Code::DeadlineExceeded, _) | (_, "OUTCOME_UNKNOWN") => {
            return Some(match message {
                Some(id) => format!("`imp message show {id}` tells what becomes of it"),
                None => doubt(effect, "may still be done"),
            });
        }
        (_, "NO_ROUTE") => {
            "`imp channel list` shows whether a channel is usable; open one: \
             `imp channel open NODE@HOST:PORT SAT`"
        }
        (_, "INSUFFICIENT_BALANCE") => "`imp node balance` shows what can be sent now",
        (_, "OWNER_ONLY") => "run it on the node's machine, with a loopback --addr or with --data-dir",
        (Code::OutOfRange, _) => "`imp events list` begins with the oldest that is kept",
        (_, "INVOICE_NOT_FOUND") => {
            "only the node that made an invoice can tell: `imp invoice list` shows yours"
        }
        (_, "PEER_NOT_FOUND") => "`imp federate list` shows those that the node remembers",
        (_, "NO_REQUEST") => "`imp federate list --state pending` shows those that wait",
        (_, "NAME_TAKEN") => "`imp federate name NODE --none` takes the name from it",
        (_, "PEER_BLOCKED") => "`imp federate unblock NODE` ends the block",
        (_, "RELAY_NOT_FOUND") => "`imp socket list` shows those that run",
        (_, "OFFER_NOT_FOUND") => "`imp events list --service socket` shows what was offered",
        (_, "CONNECTION_NOT_FOUND") => "`imp socket connections` shows those that are open",
        (_, "CONTRACT_NOT_FOUND" | "NO_CONTRACT" | "QUOTE_ACCEPTED") => {
            "`imp vpn list` shows those that there are"
        }
        (_, "NO_QUOTE" | "QUOTE_TOO_OLD") => {
            "`imp vpn quotes` shows those that can be accepted, and `imp vpn quote NODE` asks for one"
        }
        (_, "TUNNELS_NOT_POSSIBLE") => {
            "`imp vpn config NONCE` gives the configuration to wg-quick, here or elsewhere"
        }
        (_, "TOO_MANY_RELAYS" | "NO_FREE_PORTS") => {
            "`imp socket list` shows the relays that run, and `imp socket close ID` ends one"
        }
        (_, "TOO_MANY_CONNECTIONS") => {
            "`imp socket connections` shows those that are open, and `imp socket disconnect ID` closes one"
        }
        (_, "MESSAGE_NOT_FOUND") => "`imp message list` shows those that are kept",
        (Code::NotFound, _) => {
            return match effect {
                Effect::Matters { look, .. } => Some(format!("`{look}` shows what there is")),
                _ => None,
            };
        }
        (
            _,
            "RETRIES_EXHAUSTED" | "TIMED_OUT" | "PAYMENT_FAILED" | "RECIPIENT_REJECTED" | "KEPT_IN_VAIN"
            | "NOT_SENT",
        ) => {
            return message.map(|id| {
                format!("`imp message retry {id}` sends what is missing; with --keep the node goes on trying")
            });
        }
        (_, "IDEMPOTENCY_KEY_USED") => "a --key belongs to one request: choose another, or none",
        (_, "PAYMENT_KNOWN" | "INVOICE_PAID") => "`imp payment list` shows the payment",
        (Code::Unavailable, _) => {
            "`imp node info` tells how the node stands, and while it starts its /ready does"
        }
        (Code::ResourceExhausted, _) => "wait until what is under way has ended, and run it again",
        (Code::Unimplemented, _) => "this node cannot do that: `imp node info` shows its version",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn is_forbidden(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("transport error")]
    struct Wrapped(#[source] io::Error);

    #[test]
    fn a_socket_of_another_user_is_told_from_one_that_is_not_there() {
        let hint_for = |kind: io::ErrorKind| {
            let source = Box::new(Wrapped(kind.into()));
            let error = ClientError::NotReachable { addr: "unix:/d/imp.sock".to_owned(), source };
            of(&error.into(), &Effect::Harmless).unwrap()
        };
        assert!(hint_for(io::ErrorKind::PermissionDenied).contains("another user"));
        assert!(hint_for(io::ErrorKind::NotFound).contains("--data-dir"));
    }

    #[tokio::test]
    async fn the_cause_of_a_failed_connection_can_be_seen() {
        let error = imp_api::client::Client::connect("unix:/nowhere/imp.sock").await.unwrap_err();
        let ClientError::NotReachable { source, .. } = error else { panic!("{error}") };
        let source: &(dyn std::error::Error + 'static) = source.as_ref();
        let mut causes = std::iter::successors(Some(source), |error| error.source());
        assert!(causes.any(|error| error.is::<io::Error>()), "{source:?}");
    }
}
