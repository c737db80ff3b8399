"""A server for a client to talk to, and what is asserted of its answers."""

import contextlib
import functools
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

assertions = 0


def holds(condition, what):
    global assertions
    assertions += 1
    if not condition:
        raise AssertionError(what)


def equal(actual, expected, what=""):
    holds(actual == expected, f"{what}: {actual!r} is not {expected!r}")


class Server:
    """A running `variate serve`, whose every change is in a file."""

    binary = None
    last = None

    def __init__(self, file, *options):
        self.file = file
        self.stderr = tempfile.TemporaryFile("w+")
        Server.last = self
        self.process = subprocess.Popen(
            [Server.binary, "serve", "--port", "0", "--config", file, *options],
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
        )
        line = self.process.stdout.readline()
        listening = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)
        holds(listening, f"the first line is {line!r}")
        self.port = int(listening[1])

    @functools.cached_property
    def http(self):
        # Not everybody who has a server talks to it with this.
        import httpx

        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    def document(self):
        return self.file.read_bytes() if self.file.exists() else None

    def stop(self, how=signal.SIGTERM):
        begin = time.monotonic()
        self.process.send_signal(how)
        equal(self.process.wait(timeout=10), 0, "the exit code")
        equal(self.process.stdout.read(), "stopped\n")
        holds(time.monotonic() - begin < 5, "the end takes too long")

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def unchanged(server):
    before = server.document()
    yield
    equal(server.document(), before, "the refused request changed something")


@contextlib.contextmanager
def running(server):
    """The server, which has stopped in the end."""
    try:
        yield server
        if server.process.poll() is None:
            server.stop()
    finally:
        server.kill()


def alone(serving, section):
    """The section on a server of its own, as a function of a directory."""

    @functools.wraps(section)
    def served(directory):
        with serving(directory / f"{section.__name__}.json") as server:
            section(server)

    return served


def run(sections):
    """Runs functions of a directory to work in, and says how much each has asserted."""
    Server.binary = sys.argv[1]
    try:
        with tempfile.TemporaryDirectory() as directory:
            for section in sections:
                before = assertions
                section(pathlib.Path(directory))
                name = section.__name__.replace("_", " ")
                print(f"{name:24} {assertions - before:6}", flush=True)
        print(f"{'assertions':24} {assertions:6}")
    except BaseException:
        if Server.last is not None:
            Server.last.stderr.seek(0)
            print(f"The server said: {Server.last.stderr.read() or 'nothing'}", file=sys.stderr)
        raise
