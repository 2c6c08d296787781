//! What both adapters ask of an invoice before they pay it.

use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash};
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Currency, Description};
use thiserror::Error;

use crate::port::{LightningError, Network, SendError};

/// All the bitcoin there will ever be, in millisatoshis.
const MAX_AMOUNT: Msat = Msat::from_sat(21_000_000 * 100_000_000);

/// An invoice (BOLT 11) that can be paid now, as far as its text tells.
#[derive(Clone, Debug)]
pub(crate) struct Payable {
    pub(crate) invoice: Bolt11Invoice,
    pub(crate) hash: PaymentHash,
    pub(crate) payee: NodeId,
    pub(crate) amount: Msat,
}

/// Why an invoice is not paid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum InvoiceFault {
    #[error("the invoice cannot be read: {0}")]
    Malformed(String),
    #[error("the invoice is for the network {invoice}, this node is on {node}")]
    OtherNetwork { invoice: String, node: Network },
    #[error("the invoice names no amount: ask for one with an amount")]
    NoAmount,
    #[error("the invoice has expired {ago_secs} seconds ago: ask for a new one")]
    Expired { ago_secs: u64 },
    #[error("the invoice is this node's own: a node cannot pay itself")]
    Own,
    #[error("the invoice has been paid already by this node")]
    Paid,
}

impl From<InvoiceFault> for SendError {
    fn from(fault: InvoiceFault) -> Self {
        Self::Invalid(fault.to_string())
    }
}

/// Reads an invoice; `now` is the time since the Unix epoch.
pub(crate) fn payable(
    text: &str,
    own: &NodeId,
    network: Network,
    now: Duration,
) -> Result<Payable, InvoiceFault> {
    let invoice: Bolt11Invoice = text.parse().map_err(|fault| InvoiceFault::Malformed(format!("{fault}")))?;
    if invoice.currency() != currency(network) {
        let invoice = currency_name(invoice.currency()).to_owned();
        return Err(InvoiceFault::OtherNetwork { invoice, node: network });
    }
    let amount = match invoice.amount_milli_satoshis() {
        None | Some(0) => return Err(InvoiceFault::NoAmount),
        Some(amount_msat) => Msat(amount_msat),
    };
    let payee = NodeId::from(invoice.get_payee_pub_key());
    if payee == *own {
        return Err(InvoiceFault::Own);
    }
    if invoice.would_expire(now) {
        let end = invoice.duration_since_epoch().saturating_add(invoice.expiry_time());
        return Err(InvoiceFault::Expired { ago_secs: now.saturating_sub(end).as_secs() });
    }
    let hash = hash_of(&invoice);
    Ok(Payable { invoice, hash, payee, amount })
}

/// What the text of an invoice says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvoiceFacts {
    /// The payment that it asks for.
    pub hash: PaymentHash,
    /// Who signed it.
    pub payee: NodeId,
    /// What it asks for; nothing where the payer may choose.
    pub amount: Option<Msat>,
}

/// Reads an invoice (BOLT 11), whoever made it and on whatever network; the error says what is wrong with the text.
pub fn read_invoice(text: &str) -> Result<InvoiceFacts, LightningError> {
    let invoice: Bolt11Invoice = text
        .parse()
        .map_err(|fault| LightningError::Invalid(InvoiceFault::Malformed(format!("{fault}")).to_string()))?;
    Ok(InvoiceFacts {
        hash: hash_of(&invoice),
        payee: NodeId::from(invoice.get_payee_pub_key()),
        amount: invoice.amount_milli_satoshis().map(Msat),
    })
}

/// The hash of the payment that an invoice asks for.
pub(crate) fn hash_of(invoice: &Bolt11Invoice) -> PaymentHash {
    let hash: &[u8; 32] = invoice.payment_hash().as_ref();
    PaymentHash(*hash)
}

/// What a new invoice is to say, checked.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) amount: Msat,
    pub(crate) description: Bolt11InvoiceDescription,
    pub(crate) expiry_secs: u32,
}

/// Checks what a new invoice is to say.
pub(crate) fn terms(amount: Msat, memo: &str, expiry: Duration) -> Result<Terms, LightningError> {
    if amount == Msat::ZERO || amount > MAX_AMOUNT {
        return Err(LightningError::Invalid(format!(
            "an invoice is for 1 msat to {MAX_AMOUNT}, not for {amount}"
        )));
    }
    let description = Description::new(memo.to_owned()).map_err(|_| {
        LightningError::Invalid(format!("the memo has {} bytes, an invoice takes 639 at most", memo.len()))
    })?;
    let expiry_secs = u32::try_from(expiry.as_secs()).ok().filter(|secs| *secs > 0).ok_or_else(|| {
        LightningError::Invalid(format!(
            "an invoice expires after 1 to {} seconds, not after {}",
            u32::MAX,
            expiry.as_secs()
        ))
    })?;
    Ok(Terms { amount, description: Bolt11InvoiceDescription::Direct(description), expiry_secs })
}

/// The currency that invoices name on a network.
pub(crate) const fn currency(network: Network) -> Currency {
    match network {
        Network::Bitcoin => Currency::Bitcoin,
        Network::Testnet => Currency::BitcoinTestnet,
        Network::Signet => Currency::Signet,
        Network::Regtest => Currency::Regtest,
    }
}

const fn currency_name(currency: Currency) -> &'static str {
    match currency {
        Currency::Bitcoin => "bitcoin",
        Currency::BitcoinTestnet => "testnet",
        Currency::Signet => "signet",
        Currency::Regtest => "regtest",
        Currency::Simnet => "simnet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_what_is_wrong() {
        let own = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
        // BOLT 11's first example with an amount: 2500 micro-bitcoin, made in 2017, expires after a minute.
        let coffee = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
        let seconds = Duration::from_secs;
        let fault = payable(coffee, &own, Network::Regtest, seconds(1_496_314_700)).unwrap_err();
        assert_eq!(
            fault,
            InvoiceFault::OtherNetwork { invoice: "bitcoin".to_owned(), node: Network::Regtest }
        );
        let fault = payable(coffee, &own, Network::Bitcoin, seconds(1_496_314_658 + 90)).unwrap_err();
        assert_eq!(fault, InvoiceFault::Expired { ago_secs: 30 });
        let good = payable(coffee, &own, Network::Bitcoin, seconds(1_496_314_658 + 59)).unwrap();
        assert_eq!(good.amount, Msat(250_000_000));
        let payee = good.payee;
        assert_eq!(payable(coffee, &payee, Network::Bitcoin, seconds(0)).unwrap_err(), InvoiceFault::Own);
        assert_eq!(read_invoice(coffee).unwrap().hash, good.hash);
    }
}
