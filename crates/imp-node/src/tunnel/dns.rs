//! The DNS servers that this machine uses, set for as long as a tunnel is up.
//!
//! Where a program is in charge of them it is asked: systemd-resolved (`resolvectl`), or `resolvconf`. Otherwise the file that names
//! them is rewritten in place, for it may be a link or a mount; what was in it is kept. It is put back only over what was
//! written here: what somebody else has written meanwhile is newer.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde::{Deserialize, Serialize};
use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::TunnelError;
use crate::host::programs;

/// Where systemd-resolved keeps the files that resolv.conf is a link to.
const RESOLVED: &str = "/run/systemd/resolve";

/// Where `resolvconf` does.
const RESOLVCONF: [&str; 2] = ["/run/resolvconf", "/etc/resolvconf/run"];

/// Who is in charge of DNS on this machine.
#[derive(Clone, Debug)]
pub(super) struct Dns {
    /// The file that names the servers.
    pub(super) file: PathBuf,
    pub(super) resolvectl: Option<PathBuf>,
    pub(super) resolvconf: Option<PathBuf>,
}

/// What is changed, and how to put it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// systemd-resolved knows the server of the interface.
    Resolvectl,
    /// `resolvconf` has a record.
    Resolvconf {
        /// Its name.
        record: String,
    },
    /// The file was rewritten.
    File {
        /// Which one.
        path: PathBuf,
        /// What is written there.
        text: String,
        /// What was there before; nothing if there was no file.
        before: Option<String>,
    },
}

impl Dns {
    /// The machine whose servers are named in `file`.
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            resolvectl: programs::find("resolvectl"),
            resolvconf: programs::find("resolvconf"),
        }
    }

    /// What is going to be changed for an interface.
    pub(super) async fn plan(&self, interface: &str, server: IpAddr) -> Result<Change, TunnelError> {
        let file = fs::canonicalize(&self.file).await.unwrap_or_else(|_| self.file.clone());
        if self.resolvectl.is_some() && file.starts_with(RESOLVED) {
            return Ok(Change::Resolvectl);
        }
        let before = match fs::read_to_string(&file).await {
            Ok(before) => Some(before),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(&format!("read {}", file.display()), &error)),
        };
        let is_written_by_resolvconf = RESOLVCONF.iter().any(|folder| file.starts_with(folder))
            || before.as_deref().is_some_and(says_resolvconf);
        if self.resolvconf.is_some() && is_written_by_resolvconf {
            // Debian's puts names that begin so before those of other interfaces.
            return Ok(Change::Resolvconf { record: format!("tun.{interface}") });
        }
        let text = rewritten(interface, server, before.as_deref().unwrap_or_default());
        Ok(Change::File { path: file, text, before })
    }

    /// Has the machine use the server.
    pub(super) async fn set(
        &self,
        interface: &str,
        server: IpAddr,
        change: &Change,
    ) -> Result<(), TunnelError> {
        let what = "set the DNS server";
        match change {
            Change::Resolvectl => {
                let server = server.to_string();
                for args in [
                    ["dns", interface, server.as_str()],
                    // All names, rather than those of some domain.
                    ["domain", interface, "~."],
                    ["default-route", interface, "true"],
                ] {
                    run(what, self.resolvectl.as_deref(), &args, "").await?;
                }
                Ok(())
            }
            Change::Resolvconf { record } => {
                let args = ["-a", record, "-m", "0", "-x"];
                run(what, self.resolvconf.as_deref(), &args, &format!("nameserver {server}\n")).await
            }
            Change::File { path, text, .. } => write(path, text.as_bytes())
                .await
                .map_err(|error| failed(&format!("write {}", path.display()), &error)),
        }
    }

    /// Puts back what was. Says why not, where somebody else has changed it meanwhile.
    pub(super) async fn put_back(
        &self,
        interface: &str,
        change: &Change,
    ) -> Result<Option<String>, TunnelError> {
        let what = "put back the DNS server";
        match change {
            Change::Resolvectl => {
                // What is said of an interface goes with it.
                if Path::new("/sys/class/net").join(interface).exists() {
                    run(what, self.resolvectl.as_deref(), &["revert", interface], "").await?;
                }
                Ok(None)
            }
            Change::Resolvconf { record } => {
                run(what, self.resolvconf.as_deref(), &["-d", record, "-f"], "").await.map(|()| None)
            }
            Change::File { path, text, before } => put_back_file(path, text, before.as_deref()).await,
        }
    }
}

/// Whether a program called resolvconf says that it has written this.
fn says_resolvconf(text: &str) -> bool {
    text.lines().take_while(|line| line.starts_with('#')).any(|line| line.contains("resolvconf"))
}

/// The file with another server. Options stay; domains to search do not, for the seller would be asked for names in them.
fn rewritten(interface: &str, server: IpAddr, before: &str) -> String {
    let mut text = format!(
        "# The DNS server of the VPN tunnel {interface}. impd puts back what was here before when the tunnel goes \
         down.\nnameserver {server}\n"
    );
    for line in before.lines().filter(|line| line.starts_with("options ")) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

async fn put_back_file(path: &Path, text: &str, before: Option<&str>) -> Result<Option<String>, TunnelError> {
    let now = match fs::read(path).await {
        Ok(now) => Some(now),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&format!("read {}", path.display()), &error)),
    };
    if now.as_deref() == before.map(str::as_bytes) {
        return Ok(None);
    }
    // A crash while the file is written leaves its beginning.
    let is_begun = |whole: &str| now.as_deref().is_some_and(|now| whole.as_bytes().starts_with(now));
    if !is_begun(text) && !before.is_some_and(is_begun) {
        let left = format!("{} was changed by somebody else meanwhile, and stays as it is", path.display());
        return Ok(Some(left));
    }
    let done = match before {
        Some(before) => write(path, before.as_bytes()).await,
        None => fs::remove_file(path).await,
    };
    done.map_err(|error| failed(&format!("put back {}", path.display()), &error))?;
    Ok(None)
}

/// Writes in place.
async fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path).await?;
    file.write_all(bytes).await?;
    file.sync_all().await
}

pub(super) async fn run(
    what: &str,
    program: Option<&Path>,
    args: &[&str],
    input: &str,
) -> Result<(), TunnelError> {
    let Some(program) = program else {
        return Err(TunnelError::Dns { what: what.to_owned(), message: "its program is gone".to_owned() });
    };
    let output = output(program, args, input)
        .await
        .map_err(|error| failed(&format!("{what}: run {}", program.display()), &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!("{} {}: {} ({})", program.display(), args.join(" "), said.trim(), output.status);
    Err(TunnelError::Dns { what: what.to_owned(), message })
}

async fn output(program: &Path, args: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input has closed it.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    child.wait_with_output().await
}

fn failed(what: &str, error: &io::Error) -> TunnelError {
    TunnelError::Dns { what: what.to_owned(), message: error.to_string() }
}

#[cfg(test)]
mod tests;
