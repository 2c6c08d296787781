"""The two websocket clients of Python: websockets, which the bot of 2021 used, and websocket-client."""

import asyncio
import json
import threading

import pytest
import websocket
from node import PATIENCE
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

# The bot's library pings every 20 s and hangs up if no pong comes. Here the same, faster.
PING_INTERVAL = 0.1


async def answered_pings(socket, count):
    """Waits until the library's own pings have been answered this often; each answer sets a new latency."""
    seen = set()
    async with asyncio.timeout(PATIENCE):
        while len(seen) < count:
            seen.add(socket.latency)
            await asyncio.sleep(PING_INTERVAL / 4)


async def next_text(socket, wanted):
    async with asyncio.timeout(PATIENCE):
        while (event := json.loads(await socket.recv())["result"])["data"] != wanted:
            pass
    return event


def test_pings_are_answered_also_after_the_client_has_said_something(alice, bob, text):
    async def bot():
        async with connect(bob.events_url, ping_interval=PING_INTERVAL, ping_timeout=PATIENCE) as socket:
            await socket.send("something")
            await answered_pings(socket, 5)
            await asyncio.to_thread(alice.send, text, bob)
            event = await next_text(socket, text)
            await answered_pings(socket, 5)
            return event

    event = asyncio.run(bot())
    assert list(event) == ["id", "replyToId", "fromPubkey", "data", "serviceType", "amount"]
    assert (event["fromPubkey"], event["serviceType"], event["amount"]) == (alice.pubkey, "message", "1")


def test_text_and_bytes_from_the_client_are_ignored(alice, bob, text):
    async def talkative():
        async with connect(bob.events_url) as socket:
            for said in ("something", '{"result":{}}', b"\x00\xff", "x" * 100_000, ""):
                await socket.send(said)
            await asyncio.to_thread(alice.send, text, bob)
            return await next_text(socket, text)

    assert asyncio.run(talkative())["data"] == text


def test_an_event_of_more_than_64_kib_is_one_frame(alice, bob, text):
    long = text + "y" * 100_000

    async def reader():
        async with connect(bob.events_url, max_size=None) as socket:
            await asyncio.to_thread(alice.send, long, bob)
            return await next_text(socket, long)

    assert int(asyncio.run(reader())["amount"]) > 100


def test_every_subscriber_gets_every_event(alice, bob, text):
    async def crowd():
        async with connect(bob.events_url) as one, connect(bob.events_url) as two:
            sent = await asyncio.to_thread(alice.send, text, bob)
            return sent, (await next_text(one, text))["id"], (await next_text(two, text))["id"]

    assert len(set(asyncio.run(crowd()))) == 1


@pytest.mark.parametrize(("offered", "taken"), [(["Bearer", "token"], "Bearer"), (["chat"], None), (None, None)])
def test_bearer_is_the_one_subprotocol_that_is_echoed(bob, offered, taken):
    async def handshake():
        async with connect(bob.events_url, subprotocols=offered) as socket:
            return socket.subprotocol

    assert asyncio.run(handshake()) == taken


def test_the_close_handshake_is_finished(bob):
    async def polite():
        async with connect(bob.events_url, close_timeout=PATIENCE) as socket:
            await socket.close(1000, "enough")
            return socket.close_code

    assert asyncio.run(polite()) == 1000


def test_a_foreign_origin_is_refused_before_the_handshake(bob):
    async def foreign():
        async with connect(bob.events_url, origin="http://elsewhere.example"):
            pass

    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(foreign())
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["code"] == 7


def test_websocket_client_stays_connected_by_its_pings(alice, bob, text):
    """websocket-client's application: text on open, pings in a thread of its own, one callback for each event."""
    opened, answered, came = threading.Event(), threading.Semaphore(0), threading.Event()
    events, errors = [], []

    def on_open(app):
        app.send("something")
        opened.set()

    def on_message(_app, frame):
        events.append(json.loads(frame)["result"])
        if events[-1]["data"] == text:
            came.set()

    app = websocket.WebSocketApp(
        bob.events_url,
        on_open=on_open,
        on_message=on_message,
        on_pong=lambda _app, _data: answered.release(),
        on_error=lambda _app, error: errors.append(error),
    )
    # Its timeout must be the shorter one. An interval below a second would leave the timeout none.
    thread = threading.Thread(target=app.run_forever, kwargs={"ping_interval": 1, "ping_timeout": 0.9}, daemon=True)
    thread.start()
    try:
        assert opened.wait(PATIENCE), errors
        assert all(answered.acquire(timeout=PATIENCE) for _ in range(2)), errors
        sent = alice.send(text, bob)
        assert came.wait(PATIENCE), errors
        assert events[-1]["id"] == sent
        assert answered.acquire(timeout=PATIENCE), errors
    finally:
        app.close()
        thread.join(PATIENCE)
    assert not errors and not thread.is_alive()


def test_websocket_client_reads_frame_by_frame(alice, bob, text):
    socket = websocket.create_connection(bob.events_url, timeout=PATIENCE)
    try:
        sent = alice.send(text, bob)
        while (event := json.loads(socket.recv())["result"])["id"] != sent:
            pass
        assert event["data"] == text
    finally:
        socket.close()
