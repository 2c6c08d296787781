//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use imp_devnet::devnet::{MAX_NODES, Options, Ports, Report, Topology};

/// A net of IMP nodes with funded wallets and open channels, on a chain of its own.
#[derive(Debug, Parser)]
#[command(name = "imp-devnet", version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts a net, sends a first message, and keeps the net up until Ctrl-C. A later start goes on where this one ends.
    Up(Up),
    /// Shows the net and its nodes.
    Status(Net),
    /// Mines blocks.
    Mine {
        /// How many.
        #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000), default_value_t = 1)]
        blocks: u32,
        #[command(flatten)]
        net: Net,
    },
    /// Pays a node from the chain.
    Fund {
        /// Its name, such as alice.
        node: String,
        /// Satoshis.
        #[arg(value_parser = clap::value_parser!(u64).range(1_000..), default_value_t = 10_000_000)]
        sats: u64,
        #[command(flatten)]
        net: Net,
    },
    /// Runs a command on the host of a node, in a net with a VPN.
    On {
        /// The node's name, such as alice.
        node: String,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
        #[command(flatten)]
        net: Net,
    },
    /// Stops the net.
    Stop(Net),
    /// Becomes the program of a node, which ends when the net does.
    #[command(hide = true)]
    Child(Child),
}

/// Which net.
#[derive(Debug, clap::Args)]
pub(crate) struct Net {
    /// The net's directory.
    #[arg(long, value_name = "DIR", default_value = ".devnet")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) net: Net,
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = nodes)]
    pub(crate) nodes: usize,
    /// Who has channels with whom.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) topology: Topology,
    /// Have the last node sell a VPN into an internet that only its host reaches: each node is on a host of its own, and
    /// the command of --exec on that of alice. Linux only; needs iproute2, nftables and util-linux, and not root where
    /// the system lets users make namespaces.
    #[arg(long)]
    pub(crate) vpn: bool,
    /// Begin with a new chain and new nodes.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Where gRPC and HTTP are served: `free` for any free ports, or the first of two for each node [default: 8881 and
    /// 8882, 9991 and 9992, 10001 and 10002, ..].
    #[arg(long, value_name = "free|FIRST", value_parser = str::parse::<Ports>)]
    pub(crate) ports: Option<Ports>,
    /// Let web pages of this origin call the nodes, such as http://localhost:8000; may be repeated.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// Where to write a JSON file with the nodes, once all can be used [default: DIR/ready.json].
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Run a shell command once all can be used, then stop, and exit as it did. It finds the ready file in
    /// IMP_DEVNET_READY, and alice in IMP_DEVNET_ALICE_HTTP, _GRPC, _PUBKEY and _DIR; the other nodes likewise.
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,
    /// Leave a node that dies as it is.
    #[arg(long)]
    pub(crate) no_restart: bool,
    /// How often waiting transactions are mined; 0 for only when the net itself needs it.
    #[arg(long, value_name = "SECS", default_value_t = 1)]
    pub(crate) mine_interval: u64,
    /// The program impd [default: the variable IMPD, else the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub(crate) impd: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Child {
    pub(crate) parent: u32,
    pub(crate) program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<OsString>,
}

fn nodes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(nodes) if (1..=MAX_NODES).contains(&nodes) => Ok(nodes),
        _ => Err(format!("write a number from 1 to {MAX_NODES}")),
    }
}

impl Up {
    pub(crate) fn options(&self, report: Report) -> Options {
        let defaults = Options::default();
        Options {
            nodes: self.nodes,
            dir: self.net.dir.clone(),
            fresh: self.fresh,
            ports: self.ports.unwrap_or(defaults.ports),
            topology: self.topology,
            vpn: self.vpn,
            allowed_origins: self.allow_origin.clone(),
            ready_file: self.ready_file.clone(),
            restart: !self.no_restart,
            mine_interval: (self.mine_interval > 0).then(|| Duration::from_secs(self.mine_interval)),
            impd: self.impd.clone().or(defaults.impd),
            launcher: std::env::current_exe().ok(),
            report,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use imp_devnet::devnet::CHILD_COMMAND;

    use super::*;

    #[test]
    fn the_commands_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_is_not_typed_has_the_defaults_of_the_library() {
        let Command::Up(up) = Args::parse_from(["imp-devnet", "up"]).command else { panic!("not up") };
        let (typed, defaults) = (up.options(Report::default()), Options::default());
        assert_eq!((typed.nodes, typed.dir, typed.fresh), (defaults.nodes, defaults.dir, defaults.fresh));
        assert_eq!((typed.ports, typed.topology), (defaults.ports, defaults.topology));
        assert_eq!((typed.restart, typed.mine_interval), (defaults.restart, defaults.mine_interval));
    }

    #[test]
    fn a_child_gets_its_arguments_as_they_are() {
        let line = ["imp-devnet", CHILD_COMMAND, "7", "/bin/impd", "run", "--config", "x"];
        let Command::Child(child) = Args::parse_from(line).command else { panic!("not a child") };
        assert_eq!((child.parent, child.program), (7, PathBuf::from("/bin/impd")));
        assert_eq!(child.args, ["run", "--config", "x"]);
    }
}
