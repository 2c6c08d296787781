//! Payments and invoices, a page at a time, newest first.

use imp_core::time::UnixMillis;

use super::Lightning;
use crate::error::Error;
use crate::listing;
use crate::store::payment::{InvoiceStatus, KeptInvoice, KeptPayment, Means, Page, PaymentStatus};

/// Invoices on a page take no more than this and one of them: gRPC clients refuse answers over 4 MiB unless they are told
/// otherwise, and invoices of others may be long.
const PAGE_BYTES: usize = 2 << 20;

/// Which rows are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// How many at most, 1 to 1,000; 0 for 100.
    pub limit: i64,
    /// The `next_cursor` of the page before; 0 for the first page.
    pub cursor: i64,
    /// The states that are wanted, with commas between; all where there is none.
    pub state: String,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// Newest first.
    pub rows: Vec<T>,
    /// What to ask for next; nothing where there are no more.
    pub next_cursor: Option<i64>,
}

impl Lightning {
    /// Payments that calls made.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a limit, a cursor or a state that is none.
    pub async fn list_payments(&self, query: &ListQuery) -> Result<Listed<KeptPayment>, Error> {
        let (page, limit) = page(query, &PaymentStatus::ALL, PaymentStatus::name)?;
        let rows = self.inner.store.list_payments(page).await?;
        let bytes = |kept: &KeptPayment| match &kept.payment.means {
            Means::Invoice(invoice) => invoice.len(),
            Means::Keysend(_) => 0,
        };
        Ok(listed(rows, limit, bytes, |kept| kept.position))
    }

    /// Invoices that calls made, and the time at which they stand so.
    ///
    /// # Errors
    ///
    /// As [`Self::list_payments`].
    pub async fn list_invoices(&self, query: &ListQuery) -> Result<(Listed<KeptInvoice>, UnixMillis), Error> {
        let (page, limit) = page(query, &InvoiceStatus::ALL, InvoiceStatus::name)?;
        let now = self.inner.clock.now();
        let rows = self.inner.store.list_invoices(page, now).await?;
        let bytes = |kept: &KeptInvoice| kept.invoice.invoice.len() + kept.invoice.memo.len();
        Ok((listed(rows, limit, bytes, |kept| kept.position), now))
    }
}

/// The page of the store, and how many of its rows are shown: one more tells whether there are more.
fn page<S: Copy + PartialEq>(
    query: &ListQuery,
    known: &[S],
    name_of: impl Fn(S) -> &'static str,
) -> Result<(Page<S>, usize), Error> {
    let limit = listing::rows(query.limit)?;
    let before = listing::cursor(query.cursor)?;
    let statuses = listing::names("state", &query.state, known, name_of)?;
    Ok((Page { before, statuses, limit: limit + 1 }, limit))
}

fn listed<T>(
    mut rows: Vec<T>,
    limit: usize,
    bytes: impl Fn(&T) -> usize,
    position: impl Fn(&T) -> i64,
) -> Listed<T> {
    let mut taken = 0;
    let fit = rows.iter().take_while(|row| {
        let fits = taken < PAGE_BYTES;
        taken += bytes(row);
        fits
    });
    let shown = fit.count().min(limit);
    let more = rows.len() > shown;
    rows.truncate(shown);
    Listed { next_cursor: rows.last().filter(|_| more).map(position), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_its_rows_or_its_bytes() {
        let page = |sizes: &[usize], limit| {
            let rows: Vec<(i64, usize)> = (1..).zip(sizes.iter().copied()).collect();
            let page = listed(rows, limit, |row| row.1, |row| row.0);
            (page.rows.len(), page.next_cursor)
        };
        assert_eq!(page(&[], 2), (0, None));
        assert_eq!(page(&[1, 1], 2), (2, None));
        assert_eq!(page(&[1, 1, 1], 2), (2, Some(2)));
        assert_eq!(page(&[PAGE_BYTES + 1, 1], 2), (1, Some(1)), "one is always shown");
        assert_eq!(page(&[PAGE_BYTES - 1, 9, 1], 3), (2, Some(2)));
        assert_eq!(page(&[PAGE_BYTES - 1, 9], 3), (2, None));
    }
}
