"""curl: every call of the REST interface, and every way in which curl sends a body."""

import json
import re
import subprocess

import pytest
from node import PATIENCE, UUID4, wait_for

# What stands for a value in a row below: {bob} is bob's public key, and so on. A row is the call, its body, the status
# it is to have, and the keys of the answer. Calls that change the net's channels or spend on the chain are made so that
# the node refuses them, and what would shut bob out is done to {nobody}, since other tests need these.
CALLS = [
    ("POST /v1/message/send", {"msg": "{text}", "pubkey": "{bob}"}, 200, "id"),
    ("GET /v1/message/{id}", None, 200, "id state attempts"),
    ("POST /v1/message/{id}/retry", None, 200, "id"),
    ("GET /v1/messages", None, 200, "messages"),
    ("GET /v1/events", None, 200, "events nextAfter more oldestCursor newestCursor letGo"),
    ("POST /v1/lightning/generateinvoice", {"amount": 10}, 200, "invoice"),
    ("POST /v1/lightning/payinvoice", {"invoice": "{bill}"}, 200, "preimage"),
    ("POST /v1/lightning/checkinvoice", {"invoice": "{invoice}"}, 200, "paid"),
    ("POST /v1/lightning/keysend", {"pubkey": "{bob}", "amount": 3}, 200, "paymentHash preimage feeMsat"),
    ("GET /v1/lightning/payments", None, 200, "payments"),
    ("GET /v1/lightning/invoices", None, 200, "invoices"),
    ("POST /v1/sign", {"msg": "{text}"}, 200, "signature"),
    ("POST /v1/verify", {"msg": "{text}", "signature": "{signature}"}, 200, "result"),
    ("GET /v1/node/balance", None, 200, "onchainTotalSat spendableSat channelSat"),
    ("GET /v1/node", None, 200, "pubkey alias network backend version synced blockHeight onchainSat channelSat"),
    ("GET /v1/node/channels", None, 200, "channels"),
    ("POST /v1/node/address", None, 200, "address"),
    ("POST /v1/node/send", {"address": "nonsense", "amountSat": 1}, 400, "code message details"),
    ("GET /v1/node/peers", None, 200, "peers"),
    ("POST /v1/node/disconnect", {"pubkey": "nonsense"}, 400, "code message details"),
    ("POST /v1/node/connect", {"pubkey": "nonsense", "address": "127.0.0.1:1"}, 400, "code message details"),
    ("POST /v1/node/channels/open", {"pubkey": "nonsense"}, 400, "code message details"),
    ("POST /v1/node/channels/close", {"userChannelId": "nonsense"}, 400, "code message details"),
    ("POST /v1/node/sync", None, 200, "blockHeight"),
    ("POST /v1/federate/request", {"pubkey": "{bob}"}, 200, "id"),
    ("POST /v1/federate/leave", {"pubkey": "{bob}"}, 200, "id"),
    ("GET /v1/federate/peers", None, 200, "peers federatedCount pendingCount"),
    ("GET /v1/federate/peers/{peer}", None, 200, "pubkey name impId state rights ownRights blocked withheldCount"),
    ("POST /v1/federate/peers/{nobody}/accept", None, 400, "code message details"),
    ("POST /v1/federate/peers/{nobody}/reject", None, 400, "code message details"),
    ("POST /v1/federate/peers/{nobody}/rights", {"minMessageSat": 5}, 200, "pubkey rights ownRights"),
    ("POST /v1/federate/peers/{nobody}/name", {"name": "{word}"}, 200, "pubkey name"),
    ("POST /v1/federate/peers/{nobody}/block", None, 200, "pubkey blocked"),
    ("POST /v1/federate/peers/{nobody}/unblock", None, 200, "pubkey blocked"),
    ("GET /v1/federate/withheld", None, 200, "messages totalCount"),
    ("POST /v1/socket/sendRequest", {"pubkey": "{bob}"}, 200, "id"),
    ("POST /v1/socket/start", None, 200, "protocol ip port1 port2"),
    ("POST /v1/socket/stop", None, 200, ""),
    ("POST /v1/socket/relays", {"label": "{word}", "lifeSecs": 60}, 200, "id label ip port1 port2 token endsMs sides"),
    ("GET /v1/socket/relays", None, 200, "relays"),
    ("GET /v1/socket/relays/{relay}", None, 200, "id owner sides drops"),
    ("POST /v1/socket/relays/{relay}/send", {"pubkey": "{bob}"}, 200, "id"),
    ("POST /v1/socket/relays/{relay}/stop", None, 200, ""),
    ("POST /v1/socket/connect", {"eventId": "{offer}"}, 400, "code message details"),
    ("GET /v1/socket/connections", None, 200, "connections"),
    ("POST /v1/socket/connections/{connection}/close", None, 200, ""),
    ("POST /v1/vpn/quote", {"pubkey": "{bob}"}, 200, "id"),
    ("POST /v1/vpn/contract", {"pubkey": "{bob}", "nonce": "{word}", "price": "100"}, 400, "code message details"),
    ("POST /v1/vpn/refresh", {"pubkey": "{bob}", "nonce": "{word}", "price": "100"}, 400, "code message details"),
    ("GET /v1/vpn/contracts", None, 200, "contracts nextCursor"),
    ("GET /v1/vpn/contracts/{word}", None, 404, "code message details"),
    ("GET /v1/vpn/contracts/{word}/config", None, 404, "code message details"),
    ("GET /v1/vpn/contracts/{word}/qr", None, 404, "code message details"),
    ("POST /v1/vpn/contracts/{word}/up", None, 404, "code message details"),
    ("POST /v1/vpn/contracts/{word}/down", None, 404, "code message details"),
    ("POST /v1/vpn/contracts/{word}/auto_refresh", {"limitSat": 5}, 404, "code message details"),
    ("GET /v1/vpn/quotes", None, 200, "quotes"),
    ("GET /v1/vpn/payments", None, 200, "payments"),
    ("GET /v1/vpn/seller", None, 200, "enabled selling problem priceSat durationSecs"),
]

# The calls that do not end, which have their own tests below.
STREAMS = {"GET /v1/subscribe", "GET /v1/socket/watch"}

# A public key that no node has: that of the secret key 1.
NOBODY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


@pytest.fixture
def curl(program):
    """curl(*arguments, stdin): status and JSON of a call."""
    path = program("curl")

    def run(*arguments, stdin=b""):
        command = [path, "--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=PATIENCE * 3)
        assert done.returncode == 0, done.stderr.decode()
        body, _, status = done.stdout.decode().rpartition("\n")
        return int(status), json.loads(body)

    return run


@pytest.fixture
def values(alice, bob, text, word):
    """What a row may name: things that are made when a row names them."""

    def made(node, path, body, what):
        return node.post(path, body).answer()[what]

    def offer():
        sent = made(bob, "/v1/socket/sendRequest", {"pubkey": alice.pubkey}, "id")
        events = "/v1/events?service=socket&limit=1000"
        wait_for("the offer", lambda: sent in [event["id"] for event in alice.get(events).answer()["events"]])
        return sent

    def peer():
        # What has a name is remembered.
        return made(alice, f"/v1/federate/peers/{bob.pubkey}/name", {"name": "bob"}, "pubkey")

    def connection():
        return made(alice, "/v1/socket/connect", {"eventId": offer(), "allowPrivate": True}, "id")

    return {
        "bob": lambda: bob.pubkey,
        "nobody": lambda: NOBODY,
        "text": lambda: text,
        "word": lambda: word,
        "id": lambda: alice.send(text, bob),
        "invoice": lambda: made(alice, "/v1/lightning/generateinvoice", {"amount": 2}, "invoice"),
        "bill": lambda: made(bob, "/v1/lightning/generateinvoice", {"amount": 2}, "invoice"),
        "signature": lambda: made(alice, "/v1/sign", {"msg": text}, "signature"),
        "peer": peer,
        "relay": lambda: made(alice, "/v1/socket/relays", {"label": word, "lifeSecs": 60}, "id"),
        "offer": offer,
        "connection": connection,
    }


def filled(template, values):
    return re.sub(r"\{(\w+)\}", lambda name: values[name[1]](), template)


@pytest.mark.parametrize(("call", "body", "status", "keys"), CALLS, ids=[row[0] for row in CALLS])
def test_every_call_is_answered(alice, curl, values, call, body, status, keys):
    method, path = filled(call, values).split()
    data = []
    if body is not None:
        data = ["--data", json.dumps({name: filled(value, values) if isinstance(value, str) else value
                                      for name, value in body.items()})]
    got, answer = curl("--request", method, alice.url + path, *data)
    assert got == status, answer
    assert set(keys.split()) <= set(answer), answer


def test_no_call_is_left_out(repository):
    bindings = set()
    for proto in (repository / "proto").rglob("*.proto"):
        bindings |= set(re.findall(r'\(imp\.http\) = \{ (get|post): "([^"]+)" \}', proto.read_text()))
    assert len(bindings) > 20
    calls = {f"{method.upper()} {path}" for method, path in bindings}

    def unnamed(calls):
        return {re.sub(r"\{\w+\}", "{}", call) for call in calls}

    assert unnamed(calls) == unnamed([row[0] for row in CALLS]) | STREAMS


def test_bodies_of_every_kind_are_read(alice, bob, bob_events, curl, text, tmp_path):
    url = f"{alice.url}/v1/message/send"

    def request(msg):
        return json.dumps({"msg": f"{text} {msg}", "pubkey": bob.pubkey})

    # A line break in the file is part of the body here, and is left out with --data.
    (tmp_path / "body.json").write_text(request("binary") + "\n")
    (tmp_path / "lines.json").write_text(request("lines").replace(", ", ",\n"))
    ways = {
        "plain": ["--data", request("plain")],
        "binary": ["--data-binary", f"@{tmp_path}/body.json"],
        "lines": ["--data", f"@{tmp_path}/lines.json"],
        "typed": ["--json", request("typed")],
        "1.0": ["--http1.0", "--data", request("1.0")],
        "text": ["--header", "Content-Type: text/plain", "--data", request("text")],
        "untyped": ["--header", "Content-Type:", "--data", request("untyped")],
        "expect": ["--header", "Expect: 100-continue", "--data", request("expect")],
    }
    for way, arguments in ways.items():
        status, answer = curl(url, *arguments)
        assert status == 200 and UUID4.fullmatch(answer["id"]), (way, answer)
        assert bob_events.wait_id(answer["id"])["data"] == f"{text} {way}"


def test_a_body_from_standard_input_is_sent_in_chunks(alice, bob, bob_events, curl, text):
    # Long enough that curl does not hold it all when it begins to send.
    long = text + "x" * 100_000
    body = json.dumps({"msg": long, "pubkey": bob.pubkey}).encode()
    chunked = ["--header", "Transfer-Encoding: chunked", "--request", "POST", "--upload-file", "-"]
    status, answer = curl(f"{alice.url}/v1/message/send", *chunked, stdin=body)
    assert status == 200, answer
    assert bob_events.wait_id(answer["id"])["data"] == long


def test_no_body_at_all_is_an_empty_message(alice, curl):
    for arguments in ([], ["--data", ""], ["--data", "  "], ["--http1.0"]):
        status, answer = curl("--request", "POST", f"{alice.url}/v1/node/sync", *arguments)
        assert status == 200 and answer["blockHeight"] > 0, (arguments, answer)


def test_an_answer_ends_without_a_line_break(alice, program):
    done = subprocess.run([program("curl"), "-sS", f"{alice.url}/v1/node"], capture_output=True, timeout=PATIENCE)
    assert done.stdout.endswith(b"}")


def test_errors_have_the_status_object(alice, curl):
    for path, status, code in [("/v1/nope", 404, 5), ("/v1/message/send", 501, 12)]:
        assert curl(alice.url + path) == (status, {
            "code": code,
            "message": "Not Found" if code == 5 else "Method Not Allowed",
            "details": [],
        })
    status, answer = curl(f"{alice.url}/v1/sign", "--data", "{bad")
    assert (status, answer["code"]) == (400, 3), answer


@pytest.mark.parametrize("call", ["accept", "reject", "rights", "name", "block", "unblock"])
def test_a_page_of_another_site_decides_about_no_peer(alice, curl, call):
    url = f"{alice.url}/v1/federate/peers/{NOBODY}/{call}"
    for page in ("Origin: https://example.com", "Sec-Fetch-Site: cross-site"):
        status, answer = curl("--header", page, "--data", "{}", url)
        assert (status, answer["code"]) == (403, 7), answer


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_the_stream_has_one_event_on_each_line(alice, bob, program, text, version):
    command = [program("curl"), "--silent", "--no-buffer", "--verbose", version, f"{bob.url}/v1/subscribe"]
    stream = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        # The subscription stands once the head is there.
        head = [line.decode().strip() for line in iter(stream.stderr.readline, b"< \r\n") if line.startswith(b"<")]
        assert " 200 " in head[0] and "< content-type: application/json" in head, head
        ids = [alice.send(f"{text} {number}", bob) for number in range(2)]
        seen = [json.loads(stream.stdout.readline()) for _ in ids]
        assert all(set(frame) == {"result"} for frame in seen)
        assert [frame["result"]["id"] for frame in seen] == ids
    finally:
        stream.kill()
        stream.wait()


def test_relays_are_watched_line_by_line(alice, program, word):
    relay = alice.post("/v1/socket/relays", {"label": word, "lifeSecs": 60}).answer()["id"]
    url = f"{alice.url}/v1/socket/watch?id={relay}&intervalMs=100"
    stream = subprocess.Popen([program("curl"), "--silent", "--no-buffer", url], stdout=subprocess.PIPE)
    try:
        looks = [json.loads(stream.stdout.readline()) for _ in range(2)]
        assert [[one["label"] for one in look["result"]["relays"]] for look in looks] == [[word], [word]]
    finally:
        stream.kill()
        stream.wait()
        alice.post(f"/v1/socket/relays/{relay}/stop").answer()


def test_the_owners_socket_serves_all_of_it(alice, bob, bob_events, curl, text):
    socket = ["--unix-socket", str(alice.data_dir / "imp.sock")]
    status, answer = curl(*socket, "http://localhost/v1/node")
    assert (status, answer["pubkey"]) == (200, alice.pubkey)
    body = json.dumps({"msg": text, "pubkey": bob.pubkey})
    status, answer = curl(*socket, "http://localhost/v1/message/send", "--data", body)
    assert status == 200, answer
    assert bob_events.wait_id(answer["id"])["data"] == text
    assert (alice.data_dir / "imp.sock").stat().st_mode & 0o777 == 0o600
