"""The habits of programs that were written for the node of 2021, each as its users ran it."""

import json
import threading
import time

import coincurve
import invoice
import pytest
from node import UUID4

# What a WebRTC offer is like, in size and in its line ends.
OFFER = json.dumps({"type": "offer", "sdp": "v=0\r\no=- 42 2 IN IP4 127.0.0.1\r\n" + "a=candidate:1 \"<&>\" ü\r\n" * 90})


def unreachable():
    """A sound key that no node has."""
    return coincurve.PrivateKey().public_key.format().hex()


class TestPhone:
    """A phone by WebRTC, which signals by messages: in pieces of 890 characters, joined in the order of arrival."""

    PIECE, BEGIN, END = 890, "rppacketcontent", "rppacketend"

    def pieces(self):
        return [self.BEGIN + OFFER[at : at + self.PIECE] for at in range(0, len(OFFER), self.PIECE)] + [self.END]

    def joined(self, events, pieces):
        last = events.wait("the end mark", lambda event: event["data"] == self.END)
        seen = [event["data"] for event in events.all() if event["serviceType"] == "message"]
        assert len(seen) == pieces and last["data"] == seen[-1]
        return "".join(piece.removeprefix(self.BEGIN) for piece in seen[:-1])

    def test_pieces_that_wait_for_each_other_arrive_in_order(self, alice, bob, bob_events):
        pieces = self.pieces()
        for piece in pieces:
            alice.send(piece, bob)
        assert self.joined(bob_events, len(pieces)) == OFFER

    def test_pieces_on_a_timer_arrive_in_order_too(self, alice, bob, bob_events):
        """The phone does not wait for answers, only for its timer, which here goes off faster."""
        pieces = self.pieces()
        calls = [threading.Thread(target=alice.send, args=(piece, bob)) for piece in pieces]
        for call in calls:
            call.start()
            time.sleep(0.1)
        for call in calls:
            call.join()
        assert self.joined(bob_events, len(pieces)) == OFFER

    def test_amounts_are_strings_on_the_way_in_and_out(self, alice, bob, bob_events, text):
        sent = alice.send(text, bob, amount="10")
        # It compares what came with its price as texts.
        assert bob_events.wait_id(sent)["amount"] == "10"

    def test_an_answer_is_an_id_or_holds_the_word_failed(self, alice, text):
        """Its page looks for the word in the body, and at nothing else."""
        reply = alice.post("/v1/message/send", {"msg": text, "pubkey": unreachable()})
        assert b"failed" in reply.body and "id" not in reply.refusal()

    def test_an_invoice_tells_it_who_its_own_node_is(self, alice):
        made = alice.post("/v1/lightning/generateinvoice", {"amount": 10, "memo": ""}).answer()
        read = invoice.read(made["invoice"])
        assert (read.payee, read.amount_msat, read.memo) == (alice.pubkey, 10_000, "")

    def test_fields_of_other_calls_do_no_harm(self, alice):
        """It once sent a message's fields to the socket service, whose answer must not be about them."""
        relay = alice.post("/v1/socket/start", {"msg": "x", "pubkey": "y"}).answer()
        assert set(relay) == {"protocol", "ip", "port1", "port2"} and relay["protocol"] == "udp"
        assert relay["port1"].startswith(":") and relay["port2"].startswith(":")

    def test_an_offer_of_a_relay_has_the_keys_that_it_reads(self, alice, bob, bob_events):
        relay = alice.post("/v1/socket/start").answer()
        sent = alice.post("/v1/socket/sendRequest", {"pubkey": bob.pubkey}).answer()["id"]
        event = bob_events.wait_id(sent)
        offer = json.loads(event["data"])
        assert (event["serviceType"], offer["recordId"]) == ("socket", "SOCKET")
        assert {name: offer[name] for name in relay} == relay
        assert alice.post("/v1/socket/stop").answer() == {}


class TestBot:
    """A bot that knows its users by signatures: they send `text:bolt:signature`, and it verifies."""

    def test_a_signature_within_a_message_is_verified(self, alice, bob, bob_events, text):
        signature = alice.post("/v1/sign", {"msg": text}).answer()["signature"]
        assert len(signature) == 104
        sent = alice.send(f"{text}:bolt:{signature}", bob)
        said, signed = bob_events.wait_id(sent)["data"].split(":bolt:")
        assert bob.post("/v1/verify", {"msg": said, "signature": signed}).answer() == {"result": True}
        assert bob.post("/v1/verify", {"msg": said + ".", "signature": signed}).answer() == {"result": False}

    def test_the_body_is_shown_as_it_is(self, alice, text):
        """It shows users the whole body as text, so that there must be nothing but the answer."""
        body = alice.post("/v1/sign", {"msg": text}).body.decode()
        assert body == body.strip() and list(json.loads(body)) == ["signature"]

    def test_a_price_may_be_a_text_but_no_number(self, alice, bob):
        contract = {"pubkey": bob.pubkey, "nonce": "DjPL6L35WGdvxhiRz6PqZU"}
        assert alice.post("/v1/vpn/contract", contract | {"price": 100}).refusal()["code"] == 3
        refusal = alice.post("/v1/vpn/contract", contract | {"price": "100"}).refusal()
        assert refusal["code"] == 9 and "failed" in refusal["message"] and "quote" in refusal["message"]


class TestGossip:
    """A gossip chat: amounts as strings, keys in calls that know none, and trust in the status alone."""

    @pytest.mark.parametrize("amount", ["1", "10"])
    def test_string_amounts_go_through(self, alice, bob, bob_events, text, amount):
        event = bob_events.wait_id(alice.send(text, bob, amount=amount))
        assert (event["data"], event["amount"]) == (text, amount)

    def test_unknown_fields_of_invoice_calls_are_ignored(self, alice, bob):
        asked = {"amount": 13, "pubkey": alice.pubkey, "memo": "13 for the show"}
        made = bob.post("/v1/lightning/generateinvoice", asked).answer()["invoice"]
        assert (invoice.read(made).amount_msat, invoice.read(made).memo) == (13_000, "13 for the show")
        paid = alice.post("/v1/lightning/payinvoice", {"invoice": made, "pubkey": bob.pubkey}).answer()
        assert list(paid) == ["preimage"] and len(bytes.fromhex(paid["preimage"])) == 32

    @pytest.mark.parametrize("body", [
        {"msg": "x", "pubkey": "nonsense", "amount": "1"},
        {"msg": "x", "pubkey": "02" + "00" * 32, "amount": "1"},
        {"msg": "x", "pubkey": unreachable(), "amount": "1"},
        {"msg": "x", "amount": "1"},
    ])
    def test_a_message_that_cannot_go_is_no_success(self, alice, body):
        reply = alice.post("/v1/message/send", body)
        assert not 200 <= reply.status < 300 and "failed" in reply.refusal()["message"]


class TestPaidApi:
    """A web service that sells calls for invoices, by Spring's RestTemplate."""

    JSON = {"Content-Type": "application/json", "Accept": "application/json, application/*+json"}

    def test_an_invoice_is_unpaid_and_then_paid(self, alice, bob):
        made = bob.post("/v1/lightning/generateinvoice", {"amount": 25}, self.JSON).answer()["invoice"]
        check = json.dumps({"invoice": made}).encode()
        # It reads the key in any case, and throws where there is none.
        unpaid = bob.post("/v1/lightning/checkinvoice", check, self.JSON)
        assert unpaid.status == 200 and unpaid.json() == {"paid": False}
        assert unpaid.headers["content-type"] == "application/json"
        alice.post("/v1/lightning/payinvoice", {"invoice": made}, self.JSON).answer()
        assert bob.post("/v1/lightning/checkinvoice", check, self.JSON).json() == {"paid": True}

    def test_rubbish_is_no_invoice(self, alice):
        for call in ("payinvoice", "checkinvoice"):
            assert alice.post(f"/v1/lightning/{call}", {"invoice": "nonsense"}).refusal()["code"] == 3


class TestTerminal:
    """Notes with curl: the id is all that there is to see, and the far log has it too."""

    def test_the_id_is_a_uuid_and_the_same_at_both_ends(self, alice, bob, bob_events, text):
        sent = alice.send(text, bob)
        assert UUID4.fullmatch(sent) and bob_events.wait_id(sent)["data"] == text

    def test_the_log_tells_of_a_message_received(self, alice, bob, bob_events, text):
        """A chat of 2021 followed its nodes by looking for these words in their log, which is JSON in lines."""
        bob_events.wait_id(alice.send(text, bob))
        lines = [json.loads(line) for line in (bob.data_dir / "log.txt").read_text().splitlines()]
        assert any("message received" in json.dumps(line) for line in lines)
        assert not any(text in json.dumps(line) for line in lines)
