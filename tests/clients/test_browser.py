"""Web pages in Chromium: those of other sites may neither spend nor read, the node's own and allowed ones may.

Every attack is made by the same function, which a page of the node's own makes with success, so that a refusal is not
one for want of trying. Whether the node refused is seen in its answer and at the recipient, not only in the page, which
a browser may keep from seeing an answer to what was done.
"""

import http.server
import json
import secrets
import threading

import pytest
from chrome import Chrome
from node import wait_for

# The origin that the devnet of these tests lets in: `--allow-origin`, see xtask/src/clients.rs.
ALLOWED_ORIGIN = "localhost:8000"

# A name that leads to this machine, as that of a page by which its maker rebinds DNS.
REBOUND = "rebound.example"

EMPTY_PAGE = b"<!doctype html><title>a page</title><link rel=icon href=data:,><body>a page"

SPEND = """async (node, pubkey, text, mode) => {
  const body = JSON.stringify({ msg: text, pubkey });
  const headers = mode === "cors" ? { "Content-Type": "application/json" } : {};
  try {
    const response = await fetch(`${node}/v1/message/send`, { method: "POST", body, mode, headers });
    return { type: response.type, body: await response.text() };
  } catch (error) {
    return { error: error.name };
  }
}"""

READ = """async (url, options) => {
  try {
    const response = await fetch(url, options);
    return { type: response.type, status: response.status, body: await response.text() };
  } catch (error) {
    return { error: error.name };
  }
}"""

# A form sends text/plain as name=value: the name holds the JSON, and the value what is left of it.
FORM = """(node, pubkey, text) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.name = "hidden";
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: `${node}/v1/message/send`, enctype: "text/plain", target: "hidden" });
  const field = document.createElement("input");
  const body = JSON.stringify({ msg: text, pubkey, ignored: "" });
  Object.assign(field, { name: body.slice(0, -2), value: '"}' });
  form.append(field);
  document.body.append(form);
  frame.addEventListener("load", () => resolve("loaded"));
  form.submit();
})"""

BEACON = """(node, pubkey, text) => navigator.sendBeacon(`${node}/v1/message/send`, JSON.stringify({ msg: text, pubkey }))"""

ELEMENT = """(kind, url) => new Promise((resolve) => {
  const element = document.createElement(kind);
  element.addEventListener("load", () => resolve("load"));
  element.addEventListener("error", () => resolve("error"));
  element.src = url;
  document.body.append(element);
})"""

FRAME = """(url) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.addEventListener("load", () => {
    let inside;
    try { inside = frame.contentDocument && frame.contentDocument.body.innerText; } catch (error) { inside = null; }
    resolve({ inside: inside || null, frames: window.frames.length });
  });
  frame.src = url;
  document.body.append(frame);
})"""

SOCKET = """(url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.addEventListener("open", () => resolve("open"));
  socket.addEventListener("close", ({ code }) => resolve(code));
})"""


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves one empty page under every path."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(EMPTY_PAGE)))
        self.end_headers()
        self.wfile.write(EMPTY_PAGE)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def elsewhere():
    """The port of a web server that is not the node's."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chrome(alice, elsewhere):
    hosts = {ALLOWED_ORIGIN: f"127.0.0.1:{elsewhere}", REBOUND: "127.0.0.1"}
    chrome = Chrome(hosts)
    yield chrome
    chrome.close()


@pytest.fixture
def opened(chrome):
    """opened(url): a page."""
    pages = []

    def open_page(url):
        pages.append(chrome.open(url))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture(params=["http://127.0.0.1:{}/", "http://localhost:{}/", "http://" + REBOUND + ":{}/"])
def foreign(request, elsewhere, opened):
    """A page of another origin: the same address with another port, another name for it, and a foreign name."""
    return opened(request.param.format(elsewhere))


def answered(page, method, url):
    """The status of the node's answer to a request of the page."""

    def status():
        return next((got for sent, to, got in page.requests() if (sent, to) == (method, url) and got), None)

    return wait_for(f"an answer to {method} {url}", status)


@pytest.fixture
def nothing_arrived(alice, bob, bob_events, text):
    """nothing_arrived(): no message with the test's text has come to bob, and none is on its way."""

    def check():
        # Messages of one sender come in order: what was sent before this one has come before it.
        bob_events.wait_id(alice.send(f"fence {secrets.token_hex(6)}", bob))
        assert not [event for event in bob_events.all() if text in event["data"]]

    return check


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_a_foreign_page_cannot_spend_by_fetch(foreign, alice, bob, text, mode, nothing_arrived):
    seen = foreign.call(SPEND, alice.url, bob.pubkey, text, mode)
    if mode == "cors":
        # The browser asked first, by a preflight, and the node gave no leave.
        assert seen == {"error": "TypeError"}
        assert answered(foreign, "OPTIONS", f"{alice.url}/v1/message/send") == 403
    else:
        # The node's headers have the browser keep the answer from the page; and there is nothing in it.
        assert seen in ({"error": "TypeError"}, {"type": "opaque", "body": ""})
        assert answered(foreign, "POST", f"{alice.url}/v1/message/send") == 403
    nothing_arrived()


def test_a_foreign_page_cannot_spend_by_a_form(foreign, alice, bob, text, nothing_arrived):
    foreign.call(FORM, alice.url, bob.pubkey, text)
    assert answered(foreign, "POST", f"{alice.url}/v1/message/send") == 403
    nothing_arrived()


def test_a_foreign_page_cannot_spend_by_a_beacon(foreign, alice, bob, text, nothing_arrived):
    assert foreign.call(BEACON, alice.url, bob.pubkey, text) is True
    assert answered(foreign, "POST", f"{alice.url}/v1/message/send") == 403
    nothing_arrived()


@pytest.mark.parametrize("path", ["/v1/node", "/v1/subscribe?after=0", "/v1/events", "/v1/messages", "/docs"])
def test_a_foreign_page_cannot_read_by_fetch(foreign, alice, path):
    assert foreign.call(READ, alice.url + path, {}) == {"error": "TypeError"}
    assert answered(foreign, "GET", alice.url + path) == 403
    opaque = foreign.call(READ, alice.url + path, {"mode": "no-cors"})
    assert opaque in ({"error": "TypeError"}, {"type": "opaque", "status": 0, "body": ""})


@pytest.mark.parametrize("kind", ["img", "script"])
def test_a_foreign_page_cannot_read_by_an_element(foreign, alice, kind):
    assert foreign.call(ELEMENT, kind, f"{alice.url}/v1/node") == "error"
    assert answered(foreign, "GET", f"{alice.url}/v1/node") == 403


def test_a_foreign_page_cannot_subscribe(foreign, alice):
    # 1006: the handshake was refused, and nothing was ever open.
    assert foreign.call(SOCKET, f"{alice.events_url}?after=0") == 1006
    assert answered(foreign, "WEBSOCKET", f"{alice.events_url}?after=0") == 403


@pytest.mark.parametrize("path", ["/docs", "/v1/node", "/health"])
def test_a_foreign_page_cannot_look_into_a_frame(foreign, alice, path):
    assert foreign.call(FRAME, alice.url + path)["inside"] is None
    assert answered(foreign, "GET", alice.url + path) == 403


def test_a_link_from_a_foreign_page_shows_nothing(foreign, alice):
    foreign.evaluate(f"void (location.href = {json.dumps(alice.url + '/v1/node')})")
    assert answered(foreign, "GET", f"{alice.url}/v1/node") == 403
    assert alice.pubkey not in foreign.text()


def test_a_name_that_was_rebound_to_this_machine_is_refused(opened, alice, bob, text, nothing_arrived):
    """To the browser the page and the node are one origin here; only the name tells."""
    node = f"http://{REBOUND}:{alice.http.rpartition(':')[2]}"
    page = opened(f"{node}/v1/node")
    assert answered(page, "GET", f"{node}/v1/node") == 403
    assert "server.allowed_hosts" in page.text() and alice.pubkey not in page.text()
    # Health is told to anybody; from that page the rest must not be reached either.
    page.go(f"{node}/health")
    seen = page.call(SPEND, node, bob.pubkey, text, "cors")
    assert json.loads(seen["body"])["code"] == 7, seen
    assert page.call(SOCKET, f"ws://{REBOUND}:{alice.http.rpartition(':')[2]}/v1/subscribe") == 1006
    nothing_arrived()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_the_nodes_own_may_do_all_that(opened, alice, bob, bob_events, text, host):
    node = f"http://{host}:{alice.http.rpartition(':')[2]}"
    page = opened(f"{node}/health")
    sent = json.loads(page.call(SPEND, node, bob.pubkey, text, "cors")["body"])["id"]
    assert bob_events.wait_id(sent)["data"] == text
    read = page.call(READ, f"{node}/v1/node", {})
    assert (read["status"], json.loads(read["body"])["pubkey"]) == (200, alice.pubkey)
    assert page.call(SOCKET, f"ws{node.removeprefix('http')}/v1/subscribe") == "open"
    page.call(FORM, node, bob.pubkey, f"{text} by a form")
    bob_events.wait_text(f"{text} by a form")
    assert page.call(BEACON, node, bob.pubkey, f"{text} by a beacon")
    bob_events.wait_text(f"{text} by a beacon")


def test_a_page_of_an_allowed_origin_may_send_and_subscribe(opened, alice, bob, bob_events, text):
    page = opened(f"http://{ALLOWED_ORIGIN}/")
    sent = json.loads(page.call(SPEND, alice.url, bob.pubkey, text, "cors")["body"])["id"]
    assert bob_events.wait_id(sent)["data"] == text
    assert json.loads(page.call(READ, f"{alice.url}/v1/node", {})["body"])["pubkey"] == alice.pubkey
    assert page.call(SOCKET, alice.events_url) == "open"


class TestDocumentation:
    """The node's own page, on which people try calls."""

    # Fills the form of a call and sends it, as far as the question whether it may pay.
    TRY = """(call, values) => {
      const section = document.getElementById(call);
      section.open = true;
      for (const [name, value] of Object.entries(values)) section.querySelector(`[name=${name}]`).value = value;
      section.querySelector("[type=submit]").click();
    }"""

    RESULT = """(call) => document.querySelector(`#${call} .result`).innerText"""

    @pytest.fixture
    def page(self, alice, opened):
        page = opened(f"{alice.url}/docs")
        assert answered(page, "GET", f"{alice.url}/docs") == 200
        return page

    def shown(self, page, call, wanted):
        wait_for(f"{wanted!r} of {call}", lambda: wanted in page.call(self.RESULT, call))

    def test_it_names_every_service_and_needs_nothing_from_elsewhere(self, alice, page):
        shown = page.text().lower()
        for service in ("federate", "socket", "messaging", "lightning", "vpn", "signing", "websocket"):
            assert service in shown
        wait_for("the node's key on the page", lambda: alice.pubkey in page.text())
        assert page.complaints() == []
        assert all(url.startswith((f"{alice.url}/", "data:")) for _, url, _ in page.requests())

    def test_its_own_scripts_may_read_and_spend(self, alice, bob, bob_events, page, text):
        sent = json.loads(page.call(SPEND, alice.url, bob.pubkey, text, "cors")["body"])["id"]
        assert bob_events.wait_id(sent)["data"] == text

    def test_a_call_that_pays_is_made_after_the_question(self, bob, bob_events, page, text):
        page.call(self.TRY, "SendMessage", {"msg": text, "pubkey": bob.pubkey, "amount": "2"})
        wait_for("the question", lambda: page.evaluate("document.querySelector('#confirm').open"))
        assert text in page.evaluate("document.querySelector('#confirm').innerText")
        page.evaluate("document.querySelector('#confirm-yes').click()")
        assert bob_events.wait_text(text)["amount"] == "2"
        self.shown(page, "SendMessage", "200")

    def test_a_call_that_pays_is_not_made_without_leave(self, bob, page, text, nothing_arrived):
        page.call(self.TRY, "SendMessage", {"msg": text, "pubkey": bob.pubkey})
        wait_for("the question", lambda: page.evaluate("document.querySelector('#confirm').open"))
        page.evaluate("document.querySelector('#confirm-no').click()")
        nothing_arrived()

    def test_a_call_that_does_not_pay_is_made_at_once(self, alice, page, text):
        page.call(self.TRY, "SignMessage", {"msg": text})
        signature = alice.post("/v1/sign", {"msg": text}).answer()["signature"]
        self.shown(page, "SignMessage", signature)

    def test_another_stream_shows_its_answers(self, alice, page, word):
        relay = alice.post("/v1/socket/relays", {"label": word, "lifeSecs": 60}).answer()["id"]
        page.call(self.TRY, "WatchRelays", {"id": relay, "intervalMs": "100"})
        self.shown(page, "WatchRelays", word)
        assert "undefined" not in page.call(self.RESULT, "WatchRelays")
        alice.post(f"/v1/socket/relays/{relay}/stop").answer()

    def test_a_file_is_offered_and_not_shown(self, page):
        page.evaluate("""{
          const [ask, headers] = [window.fetch, {"content-disposition": 'attachment; filename="imp-0a1b.conf"'}];
          const file = () => new Response("PrivateKey = secret", {headers});
          window.fetch = async (path, ...rest) => path.endsWith("/config") ? file() : ask(path, ...rest);
        }""")
        page.call(self.TRY, "GetVpnConfig", {"nonce": "0a1b"})
        wait_for("the question", lambda: page.evaluate("document.querySelector('#confirm').open"))
        page.evaluate("document.querySelector('#confirm-yes').click()")
        self.shown(page, "GetVpnConfig", "Save imp-0a1b.conf")
        assert "secret" not in page.evaluate("document.body.innerText")
        link = "document.querySelector('#GetVpnConfig .result a')"
        assert page.evaluate(f"{link}.download") == "imp-0a1b.conf"
        assert page.evaluate(f"{link}.href").startswith("blob:")
        assert page.complaints() == []

    def test_a_file_that_is_refused_says_why(self, page, word):
        page.call(self.TRY, "GetVpnQr", {"nonce": word})
        wait_for("the question", lambda: page.evaluate("document.querySelector('#confirm').open"))
        page.evaluate("document.querySelector('#confirm-yes').click()")
        self.shown(page, "GetVpnQr", "404")
        assert word in page.call(self.RESULT, "GetVpnQr")

    def test_what_others_send_is_shown_and_does_nothing(self, alice, bob, page, text):
        page.call(self.TRY, "Subscribe", {})
        self.shown(page, "Subscribe", "listening")
        evil = f"{text} <img src=/x onerror='document.title=1'><script>document.title = 2</script>"
        bob.send(evil, alice)
        self.shown(page, "Subscribe", evil)
        assert page.evaluate("document.querySelectorAll('.result img, .result script').length") == 0
        assert page.evaluate("document.title") not in ("1", "2")
