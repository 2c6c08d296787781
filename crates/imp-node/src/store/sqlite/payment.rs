//! Payments and invoices in SQLite.

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::id::{PaymentHash, Preimage};
use imp_core::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, Params, Row, named_params, params};

use super::outbox::CLOSES;
use super::{SqliteStore, idempotency, journal, row, worker};
use crate::store::StoreError;
use crate::store::idempotency::NewKey;
use crate::store::journal::{JournalEvent, JournalStore, NewEvent};
use crate::store::payment::{
    Invoice, InvoiceStatus, KeptInvoice, KeptPayment, Means, Page, Payment, PaymentEnd, PaymentStatus,
    PaymentStore,
};

/// Keysends that are forgotten with each one that comes: more than one, so that they go faster than they come.
const FORGET_AT_ONCE: i64 = 4;

#[async_trait]
impl PaymentStore for SqliteStore {
    async fn begin_payment(&self, payment: Payment, key: Option<NewKey>) -> Result<(), StoreError> {
        self.write("begin_payment", move |connection| {
            connection
                .prepare_cached("DELETE FROM payment WHERE payment_hash = ?1 AND state = 'failed'")?
                .execute([payment.hash.0])?;
            insert_payment(connection, &payment)?;
            key.map_or(Ok(()), |key| note_key(connection, &key))
        })
        .await
    }

    async fn end_payment(
        &self,
        hash: PaymentHash,
        end: PaymentEnd,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        self.write("end_payment", move |connection| {
            let (status, error, proof, fee) = match end {
                PaymentEnd::Settled { preimage, fee } => (PaymentStatus::Settled, None, Some(preimage), fee),
                PaymentEnd::Failed { error } => (PaymentStatus::Failed, Some(error), None, None),
                PaymentEnd::Unknown { error } => (PaymentStatus::Unknown, Some(error), None, None),
            };
            connection
                .prepare_cached(
                    "UPDATE payment SET state = :state, error = :error, fee_msat = :fee,
                     preimage = coalesce(preimage, :preimage), ended_ms = :now
                     WHERE payment_hash = :hash AND state <> 'settled'",
                )?
                .execute(named_params! {
                    ":hash": hash.0,
                    ":state": status.name(),
                    ":error": error,
                    ":fee": fee.map(|fee| row::int(fee.0)),
                    ":preimage": proof.map(|preimage| preimage.0),
                    ":now": row::int(now.0),
                })?;
            let mut kept = connection.prepare_cached("SELECT 1 FROM payment WHERE payment_hash = ?1")?;
            Ok(kept.exists([hash.0])?)
        })
        .await
    }

    async fn closed_since_payment(&self, hash: PaymentHash) -> Result<Option<bool>, StoreError> {
        self.read(move |connection| {
            let sql = format!("SELECT closes_at_begin < {CLOSES} FROM payment WHERE payment_hash = ?1");
            Ok(connection.prepare_cached(&sql)?.query_row([hash.0], |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn payment(&self, hash: PaymentHash) -> Result<Option<KeptPayment>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT * FROM payment WHERE payment_hash = ?1";
            Ok(all(connection, sql, [hash.0], payment_from_row)?.pop())
        })
        .await
    }

    async fn open_payments(&self) -> Result<Vec<KeptPayment>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT * FROM payment WHERE state = 'sending' ORDER BY position";
            all(connection, sql, [], payment_from_row)
        })
        .await
    }

    async fn list_payments(&self, page: Page<PaymentStatus>) -> Result<Vec<KeptPayment>, StoreError> {
        self.scan(move |connection| {
            let before = page.before.unwrap_or(i64::MAX);
            let limit = row::int(page.limit as u64);
            if page.statuses.is_empty() {
                return all(connection, PAYMENTS, params![before, limit], payment_from_row);
            }
            let mut found = Vec::new();
            for status in page.statuses {
                let of_status = params![before, limit, status.name()];
                found.extend(all(connection, PAYMENTS_OF_STATE, of_status, payment_from_row)?);
            }
            Ok(newest(found, page.limit, |payment| payment.position))
        })
        .await
    }

    async fn add_invoice(&self, invoice: Invoice) -> Result<(), StoreError> {
        self.write("add_invoice", move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO invoice (payment_hash, invoice, amount_sat, memo, created_ms, expires_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    invoice.hash.0,
                    invoice.invoice,
                    row::int(invoice.amount_sat),
                    invoice.memo,
                    row::int(invoice.created.0),
                    row::int(invoice.expires.0),
                ])?;
            Ok(())
        })
        .await
    }

    async fn invoice(&self, hash: PaymentHash) -> Result<Option<KeptInvoice>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT * FROM invoice WHERE payment_hash = ?1";
            Ok(all(connection, sql, [hash.0], invoice_from_row)?.pop())
        })
        .await
    }

    async fn list_invoices(
        &self,
        page: Page<InvoiceStatus>,
        now: UnixMillis,
    ) -> Result<Vec<KeptInvoice>, StoreError> {
        self.scan(move |connection| {
            let before = page.before.unwrap_or(i64::MAX);
            let limit = row::int(page.limit as u64);
            if page.statuses.is_empty() {
                return all(connection, INVOICES, params![before, limit], invoice_from_row);
            }
            let now = row::int(now.0);
            let mut found = Vec::new();
            for status in page.statuses {
                found.extend(match status {
                    InvoiceStatus::Paid => {
                        all(connection, INVOICES_PAID, params![before, limit], invoice_from_row)?
                    }
                    InvoiceStatus::Open => {
                        all(connection, INVOICES_OPEN, params![before, limit, now], invoice_from_row)?
                    }
                    InvoiceStatus::Expired => {
                        all(connection, INVOICES_EXPIRED, params![before, limit, now], invoice_from_row)?
                    }
                });
            }
            Ok(newest(found, page.limit, |invoice| invoice.position))
        })
        .await
    }

    async fn invoice_paid(&self, hash: PaymentHash, amount: Msat, event: NewEvent) -> Result<(), StoreError> {
        self.publish_once("invoice_paid", event, move |connection, event| {
            let noted = connection
                .prepare_cached(
                    "UPDATE invoice SET paid_ms = ?2, paid_msat = ?3 WHERE payment_hash = ?1 AND paid_ms IS NULL",
                )?
                .execute(params![hash.0, row::int(event.at.0), row::int(amount.0)])?;
            Ok(noted == 1)
        })
        .await
    }

    async fn keysend_received(
        &self,
        hash: PaymentHash,
        event: NewEvent,
        forget_before: UnixMillis,
    ) -> Result<(), StoreError> {
        self.publish_once("keysend_received", event, move |connection, event| {
            let noted = connection
                .prepare_cached(
                    "INSERT INTO keysend_received (payment_hash, received_ms) VALUES (?1, ?2)
                     ON CONFLICT (payment_hash) DO NOTHING",
                )?
                .execute(params![hash.0, row::int(event.at.0)])?;
            connection
                .prepare_cached(
                    "DELETE FROM keysend_received WHERE payment_hash IN (SELECT payment_hash FROM keysend_received
                     WHERE received_ms < ?1 ORDER BY received_ms LIMIT ?2)",
                )?
                .execute([row::int(forget_before.0), FORGET_AT_ONCE])?;
            Ok(noted == 1)
        })
        .await
    }
}

impl SqliteStore {
    /// Publishes an event if `note` finds that what it tells is news.
    async fn publish_once<F>(&self, name: &'static str, event: NewEvent, note: F) -> Result<(), StoreError>
    where
        F: FnOnce(&Connection, &NewEvent) -> Result<bool, StoreError> + Send + 'static,
    {
        let tail = self.tail();
        let pending = self.writer()?.submit_then(
            name,
            move |connection| {
                let is_news = note(connection, &event)?;
                is_news.then(|| journal::insert(connection, event)).transpose()
            },
            move |event: &Option<JournalEvent>| journal::push(&tail, event.as_slice()),
        );
        worker::answer(pending).await.map(|_: Option<JournalEvent>| ())
    }
}

// Each is a walk along one index that ends with the page. Open invoices are few beside those that were paid or have
// expired, so theirs may be sorted for each page, and stepped over on the way to older ones.
const PAYMENTS: &str = "SELECT * FROM payment WHERE position < ?1 ORDER BY position DESC LIMIT ?2";
const PAYMENTS_OF_STATE: &str = "SELECT * FROM payment INDEXED BY payment_state
    WHERE position < ?1 AND state = ?3 ORDER BY position DESC LIMIT ?2";
const INVOICES: &str = "SELECT * FROM invoice WHERE position < ?1 ORDER BY position DESC LIMIT ?2";
const INVOICES_PAID: &str = "SELECT * FROM invoice INDEXED BY invoice_paid
    WHERE position < ?1 AND paid_ms IS NOT NULL ORDER BY position DESC LIMIT ?2";
const INVOICES_OPEN: &str = "SELECT * FROM invoice INDEXED BY invoice_unpaid_expiry
    WHERE position < ?1 AND paid_ms IS NULL AND expires_ms >= ?3 ORDER BY position DESC LIMIT ?2";
const INVOICES_EXPIRED: &str = "SELECT * FROM invoice INDEXED BY invoice_unpaid
    WHERE position < ?1 AND paid_ms IS NULL AND expires_ms < ?3 ORDER BY position DESC LIMIT ?2";

/// Every row of an answer.
fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The newest of rows that were found state by state. A state that is named twice does not double them.
fn newest<T>(mut rows: Vec<T>, limit: usize, position: impl Fn(&T) -> i64) -> Vec<T> {
    rows.sort_by_key(|row| std::cmp::Reverse(position(row)));
    rows.dedup_by_key(|row| position(row));
    rows.truncate(limit);
    rows
}

/// Notes what a key leads to. One that was used before, for a payment that failed, leads to this one from now on.
fn note_key(connection: &Connection, key: &NewKey) -> Result<(), StoreError> {
    let used = connection
        .prepare_cached("UPDATE idempotency_key SET subject = ?3 WHERE method = ?1 AND key = ?2")?
        .execute(params![key.method, key.key, key.subject])?;
    if used == 0 { idempotency::insert(connection, key) } else { Ok(()) }
}

fn insert_payment(connection: &Connection, payment: &Payment) -> Result<(), StoreError> {
    let (invoice, preimage) = match &payment.means {
        Means::Invoice(invoice) => (Some(invoice), None),
        Means::Keysend(preimage) => (None, Some(preimage.0)),
    };
    connection
        .prepare_cached(&format!(
            "INSERT INTO payment (payment_hash, kind, payee, amount_msat, fee_limit_msat, preimage, invoice, state,
             begun_ms, closes_at_begin) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'sending', ?8, {CLOSES})",
        ))?
        .execute(params![
            payment.hash.0,
            payment.means.name(),
            payment.payee.as_bytes(),
            row::int(payment.amount.0),
            row::int(payment.fee_limit.0),
            preimage,
            invoice,
            row::int(payment.begun.0),
        ])?;
    Ok(())
}

fn payment_from_row(row: &Row<'_>) -> Result<KeptPayment, StoreError> {
    let invoice: Option<String> = row.get("invoice")?;
    let preimage = match row.get::<_, Option<Vec<u8>>>("preimage")? {
        Some(_) => Some(Preimage(row::bytes(row, "preimage")?)),
        None => None,
    };
    let means = match (invoice, preimage) {
        (Some(invoice), _) => Means::Invoice(invoice),
        (None, Some(preimage)) => Means::Keysend(preimage),
        (None, None) => {
            return Err(StoreError::Damaged { what: "a payment without invoice and preimage".to_owned() });
        }
    };
    let status = row::named(row, "state", PaymentStatus::from_name)?;
    Ok(KeptPayment {
        position: row.get("position")?,
        payment: Payment {
            hash: row::hash(row, "payment_hash")?,
            means,
            payee: row::node_id(row, "payee")?,
            amount: row::msat(row, "amount_msat")?,
            fee_limit: row::msat(row, "fee_limit_msat")?,
            begun: row::time(row, "begun_ms")?,
        },
        status,
        error: row.get("error")?,
        proof: preimage.filter(|_| status == PaymentStatus::Settled),
        fee: row::small_or_null(row, "fee_msat")?.map(Msat),
        ended: row::small_or_null(row, "ended_ms")?.map(UnixMillis),
    })
}

fn invoice_from_row(row: &Row<'_>) -> Result<KeptInvoice, StoreError> {
    let paid = row::small_or_null(row, "paid_ms")?.map(UnixMillis);
    let paid_msat = row::small_or_null(row, "paid_msat")?.map(Msat);
    Ok(KeptInvoice {
        position: row.get("position")?,
        invoice: Invoice {
            hash: row::hash(row, "payment_hash")?,
            invoice: row.get("invoice")?,
            amount_sat: row::uint(row, "amount_sat")?,
            memo: row.get("memo")?,
            created: row::time(row, "created_ms")?,
            expires: row::time(row, "expires_ms")?,
        },
        paid: paid.zip(paid_msat),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite does for a query, in its words.
    fn plan(connection: &Connection, sql: &str) -> String {
        let mut query = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![rusqlite::types::Value::Integer(1); query.parameter_count()];
        let steps =
            query.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn lists_walk_along_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::migrate::migrate(&mut connection, dir.path()).unwrap();
        let lists = [PAYMENTS, PAYMENTS_OF_STATE, INVOICES, INVOICES_PAID, INVOICES_OPEN, INVOICES_EXPIRED];
        for sql in lists {
            let plan = plan(&connection, sql);
            assert!(plan.starts_with("SEARCH"), "{sql}: {plan}");
            assert_eq!(plan.contains("TEMP B-TREE"), sql == INVOICES_OPEN, "{sql}: {plan}");
        }
        let open = plan(&connection, "SELECT * FROM payment WHERE state = 'sending' ORDER BY position");
        assert!(open.starts_with("SEARCH") && !open.contains("TEMP"), "{open}");
    }
}
