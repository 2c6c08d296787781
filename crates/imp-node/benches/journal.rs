//! What the journal costs as it grows: events appended and replayed, up to a million of them.
//!
//! The base line is SQLite alone, in the same file system and with the same settings: rows of the same size, as many to a
//! transaction, and one query over all of them.
//!
//! `cargo xtask bench --bench journal [-- EVENTS]`; 1,000,000 events unless told otherwise.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people at a terminal")]
#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use imp_core::id::NodeId;
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use imp_node::events::Events;
use imp_node::store::journal::{NewEvent, ServiceSet};
use imp_node::store::sqlite::SqliteOptions;
use imp_node::store::{JournalStore, SqliteStore};
use rusqlite::{Connection, params};

const TEXT_BYTES: usize = 100;

/// Appends at once: as many as the store puts into one transaction.
const AT_ONCE: usize = 256;

/// Stretches of the journal whose rates are compared.
const STRETCHES: usize = 10;

fn main() {
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let dir = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    println!("{events} events of {TEXT_BYTES} bytes, {AT_ONCE} appends at once, fsync with each commit");
    base_line(dir.path(), events);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(journal(dir.path(), events));
}

fn base_line(dir: &Path, events: usize) {
    let connection = Connection::open(dir.join("bare.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE journal (cursor INTEGER PRIMARY KEY AUTOINCREMENT, at_ms BIGINT NOT NULL, id TEXT NOT NULL,
             reply_to TEXT NOT NULL, from_pubkey BLOB NOT NULL, service TEXT NOT NULL, data TEXT NOT NULL,
             amount_sat BIGINT NOT NULL, late BOOL NOT NULL)",
        )
        .unwrap();
    let text = "x".repeat(TEXT_BYTES);
    let begun = Instant::now();
    for first in (0..events).step_by(AT_ONCE) {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut insert = connection
            .prepare_cached("INSERT INTO journal VALUES (NULL, ?1, ?2, '', ?3, 'message', ?4, 1, 0)")
            .unwrap();
        for number in first..events.min(first + AT_ONCE) {
            insert.execute(params![number as i64, number.to_string(), [2_u8; 33], text]).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    row("bare SQLite, append", events, begun.elapsed());
    let begun = Instant::now();
    let mut query = connection.prepare("SELECT * FROM journal WHERE cursor > 0 ORDER BY cursor").unwrap();
    let read = query.query_map([], |row| row.get::<_, String>("data")).unwrap();
    assert_eq!(read.map(|text| text.unwrap().len()).sum::<usize>(), events * TEXT_BYTES);
    row("bare SQLite, read", events, begun.elapsed());
}

async fn journal(dir: &Path, events: usize) {
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir)).unwrap();
    let from: NodeId = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
    let text = "x".repeat(TEXT_BYTES);
    let event = |number: usize| NewEvent {
        at: UnixMillis(number as u64),
        id: number.to_string(),
        reply_to: String::new(),
        from,
        service: Service::Message.into(),
        data: text.clone(),
        amount_sat: 1,
        late: false,
    };
    let begun = Instant::now();
    let stretch = events.div_ceil(STRETCHES).max(1);
    let mut rates = Vec::new();
    for first in (0..events).step_by(stretch) {
        let numbers = first..events.min(first + stretch);
        let (count, begun) = (numbers.len(), Instant::now());
        stream::iter(numbers.map(|number| store.append(vec![event(number)])))
            .buffer_unordered(AT_ONCE)
            .for_each(|appended| async { drop(appended.unwrap()) })
            .await;
        rates.push(rate(count, begun.elapsed()));
    }
    row("journal, append", events, begun.elapsed());
    let rates: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    println!("{:32} {}", "  each tenth, events a second", rates.join(" "));

    let mut replay = Events::new(Arc::new(store.clone()), Arc::new(imp_node::events::AsStored))
        .subscribe(Some(0), ServiceSet::original())
        .await
        .unwrap();
    let begun = Instant::now();
    let mut bytes = 0;
    for _ in 0..events {
        bytes += replay.next().await.unwrap().event.data.len();
    }
    assert_eq!(bytes, events * TEXT_BYTES);
    row("journal, replay", events, begun.elapsed());
    store.close();
}

fn row(name: &str, events: usize, took: Duration) {
    println!("{name:32} {:9.0} events a second, {:6.1} s", rate(events, took), took.as_secs_f64());
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
