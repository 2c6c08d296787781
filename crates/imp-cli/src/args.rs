//! What can be typed.

pub(crate) mod events;
pub(crate) mod federate;
pub(crate) mod lightning;
pub(crate) mod messaging;
pub(crate) mod node;
pub(crate) mod options;
pub(crate) mod socket;
pub(crate) mod text;
pub(crate) mod value;
pub(crate) mod vpn;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use imp_api::client::DEFAULT_ADDR;

use self::events::{EventsCommand, Watch};
use self::federate::FederateCommand;
use self::lightning::{InvoiceCommand, Keysend, PaymentCommand};
use self::messaging::MessageCommand;
use self::node::{ChannelCommand, NodeCommand, PeerCommand, WalletCommand};
use self::socket::SocketCommand;
use self::text::{Sign, Verify};
use self::vpn::VpnCommand;
use crate::exit;
use crate::failure::Failure;

/// The variable that names the node where no option does.
pub(crate) const ADDR_VARIABLE: &str = "IMP_ADDR";

/// The socket in a node's data directory.
const SOCKET: &str = "imp.sock";

/// The heading of options that every command has.
const GLOBAL: &str = "Global options";

/// Talks to a running IMP node.
#[derive(Debug, Parser)]
#[command(name = "imp", version, after_help = exit::help())]
pub(crate) struct Args {
    /// Where the node serves gRPC: HOST:PORT, or unix:PATH for a socket [default: IMP_ADDR, or 127.0.0.1:8881].
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "ADDR")]
    addr: Option<String>,
    /// Talk to the node of this data directory, by the socket imp.sock in it.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data_dir: Option<PathBuf>,
    /// Print JSON, as REST answers it; of a refusal too.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// The node's address: what the options say, or else the value of the variable, or else the usual one.
    pub(crate) fn addr(&self, variable: Option<OsString>) -> Result<String, Failure> {
        let not_text = |what| Failure::Usage(format!("{what} is no UTF-8 text"));
        match (&self.addr, &self.data_dir) {
            (Some(_), Some(_)) => {
                Err(Failure::Usage("--addr and --data-dir both name a node: give one of them".to_owned()))
            }
            (Some(addr), None) => Ok(addr.clone()),
            (None, Some(dir)) => {
                let path = dir.join(SOCKET).into_os_string().into_string();
                path.map(|path| format!("unix:{path}")).map_err(|_| not_text("--data-dir"))
            }
            (None, None) => match variable.filter(|addr| !addr.is_empty()) {
                Some(addr) => addr.into_string().map_err(|_| not_text(ADDR_VARIABLE)),
                None => Ok(DEFAULT_ADDR.to_owned()),
            },
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Messages that the node sends.
    #[command(subcommand, alias = "messages")]
    Message(MessageCommand),
    /// Shows what other nodes send, until Ctrl-C. Reconnects when the node restarts, and misses nothing.
    Watch(Watch),
    /// What other nodes have sent.
    #[command(subcommand, alias = "event")]
    Events(EventsCommand),
    /// Invoices: to be paid by others, and to pay.
    #[command(subcommand, alias = "invoices")]
    Invoice(InvoiceCommand),
    /// Pays a node without an invoice, and waits until it is paid.
    Keysend(Keysend),
    /// Payments of invoices, and by keysend.
    #[command(subcommand, alias = "payments")]
    Payment(PaymentCommand),
    /// The node itself.
    #[command(subcommand)]
    Node(NodeCommand),
    /// The node's bitcoin on the chain.
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// Channels with other nodes.
    #[command(subcommand, alias = "channels")]
    Channel(ChannelCommand),
    /// Nodes that this one is connected to.
    #[command(subcommand, alias = "peers")]
    Peer(PeerCommand),
    /// Signs a text with the node's key.
    Sign(Sign),
    /// Tells whether a node signed a text: the one that is named, or else this one or any that it knows of.
    Verify(Verify),
    /// Federation: nodes that remember each other, what they may do here, and how they are called.
    #[command(subcommand)]
    Federate(FederateCommand),
    /// Relays between two programs that speak UDP, and local ends of relays of other nodes.
    #[command(subcommand)]
    Socket(SocketCommand),
    /// WireGuard access, sold by the hour.
    #[command(subcommand)]
    Vpn(VpnCommand),
    /// Prints a shell's completions for imp.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Prints the manual page imp(1), or writes the pages of all commands.
    Man {
        /// Write one page for each command into this directory.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_option_names_the_node_before_the_variable_does() {
        let addr = |args: &[&str], variable: Option<&str>| {
            let args = Args::parse_from([&["imp", "node", "info"], args].concat());
            args.addr(variable.map(OsString::from))
        };
        for (args, variable, expected) in [
            (&[][..], None, "127.0.0.1:8881"),
            (&[], Some(""), "127.0.0.1:8881"),
            (&[], Some("a:1"), "a:1"),
            (&["--addr", "b:2"], Some("a:1"), "b:2"),
            (&["--data-dir", "/d"], Some("a:1"), "unix:/d/imp.sock"),
        ] {
            assert_eq!(addr(args, variable).unwrap(), expected, "{args:?}");
        }
        let both = addr(&["--addr", "b:2", "--data-dir", "/d"], None).unwrap_err();
        assert!(matches!(both, Failure::Usage(_)), "{both}");
    }
}
