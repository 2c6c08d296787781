//! The machine that this process runs on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::forwarding::{self, MACHINE, Note};
use super::nft::Nft;
use super::{ExitError, ExitHost, ExitSpec, overlap, rules};
use crate::host::routes::Route;
use crate::host::{netlink, note, rights, routes};

/// This machine: nftables, and settings of the kernel.
#[derive(Debug)]
pub struct LinuxExit {
    /// Where notes are kept.
    folder: PathBuf,
    /// One change at a time. What was warned of, each thing once.
    warned: Mutex<BTreeSet<String>>,
}

impl LinuxExit {
    /// Notes on what is changed are kept in `folder`, which is made when the first one is.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), warned: Mutex::default() }
    }

    fn note(&self, interface: &str) -> PathBuf {
        self.folder.join(format!("exit-{interface}.json"))
    }

    async fn read(&self, interface: &str) -> Result<Option<Note>, ExitError> {
        let path = self.note(interface);
        note::read(&path).await.map_err(|source| ExitError::Note { path, source })
    }

    async fn keep(&self, interface: &str, note: &Note) -> Result<(), ExitError> {
        let path = self.note(interface);
        note::keep(&path, note).await.map_err(|source| ExitError::Note { path, source })
    }
}

#[async_trait]
impl ExitHost for LinuxExit {
    async fn prepare(&self, spec: &ExitSpec) -> Result<(), ExitError> {
        let mut warned = self.warned.lock().await;
        if !rights::may_change_network() {
            return Err(ExitError::NotPermitted);
        }
        let nft = Nft::find(&spec.interface)?;
        if let Some(route) = overlap::overlapping(spec, &own_routes().await?) {
            return Err(ExitError::Overlap { subnet: spec.subnet, route: route.to_string() });
        }
        let note = match self.read(&spec.interface).await? {
            Some(note) => note,
            None => {
                let machine_forwards = forwarding::get(MACHINE).await? == Some(true);
                let note = Note { machine_forwards, ..Note::default() };
                self.keep(&spec.interface, &note).await?;
                note
            }
        };
        nft.apply(&rules::replacement(spec, &names(&note))).await?;
        for chain in nft.closed_by_others().await? {
            if !warned.insert(chain.clone()) {
                continue;
            }
            tracing::warn!(
                "the chain {chain} of nftables, which is not this node's, drops what is forwarded unless it says \
                 otherwise: if buyers reach nothing, let it accept what comes in or goes out by {}",
                spec.interface
            );
        }
        Ok(())
    }

    async fn open(&self, spec: &ExitSpec) -> Result<(), ExitError> {
        let _turn = self.warned.lock().await;
        let interface = &spec.interface;
        let Some(forwards) = forwarding::get(interface).await? else {
            return Err(ExitError::NoInterface { interface: interface.clone() });
        };
        let nft = Nft::find(interface)?;
        let before = self.read(interface).await?.unwrap_or_default();
        let others = nft.opened_by_others().await?;
        let (mut note, mut closed) = (before.clone(), Vec::new());
        for way in forwarding::ways_out(spec, &own_routes().await?) {
            let forwards = forwarding::get(&way).await?;
            if forwards == Some(false) {
                closed.push(way.clone());
            }
            // What another seller has opened is open for both, and closed by the one that stops last.
            if forwards == Some(false) || others.contains(&way) {
                note.opened.insert(way);
            }
        }
        if note != before {
            self.keep(interface, &note).await?;
            // The rule that keeps strangers from being forwarded stands before they could be.
            nft.apply(&rules::replacement(spec, &names(&note))).await?;
        }
        for way in closed {
            forwarding::set(&way, true).await?;
        }
        if !forwards {
            forwarding::set(interface, true).await?;
        }
        Ok(())
    }

    async fn remove(&self, interface: &str) -> Result<(), ExitError> {
        let _turn = self.warned.lock().await;
        let Some(note) = self.read(interface).await? else { return Ok(()) };
        let nft = Nft::find(interface)?;
        let others = nft.opened_by_others().await?;
        // Should the interface be there yet, it forwards nothing without its rules either.
        forwarding::set(interface, false).await?;
        if !note.machine_forwards && forwarding::get(MACHINE).await? == Some(true) {
            tracing::info!("this machine was made a router meanwhile: its interfaces go on forwarding");
        } else {
            for way in note.opened.iter().filter(|way| !others.contains(way)) {
                forwarding::set(way, false).await?;
            }
        }
        nft.apply(&rules::removal(interface)).await?;
        let path = self.note(interface);
        note::forget(&path).await.map_err(|source| ExitError::Note { path, source })
    }
}

fn names(note: &Note) -> Vec<String> {
    note.opened.iter().cloned().collect()
}

async fn own_routes() -> Result<Vec<Route>, ExitError> {
    netlink::with_kernel(|kernel| async move { routes::all(&kernel).await })
        .await
        .map_err(|error| ExitError::Routes(error.to_string()))
}
