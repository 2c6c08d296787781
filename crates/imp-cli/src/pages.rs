//! Lists that the node gives in pages.

use std::fmt::Display;

use imp_api::client::ClientError;
use imp_api::proto::imp::events::v1::ListEventsResponse;
use imp_api::proto::imp::federate::v1::{ListFederatedPeersResponse, ListWithheldMessagesResponse};
use imp_api::proto::imp::lightning::v1::{ListInvoicesResponse, ListPaymentsResponse};
use imp_api::proto::imp::messaging::v1::ListMessagesResponse;
use imp_api::proto::imp::vpn::v1::{ListVpnContractsResponse, ListVpnPaymentsResponse};

use crate::failure::note;
use crate::output::Output;

/// A page of a list.
pub(crate) trait Page {
    /// The name of a place in the list.
    type Cursor: Display;

    /// Where the next page begins, if there is one.
    fn next(&self) -> Option<Self::Cursor>;

    /// Adds the next page.
    fn append(&mut self, next: Self);
}

macro_rules! pages {
    ($($response:ident $items:ident $cursor:ty;)+) => {
        $(impl Page for $response {
            type Cursor = $cursor;

            fn next(&self) -> Option<$cursor> {
                self.next_cursor.clone()
            }

            fn append(&mut self, next: Self) {
                self.$items.extend(next.$items);
                self.next_cursor = next.next_cursor;
            }
        })+
    };
}

pages! {
    ListMessagesResponse messages i64;
    ListPaymentsResponse payments i64;
    ListInvoicesResponse invoices i64;
    ListFederatedPeersResponse peers String;
    ListWithheldMessagesResponse messages i64;
    ListVpnPaymentsResponse payments i64;
}

impl Page for ListVpnContractsResponse {
    type Cursor = String;

    fn next(&self) -> Option<String> {
        Some(self.next_cursor.clone()).filter(|cursor| !cursor.is_empty())
    }

    fn append(&mut self, next: Self) {
        self.contracts.extend(next.contracts);
        self.next_cursor = next.next_cursor;
    }
}

impl Page for ListEventsResponse {
    type Cursor = i64;

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
    cursor: Option<P::Cursor>,
    mut page: impl AsyncFnMut(Option<P::Cursor>) -> Result<P, ClientError>,
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
