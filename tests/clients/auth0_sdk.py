"""A server for Auth0's SDK to talk to, and what is asserted of its answers."""

import datetime as dt
import re
import sys
import typing

import httpx
import pydantic

from harness import Server, equal, holds, running, unchanged

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


class Auth0Server(Server):
    """One with the SDK for it."""

    def __init__(self, file, *options):
        super().__init__(file, *options)
        self.sdk = Auth0(
            base_url="https://tenant.auth0.com/api/v2",
            token="any",
            httpx_client=httpx.Client(transport=ToServer(self.port), timeout=20),
            # Otherwise a 409 is tried again, after a while.
            max_retries=0,
        ).experimentation

    def context(self, status=200, /, **question):
        response = self.http.post("/context", json=question)
        equal(response.status_code, status, response.text)
        return response.json()


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


def serving(file, *options, generation="early-access"):
    return running(Auth0Server(file, "--auth0-generation", generation, *options))
