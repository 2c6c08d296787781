"""Pages of the guide as programs: what a page tells its reader to do is done, and what it shows is compared.

What is to be done with a fenced block stands in its info string, after the language, which is all that readers see:

    sh                      typed into the page's terminal; has to succeed
    sh exit=N               has to fail with this code
    sh terminal=2           typed into another terminal, and not waited for; what still runs there is interrupted first
    text                    what the block before has printed, or the terminal of that block goes on to print
    text terminal=2         what that terminal shows, since it was last looked at
    text browser=URL        opens a page in Chromium; what it shows
    text browser            what the open page shows by now
    LANGUAGE needs=PROGRAM  where that program is missing, neither this is run nor what follows compared
    LANGUAGE file=NAME      is written to a file beside the terminals' working directory
    LANGUAGE no-run="WHY"   is left to the reader

A block with none of these is an error. In expected text, `...` stands for anything within a line, and for any lines
where it is all of its line. The addresses of a page (127.0.0.1:8882, localhost:8000) are replaced by those of the test.
"""

import codecs
import dataclasses
import os
import re
import shlex
import shutil
import signal
import subprocess
import termios
import threading
import warnings
from pathlib import Path

from node import PATIENCE, wait_for

# How long a block may run, in seconds.
BLOCK_PATIENCE = 60.0

FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.M)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# The shell's prompt, which comes once it is ready for the next line: the number of the line before and its exit code,
# between two characters that no program here prints.
PROMPT = "\x1e${line:-0} ${failed:-0}\x1e"
READY = re.compile("\x1e([0-9]+) ([0-9]+)\x1e")

# How often somebody presses Ctrl-C again, in seconds: one that comes while a program is being started is lost.
INTERRUPT_INTERVAL = 0.5

# How long a shell may take to hang up, in seconds.
HANG_UP_PATIENCE = 5.0


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    line: int
    language: str
    words: dict
    text: str

    def __str__(self):
        return f"line {self.line}: {self.language}"


def blocks(page):
    """The blocks of a page's text."""
    found = []
    for fence in FENCE.finditer(page):
        language, *words = shlex.split(fence[1]) or [""]
        pairs = (word.partition("=") for word in words)
        line = page.count("\n", 0, fence.start()) + 1
        found.append(Block(line, language, {name: value for name, _, value in pairs}, fence[2]))
    return found


def pattern(expected):
    """What an expected text matches."""
    lines = expected.strip("\n").split("\n")
    parts = []
    for place, line in enumerate(lines):
        end = "\n" if place + 1 < len(lines) else ""
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*" if end else r"(?:[^\n]*(?:\n|$))*")
        else:
            parts.append(r"[^\n]*".join(map(re.escape, line.rstrip().split("..."))) + r"[ \t]*" + end)
    return re.compile("".join(parts))


def matches(expected, shown):
    return pattern(expected).fullmatch(shown.strip("\n")) is not None


class Terminal:
    """A shell at a terminal of its own, so that programs do what they do for people."""

    def __init__(self, folder, env):
        self._folder = folder
        self._master, slave = os.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.ONLCR
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        termios.tcsetwinsize(slave, (50, 200))
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"],
            cwd=folder,
            env=env | {"PS1": PROMPT, "PS2": "", "TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self._shown = ""
        self._looked = 0
        self._codes = {}
        self._lines = 0
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        # A character may come in two pieces, and so may a prompt.
        decoder, text = codecs.getincrementaldecoder("utf-8")("replace"), ""
        while True:
            try:
                text += decoder.decode(os.read(self._master, 65536))
            except OSError:  # The shell has ended.
                return
            if text.count("\x1e") % 2:
                continue
            with self._changed:
                self._codes |= {int(line): int(code) for line, code in READY.findall(text)}
                self._shown += ESCAPES.sub("", READY.sub("", text)).replace("\r", "")
                self._changed.notify_all()
            text = ""

    def type(self, script):
        """Runs a script in the shell, so that its variables stay. What still runs is interrupted."""
        for _ in range(int(BLOCK_PATIENCE / INTERRUPT_INTERVAL)):
            if self._is_ready(INTERRUPT_INTERVAL):
                break
            os.write(self._master, b"\x03")
        self.wait()
        # A line of a terminal has a bounded length, so that the script goes by a file.
        self._lines += 1
        file = Path(self._folder, f".script-{id(self)}-{self._lines}")
        file.write_text(script)
        self.looked()
        line = f"line={self._lines} failed=0; set -E; trap 'failed=$?' ERR; . {file}; trap - ERR\n"
        os.write(self._master, line.encode())

    def _is_ready(self, patience=0.0):
        with self._changed:
            # There is one prompt before the first line.
            return self._changed.wait_for(lambda: self._lines in self._codes, patience)

    def wait(self):
        """The exit code of what was typed last: that of the last command in it that failed."""
        assert self._is_ready(BLOCK_PATIENCE), f"not done within {BLOCK_PATIENCE} s; shown: {self.shown()}"
        return self._codes[self._lines]

    def is_idle(self):
        """Whether all that was typed is done, and so all of it shown."""
        return self._is_ready()

    def shown(self):
        """What it has shown since it was last looked at."""
        with self._changed:
            return self._shown[self._looked :]

    def looked(self):
        self._looked = len(self._shown)

    def close(self):
        for end in (self._hang_up, self._shell.kill):
            end()
            try:
                self._shell.wait(HANG_UP_PATIENCE)
                break
            except subprocess.TimeoutExpired:
                pass
        self._reader.join(PATIENCE)
        os.close(self._master)

    def _hang_up(self):
        """What closing a terminal's window does."""
        os.killpg(os.tcgetpgrp(self._master), signal.SIGHUP)
        self._shell.send_signal(signal.SIGHUP)


class Reader:
    """Somebody who does what a page says."""

    def __init__(self, folder, env, addresses, chrome=None):
        """`addresses` says by what the addresses on the page are replaced. `chrome()` makes a browser."""
        self._folder = folder
        self._env = env
        self._addresses = addresses
        self._new_chrome = chrome
        self._chrome = None
        self._page = None
        self._terminals = {}
        # The terminal that the last block was typed into, or what stands for it where a program was missing.
        self._last = None
        self._missing = object()

    def read(self, page):
        """Goes through a page from its beginning to its end."""
        for block in blocks(page):
            try:
                self._do(block)
            except AssertionError as error:
                raise AssertionError(f"{block}: {error}\n{block.text}") from error

    def _do(self, block):
        known = {"file", "no-run", "exit", "terminal", "browser", "needs"}
        assert set(block.words) <= known, f"unknown words {set(block.words) - known}"
        needed = block.words.get("needs")
        if needed and not shutil.which(needed):
            warnings.warn(f"{block}: not run, since {needed} is not installed", stacklevel=2)
            self._last = self._missing
        elif block.language == "text" and not block.words and self._last is self._missing:
            pass
        elif "no-run" in block.words:
            assert block.words["no-run"], "it does not say why it is not run"
            self._last = None
        elif "file" in block.words:
            # A page for the browser keeps its addresses: the browser is told where they lead.
            text = block.text if block.language == "html" else self._to_test(block.text)
            Path(self._folder, block.words["file"]).write_text(text)
        elif block.language == "sh":
            self._type(block)
        elif block.language == "text":
            self._compare(block)
        else:
            raise AssertionError("it is not run, and does not say why: give it file= or no-run=")

    def _type(self, block):
        name = block.words.get("terminal", "1")
        if name not in self._terminals:
            self._terminals[name] = Terminal(self._folder, self._env)
        self._last = self._terminals[name]
        self._last.type(self._to_test(block.text))
        if name == "1":
            code, expected = self._last.wait(), int(block.words.get("exit", 0))
            assert code == expected, f"it ended with {code}, not {expected}, and said:\n{self._last.shown()}"

    def _compare(self, block):
        if "browser" in block.words:
            self._look_into_browser(block)
            return
        terminal = self._terminals[block.words["terminal"]] if "terminal" in block.words else self._last
        assert terminal, "nothing has run that could have printed this"

        def fits():
            idle = terminal.is_idle()
            fits = matches(block.text, self._to_page(terminal.shown()))
            assert fits or not idle
            return fits

        try:
            wait_for("the output", fits)
        except AssertionError:
            raise AssertionError(f"instead there is:\n{self._to_page(terminal.shown())}") from None
        terminal.looked()

    def _look_into_browser(self, block):
        if self._chrome is None:
            self._chrome = self._new_chrome()
        if block.words["browser"]:
            self._page = self._chrome.open(block.words["browser"])
        assert self._page, "no page is open"
        try:
            wait_for("the page", lambda: matches(block.text, self._page.text()))
        except AssertionError:
            shown = f"instead it shows:\n{self._page.text()}\n{self._page.complaints()}"
            raise AssertionError(shown) from None

    def _to_test(self, text):
        for address, real in self._addresses.items():
            text = re.sub(rf"(?<![\w.]){re.escape(address)}\b", real, text)
        return text

    def _to_page(self, text):
        for address, real in self._addresses.items():
            text = text.replace(real, address)
        return text

    def close(self):
        for terminal in self._terminals.values():
            terminal.close()
        if self._chrome:
            self._chrome.close()
