//! Messages whose senders note what became of them: one at a time sends a message and makes that out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imp_core::id::MessageId;
use tokio::sync::Notify;

/// The messages. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Of each, whether programs were told of it meanwhile.
    messages: Mutex<HashMap<MessageId, bool>>,
    freed: Notify,
}

/// The right to work on a message. Dropped, it goes to the next.
#[derive(Debug)]
pub(crate) struct Hold {
    inner: Arc<Inner>,
    id: MessageId,
}

impl UnderWay {
    /// Takes a message up, unless somebody works on it.
    pub(crate) fn try_take(&self, id: MessageId) -> Option<Hold> {
        match self.inner.lock().entry(id) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => {
                entry.insert(false);
                Some(Hold { inner: Arc::clone(&self.inner), id })
            }
        }
    }

    /// Takes a message up, once nobody works on it.
    pub(crate) async fn take(&self, id: MessageId) -> Hold {
        loop {
            let freed = self.inner.freed.notified();
            tokio::pin!(freed);
            // From here on no end is missed.
            freed.as_mut().enable();
            if let Some(hold) = self.try_take(id) {
                return hold;
            }
            freed.await;
        }
    }

    /// Programs are told of a message by somebody else than who works on it.
    pub(crate) fn told(&self, id: MessageId) {
        if let Some(told) = self.inner.lock().get_mut(&id) {
            *told = true;
        }
    }
}

impl Hold {
    pub(crate) const fn id(&self) -> MessageId {
        self.id
    }

    /// Whether programs were told of the message by somebody else.
    pub(crate) fn is_told(&self) -> bool {
        self.inner.lock().get(&self.id).copied().unwrap_or(false)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.inner.lock().remove(&self.id);
        self.inner.freed.notify_waiters();
    }
}

impl Inner {
    /// Single steps, which leave nothing half done.
    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, bool>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
