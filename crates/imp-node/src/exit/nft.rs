//! Runs `nft`.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use nftables::schema::Nftables;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::ExitError;
use super::rules::{OPENED, TABLE_PREFIX, mark_name, table_name};
use crate::host::programs;

/// What the kernel says to those who may not.
const NOT_PERMITTED: &str = "Operation not permitted";

/// What it says of a table that is not there.
const NOT_FOUND: &str = "No such file or directory";

/// Whose the table of an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// There is none.
    Nobody,
    /// It has the mark that was asked for.
    Own,
    /// It has another mark, or none.
    Other,
}

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

    /// Whose the interface's table is, by the mark of this node's own.
    pub(super) async fn holder(&self, mark: Option<&str>) -> Result<Holder, ExitError> {
        let own = table_name(self.interface);
        let tables = self.list("table", &["list", "tables", "inet"]).await?;
        if tables.iter().all(|table| table["name"] != *own) {
            return Ok(Holder::Nobody);
        }
        let Some(mark) = mark.map(mark_name) else { return Ok(Holder::Other) };
        let sets = self.list("set", &["list", "sets", "inet"]).await?;
        let is_own = sets.iter().any(|set| set["table"] == *own && set["name"] == *mark);
        Ok(if is_own { Holder::Own } else { Holder::Other })
    }

    /// Interfaces that other sellers on this machine have made to forward, and will put back.
    pub(super) async fn opened_by_others(&self, mark: &str) -> Result<Vec<String>, ExitError> {
        let (own, mark) = (table_name(self.interface), mark_name(mark));
        let sets = self.list("set", &["list", "sets", "inet"]).await?;
        let is_own = sets.iter().any(|set| set["table"] == *own && set["name"] == *mark);
        let is_of_another_seller = |set: &Value| {
            let table = set["table"].as_str().unwrap_or_default();
            set["family"] == "inet"
                && set["name"] == OPENED
                && table.starts_with(TABLE_PREFIX)
                && !(is_own && table == own)
        };
        let names =
            sets.iter().filter(|set| is_of_another_seller(set)).filter_map(|set| set["elem"].as_array());
        Ok(names.flatten().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The interface's table as it stands, without what is counted in it; nothing if there is none.
    pub(super) async fn standing(&self) -> Result<Option<Value>, ExitError> {
        let objects = match self.objects(&["list", "table", "inet", &table_name(self.interface)]).await {
            Err(ExitError::Rules { message, .. }) if message.contains(NOT_FOUND) => return Ok(None),
            objects => objects?,
        };
        let mut standing = Value::Array(objects);
        leave_out_counts(&mut standing);
        Ok(Some(standing))
    }

    /// Chains of others that forward IPv4 only where they say so, as `family table chain`.
    pub(super) async fn closed_by_others(&self) -> Result<Vec<String>, ExitError> {
        let is_closed = |chain: &Value| {
            let is_ours = chain["table"].as_str().is_some_and(|table| table.starts_with(TABLE_PREFIX));
            let sees_ipv4 = chain["family"] == "inet" || chain["family"] == "ip";
            chain["hook"] == "forward" && chain["policy"] == "drop" && sees_ipv4 && !is_ours
        };
        let chains = self.list("chain", &["list", "chains"]).await?;
        let word = |chain: &Value, key| chain[key].as_str().unwrap_or_default().to_owned();
        let name = |chain: &Value| ["family", "table", "name"].map(|key| word(chain, key)).join(" ");
        Ok(chains.iter().filter(|chain| is_closed(chain)).map(name).collect())
    }

    /// What is there of one kind, also of others: of what theirs may hold the library's types know a part only.
    async fn list(&self, kind: &str, args: &[&str]) -> Result<Vec<Value>, ExitError> {
        let objects = self.objects(args).await?;
        Ok(objects.into_iter().filter_map(|mut object| object.get_mut(kind).map(Value::take)).collect())
    }

    async fn objects(&self, args: &[&str]) -> Result<Vec<Value>, ExitError> {
        let text = self.run(args, String::new()).await?;
        let not_understood =
            || self.refused(format!("the answer to `nft -j {}` is not understood", args.join(" ")));
        let mut answer: Value = serde_json::from_str(&text).map_err(|_| not_understood())?;
        let Value::Array(objects) = answer["nftables"].take() else { return Err(not_understood()) };
        Ok(objects)
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

/// Takes out what changes though nobody changes the rules: the numbers of objects, and whom the limits have met.
fn leave_out_counts(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(leave_out_counts),
        Value::Object(fields) => {
            fields.remove("handle");
            let is_counted = fields.get("flags").is_some_and(|flags| flags.to_string().contains("dynamic"));
            if is_counted {
                fields.remove("elem");
            }
            fields.values_mut().for_each(leave_out_counts);
        }
        _ => {}
    }
}

/// What went wrong; the lines that follow it repeat the rule.
fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it failed without a word").to_owned()
}
