//! Lists that the node gives in pages.

use imp_api::client::ClientError;
use imp_api::proto::imp::events::v1::ListEventsResponse;
use imp_api::proto::imp::lightning::v1::{ListInvoicesResponse, ListPaymentsResponse};
use imp_api::proto::imp::messaging::v1::ListMessagesResponse;

use crate::failure::note;
use crate::output::Output;

/// A page of a list.
pub(crate) trait Page {
    /// Where the next page begins, if there is one.
    fn next(&self) -> Option<i64>;

    /// Adds the next page.
    fn append(&mut self, next: Self);
}

macro_rules! pages {
    ($($response:ident $items:ident)+) => {
        $(impl Page for $response {
            fn next(&self) -> Option<i64> {
                self.next_cursor
            }

            fn append(&mut self, next: Self) {
                self.$items.extend(next.$items);
                self.next_cursor = next.next_cursor;
            }
        })+
    };
}

pages! { ListMessagesResponse messages ListPaymentsResponse payments ListInvoicesResponse invoices }

impl Page for ListEventsResponse {
    fn next(&self) -> Option<i64> {
        self.more.then_some(self.next_after)
    }

    fn append(&mut self, next: Self) {
        let mut events = std::mem::take(&mut self.events);
        events.extend(next.events);
        *self = Self { events, ..next };
    }
}

/// The page at a cursor; if `all`, with all that come after it, as if it were one.
pub(crate) async fn fetch<P: Page>(
    all: bool,
    cursor: Option<i64>,
    mut page: impl AsyncFnMut(Option<i64>) -> Result<P, ClientError>,
) -> Result<P, ClientError> {
    let mut pages = page(cursor).await?;
    while all && let Some(next) = pages.next() {
        pages.append(page(Some(next)).await?);
    }
    Ok(pages)
}

/// Tells people that there are more, and how to see them. `option` takes the cursor.
pub(crate) fn note_more(output: Output, page: &impl Page, option: &str) {
    if let Some(next) = page.next()
        && !output.is_json()
    {
        note(&format!("there are more: {option} {next}, or --all"));
    }
}
