"""Auth0's own Python SDK against `variate serve`.

Run by `tests/clients/run`. Every section starts from what it creates itself, and every answer that
the SDK parsed is checked against the SDK's types: no member that they do not know, no value outside
their enums, no null where a member can be left out. Every refusal is checked to have left the
server's file as it was.
"""

import datetime as dt
import itertools
import json
import signal
import subprocess

import harness
from harness import Server, equal, holds, unchanged

# Before the SDK: it sees to it that `auth0` is the package and not this script.
from auth0_sdk import envelope, refused, serving, typed

from auth0.management.types import (
    AllocationRequestItem,
    CreateExperimentResponseContent,
    CreateFeatureFlagResponseContent,
    CreateSegmentResponseContent,
    CreateVariationResponseContent,
    ExperimentListItem,
    FeatureFlag,
    FeatureFlagConfigParam,
    GetExperimentResponseContent,
    GetFeatureFlagResponseContent,
    GetSegmentResponseContent,
    GetVariationResponseContent,
    ListExperimentsResponseContent,
    Segment,
    SegmentContainsExpression,
    SegmentExistsExpression,
    SegmentMatchConditions,
    SegmentNotMatchConditions,
    SegmentRule,
    SegmentStartsWithExpression,
    UpdateExperimentResponseContent,
    UpdateFeatureFlagResponseContent,
    UpdateSegmentResponseContent,
    UpdateVariationResponseContent,
    ValidateExperimentResponseContent,
    Variation,
)

STATUSES = ["draft", "active", "paused", "completed", "archived"]
TRANSITIONS = {
    ("draft", "active"),
    ("draft", "archived"),
    ("active", "paused"),
    ("active", "completed"),
    ("paused", "active"),
    ("paused", "completed"),
    ("paused", "archived"),
    ("completed", "archived"),
}
# What leads from a draft to each status.
WAYS = {
    "draft": [],
    "active": ["active"],
    "paused": ["active", "paused"],
    "completed": ["active", "completed"],
    "archived": ["archived"],
}

names = (f"name {number}" for number in itertools.count())


def arm(variation, weight=None, segment=None, priority=None, control=False, fallback=None):
    members = {
        "weight": weight,
        "segment_id": segment and segment.id,
        "priority": priority,
        "is_fallback": fallback,
    }
    given = {name: value for name, value in members.items() if value is not None}
    return AllocationRequestItem(variation_id=variation.id, is_control=control, **given)


def country(*codes):
    return SegmentRule(match=SegmentMatchConditions(country=list(codes)))


class World:
    """A flag with three variations and two segments, for experiments to be about."""

    def __init__(self, sdk, active=True):
        self.sdk = sdk
        self.flag = sdk.feature_flags.create(
            name=next(names),
            parameters={
                "headline": FeatureFlagConfigParam(type="string", value="Welcome back"),
                "badge": FeatureFlagConfigParam(type="boolean", value=False),
            },
        )
        create = sdk.feature_flags.variations.create
        self.control = create(self.flag.id, name="control", overrides={})
        self.short = create(self.flag.id, name="short", overrides={"headline": "Hi"})
        self.badge = create(self.flag.id, name="badge", overrides={"badge": True})
        self.german = sdk.segments.create(name=next(names), rules=[country("DE")])
        self.french = sdk.segments.create(name=next(names), rules=[country("FR")])
        if active:
            sdk.feature_flags.update(self.flag.id, status="active")

    def halves(self):
        return [arm(self.control, 50, control=True), arm(self.short, 50)]

    def experiment(self, status="draft", **members):
        """An experiment that has come to this status."""
        given = {
            "name": next(names),
            "feature_flag_id": self.flag.id,
            "authentication_flow": "authentication",
            "allocation_strategy": "percentage",
            "allocations": self.halves(),
        }
        created = self.sdk.experiments.create(**(given | members))
        for step in WAYS[status]:
            self.sdk.experiments.update(created.id, status=step)
        return self.sdk.experiments.get(created.id)


def flags(server):
    flags = server.sdk.feature_flags
    kinds = {
        "text": ("string", "Welcome"),
        "switch": ("boolean", False),
        "number": ("number", 2.5),
        "list": ("array", ["a", 1, None]),
        "map": ("object", {"value": {"deep": []}}),
    }
    parameters = {
        name: FeatureFlagConfigParam(type=kind, value=value, description="what it is for")
        for name, (kind, value) in kinds.items()
    }
    begin = dt.datetime.now(dt.timezone.utc) - dt.timedelta(seconds=1)
    name = next(names)
    flag = flags.create(name=name, description="A first flag", parameters=parameters)
    typed(flag, CreateFeatureFlagResponseContent)
    equal(
        (flag.name, flag.description, flag.type, flag.status),
        (name, "A first flag", "self", "draft"),
    )
    equal({n: (p.type, p.value) for n, p in flag.parameters.items()}, kinds)
    equal({p.description for p in flag.parameters.values()}, {"what it is for"})
    holds(begin <= flag.created_at <= dt.datetime.now(dt.timezone.utc), "created when?")
    equal(flag.updated_at, flag.created_at)
    equal(typed(flags.get(flag.id), GetFeatureFlagResponseContent).model_dump(), flag.model_dump())

    message = refused(server, 409, None, flags.create, name=name, parameters=parameters)
    holds("name" in message, message)
    wrong = {"text": FeatureFlagConfigParam(type="string", value=7)}
    message = refused(server, 400, None, flags.create, name=next(names), parameters=wrong)
    holds("parameters.text.value" in message, message)
    refused(server, 400, None, flags.create, name=next(names), parameters={})
    refused(server, 400, None, flags.create, name="ab", parameters=parameters)
    unknown = {"request_options": {"additional_body_parameters": {"key": "flag"}}}
    message = refused(
        server, 400, "unknown_key", flags.create, name=next(names), parameters=parameters, **unknown
    )
    holds("key" in message, message)

    name = next(names)
    changed = typed(flags.update(flag.id, name=name), UpdateFeatureFlagResponseContent)
    equal((changed.name, changed.description), (name, "A first flag"))
    holds(changed.updated_at >= changed.created_at, "updated before it was created")
    equal(flags.update(flag.id, description="Another").description, "Another")
    equal(flags.update(flag.id, description=None).description, None)
    equal(flags.get(flag.id).description, None)
    refused(server, 400, None, flags.update, flag.id)
    refused(server, 400, None, flags.update, flag.id, name=None)

    # The parameters of a flag are replaced as a whole.
    one = {"text": FeatureFlagConfigParam(type="string", value="Hello")}
    equal(list(flags.update(flag.id, parameters=one).parameters), ["text"])

    # The lifecycle.
    variations = flags.variations
    refused(server, 400, None, flags.update, flag.id, status="active")
    variations.create(flag.id, name="control", overrides={})
    refused(server, 400, None, flags.update, flag.id, status="active")
    variations.create(flag.id, name="short", overrides={"text": "Hi"})
    # A refused transition takes the edit beside it along.
    refused(server, 400, None, flags.update, flag.id, description="With it", status="draft")
    active = typed(
        flags.update(flag.id, description="With it", status="active"),
        UpdateFeatureFlagResponseContent,
    )
    equal((active.status, active.description), ("active", "With it"))
    for status in ["active", "draft"]:
        refused(server, 400, "transition_not_allowed", flags.update, flag.id, status=status)
    equal(flags.update(flag.id, status="archived").status, "archived")
    for status in ["archived", "active", "draft"]:
        refused(server, 400, "transition_not_allowed", flags.update, flag.id, status=status)
    other = flags.create(name=next(names), parameters=one)
    equal(flags.update(other.id, status="archived").status, "archived")


def variations(server):
    flags = server.sdk.feature_flags
    variations = flags.variations
    flag = flags.create(
        name=next(names),
        parameters={
            "headline": FeatureFlagConfigParam(type="string", value="Welcome"),
            "days": FeatureFlagConfigParam(type="number", value=7),
            "map": FeatureFlagConfigParam(type="object", value={}),
        },
    )
    control = variations.create(flag.id, name="control", overrides={}, description="As it is")
    typed(control, CreateVariationResponseContent)
    equal((control.feature_flag_id, control.name), (flag.id, "control"))
    equal((control.description, control.overrides), ("As it is", {}))
    short = variations.create(flag.id, name="short", overrides={"headline": "Hi", "days": 14})
    equal(short.overrides, {"headline": "Hi", "days": 14})
    equal(short.description, None)
    equal(
        typed(variations.get(flag.id, short.id), GetVariationResponseContent).model_dump(),
        short.model_dump(),
    )
    equal(
        [typed(v, Variation).id for v in variations.list(flag.id).variations],
        [control.id, short.id],
    )

    # Names are of the flag's own.
    refused(server, 409, None, variations.create, flag.id, name="short", overrides={})
    refused(server, 409, None, variations.update, flag.id, control.id, name="short")
    other = flags.create(name=next(names), parameters=flag.parameters)
    elsewhere = variations.create(other.id, name="short", overrides={})
    for overrides in [
        {"headlines": "Hi"},
        {"headline": 1},
        {"headline": "Welcome"},
        {"days": "x" * 2000},
    ]:
        message = refused(
            server, 400, None, variations.create, flag.id, name="new", overrides=overrides
        )
        holds("overrides" in message and next(iter(overrides)) in message, message)
        refused(server, 400, None, variations.update, flag.id, short.id, overrides=overrides)

    # A patch merges, null removes one, and an empty map clears all; values bare or in envelopes.
    def patch(**members):
        return typed(
            variations.update(flag.id, short.id, **members), UpdateVariationResponseContent
        )

    equal(patch(overrides={"days": 21}).overrides, {"headline": "Hi", "days": 21})
    equal(patch(overrides={"headline": None}).overrides, {"days": 21})
    equal(patch(overrides={"headline": {"value": "Ho"}}).overrides, {"headline": "Ho", "days": 21})
    # Bare, this one would look like an envelope.
    looks_enveloped = {"headline": "Ho", "map": {"value": {"value": {}}}}
    equal(
        patch(overrides={"map": {"value": {"value": {}}}, "days": None}).overrides, looks_enveloped
    )
    equal(patch(overrides=looks_enveloped).overrides, looks_enveloped)
    refused(server, 400, None, variations.update, flag.id, short.id, overrides={"other": None})
    equal(patch(overrides={}).overrides, {})
    equal(patch(overrides={"days": 1}).overrides, {"days": 1})
    equal(patch(overrides=None).overrides, {})
    equal(patch(name="shorter", description="Fewer words").overrides, {})
    equal(patch(description=None).description, None)
    equal(variations.get(flag.id, short.id).name, "shorter")

    # They are found under their own flag only.
    for flag_id, id in [(other.id, short.id), (flag.id, elsewhere.id), ("flg_none", short.id)]:
        refused(server, 404, "not_found", variations.get, flag_id, id)
        refused(server, 404, "not_found", variations.update, flag_id, id, name="another")
    refused(server, 404, "not_found", variations.list, "flg_none")
    refused(server, 404, "not_found", variations.create, "flg_none", name="new", overrides={})
    refused(server, 404, "not_found", variations.delete, "flg_none", short.id)
    for _ in range(2):
        equal(variations.delete(flag.id, short.id), None)
    variations.delete(flag.id, control.id)
    equal(variations.list(flag.id).variations, [])
    variations.delete(flag.id, elsewhere.id)
    equal(len(variations.list(other.id).variations), 1)


def segments(server):
    segments = server.sdk.segments
    rules = [
        SegmentRule(
            match=SegmentMatchConditions(
                country=["US", "CA"],
                user_agent=SegmentContainsExpression(contains=["Mobile"]),
                domain=SegmentStartsWithExpression(starts_with=["beta."]),
            ),
            not_match=SegmentNotMatchConditions(client_id=["partner"]),
        ),
        SegmentRule(match=SegmentMatchConditions(region=SegmentExistsExpression(exists=True))),
    ]
    name = next(names)
    segment = segments.create(name=name, description="Some phones", rules=rules)
    typed(segment, CreateSegmentResponseContent)
    equal((segment.name, segment.description), (name, "Some phones"))
    equal((segment.type, segment.status), ("self", "active"))
    equal(segment.rules, rules)
    equal(type(segment.rules[0].match.user_agent), SegmentContainsExpression)
    equal(
        typed(segments.get(segment.id), GetSegmentResponseContent).model_dump(),
        segment.model_dump(),
    )

    refused(server, 409, None, segments.create, name=name, rules=rules)
    refused(server, 400, None, segments.create, name=next(names), rules=[])
    refused(server, 400, None, segments.create, name=next(names), rules=[SegmentRule()])
    refused(server, 400, None, segments.update, segment.id)
    refused(server, 400, None, segments.update, segment.id, rules=None)

    changed = typed(
        segments.update(segment.id, rules=[country("DE")]), UpdateSegmentResponseContent
    )
    equal((changed.rules, changed.description), ([country("DE")], "Some phones"))
    changed = segments.update(segment.id, name=next(names), description=None)
    equal((changed.rules, changed.description), ([country("DE")], None))
    refused(server, 400, "transition_not_allowed", segments.update, segment.id, status="active")
    # The edit and the transition come together.
    archived = segments.update(segment.id, description="No longer", status="archived")
    equal((archived.status, archived.description), ("archived", "No longer"))
    refused(server, 400, "transition_not_allowed", segments.update, segment.id, status="active")
    for _ in range(2):
        equal(segments.delete(segment.id), None)
    refused(server, 404, "not_found", segments.get, segment.id)
    refused(server, 404, "not_found", segments.update, segment.id, name=next(names))


def experiments_by_weight(server):
    world = World(server.sdk, active=False)
    experiments = server.sdk.experiments
    create = experiments.create
    about = {
        "feature_flag_id": world.flag.id,
        "authentication_flow": "authentication",
        "allocation_strategy": "percentage",
    }
    name = next(names)
    draft = typed(
        create(name=name, description="A start", **about), CreateExperimentResponseContent
    )
    equal((draft.name, draft.description, draft.status), (name, "A start", "draft"))
    equal((draft.feature_flag_id, draft.feature_flag_name), (world.flag.id, world.flag.name))
    equal((draft.authentication_flow, draft.allocation_strategy), ("authentication", "percentage"))
    equal((draft.allocations, draft.is_valid), ([], False))
    equal((draft.started_at, draft.ended_at, draft.levels, draft.current_level), (None,) * 4)
    equal(draft.feature_flag_snapshot, None)
    holds(
        {"name", "allocations", "levels", "status"} <= set(draft.editable_fields),
        draft.editable_fields,
    )
    equal(
        typed(experiments.get(draft.id), GetExperimentResponseContent).model_dump(),
        draft.model_dump(),
    )

    def codes():
        """What validate says, which must be what keeps it from being activated."""
        with unchanged(server):
            validation = typed(experiments.validate(draft.id), ValidateExperimentResponseContent)
        equal(validation.is_valid, not validation.errors)
        equal(experiments.get(draft.id).is_valid, validation.is_valid)
        codes = [error.code for error in validation.errors]
        for code in codes:
            message = refused(server, 400, None, experiments.update, draft.id, status="active")
            holds(code in message, message)
        return set(codes)

    def update(**members):
        return typed(experiments.update(draft.id, **members), UpdateExperimentResponseContent)

    control, short, badge = world.control, world.short, world.badge
    holds("feature_flag_not_active" in codes(), codes())
    server.sdk.feature_flags.update(world.flag.id, status="active")
    uneven, uncontrolled = "experiment_invalid_allocation_weights", "experiment_missing_control"
    equal(codes(), {"experiment_missing_allocations", uneven, uncontrolled})
    update(allocations=[arm(control, 60), arm(short, 30)])
    equal(codes(), {uneven, uncontrolled})
    update(allocations=[arm(control, 60, control=True), arm(short, 40, control=True)])
    equal(codes(), {uncontrolled})
    update(allocations=[arm(control, 60, control=True), arm(short, 40)])
    equal(codes(), set())
    update(allocations=[arm(control, 100, control=True)])
    equal(codes(), set())
    changed = update(allocations=[arm(control, 70, control=True), arm(short, 30), arm(badge, 0)])
    equal([a.variation_id for a in changed.allocations], [control.id, short.id, badge.id])
    equal([a.variation_name for a in changed.allocations], ["control", "short", "badge"])
    equal([a.weight for a in changed.allocations], [70, 30, 0])
    equal([a.is_control for a in changed.allocations], [True, False, False])
    equal([a.segment_id for a in changed.allocations], [None] * 3)
    holds(changed.is_valid, "it is not valid")

    # Patches of the rest.
    name = next(names)
    equal((update(name=name).name, update(description="New").description), (name, "New"))
    equal(update(description=None).description, None)
    equal(experiments.get(draft.id).description, None)
    equal(update(authentication_flow="password_reset").authentication_flow, "password_reset")
    for members in [
        {},
        {"name": None},
        {"name": " padded "},
        {"description": ""},
        {"authentication_flow": "login"},
        {"allocations": []},
        {"allocations": None},
        {"status": "running"},
        {"default_config": "other"},
        {"request_options": {"additional_body_parameters": {"feature_flag_id": world.flag.id}}},
        {"request_options": {"additional_body_parameters": {"allocation_strategy": "segment"}}},
        {"allocations": [arm(world.control, 101, control=True)]},
        {"allocations": [arm(world.control, 5, control=True)] * 21},
    ]:
        refused(server, 400, None, experiments.update, draft.id, **members)

    # References, and names that are taken.
    elsewhere = World(server.sdk)
    foreign = [arm(elsewhere.short, 100, control=True)]
    code = "variation_not_from_flag"
    refused(server, 400, code, experiments.update, draft.id, allocations=foreign)
    refused(server, 400, code, create, name=next(names), allocations=foreign, **about)
    missing = about | {"feature_flag_id": "flg_none"}
    refused(server, 404, "not_found", create, name=next(names), **missing)
    refused(server, 409, None, create, name=name, **about)
    refused(server, 409, None, experiments.update, world.experiment().id, name=name)
    unknown = about | {"authentication_flow": "login"}
    refused(server, 400, None, create, name=next(names), **unknown)

    # What is well-formed but cannot mean anything.
    by_segment = [arm(world.control, segment=world.german, priority=1, control=True)]
    refused(server, 422, None, create, name=next(names), allocations=by_segment, **about)
    refused(server, 422, None, experiments.update, draft.id, default_config="tenant")


def experiments_by_segment(server):
    world = World(server.sdk)
    experiments = server.sdk.experiments
    about = {"allocation_strategy": "segment", "authentication_flow": "mfa_enrollment"}
    draft = typed(
        world.experiment(
            allocations=[
                arm(world.badge, segment=world.german, priority=2),
                arm(world.short, segment=world.french, priority=1),
                arm(world.control, control=True, fallback=True),
            ],
            **about,
        ),
        GetExperimentResponseContent,
    )
    equal(draft.allocation_strategy, "segment")
    shown = draft.allocations
    equal(
        [a.variation_id for a in shown], [v.id for v in (world.badge, world.short, world.control)]
    )
    equal([a.segment_id for a in shown], [world.german.id, world.french.id, None])
    equal([a.segment_name for a in shown], [world.german.name, world.french.name, None])
    equal([a.priority for a in shown], [2, 1, None])
    equal([a.is_fallback for a in shown], [False, False, True])
    equal([a.weight for a in shown], [None] * 3)
    holds(draft.is_valid, "it is not valid")
    holds("levels" not in draft.editable_fields, draft.editable_fields)

    def codes(*allocations):
        experiments.update(draft.id, allocations=list(allocations))
        return {error.code for error in experiments.validate(draft.id).errors}

    german = arm(world.short, segment=world.german, priority=1)
    fallback = arm(world.control, control=True, fallback=True)
    equal(codes(german, fallback), set())
    equal(
        codes(german, arm(world.control, segment=world.french, priority=2)),
        {"experiment_missing_control", "experiment_missing_default"},
    )
    equal(codes(german, fallback, arm(world.badge, fallback=True)), {"experiment_missing_default"})
    equal(
        codes(german, fallback, arm(world.badge, segment=world.french, priority=1)),
        {"duplicate_priority"},
    )
    equal(
        codes(german, fallback, arm(world.badge, segment=world.german, priority=2)),
        {"duplicate_segment"},
    )
    equal(codes(german, fallback), set())

    weighted = [arm(world.control, 100, control=True)]
    refused(server, 422, None, experiments.update, draft.id, allocations=weighted)
    refused(server, 422, None, experiments.update, draft.id, levels=[50, 100])
    unknown = arm(world.short, segment=world.german, priority=1).model_copy(
        update={"segment_id": "seg_none"}
    )
    message = refused(
        server, 400, None, experiments.update, draft.id, allocations=[unknown, fallback]
    )
    holds("allocations[0].segment_id" in message, message)

    active = experiments.update(draft.id, status="active")
    typed(active, UpdateExperimentResponseContent)
    segment_snapshot = active.allocations[0].segment_snapshot
    equal(segment_snapshot["name"], world.german.name)
    equal(segment_snapshot["rules"], [{"match": {"country": ["DE"]}}])
    equal(active.allocations[1].segment_snapshot, None)

    # An archived segment stops nothing that runs, but nothing starts with it.
    server.sdk.segments.update(world.german.id, status="archived")
    equal(experiments.get(draft.id).status, "active")
    experiments.update(draft.id, status="paused")
    equal({e.code for e in experiments.validate(draft.id).errors}, {"segment_not_active"})
    refused(server, 400, "segment_not_active", experiments.update, draft.id, status="active")


def transitions(server):
    world = World(server.sdk)
    experiments = server.sdk.experiments
    for before, after in itertools.product(STATUSES, STATUSES):
        experiment = typed(world.experiment(before), GetExperimentResponseContent)
        equal(experiment.status, before)
        equal(experiment.started_at is not None, "active" in WAYS[before])
        equal(experiment.ended_at is not None, before == "completed")
        holds(("status" in experiment.editable_fields) == (before != "archived"), experiment)
        if (before, after) not in TRANSITIONS:
            code = None if after == "draft" else "transition_not_allowed"
            refused(server, 400, code, experiments.update, experiment.id, status=after)
            # With an edit beside it, that is not made either.
            refused(
                server, 400, None, experiments.update, experiment.id, name=next(names), status=after
            )
            equal(experiments.get(experiment.id), experiment)
            continue
        changed = typed(
            experiments.update(experiment.id, status=after), UpdateExperimentResponseContent
        )
        equal(changed.status, after)
        equal(changed.started_at is not None, "active" in WAYS[before] or after == "active")
        equal(changed.ended_at is not None, "completed" in (before, after))
        if before == "paused" and after == "active":
            equal(changed.started_at, experiment.started_at)
        equal(experiments.get(experiment.id).model_dump(), changed.model_dump())

    # Edits in the same request come first, so that a draft can be made ready and started at once.
    draft = world.experiment(allocations=[arm(world.control, 90, control=True)])
    refused(server, 400, None, experiments.update, draft.id, status="active")
    name = next(names)
    started = experiments.update(draft.id, name=name, allocations=world.halves(), status="active")
    equal((started.name, started.status, len(started.allocations)), (name, "active", 2))


def while_active(server):
    world = World(server.sdk)
    experiments = server.sdk.experiments
    active = world.experiment("active")
    equal(
        active.feature_flag_snapshot["parameters"]["headline"],
        {"type": "string", "value": "Welcome back"},
    )
    equal(
        active.allocations[1].variation_snapshot, {"name": "short", "overrides": {"headline": "Hi"}}
    )
    for field in ["allocations", "authentication_flow", "levels"]:
        holds(field not in active.editable_fields, active.editable_fields)
    others = [arm(world.control, 10, control=True), arm(world.short, 90)]
    update = experiments.update
    refused(server, 400, "experiment_requires_pause", update, active.id, allocations=others)
    refused(
        server,
        400,
        "experiment_requires_pause",
        update,
        active.id,
        name=next(names),
        allocations=others,
    )
    refused(server, 400, None, update, active.id, authentication_flow="all")
    refused(
        server,
        400,
        "experiment_requires_pause",
        update,
        active.id,
        allocations=others,
        status="paused",
    )
    name = next(names)
    changed = update(active.id, name=name, description="While it runs")
    equal((changed.name, changed.description, changed.status), (name, "While it runs", "active"))

    # Edits of what it is about do not reach it, nor does the flag's end.
    flags = server.sdk.feature_flags
    flags.variations.update(world.flag.id, world.short.id, overrides={"headline": "Hello"})
    kept = experiments.get(active.id)
    equal(kept.allocations[1].variation_snapshot["overrides"], {"headline": "Hi"})

    # Pause, edit, resume.
    update(active.id, status="paused")
    edited = update(active.id, allocations=others)
    equal([a.weight for a in edited.allocations], [10, 90])
    refused(server, 400, None, update, active.id, authentication_flow="all")
    resumed = update(active.id, status="active")
    equal((resumed.status, resumed.started_at), ("active", active.started_at))

    # What is used stays; what runs is not deleted.
    refused(server, 400, None, experiments.delete, active.id)
    refused(server, 409, "in_use", flags.delete, world.flag.id)
    refused(server, 409, "in_use", flags.variations.delete, world.flag.id, world.short.id)
    for status in ["completed", "archived"]:
        ended = world.experiment(status)
        holds("allocations" not in ended.editable_fields, ended.editable_fields)
        refused(server, 400, None, update, ended.id, allocations=others)
    holds("name" not in ended.editable_fields, ended.editable_fields)
    refused(server, 400, None, update, ended.id, name=next(names))
    flags.update(world.flag.id, status="archived")
    equal(experiments.get(active.id).status, "active")


def ramps(server):
    world = World(server.sdk)
    experiments = server.sdk.experiments
    advance = experiments.advance_ramp
    arms = [arm(world.control, control=True), arm(world.short)]
    draft = typed(
        world.experiment(levels=[10, 25, 100], allocations=arms), GetExperimentResponseContent
    )
    equal((draft.levels, draft.current_level, draft.is_valid), ([10, 25, 100], None, True))
    for levels in [[], [25, 10], [10, 10], [-1, 50], [50, 101], None]:
        refused(server, 400, None, experiments.update, draft.id, levels=levels)
    equal(experiments.update(draft.id, levels=[5, 50, 100]).levels, [5, 50, 100])
    weighted = [arm(world.control, 50, control=True), arm(world.short, 50)]
    refused(server, 422, None, experiments.update, draft.id, allocations=weighted)
    refused(server, 409, None, advance, draft.id, target_level=5)

    active = experiments.update(draft.id, status="active")
    equal((active.current_level, active.levels), (5, [5, 50, 100]))
    refused(server, 400, None, experiments.update, draft.id, levels=[5, 60])
    for level in [100, 51, 0, 101]:
        refused(server, 400, None, advance, draft.id, target_level=level)
    with unchanged(server):
        same = advance(draft.id, target_level=5)
    equal((same.from_level, same.to_level, same.current_level), (5, 5, 5))
    step = advance(draft.id, target_level=50)
    equal(step.experiment_id, draft.id)
    equal((step.from_level, step.to_level, step.current_level), (5, 50, 50))
    equal(experiments.get(draft.id).current_level, 50)
    refused(server, 400, None, advance, draft.id, target_level=5)
    experiments.update(draft.id, status="paused")
    refused(server, 409, None, advance, draft.id, target_level=100)
    experiments.update(draft.id, status="active")
    equal(advance(draft.id, target_level=100).current_level, 100)
    refused(server, 404, "not_found", advance, "exp_none", target_level=100)
    refused(server, 400, None, advance, world.experiment("active").id, target_level=100)


def lists(server):
    world, other = World(server.sdk), World(server.sdk, active=False)
    sdk = server.sdk
    everything = {
        status: world.experiment(status, authentication_flow="all") for status in STATUSES
    }
    elsewhere = other.experiment(authentication_flow="mfa_challenge")

    def listed(**filters):
        return [typed(e, ExperimentListItem).id for e in sdk.experiments.list(**filters)]

    equal(
        listed(feature_flag_id=world.flag.id),
        [everything[status].id for status in STATUSES if status != "archived"],
    )
    for status, experiment in everything.items():
        equal(listed(feature_flag_id=world.flag.id, status=status), [experiment.id])
    equal(listed(authentication_flow="mfa_challenge"), [elsewhere.id])
    equal(listed(authentication_flow="mfa_challenge", status="active"), [])
    equal(listed(feature_flag_id="flg_none"), [])
    page = sdk.experiments.list(feature_flag_id=world.flag.id)
    equal(page.items[1].model_dump(), everything["active"].model_dump())

    def listed(**filters):
        return [typed(f, FeatureFlag).id for f in sdk.feature_flags.list(**filters)]

    holds(world.flag.id in listed() and other.flag.id in listed(), "a flag is missing")
    holds(world.flag.id in listed(status="active"), "an active flag is missing")
    holds(other.flag.id not in listed(status="active"), "a draft among the active")
    equal(listed(type="self"), listed())
    equal(listed(type="auth0"), [])

    def listed(**filters):
        return [typed(s, Segment).id for s in sdk.segments.list(**filters)]

    holds(world.german.id in listed() and other.german.id in listed(), "a segment is missing")
    equal(listed(type="self"), listed())
    equal(listed(type="auth0"), [])

    for kind in [sdk.experiments, sdk.feature_flags, sdk.segments]:
        for take in [0, 51, -1]:
            refused(server, 400, None, kind.list, take=take)
        refused(server, 400, None, kind.list, from_="nonsense")
    for kind in [sdk.experiments, sdk.feature_flags]:
        refused(server, 400, None, kind.list, status="running")
    unknown = {"additional_query_parameters": {"sort": "name"}}
    refused(server, 400, None, sdk.segments.list, request_options=unknown)


def paging(server):
    """On a server of its own, so that what is listed is what is created here."""
    sdk = server.sdk
    world = World(sdk)
    sdk.segments.delete(world.german.id)
    sdk.segments.delete(world.french.id)
    parameters = {"headline": FeatureFlagConfigParam(type="string", value="Welcome")}
    kinds = {
        "experiments": (sdk.experiments, lambda: world.experiment()),
        "feature_flags": (
            sdk.feature_flags,
            lambda: sdk.feature_flags.create(name=next(names), parameters=parameters),
        ),
        "segments": (
            sdk.segments,
            lambda: sdk.segments.create(name=next(names), rules=[country("DE")]),
        ),
    }
    for kind, (client, create) in kinds.items():
        ids = [entity.id for entity in client.list()]
        while len(ids) < 7:
            ids.append(create().id)

        pages = list(client.list(take=2).iter_pages())
        equal(
            [[e.id for e in page.items] for page in pages], [ids[0:2], ids[2:4], ids[4:6], ids[6:7]]
        )
        equal([page.has_next for page in pages], [True, True, True, False])
        holds("next" not in pages[-1].response.model_fields_set, "the last page has a next")
        equal([e.id for e in client.list(take=2)], ids)
        equal([e.id for e in client.list(take=7)], ids)
        equal(client.list(take=7).has_next, False)
        equal([e.id for e in client.list()], ids)
        if kind == "experiments":
            equal(type(pages[0].response), ListExperimentsResponseContent)
            flag = world.flag.id
            equal([e.id for e in client.list(take=2, status="draft", feature_flag_id=flag)], ids)

        # Creating and deleting between the pages: also the one that the first page ended with, and
        # what the second would have begun with.
        seen = []
        for number, page in enumerate(client.list(take=2).iter_pages()):
            seen += [entity.id for entity in page.items]
            if number == 0:
                for id in ids[1:4]:
                    client.delete(id)
                ids.append(create().id)
            elif number < 3:
                ids.append(create().id)
        equal(seen, ids[0:2] + ids[4:], "something was skipped or came twice")


def absent_and_in_use(server):
    world = World(server.sdk)
    sdk = server.sdk
    for kind, id in [
        (sdk.experiments, "exp_none"),
        (sdk.feature_flags, "flg_none"),
        (sdk.segments, "seg_none"),
    ]:
        for wrong in [id, "0OIl", "a b/c", "exp_"]:
            refused(server, 404, "not_found", kind.get, wrong)
            refused(server, 404, "not_found", kind.update, wrong, name=next(names))
            with unchanged(server):
                equal(kind.delete(wrong), None)
    refused(server, 404, "not_found", sdk.experiments.validate, "exp_none")

    by_segment = world.experiment(
        allocation_strategy="segment",
        allocations=[
            arm(world.short, segment=world.german, priority=1),
            arm(world.control, control=True, fallback=True),
        ],
    )
    refused(server, 409, "in_use", sdk.segments.delete, world.german.id)
    refused(server, 409, "in_use", sdk.feature_flags.delete, world.flag.id)
    refused(
        server, 409, "in_use", sdk.feature_flags.variations.delete, world.flag.id, world.short.id
    )
    sdk.feature_flags.variations.delete(world.flag.id, world.badge.id)
    sdk.segments.delete(world.french.id)
    # What is archived holds nothing.
    sdk.experiments.update(by_segment.id, status="archived")
    sdk.segments.delete(world.german.id)
    sdk.feature_flags.delete(world.flag.id)
    typed(sdk.experiments.get(by_segment.id), GetExperimentResponseContent)

    world = World(server.sdk)
    for status in STATUSES:
        experiment = world.experiment(status)
        if status == "active":
            refused(server, 400, None, sdk.experiments.delete, experiment.id)
            continue
        for _ in range(2):
            equal(sdk.experiments.delete(experiment.id), None)
        refused(server, 404, "not_found", sdk.experiments.get, experiment.id)
    raw = server.http.delete("/api/v2/experimentation/experiments/exp_none")
    equal((raw.status_code, raw.content), (204, b""))


def contexts(server):
    """On a server of its own, so that no other experiment is on the flow."""
    world = World(server.sdk)
    experiments = server.sdk.experiments

    def device(number):
        return {"device": f"device-{number}"}

    nothing = {"context": None, "log": None, "overridden": False, "warnings": []}
    equal(server.context(flow="authentication", ids=device(1)), nothing)

    by_weight = world.experiment()
    equal(server.context(flow="authentication", ids=device(1)), nothing)

    def context(variation, control, headline):
        return {
            "experiment_id": by_weight.id,
            "variation_id": variation.id,
            "config": {"headline": {"value": headline}, "badge": {"value": False}},
            "is_control": control,
        }

    def log(variation, control):
        return {
            "experiment_id": by_weight.id,
            "variation_id": variation.id,
            "is_control": control,
            "allocation_strategy": "percentage",
        }

    short = {
        "context": context(world.short, False, "Hi"),
        "log": log(world.short, False),
        "overridden": False,
        "warnings": [],
    }
    control = {
        "context": context(world.control, True, "Welcome back"),
        "log": log(world.control, True),
        "overridden": False,
        "warnings": [],
    }
    shown = short | {"overridden": True}
    # A draft is shown to those who ask for it.
    forced = {"experiment_id": by_weight.id, "variation_id": world.short.id}
    equal(server.context(flow="authentication", ids=device(1), **forced), shown)
    equal(server.context(flow="authentication", ids={}, **forced), shown)
    equal(server.context(flow="authentication", ids=device(1)), nothing)

    experiments.update(by_weight.id, status="active")
    answers = [server.context(flow="authentication", ids=device(n)) for n in range(40)]
    holds(all(answer in (control, short) for answer in answers), answers)
    holds(control in answers and short in answers, "everyone gets the same")
    again = [server.context(flow="authentication", ids=device(n)) for n in range(40)]
    equal(again, answers)
    one = next(n for n, answer in enumerate(answers) if answer == control)
    equal(server.context(flow="authentication", ids=device(one), **forced), shown)
    equal(server.context(flow="password_reset", ids=device(one)), nothing)
    equal(server.context(flow="authentication", ids={"user": "u-1"}), nothing)

    def warned(**members):
        return server.context(flow="authentication", ids=device(one), **members)

    equal(
        warned(variation_id=world.short.id), control | {"warnings": ["experiment_orphaned_params"]}
    )
    equal(
        warned(segment_id=world.german.id), control | {"warnings": ["experiment_orphaned_params"]}
    )
    unknown = forced | {"experiment_id": "exp_none"}
    equal(warned(**unknown), control | {"warnings": ["experiment_not_found"]})
    other = forced | {"variation_id": world.badge.id}
    equal(warned(**other)["context"], control["context"])
    equal(len(warned(**other)["warnings"]), 1)

    # Paused: those who bring an assignment keep it, and nobody else gets one.
    experiments.update(by_weight.id, status="paused")
    equal(server.context(flow="authentication", ids=device(one)), nothing)
    for variation, answer in [(world.short, short), (world.control, control)]:
        kept = {by_weight.id: variation.id}
        equal(server.context(flow="authentication", ids=device(one), kept=kept), answer)
    equal(
        server.context(flow="authentication", ids=device(one), kept={by_weight.id: "var_none"}),
        nothing,
    )
    experiments.update(by_weight.id, status="completed")
    kept = {by_weight.id: world.short.id}
    equal(server.context(flow="authentication", ids=device(one), kept=kept), nothing)
    equal(server.context(flow="authentication", ids=device(one), **forced), shown)

    by_segment = world.experiment(
        "active",
        allocation_strategy="segment",
        authentication_flow="mfa_enrollment",
        allocations=[
            arm(world.short, segment=world.german, priority=1),
            arm(world.badge, segment=world.french, priority=2),
            arm(world.control, control=True, fallback=True),
        ],
    )
    for attributes, variation, segment in [
        ({"country": "DE"}, world.short, world.german),
        ({"country": "FR"}, world.badge, world.french),
        ({"country": "US"}, world.control, None),
        ({}, world.control, None),
    ]:
        answer = server.context(flow="mfa_enrollment", ids=device(1), attributes=attributes)
        equal(answer["context"]["variation_id"], variation.id)
        equal(answer["log"].get("segment_id"), segment and segment.id)
        equal(answer["log"]["allocation_strategy"], "segment")
    forced = {"experiment_id": by_segment.id, "segment_id": world.french.id}
    answer = server.context(flow="mfa_enrollment", ids={}, attributes={"country": "DE"}, **forced)
    equal(answer["context"]["variation_id"], world.badge.id)
    equal(
        answer["context"]["config"],
        {"headline": {"value": "Welcome back"}, "badge": {"value": True}},
    )
    equal(answer["log"]["segment_id"], world.french.id)

    with unchanged(server):
        envelope(server.context(400, flow="authentication", ids={}, flows=1), 400, "invalid_body")
        page = {"Origin": "http://localhost"}
        refusal = server.http.post("/context", json={}, headers=page)
        envelope(refusal.json(), 403, "origin_not_allowed")


def ramp_exposes(server):
    world = World(server.sdk)
    ramp = world.experiment(
        "active",
        authentication_flow="passkey_enrollment",
        levels=[20, 60, 100],
        allocations=[arm(world.control, control=True), arm(world.short)],
    )

    def exposed():
        answers = [
            server.context(flow="passkey_enrollment", ids={"device": f"d-{n}"})["context"]
            for n in range(100)
        ]
        return {n for n, answer in enumerate(answers) if not answer["is_control"]}

    first = exposed()
    server.sdk.experiments.advance_ramp(ramp.id, target_level=60)
    second = exposed()
    server.sdk.experiments.advance_ramp(ramp.id, target_level=100)
    holds(0 < len(first) < len(second) < 100, (len(first), len(second)))
    holds(first < second, "who was exposed is no longer")
    equal(exposed(), set(range(100)))


def limits(directory):
    for limit, flow in [("per-flow", "authentication"), ("one", "mfa_challenge")]:
        with serving(directory / f"{limit}.json", "--active-limit", limit) as server:
            world = World(server.sdk)
            experiments = server.sdk.experiments
            world.experiment("active")
            second = world.experiment(authentication_flow=flow)
            everywhere = world.experiment(authentication_flow="all")
            code = "experiment_active_limit_exceeded"
            for blocked in [second, everywhere]:
                equal([e.code for e in experiments.validate(blocked.id).errors], [code])
                refused(server, 400, code, experiments.update, blocked.id, status="active")
            if limit == "per-flow":
                equal(
                    world.experiment("active", authentication_flow="mfa_challenge").status, "active"
                )


def restarts(directory):
    file = directory / "restarts.json"
    with serving(file) as server:
        world = World(server.sdk)
        for status in STATUSES:
            world.experiment(status)
        before = [[entity.model_dump() for entity in kind] for kind in everything(server)]
        answers = [
            server.context(flow="authentication", ids={"device": f"d-{n}"}) for n in range(20)
        ]
        taken = subprocess.run(
            [Server.binary, "serve", "--port", str(server.port)],
            capture_output=True,
            text=True,
            timeout=20,
        )
        equal((taken.returncode, taken.stdout), (1, ""))
        holds(str(server.port) in taken.stderr, taken.stderr)
        server.stop(signal.SIGTERM)
    saved = file.read_bytes()
    equal(json.loads(saved)["format"], "variate/1")
    for how in [signal.SIGINT, signal.SIGTERM]:
        with serving(file) as server:
            equal([[entity.model_dump() for entity in kind] for kind in everything(server)], before)
            equal(
                [
                    server.context(flow="authentication", ids={"device": f"d-{n}"})
                    for n in range(20)
                ],
                answers,
            )
            server.stop(how)
        equal(file.read_bytes(), saved)
    with serving(file) as server:
        created = World(server.sdk).experiment("active")
        # Without a word: what was answered is in the file.
        server.kill()
    with serving(file) as server:
        equal(server.sdk.experiments.get(created.id).model_dump(), created.model_dump())


def everything(server):
    sdk = server.sdk
    yield sdk.experiments.list()
    yield sdk.experiments.list(status="archived")
    yield sdk.feature_flags.list()
    yield sdk.segments.list()
    for flag in sdk.feature_flags.list():
        yield sdk.feature_flags.variations.list(flag.id).variations


def seeds(directory):
    """The older generation: what the SDK has in common with it, and the rest without the SDK."""
    with serving(directory / "seeds.json", generation="seeds") as server:
        flags = server.sdk.feature_flags
        flag = typed(
            flags.create(
                name="Sign-in screen",
                parameters={"headline": FeatureFlagConfigParam(type="string", value="Welcome")},
            ),
            CreateFeatureFlagResponseContent,
        )
        control = flags.variations.create(flag.id, name="control", overrides={})
        short = flags.variations.create(
            flag.id, name="short", overrides={"headline": {"value": "Hi"}}
        )
        typed(short, CreateVariationResponseContent)
        equal(short.overrides, {"headline": {"value": "Hi"}})
        changed = flags.variations.update(flag.id, short.id, overrides={"headline": "Ho"})
        equal(changed.overrides, {"headline": {"value": "Ho"}})
        spare = flags.create(name="Spare flag", parameters=flag.parameters)
        last = flags.variations.create(spare.id, name="the last", overrides={})
        refused(server, 400, None, flags.variations.delete, spare.id, last.id)
        flags.delete(spare.id)

        def send(method, path, status, body=None, code=None, prefix="/api/v2"):
            before = server.document()
            response = server.http.request(method, f"{prefix}/experimentation/{path}", json=body)
            equal(response.status_code, status, response.text)
            if status >= 400:
                envelope(response.json(), status, code)
                equal(server.document(), before, "the refused request changed something")
            return response.json() if response.content else None

        own = f"feature-flags/{flag.id}"
        send("POST", f"{own}/status", 400, {"status": "draft"}, "transition_not_allowed")
        send("POST", f"{own}/status", 400, {})
        equal(send("POST", f"{own}/status", 200, {"status": "active"})["status"], "active")

        arms = [
            {"variation_id": control.id, "weight": 50.5, "is_control": True},
            {"variation_id": short.id, "weight": 49.5, "is_control": False},
        ]
        new = {
            "name": "Sign-in headline",
            "feature_flag_id": flag.id,
            "authentication_flow": "login",
            "allocation_strategy": "percentage",
            "assignment_config": {"subject": "device"},
            "allocations": arms,
        }
        for member in new:
            message = send(
                "POST", "experiments", 400, {k: v for k, v in new.items() if k != member}
            )["message"]
            holds(member in message, message)
        experiment = send("POST", "experiments", 201, new)
        expected = new | {"status": "draft", "is_valid": True}
        given = set(expected) | {"id", "created_at", "updated_at"}
        equal(set(experiment), given)
        equal({name: experiment[name] for name in expected}, expected)
        own = f"experiments/{experiment['id']}"
        equal(send("GET", own, 200), experiment)
        equal(send("GET", own, 200, prefix=""), experiment)
        equal(send("GET", "experiments", 200), {"experiments": [experiment]})
        equal(send("POST", f"{own}/validate", 200), {"is_valid": True, "errors": []})

        def status_is(status):
            shown = send("POST", f"{own}/status", 200, {"status": status})
            equal(shown["status"], status)
            times = {"started_at"} | (
                {"ended_at"} if status in ("completed", "archived") else set()
            )
            equal(set(shown), given | times)

        code = "transition_not_allowed"
        send("POST", f"{own}/status", 400, {"status": "paused"}, code)
        send("POST", f"{own}/status", 400, {"status": "draft"})
        send("POST", "experiments/exp_none/status", 404, {"status": "active"}, "not_found")
        send("POST", "feature-flags/flg_none/status", 404, {"status": "active"}, "not_found")
        status_is("active")
        send("PATCH", own, 400, {"allocations": arms[:1]}, "experiment_requires_pause")
        send("POST", f"{own}/status", 400, {"status": "archived"}, code)
        send("DELETE", own, 400)
        status_is("paused")
        equal(send("PATCH", own, 200, {"description": "Again"})["description"], "Again")
        send("PATCH", own, 200, {"description": None})
        status_is("active")
        answer = server.context(flow="login", ids={"device": "d-1"})
        equal(answer["context"]["experiment_id"], experiment["id"])
        status_is("completed")
        send("POST", f"{own}/status", 400, {"status": "active"}, code)
        status_is("archived")
        equal(send("GET", "experiments", 200), {"experiments": []})
        send("DELETE", own, 204)
        send("GET", own, 404, code="not_found")

        segment = send(
            "POST", "segments", 201, {"name": "Germany", "rules": [{"match": {"country": ["DE"]}}]}
        )
        equal(set(segment), {"id", "name", "type", "rules", "created_at", "updated_at"})


def main():
    sections = [
        flags,
        variations,
        segments,
        experiments_by_weight,
        experiments_by_segment,
        transitions,
        while_active,
        ramps,
        lists,
        paging,
        absent_and_in_use,
        contexts,
        ramp_exposes,
    ]
    alone = [harness.alone(serving, section) for section in sections]
    harness.run([*alone, limits, restarts, seeds])


if __name__ == "__main__":
    main()
