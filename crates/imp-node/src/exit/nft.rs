//! Runs `nft`.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use nftables::expr::Expression;
use nftables::schema::{NfListObject, NfObject, Nftables};
use nftables::types::{NfChainPolicy, NfFamily, NfHook};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::ExitError;
use super::rules::{OPENED, TABLE_PREFIX, table_name};
use crate::host::programs;

/// What the kernel says to those who may not.
const NOT_PERMITTED: &str = "Operation not permitted";

/// The program, and for whom it works.
#[derive(Debug)]
pub(super) struct Nft<'a> {
    program: PathBuf,
    interface: &'a str,
}

impl<'a> Nft<'a> {
    /// Finds the program.
    pub(super) fn find(interface: &'a str) -> Result<Self, ExitError> {
        let program = programs::find("nft").ok_or(ExitError::NoNft)?;
        Ok(Self { program, interface })
    }

    /// Does all of it or nothing.
    pub(super) async fn apply(&self, rules: &Nftables<'_>) -> Result<(), ExitError> {
        let text = serde_json::to_string(rules).map_err(|error| self.refused(error.to_string()))?;
        self.run(&["-f", "-"], text).await.map(|_| ())
    }

    /// Interfaces that other sellers on this machine have made to forward, and will put back.
    pub(super) async fn opened_by_others(&self) -> Result<Vec<String>, ExitError> {
        let sets = self.list(&["list", "sets", "inet"]).await?;
        let own = table_name(self.interface);
        let sets = sets.objects.iter().filter_map(|object| match object {
            NfObject::ListObject(NfListObject::Set(set)) => Some(set),
            _ => None,
        });
        let others = sets.filter(|set| {
            set.family == NfFamily::INet
                && set.name == OPENED
                && set.table.starts_with(TABLE_PREFIX)
                && set.table != own
        });
        let names = others.flat_map(|set| set.elem.iter().flat_map(|names| names.iter())).filter_map(
            |name| match name {
                Expression::String(name) => Some(name.to_string()),
                _ => None,
            },
        );
        Ok(names.collect())
    }

    /// Tables of others that forward nothing but what they name, as `family table chain`.
    pub(super) async fn closed_by_others(&self) -> Result<Vec<String>, ExitError> {
        let chains = self.list(&["list", "chains"]).await?;
        let closed = chains.objects.iter().filter_map(|object| match object {
            NfObject::ListObject(NfListObject::Chain(chain))
                if chain.hook == Some(NfHook::Forward)
                    && chain.policy == Some(NfChainPolicy::Drop)
                    && chain.family != NfFamily::Bridge =>
            {
                let family = if chain.family == NfFamily::INet { "inet" } else { "ip" };
                Some(format!("{family} {} {}", chain.table, chain.name))
            }
            _ => None,
        });
        Ok(closed.collect())
    }

    async fn list(&self, args: &[&str]) -> Result<Nftables<'static>, ExitError> {
        let text = self.run(args, String::new()).await?;
        serde_json::from_str(&text)
            .map_err(|error| self.refused(format!("its answer is not understood: {error}")))
    }

    /// Runs the program, and returns what it prints. It ends by itself: a future that is dropped does not stop it halfway.
    async fn run(&self, args: &[&str], input: String) -> Result<String, ExitError> {
        let io = |error: io::Error| self.refused(format!("cannot run {}: {error}", self.program.display()));
        let mut nft = Command::new(&self.program)
            .arg("-j")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io)?;
        if let Some(mut stdin) = nft.stdin.take() {
            stdin.write_all(input.as_bytes()).await.map_err(io)?;
        }
        let output = nft.wait_with_output().await.map_err(io)?;
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            Ok(stdout.into_owned())
        } else if stderr.contains(NOT_PERMITTED) {
            Err(ExitError::NftNotPermitted)
        } else {
            Err(self.refused(first_line(&stderr)))
        }
    }

    fn refused(&self, message: String) -> ExitError {
        ExitError::Rules { interface: self.interface.to_owned(), message }
    }
}

/// What went wrong; the lines that follow it repeat the rule.
fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it failed without a word").to_owned()
}
