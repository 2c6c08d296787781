"""Reads BOLT 11 invoices as clients do that learn a node's key from one that it has made."""

import dataclasses
import hashlib

import coincurve

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

# The recoverable signature at the end of an invoice: 64 bytes and the recovery id, in groups of five bits.
SIGNATURE_GROUPS = 104

# Millisatoshis in one unit of the amount, by the letter after it.
MSAT = {"m": 100_000_000, "u": 100_000, "n": 100}


@dataclasses.dataclass(frozen=True)
class Invoice:
    """What an invoice says."""

    payee: str
    amount_msat: int
    payment_hash: str
    memo: str


def checksum(groups):
    """The bech32 checksum (BIP 173), which is 1 for a sound text."""
    check = 1
    for group in groups:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ group
        for bit, constant in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= constant if top >> bit & 1 else 0
    return check


def octets(groups):
    """Groups of five bits as bytes; bits that are left over are filled up with zeros."""
    bits = "".join(f"{group:05b}" for group in groups)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def read(text):
    prefix, _, data = text.rpartition("1")
    groups = [ALPHABET.index(letter) for letter in data]
    expanded = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    assert checksum(expanded + groups) == 1, f"the checksum is wrong: {text}"
    signed, signature = groups[: -6 - SIGNATURE_GROUPS], octets(groups[-6 - SIGNATURE_GROUPS : -6])

    network = next(network for network in ("bcrt", "tbs", "bc", "tb") if prefix.startswith("ln" + network))
    amount = prefix.removeprefix("ln" + network)
    fields, at = {}, 7
    while at < len(signed):
        tag, length = ALPHABET[signed[at]], signed[at + 1] * 32 + signed[at + 2]
        fields.setdefault(tag, signed[at + 3 : at + 3 + length])
        at += 3 + length
    digest = hashlib.sha256(prefix.encode() + octets(signed)).digest()
    payee = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    memo = fields.get("d", [])
    return Invoice(
        payee=payee.format().hex(),
        amount_msat=int(amount[:-1]) * MSAT[amount[-1]],
        payment_hash=octets(fields["p"])[:32].hex(),
        memo=octets(memo)[: len(memo) * 5 // 8].decode(),
    )
