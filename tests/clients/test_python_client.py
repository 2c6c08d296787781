"""imp-grpc-client 0.0.2 from PyPI, the Python client of 2021."""

import json
import threading

import pytest
from impgrpc import IMPClient
from node import PATIENCE, UUID4


class Subscription:
    """The client's `subscribe()`, iterated in a thread as its users do."""

    def __init__(self, node):
        self._stream = IMPClient(node.grpc).subscribe()
        # The subscription stands once the headers are there: what is sent from now on arrives.
        self._stream.initial_metadata()
        self._events = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            for event in self._stream:
                with self._came:
                    self._events.append(event)
                    self._came.notify_all()
        except Exception:  # The stream ends by being cancelled, as the error that its class is.
            if not self._stream.cancelled():
                raise

    def wait_id(self, message_id):
        def found():
            return next((event for event in self._events if event.id == message_id), None)

        with self._came:
            assert self._came.wait_for(found, PATIENCE), f"no event {message_id}"
            return found()

    def close(self):
        self._stream.cancel()
        self._reader.join(PATIENCE)


@pytest.fixture
def subscription(bob):
    subscription = Subscription(bob)
    yield subscription
    subscription.close()


def test_what_it_sends_with_amount_and_reply_id_arrives_at_its_subscriber(alice, bob, subscription, text):
    reply_to = "4c1d471a-7467-47b5-9652-89e99d9df20b"
    answer = IMPClient(alice.grpc).send_message(text, bob.pubkey, amount=7, reply_to_id=reply_to)
    assert UUID4.fullmatch(answer.id), answer
    event = subscription.wait_id(answer.id)
    assert (event.data, event.reply_to_id, event.from_pubkey) == (text, reply_to, alice.pubkey)
    assert event.service_type == "message"
    assert type(event.amount) is int and event.amount == 7
    assert type(event.data) is str


def test_without_an_amount_it_sends_one_satoshi(alice, bob, subscription, text):
    answer = IMPClient(alice.grpc).send_message(text, bob.pubkey)
    event = subscription.wait_id(answer.id)
    assert (event.amount, event.reply_to_id) == (1, "")


def test_a_failed_call_gives_it_nothing(alice, capsys):
    """The client prints the error and returns None, which is what its users look at."""
    assert IMPClient(alice.grpc).send_message("to nobody", "02" + "00" * 32) is None
    assert "INVALID_ARGUMENT" in capsys.readouterr().out


def test_its_question_for_a_price_arrives(alice, bob, subscription):
    answer = IMPClient(alice.grpc).request_quote(bob.pubkey)
    event = subscription.wait_id(answer.id)
    assert (event.service_type, event.from_pubkey) == ("vpn", alice.pubkey)
    assert json.loads(event.data)["type"] == "QUOTE"


def test_its_calls_of_federation_arrive_and_are_answered(alice, bob, subscription):
    for call, kind in (("request_federate", "REQUEST"), ("leave_federation", "LEAVE")):
        answer = getattr(IMPClient(alice.grpc), call)(bob.pubkey)
        event = subscription.wait_id(answer.id)
        assert (event.service_type, event.from_pubkey) == ("federate", alice.pubkey)
        assert json.loads(event.data)["type"] == kind


def test_its_offer_of_a_relay_needs_no_start_before(alice, bob, subscription):
    """Its own `start_socket` never worked: it sets a field that the call does not have."""
    answer = IMPClient(alice.grpc).send_socket(bob.pubkey)
    event = subscription.wait_id(answer.id)
    offer = json.loads(event.data)
    assert (event.service_type, offer["recordId"], offer["protocol"]) == ("socket", "SOCKET", "udp")
    assert list(offer)[:5] == ["recordId", "protocol", "ip", "port1", "port2"]
    assert alice.post("/v1/socket/stop").answer() == {}
