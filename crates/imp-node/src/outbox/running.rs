//! Who is at work on which message, and how far it is: one at a time works on a message, and whoever wants to know of it
//! can wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imp_core::id::MessageId;
use tokio::sync::watch;

use crate::error::Error;

/// How far a message is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Its try goes on.
    Trying,
    /// Its try failed, and it waits for another.
    Waiting,
    /// It has ended.
    Ended(Result<(), Error>),
}

/// The messages that somebody works on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    stages: Arc<Mutex<HashMap<MessageId, watch::Receiver<Stage>>>>,
}

/// The work on a message. Dropped, it is over: whoever waits and was told of no end learns that there is none.
#[derive(Debug)]
pub(super) struct Running {
    registry: Registry,
    id: MessageId,
    stage: watch::Sender<Stage>,
}

impl Registry {
    /// Takes a message up; where somebody works on it already, what they say of it.
    pub(super) fn take_up(&self, id: MessageId) -> Result<Running, watch::Receiver<Stage>> {
        match self.lock().entry(id) {
            Entry::Occupied(entry) => Err(entry.get().clone()),
            Entry::Vacant(entry) => {
                let (stage, stages) = watch::channel(Stage::Trying);
                entry.insert(stages);
                Ok(Running { registry: self.clone(), id, stage })
            }
        }
    }

    /// What is said of a message by whoever works on it; nothing where nobody does.
    pub(super) fn watch(&self, id: MessageId) -> Option<watch::Receiver<Stage>> {
        self.lock().get(&id).cloned()
    }

    /// A single step each, which cannot leave the map half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, watch::Receiver<Stage>>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// What is said of the message from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Says how far it is.
    pub(super) fn is(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.id);
    }
}
