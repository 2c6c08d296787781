//! The command line of `impd`.
//!
//! Flags for configuration keys come from the key table, one for each key. The original's spelling `-config` is read as
//! `--config`.

pub mod check;
pub mod seed;
pub mod start;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::config::keys::{KEYS, Kind};

/// What `impd` was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the daemon.
    Run,
    /// Tell whether the configuration can be used.
    ConfigCheck,
    /// Print a configuration file with every key.
    ConfigSample,
    /// Something about the seed.
    Seed(SeedCommand),
}

/// What is to be done about the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedCommand {
    /// Make one where there is none.
    New,
    /// Show its words.
    Show {
        /// Also where the words do not go to a terminal.
        yes: bool,
    },
    /// Take one over from words on standard input.
    Restore,
}

/// A command line that was understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// The configuration file that was named.
    pub config_file: Option<PathBuf>,
    /// Configuration keys and the values of their flags.
    pub flags: Vec<(String, String)>,
}

impl std::fmt::Debug for Invocation {
    /// Without the flags' values, which may be passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invocation")
            .field("command", &self.command)
            .field("config_file", &self.config_file)
            .finish_non_exhaustive()
    }
}

/// Reads a command line, the program's name first. Help and version are errors too: print them and leave with
/// [`exit_code`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let matches = command().try_get_matches_from(args.into_iter().map(long_config))?;
    let command = match matches.subcommand() {
        None | Some(("run", _)) => Command::Run,
        Some(("config", sub)) => match sub.subcommand_name() {
            Some("sample") => Command::ConfigSample,
            _ => Command::ConfigCheck,
        },
        Some(("seed", sub)) => Command::Seed(match sub.subcommand() {
            Some(("show", show)) => SeedCommand::Show { yes: show.get_flag("yes") },
            Some(("restore", _)) => SeedCommand::Restore,
            _ => SeedCommand::New,
        }),
        Some((other, _)) => {
            return Err(clap::Error::raw(
                ErrorKind::InvalidSubcommand,
                format!("there is no command {other}\n"),
            ));
        }
    };
    // Global arguments reach the innermost command.
    let mut innermost = &matches;
    while let Some((_, deeper)) = innermost.subcommand() {
        innermost = deeper;
    }
    Ok(Invocation {
        command,
        config_file: innermost.get_one::<PathBuf>("config").cloned(),
        flags: flags(innermost),
    })
}

/// The exit code for what [`parse`] refused: 0 for help and version, which were asked for.
pub fn exit_code(error: &clap::Error) -> u8 {
    use crate::runtime::shutdown::exit;
    if error.use_stderr() { exit::CONFIG } else { exit::CLEAN }
}

/// `-config` and `-config=FILE`, as Go programs take them.
fn long_config(arg: OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text == "-config" || text.starts_with("-config=") => format!("-{text}").into(),
        _ => arg,
    }
}

fn flags(matches: &ArgMatches) -> Vec<(String, String)> {
    let given = KEYS.iter().filter(|key| key.kind != Kind::Ignored).filter_map(|key| {
        let values: Vec<&str> = matches.get_many::<String>(&key.name)?.map(String::as_str).collect();
        // Only lists can be given more than once.
        Some((key.name.clone(), values.join(",")))
    });
    given.collect()
}

fn command() -> clap::Command {
    clap::Command::new("impd")
        .about("The IMP node: messages, federation, sockets, VPN and invoices over Lightning")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(
            "Each configuration key is also a variable: server.http_addr is --server-http-addr and IMP_SERVER_HTTP_ADDR.\n\
             Exit codes: 0 clean, 1 failure, 64 unusable configuration or command line, 75 not stopped in time.\n",
        )
        .disable_help_subcommand(true)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .global(true)
                .help("Configuration file [default: config/config.yml, else ~/.imp/config.yml, else none]"),
        )
        .args(KEYS.iter().filter(|key| key.kind != Kind::Ignored).map(|key| {
            let arg = Arg::new(key.name.as_str())
                .long(key.flag.trim_start_matches('-'))
                .help(key.doc)
                .help_heading("Configuration")
                .hide_short_help(true)
                .global(true);
            match key.kind {
                // What follows may be the next flag, so that no value of these begins with a hyphen.
                Kind::Bool => arg.num_args(0..=1).default_missing_value("true").value_name("true|false"),
                Kind::List => arg.action(ArgAction::Append).allow_hyphen_values(true).value_name("VALUE,..."),
                Kind::Value | Kind::Ignored => arg.allow_hyphen_values(true).value_name("VALUE"),
            }
        }))
        .subcommand(clap::Command::new("run").about("Run the daemon; so does impd alone"))
        .subcommand(
            clap::Command::new("config")
                .about("Look at the configuration")
                .subcommand_required(true)
                .subcommand(clap::Command::new("check").about("Tell whether the configuration can be used"))
                .subcommand(
                    clap::Command::new("sample").about("Print a configuration file with every key and its default"),
                ),
        )
        .subcommand(
            clap::Command::new("seed")
                .about("The 24 words that the node's keys and money hang on")
                .subcommand_required(true)
                .subcommand(clap::Command::new("new").about("Make a seed where there is none"))
                .subcommand(
                    clap::Command::new("show").about("Show the words").arg(
                        Arg::new("yes")
                            .long("yes")
                            .action(ArgAction::SetTrue)
                            .help("Also into a file or another program"),
                    ),
                )
                .subcommand(
                    clap::Command::new("restore").about("Read the words from standard input into a new seed file"),
                ),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Invocation, clap::Error> {
        parse(std::iter::once("impd").chain(args.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn commands_are_told_apart() {
        for (args, command) in [
            (&[][..], Command::Run),
            (&["run"], Command::Run),
            (&["config", "check"], Command::ConfigCheck),
            (&["config", "sample"], Command::ConfigSample),
            (&["seed", "new"], Command::Seed(SeedCommand::New)),
            (&["seed", "show"], Command::Seed(SeedCommand::Show { yes: false })),
            (&["seed", "show", "--yes"], Command::Seed(SeedCommand::Show { yes: true })),
            (&["seed", "restore"], Command::Seed(SeedCommand::Restore)),
        ] {
            assert_eq!(parsed(args).unwrap().command, command, "{args:?}");
        }
    }

    #[test]
    fn every_spelling_of_config_names_the_file() {
        for args in [
            &["--config", "a.yml"][..],
            &["--config=a.yml"],
            &["-config", "a.yml"],
            &["-config=a.yml"],
            &["run", "-config", "a.yml"],
            &["-config", "a.yml", "run"],
            &["config", "check", "--config", "a.yml"],
            &["--config", "a.yml", "config", "check"],
        ] {
            assert_eq!(parsed(args).unwrap().config_file, Some("a.yml".into()), "{args:?}");
        }
    }

    #[test]
    fn flags_give_keys_and_values() {
        let args = [
            "--server-http-addr=127.0.0.1:0",
            "run",
            "--server-insecure",
            "--vpn-sell",
            "false",
            "--server-allowed-hosts",
            "a,b",
            "--server-allowed-hosts",
            "c",
            "--lightning-fee-limit",
            "-5",
        ];
        let flags = parsed(&args).unwrap().flags;
        let expected = [
            ("server.http_addr", "127.0.0.1:0"),
            ("server.insecure", "true"),
            ("server.allowed_hosts", "a,b,c"),
            ("lightning.fee_limit", "-5"),
            ("vpn.sell", "false"),
        ];
        assert_eq!(flags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_not_understood_leaves_with_the_code_for_bad_usage() {
        for args in
            [&["--server-htp-addr", "x"][..], &["walk"], &["config"], &["--config"], &["seed", "show", "x"]]
        {
            let error = parsed(args).unwrap_err();
            assert_eq!(exit_code(&error), 64, "{args:?}: {error}");
        }
        for args in [&["--help"][..], &["--version"], &["seed", "-h"]] {
            assert_eq!(exit_code(&parsed(args).unwrap_err()), 0, "{args:?}");
        }
    }

    #[test]
    fn a_misspelt_flag_is_answered_with_the_right_one() {
        let text = parsed(&["--server-htp-addr", "x"]).unwrap_err().to_string();
        assert!(text.contains("--server-http-addr"), "{text}");
    }
}
