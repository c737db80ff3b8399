"""Qonversion's REST API v4 as an integrator calls it, against `variate serve`, over plain HTTP.

Run by `tests/clients/run`. There is no client with types for these endpoints, so what is published
of their schema stands here, and every answer is checked against it. Every refusal is checked to
have left the server's files as they were. Needs nothing but Python's own library.
"""

import datetime
import json
import math
import re
import subprocess
import urllib.parse
import urllib.request

import harness
from harness import Server, equal, holds, running

EXPERIMENTS = "/v4/experiments"

# The operations, and the paths that they are on.
OPERATIONS = {
    ("GET", "/v4/experiments"),
    ("POST", "/v4/experiments"),
    ("GET", "/v4/experiments/summary"),
    ("GET", "/v4/experiments/{id}"),
    ("PATCH", "/v4/experiments/{id}"),
    ("DELETE", "/v4/experiments/{id}"),
    ("POST", "/v4/experiments/{id}/status"),
    ("GET", "/v4/experiments/{id}/groups"),
    ("POST", "/v4/experiments/{id}/groups"),
    ("PATCH", "/v4/experiments/{id}/groups/{id}"),
    ("DELETE", "/v4/experiments/{id}/groups/{id}"),
    ("POST", "/v4/experiments/{id}/users/{id}"),
    ("DELETE", "/v4/experiments/{id}/users/{id}"),
}

ID = re.compile(r"[a-zA-Z0-9._-]{1,256}")
TYPES = ["request", "resource", "logical", "internal"]
# Those that are published, and then those of this server.
CODES = {
    "invalid_data",
    "invalid_request",
    "control_unauthorized",
    "not_implemented",
    "not_found",
    "already_exists",
    "relation_not_found",
    "storage_error",
    "unknown_error",
    "conflict",
    "not_ready",
    "limit_exceeded",
}


def text(value):
    return isinstance(value, str)


def filled(value):
    return text(value) and value != ""


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def boolean(value):
    return isinstance(value, bool)


def identifier(value):
    return text(value) and ID.fullmatch(value) is not None


def moment(value):
    """A date-time of ISO 8601, in UTC, of this century."""
    if not text(value) or not value.endswith("Z"):
        return False
    return 2020 < datetime.datetime.fromisoformat(value[:-1] + "+00:00").year < 2100


def one_of(*values):
    return lambda value: value in values and not isinstance(value, bool)


def path(pattern):
    return lambda value: text(value) and re.fullmatch(pattern, value) is not None


# Each field with its type, and whether it can be null.
EXPERIMENT = {
    "object": (one_of("experiment"), False),
    "id": (identifier, False),
    "url": (path(r"/v4/experiments/[\w.-]+"), False),
    "name": (filled, False),
    "alias_id": (identifier, False),
    "description": (text, False),
    "status": (one_of("draft", "active", "paused", "finished"), False),
    "started_at": (moment, True),
    "finished_at": (moment, True),
    "segment_percent": (number, True),
    "primary_metric": (text, True),
    "goal_value": (number, True),
    "goal_direction": (text, True),
    "context_key": (text, False),
    "is_context_specific": (boolean, False),
    "created_at": (moment, False),
    "updated_at": (moment, False),
}
GROUP = {
    "object": (one_of("experiment_group"), False),
    "id": (identifier, False),
    "url": (path(r"/v4/experiments/[\w.-]+/groups/[\w.-]+"), False),
    "name": (filled, True),
    "is_control": (boolean, False),
    "weight": (number, False),
    "remote_config_uid": (filled, True),
    "created_at": (moment, False),
    "updated_at": (moment, False),
}
# Not published: what this server says it answers.
USER = {
    "object": (one_of("experiment_user"), False),
    "id": (identifier, False),
    "url": (path(r"/v4/experiments/[\w.-]+/users/[\w.-]+"), False),
    "experiment_id": (identifier, False),
    "group_id": (identifier, False),
}
SUMMARY = {
    "object": (one_of("experiment_summary"), False),
    "experiment_uid": (identifier, False),
    "status": EXPERIMENT["status"],
    "started_at": (moment, True),
    "finished_at": (moment, True),
    "users": (number, False),
    "groups": (lambda value: isinstance(value, list), False),
}
SUMMARY_GROUP = {
    "group_id": (identifier, False),
    "name": (filled, True),
    "is_control": (boolean, False),
    "percent": (number, False),
    "users": (number, False),
    "attached_users": (number, False),
}
LIST = {
    "object": (one_of("list"), False),
    "url": (path(r"/v4/experiments(/[\w.-]+)*"), False),
    "data": (lambda value: isinstance(value, list), False),
    "has_more": (boolean, False),
}
ERROR = {
    "type": (one_of(*TYPES), False),
    "code": (one_of(*CODES), False),
    "message": (filled, False),
}
DETAIL = {"field": (filled, False), "message": (filled, False)}
SCHEMAS = {
    "experiment": EXPERIMENT,
    "experiment_group": GROUP,
    "experiment_user": USER,
    "experiment_summary": SUMMARY,
}


def conforms(value, schema):
    """Every field of the schema and no other, each of its type."""
    holds(isinstance(value, dict), value)
    equal(set(value), set(schema), f"the fields of {value}")
    for name, (fits, nullable) in schema.items():
        field = value[name]
        holds(nullable if field is None else fits(field), f"{name} is {field!r} in {value}")


def resource(value):
    conforms(value, SCHEMAS[value["object"]])
    if value["object"] == "experiment":
        started, finished = value["started_at"] is not None, value["finished_at"] is not None
        equal(started, value["status"] != "draft", value)
        equal(finished, value["status"] == "finished", value)
    for group in value.get("groups", []):
        conforms(group, SUMMARY_GROUP)
    if value["object"] != "experiment_summary":
        holds(value["url"].endswith(f"/{value['id']}"), value)


def listed(value):
    more = {"next_cursor": (identifier, False)} if value.get("has_more") else {}
    conforms(value, LIST | more)
    for entry in value["data"]:
        resource(entry)
    if more:
        equal(value["next_cursor"], value["data"][-1]["id"])


def envelope(value):
    equal(set(value), {"error"}, value)
    error = value["error"]
    details = error.get("details")
    conforms({name: own for name, own in error.items() if name != "details"}, ERROR)
    # Left out when no field is at fault.
    holds("details" not in error or (isinstance(details, list) and details), value)
    for detail in details or []:
        conforms(detail, DETAIL)


class Passing(urllib.request.HTTPErrorProcessor):
    """Takes every answer for what it is."""

    def http_response(self, request, response):
        return response


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class QonversionServer(Server):
    """One that remembers in a file, with what it takes to send requests to it."""

    called = set()

    def __init__(self, file, *options):
        self.kept = file.with_suffix(".kept")
        super().__init__(file, "--kept", self.kept, *options)
        # Whatever proxy the environment names.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Passing())

    def files(self):
        return self.document(), self.kept.read_bytes()

    def send(self, method, path, body=None, headers=()):
        """The answer to a body, given as a value or as the bytes that are sent."""
        given = {"Authorization": "Bearer sk_any"} | dict(headers)
        if body is not None:
            given.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        address = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(address, data=body, headers=given, method=method)
        with self.opener.open(request, timeout=20) as response:
            raw = response.read()
            status, headers = response.status, response.headers
        if status == 204:
            equal((raw, headers["content-type"]), (b"", None))
            return Answer(status, headers, None)
        if method == "HEAD":
            return Answer(status, headers, None)
        return Answer(status, headers, json.loads(raw))

    def got(self, method, path, body=None, status=200):
        """What a request that is in order is answered."""
        answer = self.send(method, path, body)
        equal(answer.status, status, f"{method} {path} {body}: {answer.body}")
        self.called.add((method, operation(path)))
        location = answer.headers["location"]
        equal(location is not None, status == 201)
        if status != 204:
            equal(answer.headers["content-type"], "application/json")
            checked = listed if answer.body["object"] == "list" else resource
            checked(answer.body)
        if status == 201:
            equal(location, answer.body["url"])
        return answer.body

    def get(self, path):
        return self.got("GET", path)

    def post(self, path, body, status=200):
        return self.got("POST", path, body, status)

    def patch(self, path, body):
        return self.got("PATCH", path, body)

    def delete(self, path):
        return self.got("DELETE", path, status=204)

    def status(self, experiment, status):
        return self.post(f"{experiment}/status", {"status": status})

    def create(self, alias, **facts):
        """A draft without groups."""
        body = {"name": f"Experiment {alias}", "alias_id": alias} | facts
        return self.post(EXPERIMENTS, body, 201)

    def ready(self, alias, *weights, **facts):
        """A draft with groups of these weights, the first the control: its path, and their ids."""
        place = self.create(alias, **facts)["url"]
        groups = [
            self.post(
                f"{place}/groups",
                {
                    "weight": weight,
                    "is_control": index == 0,
                    "name": f"Group {index}",
                    "remote_config_uid": f"rc_{alias}_{index}",
                },
                201,
            )
            for index, weight in enumerate(weights or [1, 1])
        ]
        return place, [group["id"] for group in groups]

    def running(self, alias, *weights, **facts):
        place, groups = self.ready(alias, *weights, **facts)
        equal(self.status(place, "active")["status"], "active")
        return place, groups

    def in_status(self, alias, status, **facts):
        place, groups = self.ready(alias, **facts)
        for step in {"paused": ["active", "paused"], "finished": ["active", "finished"]}.get(
            status, [status] if status == "active" else []
        ):
            self.status(place, step)
        return place, groups

    def refused(self, method, path, body=None, /, *, status, type, code, fields=(), headers=()):
        """Sends what must be refused, on account of these fields, and leaves all as it is."""
        before = self.files()
        answer = self.send(method, path, body, headers)
        equal(answer.status, status, f"{method} {path} {body}: {answer.body}")
        envelope(answer.body)
        error = answer.body["error"]
        equal((error["type"], error["code"]), (type, code), error)
        equal([own["field"] for own in error.get("details", [])], list(fields), error)
        equal("details" in error, bool(fields), error)
        equal(self.files(), before, "the refused request changed something")
        return answer

    def invalid(self, method, path, body, *fields):
        """A request that is malformed in these fields."""
        return self.refused(
            method, path, body, status=400, type="request", code="invalid_data", fields=fields
        )

    def conflict(self, method, path, body, *fields, code="conflict"):
        """A request that what there is forbids."""
        return self.refused(
            method, path, body, status=409, type="resource", code=code, fields=fields
        )

    def missing(self, method, path, body=None):
        return self.refused(method, path, body, status=404, type="resource", code="not_found")

    def ask(self, context, user, **members):
        """What a user gets in a context."""
        question = {"chain": context, "ids": {"user": user}} | members
        answer = self.send("POST", "/context", question)
        equal(answer.status, 200, answer.body)
        return answer.body

    def place(self, context, user):
        """The experiment, group and remote config that a user has; None if it has none."""
        answer = self.ask(context, user)
        if not answer["in_experiment"]:
            equal(answer["config"], None, answer)
            return None
        uid = answer["config"]["remote_config_uid"]
        return (answer["experiment_id"], answer["variation_id"], uid)


def serving(file, *options):
    return running(QonversionServer(file, *options))


def operation(path):
    """The path without its ids and its query."""
    parts = path.split("?")[0].split("/")
    for index in range(3, len(parts), 2):
        if parts[index] != "summary":
            parts[index] = "{id}"
    return "/".join(parts)


def about(count, all, share):
    """A count that is what the share leads one to expect, to five standard deviations."""
    deviation = math.sqrt(all * share * (1 - share))
    holds(abs(count - all * share) <= 5 * deviation, f"{count} of {all} are not {share}")


def changed(before, after):
    """The fields that differ, but for the time of it."""
    return {name for name in after if after[name] != before[name]} - {"updated_at"}


def experiments(server):
    created = server.create("paywall_v3")
    expected = {
        "object": "experiment",
        "id": created["id"],
        "url": f"/v4/experiments/{created['id']}",
        "name": "Experiment paywall_v3",
        "alias_id": "paywall_v3",
        "description": "",
        "status": "draft",
        "started_at": None,
        "finished_at": None,
        "segment_percent": None,
        "primary_metric": None,
        "goal_value": None,
        "goal_direction": None,
        "context_key": "",
        "is_context_specific": False,
        "created_at": created["created_at"],
        "updated_at": created["created_at"],
    }
    equal(created, expected)
    equal(server.get(created["url"]), created)
    equal(server.get(f"{EXPERIMENTS}/paywall_v3"), created)
    equal(server.get(f"{EXPERIMENTS}/paywall%5Fv3"), created)

    facts = {
        "description": "Which paywall",
        "segment_percent": 12.25,
        "primary_metric": "user-to-trial",
        "goal_value": 0.5,
        "goal_direction": "increase",
        "context_key": "paywall",
        "is_context_specific": True,
    }
    full = server.create("full", **facts)
    for name, value in facts.items():
        equal(full[name], "user_to_trial" if name == "primary_metric" else value, name)
    # Whoever names a context is restricted to it, unless it says otherwise.
    for alias, given, specific in [
        ("named", {"context_key": "c"}, True),
        ("loose", {"context_key": "c", "is_context_specific": False}, False),
        ("unnamed", {"is_context_specific": False}, False),
    ]:
        own = server.create(alias, **given)
        equal(own["context_key"], given.get("context_key", ""))
        equal(own["is_context_specific"], specific, given)
    for index, name in enumerate(
        ["segment_percent", "primary_metric", "goal_value", "goal_direction"]
    ):
        equal(server.create(f"null-{index}", **{name: None})[name], None)
    for alias in ["x" * 256, ".", "A.b-c_9"]:
        equal(server.create(alias, name="Any")["alias_id"], alias)

    server.conflict(
        "POST",
        EXPERIMENTS,
        {"name": "Another", "alias_id": "paywall_v3"},
        "alias_id",
        code="already_exists",
    )
    for body, fields in [
        ({}, ["name", "alias_id"]),
        ({"name": "x"}, ["alias_id"]),
        ({"alias_id": "x"}, ["name"]),
        ({"name": None, "alias_id": None}, ["name", "alias_id"]),
        ({"name": 7, "alias_id": []}, ["name", "alias_id"]),
    ]:
        server.invalid("POST", EXPERIMENTS, body, *fields)
    for field, values in {
        "name": ["", "x" * 256],
        "alias_id": ["", "a b", "ä", "a/b", "x" * 257],
        "description": [None, 7],
        "segment_percent": [-1, 100.5, "70", 0.0000001],
        "primary_metric": [7],
        "goal_value": ["7", True],
        "goal_direction": [7],
        "context_key": [None, 7, "x" * 256],
        "is_context_specific": [None, "true", 1],
        "status": ["active"],
        "id": ["exp_a"],
        "groups": [[]],
    }.items():
        for value in values:
            body = {"name": "New", "alias_id": "new"} | {field: value}
            server.invalid("POST", EXPERIMENTS, body, field)
    for none in ["none", "Paywall_v3", "%00", "a%20b"]:
        server.missing("GET", f"{EXPERIMENTS}/{none}")


def groups(server):
    place = server.create("a")["url"]
    at = f"{place}/groups"
    equal(server.get(at)["data"], [])
    control = server.post(at, {"weight": 2, "is_control": True}, 201)
    equal((control["weight"], control["is_control"]), (2, True))
    equal((control["name"], control["remote_config_uid"]), (None, None))
    given = {"weight": 0.5, "name": "Short", "remote_config_uid": "rc_short"}
    short = server.post(at, given, 201)
    equal({name: short[name] for name in given}, given)
    equal(short["is_control"], False)
    empty = server.post(at, {"weight": 1, "name": None, "remote_config_uid": None}, 201)
    equal((empty["name"], empty["remote_config_uid"]), (None, None))
    everything = [control, short, empty]

    def ids():
        return [own["id"] for own in server.get(at)["data"]]

    equal(ids(), [own["id"] for own in everything])
    equal({own["url"] for own in everything}, {f"{at}/{own['id']}" for own in everything})

    for value in [0, -1, "1", None, 1_000_000_001, 0.0000001]:
        server.invalid("POST", at, {"weight": value}, "weight")
        server.invalid("PATCH", short["url"], {"weight": value}, "weight")
    server.invalid("POST", at, {}, "weight")
    for field, values in {
        "name": [7, "", "x" * 256],
        "is_control": [None, 1],
        "remote_config_uid": [7, "", "x" * 256],
        "id": ["var_a"],
    }.items():
        for value in values:
            server.invalid("POST", at, {"weight": 1, field: value}, field)
            server.invalid("PATCH", short["url"], {field: value}, field)
    server.conflict("POST", at, {"weight": 1, "is_control": True}, "is_control")
    server.conflict("PATCH", short["url"], {"is_control": True}, "is_control")

    def edit(**fields):
        """An edit, which changes nothing else and is no edit the next time."""
        before = server.get(at)["data"]
        after = server.patch(short["url"], fields)
        differing = {own["id"] for own in before if changed(own, found(own["id"]))}
        holds(differing <= {short["id"]}, differing)
        holds(changed(own_of(before), after) <= set(fields), after)
        equal(after, found(short["id"]))
        files = server.files()
        equal(server.patch(short["url"], fields), after)
        equal(server.patch(short["url"], {}), after)
        equal(server.files(), files, "the same again is no edit")
        return after

    def found(id):
        return next(own for own in server.get(at)["data"] if own["id"] == id)

    def own_of(groups):
        return next(own for own in groups if own["id"] == short["id"])

    equal(edit(weight=3)["weight"], 3)
    equal(edit(name="Shorter")["name"], "Shorter")
    equal(edit(name=None)["name"], None)
    equal(edit(remote_config_uid="rc_new")["remote_config_uid"], "rc_new")
    equal(edit(remote_config_uid=None)["remote_config_uid"], None)
    # The control can be handed on.
    server.patch(control["url"], {"is_control": False})
    equal(edit(is_control=True)["is_control"], True)

    server.delete(empty["url"])
    server.missing("DELETE", empty["url"])
    server.missing("PATCH", empty["url"], {"weight": 1})
    server.missing("GET", f"{EXPERIMENTS}/none/groups")
    equal(ids(), [control["id"], short["id"]])

    # While it is active, the groups stand; while it is paused, they do not.
    server.status(place, "active")
    server.conflict("POST", at, {"weight": 1})
    server.conflict("PATCH", short["url"], {"weight": 7})
    server.conflict("PATCH", short["url"], {"remote_config_uid": "rc"})
    server.conflict("DELETE", short["url"], None)
    server.patch(short["url"], {"weight": 3})
    server.status(place, "paused")
    equal(edit(weight=7)["weight"], 7)
    equal(edit(remote_config_uid="rc_late")["remote_config_uid"], "rc_late")
    third = server.post(at, {"weight": 1}, 201)
    server.delete(third["url"])
    server.status(place, "active")

    # As many as there can be.
    place = server.create("many")["url"]
    for _ in range(20):
        server.post(f"{place}/groups", {"weight": 1}, 201)
    server.refused(
        "POST",
        f"{place}/groups",
        {"weight": 1},
        status=422,
        type="logical",
        code="limit_exceeded",
    )


STATUSES = ["draft", "active", "paused", "finished"]
UNFINISHED = ["draft", "active", "paused"]
HALTED = ["draft", "paused"]
REFUSED = object()

# Each field of a PATCH: what it is before, what null makes of it, new values, what is no value, and
# while what it changes.
PATCHES = {
    "name": ("Before", REFUSED, ["After", "ö" * 255], [7, [], "", "x" * 256], STATUSES),
    "description": ("What", "", ["Another", "", "x" * 2048], [7, ["a"], "x" * 2049], STATUSES),
    "segment_percent": (
        70,
        None,
        [30, 0, 100, 12.5, 0.000001],
        ["70", -1, 100.1, 0.0000001, True],
        UNFINISHED,
    ),
    "primary_metric": ("sales", None, ["refunds", "of our own"], [7, [], ""], UNFINISHED),
    "goal_value": (12.5, None, [3, -0.25, 0, 1e300], ["3", True, []], UNFINISHED),
    "goal_direction": ("increase", None, ["decrease", "any"], [7, {}], UNFINISHED),
    "context_key": ("paywall", "", ["onboarding", "", "ö" * 255], [7, [], "x" * 256], HALTED),
    "is_context_specific": (True, False, [False], ["true", 0, []], HALTED),
}


def patches(server):
    present = {field: row[0] for field, row in PATCHES.items()}
    for status in STATUSES:
        place, _ = server.in_status(f"in-{status}", status, **present)
        before = server.get(place)
        equal({field: before[field] for field in present}, present)

        def unedited(body):
            files = server.files()
            equal(server.patch(place, body), before)
            equal(server.files(), files, "no edit changed something")

        unedited({})
        unedited(present)
        unedited({"alias_id": f"in-{status}"})
        server.conflict("PATCH", place, {"alias_id": "other", "name": "After"}, "alias_id")
        server.invalid("PATCH", place, {"alias_id": None}, "alias_id")
        for alias in ["a b", "", "x" * 65]:
            server.invalid("PATCH", place, {"alias_id": alias}, "alias_id")
        for field, (value, cleared, new, wrong, changing) in PATCHES.items():
            unedited({field: value})
            for no_value in wrong:
                server.invalid("PATCH", place, {field: no_value}, field)
            if cleared is REFUSED:
                server.invalid("PATCH", place, {field: None}, field)
            edits = [(own, own) for own in new]
            for own, reads in edits + ([] if cleared is REFUSED else [(None, cleared)]):
                if status not in changing:
                    server.conflict("PATCH", place, {field: own}, field)
                    continue
                after = server.patch(place, {field: own})
                equal((changed(before, after), after[field]), ({field}, reads))
                holds(after["updated_at"] >= before["updated_at"], after)
                equal(server.get(place), after)
                files = server.files()
                equal(server.patch(place, {field: own}), after)
                equal(server.files(), files, "the same again is no edit")
                back = server.patch(place, {field: value})
                equal(changed(before, back), set())
                before = back
        # All that is wrong is told at once, and nothing happens.
        faulty = {"name": None, "segment_percent": 101, "description": "New", "goal_value": "x"}
        server.invalid("PATCH", place, faulty, "name", "segment_percent", "goal_value")
        for field in ["id", "url", "status", "started_at", "nmae"]:
            server.invalid("PATCH", place, {field: "x"}, field)
        equal(server.get(place), before)
    # Words are written with underscores.
    place = server.create("words")["url"]
    metric = "subscription-cancellation"
    equal(
        server.patch(place, {"primary_metric": metric})["primary_metric"],
        "subscription_cancellation",
    )
    everything = {
        "name": "After",
        "alias_id": "words",
        "description": None,
        "segment_percent": None,
        "primary_metric": None,
        "goal_value": None,
        "goal_direction": None,
        "context_key": None,
        "is_context_specific": None,
    }
    after = server.patch(place, everything)
    left = {name for name in everything if after[name] not in ("", None, False)}
    equal(left, {"name", "alias_id"})
    server.missing("PATCH", f"{EXPERIMENTS}/none", {"name": "After"})


def lifecycle(server):
    leads = {
        "draft": ["active"],
        "active": ["paused", "finished"],
        "paused": ["active", "finished"],
        "finished": [],
    }
    for status, targets in leads.items():
        for target in STATUSES:
            place, _ = server.in_status(f"{status}-{target}", status)
            before = server.get(place)
            if target not in targets:
                server.conflict("POST", f"{place}/status", {"status": target}, "status")
                continue
            after = server.status(place, target)
            equal(after, server.get(place))
            holds(changed(before, after) <= {"status", "started_at", "finished_at"}, after)
            if before["started_at"] is not None:
                equal(after["started_at"], before["started_at"])
    place, ids = server.ready("wrong")
    for body in [{}, {"status": None}, {"status": 1}, {"status": "running"}, {"status": "stopped"}]:
        server.invalid("POST", f"{place}/status", body, "status")
    server.invalid("POST", f"{place}/status", {"status": "active", "force": True}, "force")
    server.missing("POST", f"{EXPERIMENTS}/none/status", {"status": "active"})

    def not_ready(place):
        body = {"status": "active"}
        at = f"{place}/status"
        server.refused("POST", at, body, status=422, type="logical", code="not_ready")

    server.patch(f"{place}/groups/{ids[0]}", {"is_control": False})
    not_ready(place)
    bare = server.create("bare")["url"]
    not_ready(bare)
    server.post(f"{bare}/groups", {"weight": 1, "is_control": True}, 201)
    not_ready(bare)

    for status in STATUSES:
        place, _ = server.in_status(f"gone-{status}", status)
        if status == "active":
            server.conflict("DELETE", place, None)
            continue
        server.delete(place)
        server.missing("DELETE", place)
        server.missing("GET", place)
        server.missing("GET", f"{place}/groups")


USERS = [f"QON_{number}" for number in range(3000)]


def who_gets_what(server):
    """Two experiments of one context: 70 %, and 30 % of those whom the first one does not have."""
    nobody = {"in_experiment": False, "reason": "not_found", "config": None}
    equal(server.ask("paywall", USERS[0]), nobody)
    first, ids = server.ready("first", 2, 1, context_key="paywall", segment_percent=70)
    second, others = server.ready("second", 1, 1, context_key="paywall", segment_percent=30)
    elsewhere, alone = server.running("elsewhere", context_key="menu")
    equal(server.ask("paywall", USERS[0]), nobody)
    server.status(first, "active")
    server.status(second, "active")
    first, second, elsewhere = [place.rsplit("/", 1)[1] for place in [first, second, elsewhere]]

    before = {user: server.place("paywall", user) for user in USERS}
    counts = {}
    for own in before.values():
        counts[own and own[:2]] = counts.get(own and own[:2], 0) + 1

    def of(experiment):
        return sum(count for own, count in counts.items() if own and own[0] == experiment)

    about(of(first), len(USERS), 0.7)
    about(of(second), len(USERS), 0.09)
    about(counts[None], len(USERS), 0.21)
    # Of the weights only the proportion counts.
    about(counts[(first, ids[0])], of(first), 2 / 3)
    about(counts[(first, ids[1])], of(first), 1 / 3)
    about(counts[(second, others[0])], of(second), 1 / 2)
    configs = {own[1:] for own in before.values() if own}
    expected = {(id, f"rc_first_{index}") for index, id in enumerate(ids)}
    equal(configs, expected | {(id, f"rc_second_{index}") for index, id in enumerate(others)})
    # Whoever asks again gets the same, and another context is another matter.
    some = USERS[:300]
    equal({user: server.place("paywall", user) for user in some}, {u: before[u] for u in some})
    equal({server.place("menu", user)[0] for user in some}, {elsewhere})
    about(sum(server.place("menu", user)[1] == alone[0] for user in some), len(some), 1 / 2)
    # Without an id there is nothing to go by.
    answer = server.send("POST", "/context", {"chain": "paywall", "ids": {"device": "d-1"}})
    equal((answer.status, answer.body["in_experiment"]), (200, False))

    # How the users are divided, as it is remembered.
    asked = f"filter[experiment_uid][]={first}&filter[experiment_uid][]=second"
    summary = server.get(f"{EXPERIMENTS}/summary?{urllib.parse.quote(asked, safe='=&')}")
    equal([own["experiment_uid"] for own in summary["data"]], [first, second])
    equal([own["users"] for own in summary["data"]], [of(first), of(second)])
    shown = {own["group_id"]: own for own in summary["data"][0]["groups"]}
    equal({id: own["users"] for id, own in shown.items()}, {id: counts[(first, id)] for id in ids})
    # Shares in percent, cut so that they sum to exactly 100.
    equal([shown[id]["percent"] for id in ids], [66.666666, 33.333334])

    # All users of the first, once it is finished, fall through; those of the second stay.
    server.status(f"{EXPERIMENTS}/first", "finished")
    after = {user: server.place("paywall", user) for user in USERS}
    for user, own in before.items():
        if own and own[0] == second:
            equal(after[user], own, user)
    equal({own and own[0] for own in after.values()}, {second, None})
    about(sum(own is not None for own in after.values()), len(USERS), 0.3)


def pauses(server):
    place, _ = server.running("first", context_key="paywall", segment_percent=70)
    asked, late = USERS[:500], USERS[500:1000]
    before = {user: server.place("paywall", user) for user in asked}
    server.status(place, "paused")
    # Who was in stays in, and nobody comes.
    equal({user: server.place("paywall", user) for user in asked}, before)
    equal({server.place("paywall", user) for user in late}, {None})
    members = {user for user, own in before.items() if own}
    about(len(members), len(asked), 0.7)
    reasons = {server.ask("paywall", user)["reason"] for user in members}
    equal(reasons, {"kept"})

    def stay():
        for user in members:
            equal(server.place("paywall", user), before[user], user)

    # Even when its share is another one.
    server.patch(place, {"segment_percent": 0})
    stay()
    # Those whom it does not have fall through to the next one meanwhile.
    server.running("second", context_key="paywall")
    second = server.get(f"{EXPERIMENTS}/second")["id"]
    equal({server.place("paywall", user)[0] for user in late}, {second})
    stay()
    server.patch(place, {"segment_percent": 70})
    server.status(place, "active")
    stay()
    # What is finished has nobody.
    server.status(place, "finished")
    equal({server.place("paywall", user)[0] for user in members}, {second})


def users(server):
    first, ids = server.running("first", context_key="paywall", segment_percent=0)
    second, others = server.ready("second", context_key="paywall")
    menu, alone = server.running("menu", context_key="menu", segment_percent=0)
    user = USERS[0]

    def at(place, user=user):
        return f"{place}/users/{user}"

    def attach(place, group, user=user):
        attached = server.post(at(place, user), {"group_id": group})
        equal((attached["id"], attached["group_id"]), (user, group))
        equal(attached["url"], at(place, user))

    def placed(context, user=user):
        own = server.ask(context, user)
        return own.get("variation_id"), own["reason"]

    equal(placed("paywall"), (None, "not_sampled"))
    attach(first, ids[1])
    equal(placed("paywall"), (ids[1], "attached"))
    equal(server.ask("paywall", user)["config"], {"remote_config_uid": "rc_first_1"})
    equal(placed("paywall", USERS[1]), (None, "not_sampled"))
    # Once again, and to the other group.
    attach(first, ids[1])
    attach(first, ids[0])
    equal(placed("paywall"), (ids[0], "attached"))
    # To one experiment of a context, whatever its status, and to any other context's.
    body = {"group_id": others[0]}
    server.conflict("POST", at(second), body, "user_id", code="already_exists")
    attach(menu, alone[0])
    equal(placed("menu"), (alone[0], "attached"))
    server.status(first, "paused")
    equal(placed("paywall"), (ids[0], "attached"))
    server.conflict("POST", at(second), body, "user_id", code="already_exists")
    server.status(first, "active")
    server.delete(at(first))
    equal(placed("paywall"), (None, "not_sampled"))
    server.delete(at(first))
    attach(second, others[0])
    # It waits for the start.
    equal(placed("paywall"), (None, "not_sampled"))
    server.status(second, "active")
    equal(placed("paywall"), (others[0], "attached"))
    summary = server.get(f"{EXPERIMENTS}/summary?filter[experiment_uid][]=second")
    equal([own["attached_users"] for own in summary["data"][0]["groups"]], [1, 0])
    server.status(second, "finished")
    equal(placed("paywall"), (None, "not_sampled"))
    server.conflict("POST", at(second), body)
    attach(first, ids[0])
    server.delete(at(second))
    equal(placed("paywall"), (ids[0], "attached"))

    for wrong in [{}, {"group_id": None}, {"group_id": 1}, {"group_id": ""}, {"group_id": "a b"}]:
        server.invalid("POST", at(first), wrong, "group_id")
    server.invalid("POST", at(first), {"group_id": ids[0], "weight": 1}, "weight")
    for none in ["var_none", others[0]]:
        server.refused(
            "POST",
            at(first),
            {"group_id": none},
            status=422,
            type="logical",
            code="relation_not_found",
            fields=["group_id"],
        )
    for wrong in ["a%20b", "%C3%A4", "x" * 257]:
        server.invalid("POST", at(first, wrong), {"group_id": ids[0]}, "user_id")
        server.invalid("DELETE", at(first, wrong), None, "user_id")
    attach(first, ids[0], "x" * 256)
    server.missing("POST", f"{EXPERIMENTS}/none/users/u", {"group_id": ids[0]})
    server.missing("DELETE", f"{EXPERIMENTS}/none/users/u")


def restarts(directory):
    file = directory / "restarts.json"
    context = "paywall"
    with serving(file) as server:
        place, ids = server.running("first", context_key=context, segment_percent=50)
        server.post(f"{place}/users/by-hand", {"group_id": ids[1]})
        server.post(f"{place}/users/no-more", {"group_id": ids[1]})
        server.delete(f"{place}/users/no-more")
        asked = USERS[:100]
        before = {user: server.place(context, user) for user in [*asked, "by-hand"]}
        server.status(place, "paused")
        listed = server.get(EXPERIMENTS)
        taken = subprocess.run(
            [Server.binary, "serve", "--port", "0", "--kept", server.kept]
            + ["--config", directory / "other.json"],
            capture_output=True,
            text=True,
            timeout=20,
        )
        equal((taken.returncode, taken.stdout), (1, ""))
        holds("another server has it" in taken.stderr, taken.stderr)
    for how in ["stop", "kill"]:
        with serving(file) as server:
            equal(server.get(EXPERIMENTS), listed)
            equal({user: server.place(context, user) for user in before}, before)
            equal({server.place(context, user) for user in [*USERS[100:200], "no-more"]}, {None})
            equal(server.ask(context, "by-hand")["reason"], "attached")
            getattr(server, how)()
    with serving(file) as server:
        server.delete(place)
        equal(len(server.kept.read_bytes().splitlines()), 1 + len(set_of(before)) + 1)
    with serving(file) as server:
        equal(len(server.kept.read_bytes().splitlines()), 1)


def set_of(places):
    return {user for user, own in places.items() if own}


def pages(server):
    created = [server.create(f"e{number}") for number in range(23)]
    place, _ = server.ready("groups", 1, 2, 3, 4, 5)
    created.append(server.get(place))
    # The latest first; of those of one moment, the one with the greater id.
    created.sort(key=lambda own: (own["created_at"], own["id"]), reverse=True)
    everything = [own["alias_id"] for own in created]
    for at, key, expected, limits in [
        (EXPERIMENTS, "alias_id", everything, [1, 7, 24, 100, None]),
        (f"{place}/groups", "weight", [1, 2, 3, 4, 5], [1, 2, 5, None]),
    ]:
        for limit in limits:
            found, cursor = [], None
            while True:
                query = {"limit": limit, "starting_after": cursor}
                query = {name: own for name, own in query.items() if own is not None}
                page = server.get(f"{at}?{urllib.parse.urlencode(query)}")
                equal(page["url"], at)
                found += [own[key] for own in page["data"]]
                if not page["has_more"]:
                    break
                equal(len(page["data"]), limit or 20)
                cursor = page["next_cursor"]
            equal(found, expected, limit)

    def restarted(query):
        answer = server.send("GET", f"{EXPERIMENTS}?{query}")
        equal(answer.status, 200)
        listed(answer.body)
        aliases = [own["alias_id"] for own in answer.body["data"]]
        return aliases, answer.headers["X-Qon-Pagination-Restarted"]

    equal(restarted("limit=2"), (everything[:2], None))
    after = f"limit=2&starting_after={created[1]['id']}"
    equal(restarted(after), (everything[2:4], None))
    server.delete(created[1]["url"])
    del everything[1]
    equal(restarted(after), (everything[:2], "true"))
    equal(restarted("limit=1&starting_after=none"), (everything[:1], "true"))
    equal(restarted(f"starting_after={created[-1]['id']}"), ([], None))
    # What nobody knows is passed over.
    equal(restarted("limit=1&sort=name"), (everything[:1], None))
    for limit in ["0", "101", "-1", "x", "", "1.5"]:
        server.invalid("GET", f"{EXPERIMENTS}?limit={limit}", None, "limit")
        server.invalid("GET", f"{place}/groups?limit={limit}", None, "limit")


def summaries(server):
    field = "filter[experiment_uid][]"
    place, ids = server.ready("a", 3, 1)

    def query(*asked):
        return f"{EXPERIMENTS}/summary?{urllib.parse.urlencode([(field, own) for own in asked])}"

    (own,) = server.get(query("a"))["data"]
    equal((own["status"], own["users"], own["started_at"]), ("draft", 0, None))
    equal([group["group_id"] for group in own["groups"]], ids)
    equal([group["percent"] for group in own["groups"]], [75, 25])
    equal([group["is_control"] for group in own["groups"]], [True, False])
    server.status(place, "active")
    server.status(place, "finished")
    (own,) = server.get(query("a"))["data"]
    shown = server.get(place)
    for name in ["status", "started_at", "finished_at"]:
        equal(own[name], shown[name], name)
    server.invalid("GET", f"{EXPERIMENTS}/summary", None, field)
    server.invalid("GET", query(*["a"] * 51), None, field)
    server.get(query(*["a"] * 50))
    server.missing("GET", query("a", "none"))


def errors(server):
    for at in ["/v4/experiments/", "/v4/users", "/v4/experiments/a/users", "/v4//experiments"]:
        server.refused("GET", at, status=404, type="request", code="invalid_request")
    place, ids = server.ready("a")
    for at, allowed in [
        (EXPERIMENTS, "GET, POST"),
        (f"{EXPERIMENTS}/summary", "GET"),
        (place, "GET, PATCH, DELETE"),
        (f"{place}/status", "POST"),
        (f"{place}/groups", "GET, POST"),
        (f"{place}/groups/{ids[0]}", "PATCH, DELETE"),
        (f"{place}/users/u", "POST, DELETE"),
    ]:
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - set(allowed.split(", ")):
            answer = server.refused(
                method, at, status=405, type="request", code="not_implemented"
            )
            equal(answer.headers["allow"], allowed)
    for body in [b"", b"{", b"[]", b"null", b'"x"', b'{"name": "a",}', b"\xff"]:
        server.invalid("POST", EXPERIMENTS, body)
    server.invalid("POST", EXPERIMENTS, b'{"name": "a", "name": "b", "alias_id": "b"}', "name")
    body = {"name": "b", "alias_id": "b"}
    malformed = {"status": 400, "type": "request", "code": "invalid_data"}
    plain = {"Content-Type": "text/plain"}
    server.refused("POST", EXPERIMENTS, body, headers=plain, **malformed)
    too_large = {"status": 413, "type": "request", "code": "invalid_data"}
    server.refused("POST", EXPERIMENTS, b" " * ((1 << 20) + 1), **too_large)
    page = {"status": 403, "type": "request", "code": "control_unauthorized"}
    server.refused("GET", EXPERIMENTS, headers={"Origin": "http://localhost"}, **page)
    equal(server.send("HEAD", EXPERIMENTS).status, 405)


def questions(server):
    """What is no question about a context."""
    server.running("a", context_key="paywall")
    ids = {"user": "u-1"}
    for body in [
        {"ids": ids},
        {"ids": ids, "flow": "login", "chain": "paywall"},
        {"chain": "paywall"},
        {"chain": 7, "ids": ids},
        {"chain": "paywall", "ids": ids, "experiment_id": "exp_a"},
        {"chain": "paywall", "ids": ids, "chains": []},
    ]:
        before = server.files()
        answer = server.send("POST", "/context", body)
        equal((answer.status, answer.body["errorCode"]), (400, "invalid_body"), body)
        equal(server.files(), before)
    # What the app brings itself is kept as well.
    server.status(f"{EXPERIMENTS}/a", "paused")
    experiment = server.get(f"{EXPERIMENTS}/a")["id"]
    group = server.get(f"{EXPERIMENTS}/a/groups")["data"][1]["id"]
    equal(server.ask("paywall", "u-1")["in_experiment"], False)
    brought = server.ask("paywall", "u-1", kept={experiment: group})
    equal((brought["variation_id"], brought["reason"]), (group, "kept"))
    equal(brought["config"], {"remote_config_uid": "rc_a_1"})


def operations(_):
    """Every operation has been called, and has done what it is to do."""
    equal(QonversionServer.called, OPERATIONS)


def main():
    sections = [
        experiments,
        groups,
        patches,
        lifecycle,
        who_gets_what,
        pauses,
        users,
        pages,
        summaries,
        errors,
        questions,
    ]
    alone = [harness.alone(serving, section) for section in sections]
    harness.run([*alone, restarts, operations])


if __name__ == "__main__":
    main()
