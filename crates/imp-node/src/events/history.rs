//! Events that came in earlier, a page at a time.

use crate::error::Error;
use crate::listing;
use crate::store::journal::{Bite, JournalEvent, ServiceSet};

use super::Events;

/// Texts on a page take no more than this and one event: gRPC clients refuse answers over 4 MiB unless they are told
/// otherwise.
const PAGE_BYTES: usize = 2 << 20;

/// Events looked at for one page, wanted or not: those that come so rarely are looked for in several pages.
const PAGE_LOOKED_AT: usize = 64 * 1024;

/// Events looked at in one go, so that others who read have their turn.
const BITE_LOOKED_AT: usize = 4 * 1024;

/// Which events are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Those after this cursor; nothing for the oldest that is kept.
    pub after: Option<i64>,
    /// How many at most, as [`listing::rows`] reads it.
    pub limit: i64,
    /// Of which services.
    pub services: ServiceSet,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Oldest first.
    pub events: Vec<JournalEvent>,
    /// Where the next page begins.
    pub next_after: i64,
    /// There are more, or it was not looked as far as the journal goes.
    pub more: bool,
    /// The oldest cursor that is kept.
    pub oldest: Option<i64>,
    /// The newest cursor that there ever was; 0 where there was none.
    pub newest: i64,
}

impl Page {
    /// How many events of the journal were let go.
    pub fn let_go(&self) -> i64 {
        self.oldest.map_or(self.newest, |oldest| oldest - 1)
    }
}

impl Events {
    /// Lists events.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a limit that is none; `OUT_OF_RANGE` as in [`Events::subscribe`].
    pub async fn list(&self, query: Query) -> Result<Page, Error> {
        let limit = listing::rows(query.limit)?;
        let mut page = self.begin(query.after).await?;
        if !self.fill(&mut page, limit, query.services).await? {
            // What the page was to begin with was let go in the meantime: who gave no cursor wants what is left.
            page = self.begin(query.after).await?;
            if !self.fill(&mut page, limit, query.services).await? {
                return Err(Error::unavailable("events are being let go; ask again"));
            }
        }
        page.newest = page.newest.max(page.next_after).max(*self.store.tail().last().borrow());
        page.more |= page.next_after < page.newest;
        Ok(page)
    }

    fn complete(&self, mut event: JournalEvent) -> JournalEvent {
        if let Some(data) = super::completed(&*self.completion, &event.event) {
            event.event.data = data;
        }
        event
    }

    /// A page that is still empty.
    async fn begin(&self, after: Option<i64>) -> Result<Page, Error> {
        let kept = self.kept().await?;
        let next_after = after.unwrap_or_else(|| kept.before_oldest());
        kept.check(next_after)?;
        let (oldest, newest) = (kept.oldest, kept.newest);
        Ok(Page { events: Vec::new(), next_after, more: false, oldest, newest })
    }

    /// Fills a page; false if what it begins with is no longer kept.
    async fn fill(&self, page: &mut Page, limit: usize, services: ServiceSet) -> Result<bool, Error> {
        let (mut bytes, mut looked_at) = (0, 0);
        while page.next_after < page.newest && looked_at < PAGE_LOOKED_AT && bytes < PAGE_BYTES {
            let bite = Bite {
                // One more than is shown tells whether there are more.
                events: limit + 1 - page.events.len(),
                bytes: PAGE_BYTES - bytes,
                looked_at: BITE_LOOKED_AT,
            };
            let stretch = self.store.read_events(page.next_after, services, bite).await?;
            // Cursors follow each other without holes, so what is missing was let go.
            if stretch.first != Some(page.next_after + 1) {
                // Who asks for the next page is told so.
                page.more = true;
                return Ok(looked_at > 0);
            }
            bytes += stretch.events.iter().map(|event| event.event.data.len()).sum::<usize>();
            looked_at += BITE_LOOKED_AT;
            page.next_after = stretch.end;
            page.events.extend(stretch.events.into_iter().map(|event| self.complete(event)));
            if page.events.len() > limit {
                page.events.truncate(limit);
                page.next_after = page.events.last().map_or(page.next_after, |event| event.cursor);
                page.more = true;
                break;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
