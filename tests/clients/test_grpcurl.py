"""grpcurl: by reflection, by the project's protos, and by those of 2021 as the makers' readme had it."""

import json
import shutil
import subprocess
from pathlib import Path

import impgrpc.compiled
import pytest
from node import PATIENCE, UUID4


@pytest.fixture
def grpcurl(alice, program):
    """grpcurl(*arguments): what it prints of a call of alice's."""
    if not shutil.which("go") and not shutil.which("grpcurl"):
        pytest.skip("grpcurl is built with go, and go is not installed")
    path = program("grpcurl", "none: `cargo xtask clients` builds it, and has told why it could not")

    def run(*arguments, fails=False, stdout=False, address=alice.grpc):
        *options, method = arguments
        command = [path, "-plaintext", "-max-time", "60", *options, address, *method.split()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 3)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails and not stdout else done.stdout

    return run


def test_reflection_lists_the_services_of_2021_and_the_new_ones(grpcurl):
    services = set(grpcurl("list").split())
    assert {
        "federate.Federate", "socket.Socket", "messaging.Messaging", "lightning.Lightning", "vpn.VPN",
        "signing.Signing", "websocket.Websocket", "imp.node.v1.Node", "imp.events.v1.Events",
        "imp.messaging.v1.Messages", "imp.lightning.v1.Payments", "imp.federate.v1.Peers", "imp.socket.v1.Relays",
        "grpc.health.v1.Health",
    } <= services


def test_reflection_describes_a_method(grpcurl):
    described = grpcurl("describe messaging.Messaging.SendMessage")
    assert "rpc SendMessage ( .messaging.SendMessageRequest )" in described


def test_a_call_by_reflection_arrives(alice, bob, bob_events, grpcurl, text):
    request = json.dumps({"msg": text, "pubkey": bob.pubkey})
    sent = json.loads(grpcurl("-d", request, "messaging.Messaging/SendMessage"))["id"]
    assert bob_events.wait_id(sent)["data"] == text


def test_a_call_by_the_projects_protos_needs_no_reflection(alice, grpcurl, repository, text):
    protos = ["-import-path", str(repository / "proto"), "-proto", "imp/api/signing/signing.proto"]
    signed = json.loads(grpcurl(*protos, "-d", json.dumps({"msg": text}), "signing.Signing/SignMessage"))
    assert alice.post("/v1/verify", {"msg": text, **signed}).answer() == {"result": True}


def test_the_readme_of_2021_still_works(alice, bob, bob_events, grpcurl):
    protos = ["-import-path", str(Path(impgrpc.compiled.__file__).parent), "-proto", "messaging.proto"]
    request = json.dumps({"msg": "test123", "pubkey": bob.pubkey, "amount": 1234})
    sent = json.loads(grpcurl(*protos, "-d", request, "messaging.Messaging/SendMessage"))["id"]
    assert UUID4.fullmatch(sent)
    event = bob_events.wait_id(sent)
    assert (event["data"], event["amount"], event["fromPubkey"]) == ("test123", "1234", alice.pubkey)


def test_errors_show_code_text_and_reason(grpcurl):
    request = json.dumps({"msg": "to nobody", "pubkey": "nonsense"})
    told = grpcurl("-d", request, "messaging.Messaging/SendMessage", fails=True)
    assert "Code: InvalidArgument" in told and "google.rpc.ErrorInfo" in told, told


def test_a_price_is_asked_for_and_no_other_is_paid(alice, bob, bob_events, grpcurl):
    asked = json.loads(grpcurl("-d", json.dumps({"pubkey": bob.pubkey}), "vpn.VPN/RequestQuote"))["id"]
    event = bob_events.wait_id(asked)
    assert (event["serviceType"], event["fromPubkey"]) == ("vpn", alice.pubkey)
    assert json.loads(event["data"]) == {"recordId": "VPN_REQUEST", "type": "QUOTE"}
    request = json.dumps({"pubkey": bob.pubkey, "nonce": "never-quoted", "price": "100"})
    told = grpcurl("-d", request, "vpn.VPN/AcceptContract", fails=True)
    assert "Code: FailedPrecondition" in told and "failed" in told, told


def test_a_request_to_federate_arrives(alice, bob, bob_events, grpcurl):
    asked = json.loads(grpcurl("-d", json.dumps({"pubkey": bob.pubkey}), "federate.Federate/RequestFederate"))["id"]
    event = bob_events.wait_id(asked)
    assert (event["serviceType"], event["fromPubkey"]) == ("federate", alice.pubkey)
    assert json.loads(event["data"])["type"] == "REQUEST"


def test_relays_are_watched(grpcurl):
    started = json.loads(grpcurl("-d", "{}", "socket.Socket/StartSocket"))
    # The stream has no end but that of grpcurl's time.
    watched = grpcurl("-max-time", "2", "-d", '{"interval_ms": 100}', "imp.socket.v1.Relays/WatchRelays", fails=True,
                      stdout=True)
    look, _ = json.JSONDecoder().raw_decode(watched)
    assert started["port1"] in [relay["port1"] for relay in look["relays"]]
    grpcurl("-d", "{}", "socket.Socket/StopSocket")


def test_health_is_served(grpcurl):
    assert json.loads(grpcurl("grpc.health.v1.Health/Check")) == {"status": "SERVING"}


def test_the_owners_socket_serves_grpc_too(alice, grpcurl):
    told = grpcurl("imp.node.v1.Node/GetNode", address=f"unix://{alice.data_dir}/imp.sock")
    assert json.loads(told)["pubkey"] == alice.pubkey
