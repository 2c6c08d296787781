//! What both adapters ask of an invoice before they pay it.

use std::time::Duration;

use bitcoin::Address;
use bitcoin::address::NetworkUnchecked;
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash};
use ldk_node::lightning_types::features::Bolt11InvoiceFeatures;
use lightning_invoice::{
    Bolt11Invoice, Bolt11InvoiceDescription, Bolt11SemanticError, Currency, Description,
    SignedRawBolt11Invoice,
};

use crate::port::{InvoiceFault, LightningError, Network};

/// All the bitcoin there will ever be, in millisatoshis.
const MAX_AMOUNT: Msat = Msat::from_sat(21_000_000 * 100_000_000);

/// The scheme of links to invoices.
const SCHEME: &str = "lightning:";

/// What people give for an invoice, by how it begins.
const OTHER_KINDS: [(&str, &str); 10] = [
    ("lno1", "a BOLT 12 offer"),
    ("lnr1", "a BOLT 12 invoice request"),
    ("lni1", "a BOLT 12 invoice"),
    ("lnurl1", "an LNURL"),
    ("lnurlp:", "an LNURL"),
    ("lnurlw:", "an LNURL"),
    ("keyauth:", "an LNURL"),
    ("bitcoin:", "a link to an on-chain address"),
    ("http:", "a web address"),
    ("https:", "a web address"),
];

/// An invoice (BOLT 11) that this node can pay until it expires, as far as its text tells.
#[derive(Clone, Debug)]
pub(crate) struct Payable {
    pub(crate) invoice: Bolt11Invoice,
    pub(crate) hash: PaymentHash,
    pub(crate) payee: NodeId,
    pub(crate) amount: Msat,
}

impl Payable {
    /// Until when it can be paid, as time since the Unix epoch.
    pub(crate) fn expires_at(&self) -> Duration {
        expires_at(&self.invoice)
    }

    /// Whether it can be paid at `now`, the time since the Unix epoch.
    pub(crate) fn check_time(&self, now: Duration) -> Result<(), InvoiceFault> {
        if self.invoice.would_expire(now) {
            return Err(InvoiceFault::Expired { ago_secs: now.saturating_sub(self.expires_at()).as_secs() });
        }
        Ok(())
    }
}

/// Reads an invoice that a node is to pay.
pub(crate) fn payable(text: &str, own: &NodeId, network: Network) -> Result<Payable, InvoiceFault> {
    let invoice = parse(text)?;
    if invoice.currency() != currency(network) {
        return Err(InvoiceFault::OtherNetwork { invoice: currency_name(invoice.currency()), node: network });
    }
    let amount = match invoice.amount_milli_satoshis() {
        None | Some(0) => return Err(InvoiceFault::NoAmount),
        Some(amount_msat) => Msat(amount_msat),
    };
    let payee = NodeId::from(invoice.get_payee_pub_key());
    if payee == *own {
        return Err(InvoiceFault::Own);
    }
    let hash = hash_of(&invoice);
    Ok(Payable { invoice, hash, payee, amount })
}

/// What the text of an invoice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceFacts {
    /// The invoice without prefix and blanks, in lower case.
    pub invoice: String,
    /// The payment that it asks for.
    pub hash: PaymentHash,
    /// Who signed it.
    pub payee: NodeId,
    /// What it asks for; nothing where the payer may choose.
    pub amount: Option<Msat>,
    /// When it was made, as time since the Unix epoch.
    pub made_at: Duration,
    /// Until when it can be paid, as time since the Unix epoch.
    pub expires_at: Duration,
}

/// Reads an invoice (BOLT 11), whoever made it and on whatever network.
///
/// Upper case, surrounding blanks and the prefix `lightning:` are taken.
///
/// # Errors
///
/// [`InvoiceFault::Malformed`], [`InvoiceFault::OtherKind`] and [`InvoiceFault::UnknownFeatures`].
pub fn read_invoice(text: &str) -> Result<InvoiceFacts, InvoiceFault> {
    parse(text).map(|invoice| facts(&invoice))
}

/// Reads an invoice like [`read_invoice`], and says why the node `own` on `network` could not pay it at any time.
///
/// # Errors
///
/// Those of [`read_invoice`], and [`InvoiceFault::OtherNetwork`], [`InvoiceFault::NoAmount`], [`InvoiceFault::Own`].
pub fn read_payable(text: &str, own: &NodeId, network: Network) -> Result<InvoiceFacts, InvoiceFault> {
    payable(text, own, network).map(|payable| facts(&payable.invoice))
}

fn facts(invoice: &Bolt11Invoice) -> InvoiceFacts {
    InvoiceFacts {
        invoice: invoice.to_string(),
        hash: hash_of(invoice),
        payee: NodeId::from(invoice.get_payee_pub_key()),
        amount: invoice.amount_milli_satoshis().map(Msat),
        made_at: invoice.duration_since_epoch(),
        expires_at: expires_at(invoice),
    }
}

fn expires_at(invoice: &Bolt11Invoice) -> Duration {
    invoice.duration_since_epoch().saturating_add(invoice.expiry_time())
}

fn parse(text: &str) -> Result<Bolt11Invoice, InvoiceFault> {
    let text = text.trim();
    let has_scheme = text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME));
    let text = if has_scheme { text[SCHEME.len()..].trim_start_matches("//") } else { text };
    let malformed = |fault: &dyn std::fmt::Display| match other_kind(text) {
        Some(kind) => InvoiceFault::OtherKind(kind),
        None => InvoiceFault::Malformed(fault.to_string()),
    };
    if text.is_empty() {
        return Err(InvoiceFault::Malformed("there is no text".to_owned()));
    }
    let signed: SignedRawBolt11Invoice = text.parse().map_err(|fault| malformed(&fault))?;
    let features = signed.features().cloned();
    Bolt11Invoice::from_signed(signed).map_err(|fault| match (&fault, features) {
        (Bolt11SemanticError::InvalidFeatures, Some(features)) if features.requires_unknown_bits() => {
            InvoiceFault::UnknownFeatures { bits: unknown_bits(&features) }
        }
        _ => InvoiceFault::Malformed(fault.to_string()),
    })
}

/// The numbers of the feature bits (BOLT 9) that must be understood and are not.
fn unknown_bits(features: &Bolt11InvoiceFeatures) -> Vec<u64> {
    let mut bits = Vec::new();
    for (at, byte) in features.le_flags().iter().enumerate() {
        for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
            let mut alone = vec![0; at];
            alone.push(1 << bit);
            if Bolt11InvoiceFeatures::from_le_bytes(alone).requires_unknown_bits() {
                bits.push(at as u64 * 8 + bit);
            }
        }
    }
    bits
}

/// What a text is that is no invoice, if that can be told.
fn other_kind(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    if let Some((_, kind)) = OTHER_KINDS.iter().find(|(start, _)| lower.starts_with(start)) {
        return Some(kind);
    }
    if text.parse::<Address<NetworkUnchecked>>().is_ok() {
        return Some("an on-chain address");
    }
    if text.parse::<NodeId>().is_ok() {
        return Some("the public key of a node");
    }
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("a payment hash");
    }
    let (user, domain) = text.split_once('@')?;
    (!user.is_empty() && domain.contains('.')).then_some("a Lightning address")
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
    use bitcoin::hashes::{Hash, sha256};
    use lightning_invoice::{InvoiceBuilder, PaymentSecret, RawTaggedField, TaggedField};

    use super::*;

    const OWN: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    /// BOLT 11's first example with an amount: 2500 micro-bitcoin, made in 2017, expires after a minute.
    const COFFEE: &str = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";

    #[test]
    fn a_fault_names_what_is_wrong() {
        let own = OWN.parse().unwrap();
        let seconds = Duration::from_secs;
        let fault = payable(COFFEE, &own, Network::Regtest).unwrap_err();
        assert_eq!(fault, InvoiceFault::OtherNetwork { invoice: "bitcoin", node: Network::Regtest });
        let coffee = payable(COFFEE, &own, Network::Bitcoin).unwrap();
        assert_eq!(coffee.amount, Msat(250_000_000));
        assert_eq!(coffee.check_time(seconds(1_496_314_658 + 59)), Ok(()));
        let late = coffee.check_time(seconds(1_496_314_658 + 90));
        assert_eq!(late, Err(InvoiceFault::Expired { ago_secs: 30 }));
        assert_eq!(payable(COFFEE, &coffee.payee, Network::Bitcoin).unwrap_err(), InvoiceFault::Own);
    }

    #[test]
    fn an_invoice_is_read_as_people_give_it() {
        let facts = read_invoice(COFFEE).unwrap();
        assert_eq!((facts.invoice.as_str(), facts.amount), (COFFEE, Some(Msat(250_000_000))));
        assert_eq!((facts.made_at.as_secs(), facts.expires_at.as_secs()), (1_496_314_658, 1_496_314_718));
        for given in [
            format!(" {COFFEE}\r\n"),
            COFFEE.to_uppercase(),
            format!("lightning:{COFFEE}"),
            format!("LIGHTNING:{}", COFFEE.to_uppercase()),
            format!("lightning://{COFFEE}"),
        ] {
            assert_eq!(read_invoice(&given).as_ref(), Ok(&facts), "{given}");
        }
    }

    #[test]
    fn what_is_no_invoice_is_told_by_name() {
        for (text, kind) in [
            ("lno1pgqpvzstgr", "a BOLT 12 offer"),
            ("LNO1PGQPVZSTGR", "a BOLT 12 offer"),
            ("lightning:lnurl1dp68gurn8ghj7", "an LNURL"),
            ("lnurlp://node.example/pay", "an LNURL"),
            ("bitcoin:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa?amount=1", "a link to an on-chain address"),
            ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "an on-chain address"),
            ("bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x", "an on-chain address"),
            (OWN, "the public key of a node"),
            (&OWN[2..], "a payment hash"),
            ("me@node.example", "a Lightning address"),
            ("https://node.example", "a web address"),
        ] {
            assert_eq!(read_invoice(text), Err(InvoiceFault::OtherKind(kind)), "{text}");
        }
        let mut damaged = COFFEE.to_owned();
        damaged.replace_range(20..21, "q");
        for text in ["", "lightning:", "ln", "lnbcrt1nonsense", "\u{e4}", "lightnin\u{e4}:", &damaged, "@"] {
            assert!(matches!(read_invoice(text), Err(InvoiceFault::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn features_that_nobody_here_knows_are_named() {
        let key = secp256k1::SecretKey::from_slice(&[7; 32]).unwrap();
        let invoice = InvoiceBuilder::new(Currency::Regtest)
            .description(String::new())
            .payment_hash(sha256::Hash::from_byte_array([1; 32]))
            .payment_secret(PaymentSecret([2; 32]))
            .duration_since_epoch(Duration::from_secs(1_700_000_000))
            .min_final_cltv_expiry_delta(144);
        let mut raw = invoice.build_raw().unwrap();
        for field in &mut raw.data.tagged_fields {
            if let RawTaggedField::KnownSemantics(TaggedField::Features(features)) = field {
                let mut flags = features.le_flags().to_vec();
                flags.resize(26, 0);
                // Bits 200 and 203, of which only the even one must be understood.
                flags[25] = 0b1001;
                *features = Bolt11InvoiceFeatures::from_le_bytes(flags);
            }
        }
        let sign = |digest: &secp256k1::Message| -> Result<_, ()> {
            Ok(secp256k1::SECP256K1.sign_ecdsa_recoverable(digest, &key))
        };
        let text = raw.sign(sign).unwrap().to_string();
        assert_eq!(read_invoice(&text), Err(InvoiceFault::UnknownFeatures { bits: vec![200] }));
    }
}
