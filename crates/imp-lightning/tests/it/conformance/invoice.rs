//! Making and paying invoices.

use std::time::{Duration, SystemTime};

use bitcoin::hashes::{Hash, sha256};
use imp_core::amount::Msat;
use imp_core::id::PaymentHash;
use imp_lightning::{
    InvoiceFault, InvoiceState, LightningError, Network, PaymentState, ReceivedKind, SendError, read_invoice,
};
use lightning_invoice::{Bolt11Invoice, Currency, InvoiceBuilder, PaymentSecret};

use super::{Lab, Side, fresh_bytes, outcome, paid, receipt};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const FEE_LIMIT: Msat = Msat::from_sat(10);

pub(crate) async fn an_invoice_is_paid_once_and_both_ends_know<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let text = b.create_invoice(Msat(21_500), "a coffee", HOUR).await.unwrap();
    let invoice: Bolt11Invoice = text.parse().unwrap();
    let hash = PaymentHash(invoice.payment_hash().to_byte_array());
    assert_eq!(invoice.amount_milli_satoshis(), Some(21_500));
    assert_eq!(invoice.description().to_string(), "a coffee");
    assert_eq!(invoice.expiry_time(), HOUR);
    assert_eq!(invoice.get_payee_pub_key().serialize(), *b.id().as_bytes());
    assert_eq!(b.invoice(hash).await, Ok(Some(InvoiceState::Open)));

    assert_eq!(a.pay_invoice(&text, FEE_LIMIT).await, Ok(hash));
    let preimage = outcome(&*a, hash).await.unwrap();
    assert_eq!(preimage.payment_hash(), hash);
    assert_eq!(receipt(&*b, hash).await, (Msat(21_500), ReceivedKind::Invoice));
    assert_eq!(b.invoice(hash).await, Ok(Some(InvoiceState::Paid)));
    assert!(matches!(a.payment(hash).await, Ok(Some(PaymentState::Settled { .. }))));
    let again = a.pay_invoice(&text, FEE_LIMIT).await;
    assert_eq!(again, Err(SendError::InvalidInvoice(InvoiceFault::Paid)));
}

pub(crate) async fn each_bad_invoice_has_its_own_error<L: Lab>(lab: &mut L) {
    let a = lab.node(Side::A);
    let fault = async |text: &str| match a.pay_invoice(text, FEE_LIMIT).await {
        Err(SendError::InvalidInvoice(fault)) => fault,
        other => panic!("{text}: {other:?}"),
    };
    for nonsense in ["lnbcrt1nonsense", ""] {
        assert!(matches!(fault(nonsense).await, InvoiceFault::Malformed(_)));
    }
    assert_eq!(fault("lno1pgqpvzstgr").await, InvoiceFault::OtherKind("a BOLT 12 offer"));
    let own_address = a.new_address().await.unwrap();
    assert_eq!(fault(&own_address).await, InvoiceFault::OtherKind("an on-chain address"));
    let of_mainnet = foreign_invoice(Currency::Bitcoin, Some(1000), now());
    let other = InvoiceFault::OtherNetwork { invoice: "bitcoin", node: Network::Regtest };
    assert_eq!(fault(&of_mainnet).await, other);
    let amountless = foreign_invoice(Currency::Regtest, None, now());
    assert_eq!(fault(&amountless).await, InvoiceFault::NoAmount);
    assert!(matches!(fault(&expired_invoice()).await, InvoiceFault::Expired { ago_secs: 3600.. }));
    let own = a.create_invoice(Msat(1000), "", HOUR).await.unwrap();
    assert_eq!(fault(&own).await, InvoiceFault::Own);
    let unknown = foreign_invoice(Currency::Regtest, Some(1000), now());
    let error = a.pay_invoice(&unknown, FEE_LIMIT).await.unwrap_err();
    assert!(matches!(&error, SendError::NoRoute(text) if text.contains("unknown node")), "{error}");
}

pub(crate) async fn an_invoice_in_a_link_of_capitals_is_paid<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let text = b.create_invoice(Msat(1000), "", HOUR).await.unwrap();
    let link = format!(" LIGHTNING:{}\n", text.to_uppercase());
    let hash = read_invoice(&text).unwrap().hash;
    assert_eq!(a.pay_invoice(&link, FEE_LIMIT).await, Ok(hash));
    outcome(&*a, hash).await.unwrap();
}

pub(crate) async fn an_invoice_for_more_than_the_balance_is_refused<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let large = b.create_invoice(Msat::from_sat(600_000), "", HOUR).await.unwrap();
    let refused = a.pay_invoice(&large, FEE_LIMIT).await;
    assert!(matches!(refused, Err(SendError::InsufficientBalance { .. })), "{refused:?}");
    paid(lab).await;
}

pub(crate) async fn hashes_of_others_are_not_known<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let text = b.create_invoice(Msat(1000), "", HOUR).await.unwrap();
    let hash = PaymentHash(text.parse::<Bolt11Invoice>().unwrap().payment_hash().to_byte_array());
    assert_eq!(a.invoice(hash).await, Ok(None));
    assert_eq!(a.payment(hash).await, Ok(None));
    assert_eq!(b.payment(hash).await, Ok(None));
    a.pay_invoice(&text, FEE_LIMIT).await.unwrap();
    outcome(&*a, hash).await.unwrap();
    assert_eq!(a.invoice(hash).await, Ok(None));
    assert_eq!(b.payment(hash).await, Ok(None));
}

pub(crate) async fn terms_that_no_invoice_can_say_are_refused<L: Lab>(lab: &mut L) {
    let b = lab.node(Side::B);
    let long = "x".repeat(640);
    let never = Duration::from_secs(1 << 40);
    for refused in [
        b.create_invoice(Msat::ZERO, "", HOUR).await,
        b.create_invoice(Msat(u64::MAX), "", HOUR).await,
        b.create_invoice(Msat(1), &long, HOUR).await,
        b.create_invoice(Msat(1), "", Duration::ZERO).await,
        b.create_invoice(Msat(1), "", never).await,
    ] {
        assert!(matches!(refused, Err(LightningError::Invalid(_))), "{refused:?}");
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// An invoice whose time was over an hour ago.
pub(crate) fn expired_invoice() -> String {
    foreign_invoice(Currency::Regtest, Some(1000), now() - 2 * HOUR)
}

/// An invoice of a node that nobody knows, which expires after an hour.
fn foreign_invoice(currency: Currency, amount_msat: Option<u64>, made_at: Duration) -> String {
    strange_invoice(currency, amount_msat, made_at, PaymentHash(fresh_bytes()))
}

/// An invoice for this hash whose time was over an hour ago.
pub(crate) fn expired_invoice_for(hash: PaymentHash) -> String {
    strange_invoice(Currency::Regtest, Some(1000), now() - 2 * HOUR, hash)
}

fn strange_invoice(
    currency: Currency,
    amount_msat: Option<u64>,
    made_at: Duration,
    hash: PaymentHash,
) -> String {
    let key = secp256k1::SecretKey::from_slice(&fresh_bytes()).unwrap();
    let mut invoice = InvoiceBuilder::new(currency)
        .description("a stranger's".to_owned())
        .payment_hash(sha256::Hash::from_byte_array(hash.0))
        .payment_secret(PaymentSecret([1; 32]))
        .duration_since_epoch(made_at)
        .min_final_cltv_expiry_delta(144)
        .expiry_time(HOUR);
    if let Some(amount_msat) = amount_msat {
        invoice = invoice.amount_milli_satoshis(amount_msat);
    }
    let signed = invoice.build_signed(|digest| secp256k1::SECP256K1.sign_ecdsa_recoverable(digest, &key));
    signed.unwrap().to_string()
}
