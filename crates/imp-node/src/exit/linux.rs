//! The machine that this process runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Mutex;

use super::forwarding::{self, MACHINE, Note};
use super::nft::{Holder, Nft};
use super::{ExitError, ExitHost, ExitSpec, generation, overlap, rules};
use crate::host::routes::Route;
use crate::host::{netlink, note, rights, routes};

/// This machine: nftables, and settings of the kernel.
#[derive(Debug)]
pub struct LinuxExit {
    /// Where notes are kept.
    folder: PathBuf,
    /// One change at a time.
    known: Mutex<Known>,
}

/// What this run knows of the machine.
#[derive(Debug, Default)]
struct Known {
    /// What was warned of, each thing once.
    warned: BTreeSet<String>,
    /// The tables that it has put.
    put: BTreeMap<String, Put>,
}

/// A table as it was found after it was put.
#[derive(Debug)]
struct Put {
    /// The number of the rules of the machine at which it was seen so last; nothing where that cannot be asked for.
    generation: Option<u32>,
    standing: Value,
}

impl LinuxExit {
    /// Notes on what is changed are kept in `folder`, which is made when the first one is.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), known: Mutex::default() }
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

impl Known {
    /// Puts a table, and looks how it stands then.
    async fn put(
        &mut self,
        nft: &Nft<'_>,
        spec: &ExitSpec,
        note: &Note,
        is_there: bool,
    ) -> Result<(), ExitError> {
        self.put.remove(&spec.interface);
        nft.apply(&rules::replacement(spec, &names(note), &note.mark, is_there)).await?;
        // First the number: a change after it is seen, also one before the table is read.
        let generation = generation::now().ok();
        if let Some(standing) = nft.standing().await? {
            self.put.insert(spec.interface.clone(), Put { generation, standing });
        }
        Ok(())
    }
}

#[async_trait]
impl ExitHost for LinuxExit {
    async fn prepare(&self, spec: &ExitSpec) -> Result<(), ExitError> {
        let mut known = self.known.lock().await;
        let interface = &spec.interface;
        if !rights::may_change_network() {
            return Err(ExitError::NotPermitted);
        }
        let nft = Nft::find(interface)?;
        overlap::check(spec, &own_routes().await?)?;
        let note = self.read(interface).await?;
        let holder = nft.holder(note.as_ref().map(|note| note.mark.as_str())).await?;
        // Rules of nobody's interface are what somebody has left.
        if holder == Holder::Other && forwarding::get(interface).await?.is_some() {
            return Err(ExitError::OthersRules { interface: interface.clone() });
        }
        let note = match note {
            Some(note) => note,
            None => {
                let machine_forwards = forwarding::get(MACHINE).await? == Some(true);
                let note = Note { machine_forwards, mark: new_mark(interface)?, ..Note::default() };
                self.keep(interface, &note).await?;
                note
            }
        };
        known.put(&nft, spec, &note, holder != Holder::Nobody).await?;
        for chain in nft.closed_by_others().await? {
            if !known.warned.insert(chain.clone()) {
                continue;
            }
            tracing::warn!(
                "the chain {chain} of nftables, which is not this node's, drops what is forwarded unless it says \
                 otherwise: if buyers reach nothing, let it accept what comes in or goes out by {interface}"
            );
        }
        Ok(())
    }

    async fn open(&self, spec: &ExitSpec) -> Result<(), ExitError> {
        let mut known = self.known.lock().await;
        let interface = &spec.interface;
        let Some(forwards) = forwarding::get(interface).await? else {
            return Err(ExitError::NoInterface { interface: interface.clone() });
        };
        let nft = Nft::find(interface)?;
        let before = self.read(interface).await?.unwrap_or_default();
        if nft.holder(Some(&before.mark)).await? != Holder::Own {
            return Err(ExitError::OthersRules { interface: interface.clone() });
        }
        let others = nft.opened_by_others(&before.mark).await?;
        let mut note = Note { interface: index_of(interface).await?, ..before.clone() };
        let mut closed = Vec::new();
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
        }
        if note.opened != before.opened {
            // The rule that keeps strangers from being forwarded stands before they could be.
            known.put(&nft, spec, &note, true).await?;
        }
        for way in closed {
            forwarding::set(&way, true).await?;
        }
        if !forwards {
            forwarding::set(interface, true).await?;
        }
        Ok(())
    }

    async fn stands(&self, spec: &ExitSpec) -> Result<bool, ExitError> {
        let mut known = self.known.lock().await;
        let Some(put) = known.put.get_mut(&spec.interface) else { return Ok(false) };
        let generation = generation::now().ok();
        if generation.is_some() && generation == put.generation {
            return Ok(true);
        }
        let standing = Nft::find(&spec.interface)?.standing().await?;
        let stands = standing.as_ref() == Some(&put.standing);
        if stands {
            put.generation = generation;
        }
        Ok(stands)
    }

    async fn remove(&self, interface: &str) -> Result<(), ExitError> {
        let mut known = self.known.lock().await;
        let Some(note) = self.read(interface).await? else { return Ok(()) };
        known.put.remove(interface);
        let nft = Nft::find(interface)?;
        let others = nft.opened_by_others(&note.mark).await?;
        let is_own = nft.holder(Some(&note.mark)).await? == Holder::Own;
        // Should the interface be there yet, it forwards nothing without its rules either.
        if is_own && note.interface.is_some() && index_of(interface).await? == note.interface {
            forwarding::set(interface, false).await?;
        }
        if !note.machine_forwards && forwarding::get(MACHINE).await? == Some(true) {
            tracing::info!("this machine was made a router meanwhile: its interfaces go on forwarding");
        } else {
            for way in note.opened.iter().filter(|way| !others.contains(way)) {
                forwarding::set(way, false).await?;
            }
        }
        if is_own {
            nft.apply(&rules::removal(interface)).await?;
        }
        let path = self.note(interface);
        note::forget(&path).await.map_err(|source| ExitError::Note { path, source })
    }
}

/// What tells the tables of one note from those of others.
fn new_mark(interface: &str) -> Result<String, ExitError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| ExitError::Rules {
        interface: interface.to_owned(),
        message: format!("the system has no random bytes: {error}"),
    })?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

async fn index_of(interface: &str) -> Result<Option<u32>, ExitError> {
    netlink::with_kernel(async |kernel| netlink::index_of(&kernel, interface).await)
        .await
        .map_err(|error| ExitError::Routes(error.to_string()))
}

fn names(note: &Note) -> Vec<String> {
    note.opened.iter().cloned().collect()
}

async fn own_routes() -> Result<Vec<Route>, ExitError> {
    netlink::with_kernel(|kernel| async move { routes::all(&kernel).await })
        .await
        .map_err(|error| ExitError::Routes(error.to_string()))
}
