"""A node as its clients see it: HTTP calls, and events as they come."""

import dataclasses
import http.client
import json
import os
import re
import threading
import time
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

# How long a state may take to come about, in seconds.
PATIENCE = 30.0

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def wait_for(what, question, patience=PATIENCE):
    """Asks until the answer is true, and returns it."""
    until = time.monotonic() + patience
    while not (answer := question()):
        assert time.monotonic() < until, f"not within {patience} s: {what}"
        time.sleep(0.02)
    return answer


@dataclasses.dataclass(frozen=True)
class Reply:
    """The answer to an HTTP call."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)

    def answer(self):
        """The JSON of a call that succeeded."""
        assert self.status == 200, f"{self.status}: {self.body.decode(errors='replace')}"
        return self.json()

    def refusal(self):
        """The status object of a call that did not succeed."""
        assert self.status >= 400, f"refusal expected, not {self.status}: {self.body.decode(errors='replace')}"
        refusal = self.json()
        assert set(refusal) == {"code", "message", "details"}, refusal
        assert isinstance(refusal["code"], int) and isinstance(refusal["details"], list), refusal
        return refusal


class Node:
    """One node of the devnet, or one that a test has started."""

    def __init__(self, http_addr, grpc_addr, pubkey="", data_dir=None):
        self.http = http_addr
        self.grpc = grpc_addr
        self.pubkey = pubkey
        self.data_dir = data_dir

    @classmethod
    def of_devnet(cls, name):
        def variable(what):
            return os.environ[f"IMP_DEVNET_{name.upper()}_{what}"]

        return cls(variable("HTTP"), variable("GRPC"), variable("PUBKEY"), Path(variable("DIR")))

    @classmethod
    def of_net(cls, ready_file, name):
        """A node of a net, by the net's ready file."""
        found = {node["name"]: node for node in json.loads(Path(ready_file).read_text())["nodes"]}[name]
        return cls(found["http"], found["grpc"], found["pubkey"], Path(found["data_dir"]))

    @property
    def url(self):
        return f"http://{self.http}"

    @property
    def events_url(self):
        return f"ws://{self.http}/v1/subscribe"

    def call(self, method, path, body=None, headers=None):
        """An HTTP call. A body that is not bytes is written as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.http, timeout=75)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def post(self, path, body=None, headers=None):
        return self.call("POST", path, body, headers)

    def get(self, path, headers=None):
        return self.call("GET", path, None, headers)

    def send(self, msg, to, **fields):
        """Sends a message and returns its id."""
        return self.post("/v1/message/send", {"msg": msg, "pubkey": to.pubkey, **fields}).answer()["id"]

    def spendable_sat(self):
        return int(self.get("/v1/node").answer()["spendableSat"])


class Events:
    """What a node publishes, from the moment this is made."""

    def __init__(self, node):
        self._socket = connect(node.events_url, ping_interval=None, max_size=None, legacy=True)
        self._events = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            for frame in self._socket:
                with self._came:
                    self._events.append(json.loads(frame)["result"])
                    self._came.notify_all()
        except ConnectionClosed:
            pass

    def all(self):
        with self._came:
            return list(self._events)

    def wait(self, what, wanted, patience=PATIENCE):
        """The first event for which `wanted` holds."""

        def found():
            return next((event for event in self._events if wanted(event)), None)

        with self._came:
            assert self._came.wait_for(found, patience), f"not within {patience} s: {what}; came: {self._events}"
            return found()

    def wait_id(self, message_id):
        return self.wait(f"message {message_id}", lambda event: event["id"] == message_id)

    def wait_text(self, text):
        return self.wait(f"text {text!r}", lambda event: event["data"] == text)

    def close(self):
        self._socket.close()
        self._reader.join(PATIENCE)
