//! Payments and invoices, a page at a time, newest first.

use imp_core::time::UnixMillis;

use super::Lightning;
use crate::error::Error;
use crate::store::payment::{InvoiceStatus, KeptInvoice, KeptPayment, Means, Page, PaymentStatus};

/// Most rows on a page, and how many where nothing is said.
const MAX_PAGE: usize = 1_000;
const DEFAULT_PAGE: usize = 100;

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
        let names = PaymentStatus::ALL.map(PaymentStatus::name);
        let (page, limit) = page(query, &names, PaymentStatus::from_name)?;
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
        let names = InvoiceStatus::ALL.map(InvoiceStatus::name);
        let (page, limit) = page(query, &names, InvoiceStatus::from_name)?;
        let now = self.inner.clock.now();
        let rows = self.inner.store.list_invoices(page, now).await?;
        let bytes = |kept: &KeptInvoice| kept.invoice.invoice.len() + kept.invoice.memo.len();
        Ok((listed(rows, limit, bytes, |kept| kept.position), now))
    }
}

/// The page of the store, and how many of its rows are shown: one more tells whether there are more.
fn page<S>(
    query: &ListQuery,
    names: &[&str],
    from_name: impl Fn(&str) -> Option<S>,
) -> Result<(Page<S>, usize), Error> {
    let limit = match query.limit {
        0 => DEFAULT_PAGE,
        limit => usize::try_from(limit).ok().filter(|limit| *limit <= MAX_PAGE).ok_or_else(|| {
            Error::invalid("limit", format!("is {limit}; a page has 1 to {MAX_PAGE} rows, 0 stands for 100"))
        })?,
    };
    if query.cursor < 0 {
        let problem = format!("is {}; give the next_cursor of the page before, or 0", query.cursor);
        return Err(Error::invalid("cursor", problem));
    }
    let wanted = query.state.split(',').map(str::trim).filter(|name| !name.is_empty());
    let unknown = || Error::invalid("state", format!("knows only {}, with commas between", names.join(", ")));
    let statuses: Vec<S> =
        wanted.map(|name| from_name(name).ok_or_else(unknown)).collect::<Result<_, _>>()?;
    // Each state once is all that can be asked for.
    if statuses.len() > names.len() {
        return Err(unknown());
    }
    let before = (query.cursor > 0).then_some(query.cursor);
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
