"""Node's own fetch and WebSocket, with no package beside them."""

import json
import subprocess
from pathlib import Path

from node import PATIENCE

CLIENT = Path(__file__).with_name("client.mjs")


def test_a_program_in_node_sends_and_sees_it_arrive(alice, bob, program, text):
    command = [program("node", "nodejs"), CLIENT, alice.http, bob.http, bob.pubkey, text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["sent"]["status"] == 200
    assert seen["frame"] == seen["line"] == {
        "id": seen["sent"]["body"]["id"],
        "replyToId": "",
        "fromPubkey": alice.pubkey,
        "data": text,
        "serviceType": "message",
        "amount": "3",
    }
    assert seen["refused"]["status"] == 400 and seen["refused"]["body"]["code"] == 3
    assert "failed" in seen["refused"]["body"]["message"]
    assert seen["closeCode"] == 1000
