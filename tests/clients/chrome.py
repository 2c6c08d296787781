"""Chromium without a window, driven over its DevTools protocol."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import websocket
from node import PATIENCE, wait_for

# Names that Debian and others give it.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Chrome:
    """One browser, with a profile of its own. It reaches this machine only."""

    def __init__(self, hosts=None):
        """`hosts` says where names lead: {"name:port": "127.0.0.1:port"}."""
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        assert program, "Chromium is not installed: install Debian's package chromium"
        self._profile = tempfile.mkdtemp(prefix="imp-chromium-")
        rules = [f"MAP {name} {address}" for name, address in (hosts or {}).items()]
        # The first rule that fits is taken.
        rules += ["MAP localhost 127.0.0.1", "MAP 127.0.0.1 127.0.0.1", "MAP * ~NOTFOUND"]
        self._process = subprocess.Popen(
            [
                program,
                "--headless=new",
                # Chromium refuses to run as root within its sandbox, and containers have no namespaces for it.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-extensions",
                "--disable-sync",
                "--no-default-browser-check",
                "--no-first-run",
                # The node's own rules are tested, and not those by which a browser may keep pages from this machine.
                "--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessForNavigations",
                "--host-resolver-rules=" + ", ".join(rules),
                "--remote-debugging-port=0",
                "--user-data-dir=" + self._profile,
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port, path = wait_for("Chromium's DevTools", self._devtools)
            # With an origin it would be a web page that asks.
            self._socket = websocket.create_connection(
                f"ws://127.0.0.1:{port}{path}", timeout=PATIENCE, suppress_origin=True
            )
        except BaseException:
            self.close()
            raise
        self._calls = 0
        self._events = []

    def _devtools(self):
        assert self._process.poll() is None, f"Chromium ended with {self._process.returncode}"
        file = Path(self._profile, "DevToolsActivePort")
        lines = file.read_text().split() if file.exists() else []
        return lines if len(lines) == 2 else None

    def command(self, method, session=None, **params):
        """Calls a method of the protocol. Events that come meanwhile are kept."""
        self._calls += 1
        call = {"id": self._calls, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._socket.send(json.dumps(call))
        while (message := json.loads(self._socket.recv())).get("id") != self._calls:
            self._events.append(message)
        assert "error" not in message, f"{method}: {message['error']}"
        return message["result"]

    def events(self, session, method):
        """Events of a page so far."""
        # A call and its answer bring in what was sent before.
        self.command("Browser.getVersion")
        of_page = [event for event in self._events if event.get("sessionId") == session]
        return [event["params"] for event in of_page if event["method"] == method]

    def open(self, url):
        return Page(self, url)

    def close(self):
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)


class Page:
    """One tab."""

    def __init__(self, chrome, url):
        self._chrome = chrome
        self._target = chrome.command("Target.createTarget", url="about:blank")["targetId"]
        attached = chrome.command("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._command(f"{domain}.enable")
        self.go(url)

    def _command(self, method, **params):
        return self._chrome.command(method, self._session, **params)

    def go(self, url):
        """Goes to a page and waits until it is loaded."""
        loaded = len(self._events("Page.loadEventFired"))
        self._command("Page.navigate", url=url)
        wait_for(f"{url} to be loaded", lambda: len(self._events("Page.loadEventFired")) > loaded)

    def evaluate(self, script):
        """What a script in the page gives; a promise is waited for, and what it throws is an AssertionError."""
        result = self._command("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def call(self, function, *arguments):
        """What a function in the page gives for these arguments."""
        return self.evaluate(f"({function})(...{json.dumps(arguments)})")

    def text(self):
        """What the page shows."""
        return self.evaluate("document.body.innerText")

    def complaints(self):
        """What went wrong in the page without being caught."""
        thrown = [event["exceptionDetails"] for event in self._events("Runtime.exceptionThrown")]
        logged = [event["entry"] for event in self._events("Log.entryAdded")]
        return thrown + [entry for entry in logged if entry["level"] == "error"]

    def requests(self):
        """Every request of the page so far: its method and address, and the status of the answer or 0.

        The status is that of the network, also where the page itself was not let see it.
        """
        sent = {}
        for event in self._events("Network.requestWillBeSent"):
            sent[event["requestId"]] = [event["request"]["method"], event["request"]["url"], 0]
        for event in self._events("Network.webSocketCreated"):
            sent[event["requestId"]] = ["WEBSOCKET", event["url"], 0]
        for event in self._events("Network.responseReceivedExtraInfo"):
            if event["requestId"] in sent:
                sent[event["requestId"]][2] = event["statusCode"]
        for event in self._events("Network.webSocketHandshakeResponseReceived"):
            sent[event["requestId"]][2] = event["response"]["status"]
        for event in self._events("Network.webSocketFrameError"):
            refused = re.search(r"Unexpected response code: (\d+)", event["errorMessage"])
            sent[event["requestId"]][2] = int(refused[1]) if refused else 0
        return [tuple(request) for request in sent.values()]

    def _events(self, method):
        return self._chrome.events(self._session, method)

    def close(self):
        self._chrome.command("Target.closeTarget", targetId=self._target)
