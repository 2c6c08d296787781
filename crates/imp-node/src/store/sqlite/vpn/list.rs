//! Contracts and payments a page at a time.
//!
//! Rows that are not wanted are passed over in an index that holds all that is asked for; there are as many as three months
//! bring.

use imp_core::id::NodeId;
use imp_core::vpn::Nonce;
use imp_core::vpn::buyer::PurchaseState;
use imp_core::vpn::seller::{ContractState, PaymentState};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::super::row;
use super::rows;
use crate::store::StoreError;
use crate::store::vpn::{Deal, DealPage, DealPlace, DealQuery, VpnPaymentPage, VpnPaymentQuery};

const SOLD: &str = "SELECT TRUE AS sold, made_ms, nonce, json FROM vpn_contract";
const BOUGHT: &str = "SELECT FALSE AS sold, made_ms, nonce, json FROM vpn_purchase";

pub(super) fn deal(connection: &Connection, nonce: &Nonce) -> Result<Option<Deal>, StoreError> {
    let sql = format!("{SOLD} WHERE nonce = ?1 UNION ALL {BOUGHT} WHERE nonce = ?1");
    Ok(rows::all(connection, &sql, [nonce.as_str()], from_row)?.pop())
}

pub(super) fn deals(connection: &Connection, query: &DealQuery) -> Result<DealPage, StoreError> {
    let mut arguments = Vec::new();
    let mut selects = Vec::new();
    if let Some(states) = &query.sold {
        let states = states.iter().copied().map(ContractState::name).collect();
        selects.push(select(SOLD, "buyer", query, states, &mut arguments));
    }
    if let Some(states) = &query.bought {
        let states = states.iter().copied().map(PurchaseState::name).collect();
        selects.push(select(BOUGHT, "seller", query, states, &mut arguments));
    }
    if selects.is_empty() {
        return Ok(DealPage::default());
    }
    // One more than is shown tells whether there are more.
    arguments.push(Value::Integer(row::int(query.limit as u64).saturating_add(1)));
    let sql = format!("{} ORDER BY made_ms DESC, nonce DESC LIMIT ?", selects.join(" UNION ALL "));
    let mut deals = rows::all(connection, &sql, params_from_iter(arguments), from_row)?;
    let more = deals.len() > query.limit;
    deals.truncate(query.limit);
    let next = deals.last().filter(|_| more).map(Deal::place);
    Ok(DealPage { deals, next })
}

/// The contracts of one side. Its arguments are in the order of its question marks.
fn select(
    from: &str,
    node_column: &str,
    query: &DealQuery,
    states: Vec<&'static str>,
    arguments: &mut Vec<Value>,
) -> String {
    let mut sql = format!("{from} WHERE TRUE");
    if let Some(DealPlace { made, nonce }) = &query.before {
        sql.push_str(" AND (made_ms, nonce) < (?, ?)");
        arguments.extend([Value::Integer(row::int(made.0)), Value::Text(nonce.to_string())]);
    }
    if let Some(node) = &query.node {
        sql.push_str(&format!(" AND {node_column} = ?"));
        arguments.push(blob(node));
    }
    push_states(&mut sql, states, arguments);
    sql
}

pub(super) fn payments(
    connection: &Connection,
    query: &VpnPaymentQuery,
) -> Result<VpnPaymentPage, StoreError> {
    let mut sql = "SELECT position, json FROM vpn_payment WHERE position < ?".to_owned();
    let mut arguments = vec![Value::Integer(query.before.map_or(i64::MAX, row::int))];
    if let Some(nonce) = &query.nonce {
        sql.push_str(" AND nonce = ?");
        arguments.push(Value::Text(nonce.to_string()));
    }
    push_states(&mut sql, query.states.iter().copied().map(PaymentState::name).collect(), &mut arguments);
    sql.push_str(" ORDER BY position DESC LIMIT ?");
    arguments.push(Value::Integer(row::int(query.limit as u64).saturating_add(1)));
    let read = |row: &Row<'_>| Ok((row::uint(row, "position")?, rows::json(row)?));
    let mut found = rows::all(connection, &sql, params_from_iter(arguments), read)?;
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let next = found.last().filter(|_| more).map(|(position, _)| *position);
    Ok(VpnPaymentPage { payments: found.into_iter().map(|(_, payment)| payment).collect(), next })
}

fn push_states(sql: &mut String, states: Vec<&'static str>, arguments: &mut Vec<Value>) {
    if !states.is_empty() {
        sql.push_str(&format!(" AND state IN ({})", vec!["?"; states.len()].join(", ")));
        arguments.extend(states.into_iter().map(|state| Value::Text(state.to_owned())));
    }
}

fn from_row(row: &Row<'_>) -> Result<Deal, StoreError> {
    if row.get("sold")? { rows::json(row).map(Deal::Sold) } else { rows::json(row).map(Deal::Bought) }
}

fn blob(node: &NodeId) -> Value {
    Value::Blob(node.as_bytes().to_vec())
}
