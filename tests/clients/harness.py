"""A server for a client to talk to, and what is asserted of its answers."""

import contextlib
import datetime as dt
import re
import signal
import subprocess
import sys
import tempfile
import time
import typing

import httpx
import pydantic

# The script beside this one has the name of the package, which must not be looked for there.
sys.path.pop(0)

from auth0.management import Auth0
from auth0.management.core.api_error import ApiError

REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    422: "Unprocessable Entity",
}
ID = re.compile(r"(exp|flg|var|seg)_[A-HJ-NP-Za-km-z1-9]+")

assertions = 0


def holds(condition, what):
    global assertions
    assertions += 1
    if not condition:
        raise AssertionError(what)


def equal(actual, expected, what=""):
    holds(actual == expected, f"{what}: {actual!r} is not {expected!r}")


def typed(value, expected):
    """The value, which the SDK parsed as this type and which fits it all the way down."""
    equal(type(value), expected)
    fits(value, expected, expected.__name__)
    return value


def fits(value, annotation, where):
    if isinstance(value, pydantic.BaseModel):
        equal(value.model_extra or {}, {}, f"{where} has unknown members")
        for name, field in type(value).model_fields.items():
            member = getattr(value, name)
            if name in value.model_fields_set:
                holds(member is not None, f"{where}.{name} is null instead of left out")
                fits(member, field.annotation, f"{where}.{name}")
        if "id" in value.model_fields_set:
            holds(ID.fullmatch(value.id), f"{where}.id is {value.id}")
    elif isinstance(value, list):
        for member in value:
            fits(member, None, f"{where}[]")
    elif isinstance(value, dict):
        for name, member in value.items():
            fits(member, None, f"{where}.{name}")
    elif isinstance(value, dt.datetime):
        holds(value.tzinfo is not None, f"{where} has no time zone")
    else:
        # The SDK's enums let any other value pass, for what servers will say one day.
        literals = [
            a for a in typing.get_args(annotation) if typing.get_origin(a) is typing.Literal
        ]
        for literal in literals:
            holds(value in typing.get_args(literal), f"{where} is {value!r}")


class ToServer(httpx.HTTPTransport):
    """Sends what is meant for Auth0 to a server on this machine."""

    def __init__(self, port):
        super().__init__()
        self.port = port

    def handle_request(self, request):
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self.port)
        return super().handle_request(request)


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
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)
        self.sdk = Auth0(
            base_url="https://tenant.auth0.com/api/v2",
            token="any",
            httpx_client=httpx.Client(transport=ToServer(self.port), timeout=20),
            # Otherwise a 409 is tried again, after a while.
            max_retries=0,
        ).experimentation

    def document(self):
        return self.file.read_bytes() if self.file.exists() else None

    def context(self, status=200, /, **question):
        response = self.http.post("/context", json=question)
        equal(response.status_code, status, response.text)
        return response.json()

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


def envelope(body, status, code):
    equal(set(body), {"statusCode", "error", "message", "errorCode"})
    equal(body["statusCode"], status)
    equal(body["error"], REASONS[status])
    if code is not None:
        equal(body["errorCode"], code, body["message"])
    holds(body["message"], "there is no message")


def refused(server, status, code, call, /, *arguments, **members):
    """Calls what must be refused; the message is returned."""
    with unchanged(server):
        try:
            answer = call(*arguments, **members)
        except ApiError as error:
            equal(error.status_code, status, error.body)
            envelope(error.body, status, code)
            return error.body["message"]
    raise AssertionError(f"not refused with {status} {code}: {answer!r}")


@contextlib.contextmanager
def serving(file, *options, generation="early-access"):
    server = Server(file, "--auth0-generation", generation, *options)
    try:
        yield server
        if server.process.poll() is None:
            server.stop()
    finally:
        server.kill()
