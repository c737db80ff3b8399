#!/usr/bin/env python3
"""Golden decisions: what subjects get from the experiments of snapshot.json; as far as ramps and
what subjects bring are concerned, of ramps-snapshot.json; of layers-snapshot.json for layers,
holdouts, audiences, divided segments, schedules and what is kept when; of switch-snapshot.json
for flags that are off and holdouts that have ended; and of chains-snapshot.json for chains.

    python3 generate.py           write decisions.json, ramps.json, layers.json, switch.json and
                                  chains.json
    python3 generate.py --check   exit 1 if one of them differs from what is computed here

Standard library only, and nothing taken from the crate: what is documented is
worked out here a second time, with exact fractions instead of the crate's
integers. The hash is that of ../generate.py.
"""

import argparse
import importlib.util
import json
import sys
from datetime import datetime
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).resolve().parent
SNAPSHOT = HERE / "snapshot.json"
DECISIONS = HERE / "decisions.json"
RAMPS_SNAPSHOT = HERE / "ramps-snapshot.json"
RAMPS = HERE / "ramps.json"
LAYERS_SNAPSHOT = HERE / "layers-snapshot.json"
LAYERS = HERE / "layers.json"
SWITCH_SNAPSHOT = HERE / "switch-snapshot.json"
SWITCH = HERE / "switch.json"
CHAINS_SNAPSHOT = HERE / "chains-snapshot.json"
CHAINS = HERE / "chains.json"
POINTS = 1 << 32


def load_hash():
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("points", HERE.parent / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HASH = load_hash()

# --- What is documented ----------------------------------------------------


def exact(number):
    # The shortest text of a float is the decimal that stands in the document.
    return Fraction(str(number))


def is_bare(experiment):
    """Whether it is a ramp without weights."""
    return all("weight" not in arm for arm in experiment["allocations"]) and "levels" in experiment


def weight(arm, allocations):
    """That of an arm, or if none has one, the same for each but the control."""
    if any("weight" in other for other in allocations):
        return exact(arm.get("weight", 0))
    return Fraction(not arm.get("is_control", False))


def laid_out(allocations):
    """(first point, point after the last, variation): arms in byte order of their ids."""
    arms = sorted(allocations, key=lambda arm: arm["variation_id"].encode())
    total = sum(weight(arm, arms) for arm in arms)
    slices, before = [], Fraction(0)
    for arm in arms:
        after = before + weight(arm, arms)
        start, end = POINTS * before // total, POINTS * after // total
        slices.append((start, end, arm["variation_id"]))
        before = after
    return slices


def written(partition, allocations):
    """The slices of a document, which must give every arm exactly its share."""
    starts = [row["start"] for row in partition]
    slices = [
        (row["start"], end, row["variation_id"])
        for row, end in zip(partition, [*starts[1:], POINTS])
    ]
    assert starts[0] == 0 and all(start < end for start, end, _ in slices)
    assert all(one[2] != two[2] for one, two in zip(slices, slices[1:]))
    due = {arm: end - start for start, end, arm in laid_out(allocations) if start < end}
    got = dict.fromkeys(due, 0)
    for start, end, arm in slices:
        got[arm] += end - start
    assert got == due, (got, due)
    return slices


def slots(layer):
    """(first point, point after the last, experiment or None) of a layer: as written down, which
    must give every member exactly its share; else what is free, then the members from the smallest
    share to the largest, equal ones in byte order of their ids."""
    due = {own: POINTS * exact(share) // 100 for own, share in layer["members"].items()}
    due[None] = POINTS - sum(due.values())
    if "partition" in layer:
        starts = [row["start"] for row in layer["partition"]]
        rows = zip(layer["partition"], [*starts[1:], POINTS])
        cut = [(row["start"], end, row.get("experiment_id")) for row, end in rows]
        assert starts[0] == 0 and all(start < end for start, end, _ in cut)
        got = dict.fromkeys(due, 0)
        for start, end, own in cut:
            got[own] += end - start
        assert got == due, (got, due)
        return cut
    members = sorted(layer["members"], key=lambda own: (due[own], own.encode()))
    cut, start = [], 0
    for own in [None, *members]:
        cut.append((start, start + due[own], own))
        start += due[own]
    return cut


def instant(text):
    """Milliseconds since the Unix epoch."""
    moment = datetime.fromisoformat(text)
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 1000 + moment.microsecond // 1000


def fulfils(expression, value):
    """Whether an attribute's value, None if it is missing, fulfils an expression."""
    if isinstance(expression, list):
        return isinstance(value, str) and value in expression
    ((operator, operand),) = expression.items()
    if operator == "exists":
        return (value is not None) == operand
    if not isinstance(value, str):
        return False
    test = {
        "contains": lambda part: part in value,
        "starts_with": lambda start: value.startswith(start),
        "ends_with": lambda end: value.endswith(end),
    }[operator]
    return any(test(item) for item in operand)


def in_segment(segment, attributes):
    def holds(item):
        attribute, expression = item
        return fulfils(expression, attributes.get(attribute))

    return any(
        all(map(holds, rule.get("match", {}).items()))
        and not any(map(holds, rule.get("not_match", {}).items()))
        for rule in segment["rules"]
    )


class World:
    def __init__(self, document):
        self.experiments = {e["id"]: e for e in document["experiments"]}
        past = document.get("revisions", {})
        self.layers = document.get("layers", [])
        self.holdouts = document.get("holdouts", [])
        self.flags = {
            (f["id"], f.get("version", 1)): f for f in past.get("flags", []) + document["flags"]
        }
        self.segments = {
            (s["id"], s.get("version", 1)): s
            for s in past.get("segments", []) + document["segments"]
        }
        self.newest_flag = {f["id"]: f.get("version", 1) for f in document["flags"]}
        self.newest_segment = {s["id"]: s.get("version", 1) for s in document["segments"]}

    def target(self, experiment, arms):
        """The slices of the arms that divide a segment or the fallback."""
        splits = experiment.get("iteration", {}).get("splits", [])
        own = [s for s in splits if s.get("segment_id") == arms[0].get("segment_id")]
        return written(own[0]["partition"], arms) if own else laid_out(arms)

    def group_point(self, group, draw, subject_id):
        return HASH.point(group.get("salt", group["id"]), draw, subject_id)

    def admits(self, experiment, subject):
        """Why the schedule, the holdouts or the layer keep a subject out, or None."""
        now = instant(subject["now"]) if "now" in subject else None
        if "starts_at" in experiment and now < instant(experiment["starts_at"]):
            return "before_start"
        if "ends_at" in experiment and now >= instant(experiment["ends_at"]):
            return "after_end"
        holdouts = [h for h in self.holdouts if experiment["id"] in h["experiments"]]
        holdouts = [h for h in holdouts if "ended_at" not in h]
        layers = [layer for layer in self.layers if experiment["id"] in layer["members"]]
        subject_id = subject["ids"].get(experiment.get("subject_kind", "device"), "")
        if (holdouts or layers) and subject_id == "":
            return "missing_subject_id"
        for holdout in holdouts:
            end = POINTS * exact(holdout["share"]) // 100
            if self.group_point(holdout, "holdout", subject_id) < end:
                return "held_out"
        for layer in layers:
            point = self.group_point(layer, "layer", subject_id)
            owners = [own for start, end, own in slots(layer) if start <= point < end]
            if owners != [experiment["id"]]:
                return "outside_layer_slot"
        return None

    def traffic(self, experiment, subject):
        """The share that has entered, in percent."""
        stages = experiment.get("stages", [])
        begun = [s["traffic"] for s in stages if instant(s["at"]) <= instant(subject["now"])]
        base = experiment.get("traffic", 0 if stages else 100)
        return max(map(exact, [base, *begun]))

    def slices(self, experiment):
        frozen = experiment.get("iteration", {}).get("partition")
        allocations = experiment["allocations"]
        return written(frozen, allocations) if frozen else laid_out(allocations)

    def live_flag(self, experiment):
        flag_id = experiment["flag_id"]
        return self.flags[flag_id, self.newest_flag[flag_id]]

    def live_config(self, experiment, variation_id):
        """Of the flag as it is now, not as the run froze it."""
        live = {"flag_id": experiment["flag_id"]}
        return self.config(live, variation_id)

    def config(self, experiment, variation_id):
        flag_id = experiment["flag_id"]
        version = experiment.get("iteration", {}).get("flag_version", self.newest_flag[flag_id])
        flag = self.flags[flag_id, version]
        (variation,) = [v for v in flag["variations"] if v["id"] == variation_id]
        defaults = {name: parameter["value"] for name, parameter in flag["parameters"].items()}
        return dict(sorted((defaults | variation.get("overrides", {})).items()))

    def segment(self, experiment, segment_id):
        frozen = experiment.get("iteration", {}).get("segment_versions", {})
        return self.segments[segment_id, frozen.get(segment_id, self.newest_segment[segment_id])]

    def point(self, experiment, draw, subject_id):
        return HASH.point(experiment.get("salt", experiment["id"]), draw, subject_id)

    def arms(self, experiment):
        """What can be forced or kept: the variations of its run or, if it never ran, its own."""
        run = experiment.get("iteration", {})
        allocations = run.get("allocations", experiment["allocations"])
        return [arm["variation_id"] for arm in allocations]

    def brought(self, experiment, subject, key):
        """The first variation that the subject brings and the experiment has."""
        arms = self.arms(experiment)
        return next((v for e, v in subject.get(key, []) if e == experiment["id"] and v in arms), None)

    def members(self, name):
        """The experiments of a chain, by when they started and, of those at once, by id."""
        own = [e for e in self.experiments.values() if e.get("chain") == name]
        own = [e for e in own if e.get("status") in ("active", "paused")]
        own = [e for e in own if self.live_flag(e).get("on", True)]
        return sorted(own, key=lambda e: (instant(e["created_at"]), e["id"].encode()))

    def decide(self, experiment_id, subject):
        """The same as `alone` says, unless another of the chain has the subject."""
        reason, variation, segment = self.alone(experiment_id, subject)
        experiment = self.experiments.get(experiment_id, {})
        members = self.members(experiment["chain"]) if "chain" in experiment else []
        ids = [member["id"] for member in members]
        answers = [self.alone(own, subject)[0] for own in ids]
        drawn = ("split", "segment", "fallback")
        if experiment_id not in ids or reason not in (*drawn, "kept", "not_targeted", "not_sampled"):
            return reason, variation, segment
        # By the strongest hold, and the first of equal ones.
        holds = (("forced",), ("kept",), drawn)
        ranks = [(rank, place) for rank, hold in enumerate(holds)
                 for place, answer in enumerate(answers) if answer in hold]
        own = ids.index(experiment_id)
        if not ranks or min(ranks)[1] == own or min(ranks) > (2, own):
            return reason, variation, segment
        if experiment["status"] == "paused":
            return "paused", None, None
        return "elsewhere", experiment.get("outside_variation_id"), None

    def alone(self, experiment_id, subject):
        """The reason, the variation or None, the segment or None, as if there were no chain."""
        experiment = self.experiments.get(experiment_id)
        if experiment is None:
            return "not_found", None, None
        status = experiment.get("status", "draft")
        if forced := self.brought(experiment, subject, "forced"):
            return "forced", forced, None
        if status not in ("active", "paused"):
            return status, None, None
        flag = self.live_flag(experiment)
        off = flag.get("off_variation_id")
        if not flag.get("on", True):
            return "flag_off", off, None
        keeps = {"always": ["active", "paused"], "while_paused": ["paused"], "never": []}
        may_keep = status in keeps[experiment.get("keep", "while_paused")]
        kept = self.brought(experiment, subject, "kept") if may_keep else None
        refusal = self.admits(experiment, subject)
        if refusal is None and kept:
            return "kept", kept, None
        if status == "paused":
            return "paused", None, None
        outside = experiment.get("outside_variation_id")
        if refusal is not None:
            served = outside if refusal in ("held_out", "outside_layer_slot") else None
            if refusal == "held_out" and off is not None:
                served = off
            return refusal, served, None
        subject_id = subject["ids"].get(experiment.get("subject_kind", "device"), "")
        if subject_id == "":
            return "missing_subject_id", None, None
        audience = experiment.get("audience_id")
        attributes = subject["attributes"]
        if audience and not in_segment(self.segment(experiment, audience), attributes):
            return "not_targeted", outside, None
        end = POINTS * self.traffic(experiment, subject) // 100
        if self.point(experiment, "traffic", subject_id) >= end:
            if is_bare(experiment):
                (control,) = [a for a in experiment["allocations"] if a.get("is_control")]
                return "split", control["variation_id"], None
            return "not_sampled", outside, None
        if experiment["strategy"] == "percentage":
            point = self.point(experiment, "variation", subject_id)
            (arm,) = [arm for start, end, arm in self.slices(experiment) if start <= point < end]
            return "split", arm, None

        def among(arms):
            if len(arms) == 1:
                return arms[0]["variation_id"]
            point = self.point(experiment, "variation", subject_id)
            cut = self.target(experiment, arms)
            (arm,) = [arm for start, end, arm in cut if start <= point < end]
            return arm

        arms = [arm for arm in experiment["allocations"] if not arm.get("is_fallback")]
        for arm in sorted(arms, key=lambda arm: arm["priority"]):
            if in_segment(self.segment(experiment, arm["segment_id"]), attributes):
                same = [other for other in arms if other["segment_id"] == arm["segment_id"]]
                return "segment", among(same), arm["segment_id"]
        fallbacks = [arm for arm in experiment["allocations"] if arm.get("is_fallback")]
        return "fallback", among(fallbacks), None

    def decision(self, experiment_id, subject):
        reason, variation, segment = self.decide(experiment_id, subject)
        row = {
            "experiment": experiment_id,
            "subject": subject,
            "variation": variation,
            "in_experiment": reason in ("split", "segment", "fallback", "kept"),
            "reason": reason,
        }
        if segment is not None:
            row["segment"] = segment
        row["config"] = None
        if variation is not None:
            experiment = self.experiments[experiment_id]
            off = "off_variation_id" in self.live_flag(experiment)
            live = reason == "flag_off" or (reason == "held_out" and off)
            config = self.live_config if live else self.config
            row["config"] = config(experiment, variation)
        return row


# --- The cases -------------------------------------------------------------

# Non-ASCII is written as escapes where an editor could normalise or hide it.
ODD_IDS = ["0", " ", "\u0000", "caf\u00e9", "cafe\u0301", "用户-42", "\U0001f469\u200d\U0001f4bb", "x" * 300]

ATTRIBUTES = [
    {},
    {"country": "DE"},
    {"country": "AT"},
    {"country": "at"},
    {"country": "DE "},
    {"country": "CZ", "platform": "web"},
    {"country": "SE", "email": "a@example.com"},
    {"country": "FR", "email": "a@example.com.evil"},
    {"country": "US", "email": "@example.org"},
    {"country": "US", "badge": "visitor-7"},
    {"country": "US", "badge": "guard-7"},
    {"country": "US", "badge": 7},
    {"country": "US", "badge": None, "platform": "web"},
    {"country": "CH", "platform": "ios17", "agent": "an iPad"},
    {"country": "CH", "platform": "ios17", "agent": "an iPad", "beta": False},
    {"country": "US", "platform": "android", "agent": "一平板机"},
    {"country": "US", "platform": "android", "agent": "Tabletbot"},
    {"country": "US", "platform": "Android", "agent": "Tablet"},
    {"country": "US", "platform": ["ios"], "agent": "Tablet"},
    {"country": 7},
    {"country": None, "platform": None},
    {"platform": True},
    {"platform": 1.5, "email": {"at": "example.com"}},
    {"platform": ""},
]


def devices(*ids):
    return [{"ids": {"device": i}, "attributes": {}} for i in ids]


def users(*ids):
    return [{"ids": {"user": i}, "attributes": {}} for i in ids]


def near_edges(world, experiment_id, draw, edges, count):
    """Of the ids e-0, e-1, …, those with the points closest below and above each edge."""
    experiment = world.experiments[experiment_id]
    seed = HASH.draw_seed(experiment.get("salt", experiment_id), draw)
    found = sorted((HASH.point_from_seed(f"e-{n}", seed), n) for n in range(count))
    picks = {0: found[0], 1: found[-1]}
    for edge in edges:
        picks["below", edge] = max((f for f in found if f[0] < edge), default=found[0])
        picks["above", edge] = min((f for f in found if f[0] >= edge), default=found[-1])
    return sorted({f"e-{n}" for _, n in picks.values()})


def build_rows(world):
    rows = []

    def add(experiment_id, subjects):
        rows.extend(world.decision(experiment_id, subject) for subject in subjects)

    def inner_edges(experiment_id):
        slices = world.slices(world.experiments[experiment_id])
        return [start for start, end, _ in slices if 0 < start < end]

    ordinary = [f"device-{n}" for n in range(20)]
    nobody = [
        {"ids": {}, "attributes": {}},
        {"ids": {"device": ""}, "attributes": {"country": "DE"}},
        {"ids": {"Device": "d-1"}, "attributes": {}},
    ]
    both = [
        {"ids": {"device": f"device-{n}", "user": f"user-{n}"}, "attributes": {"country": "DE"}}
        for n in range(6)
    ]

    for experiment_id in ("exp_even", "exp_eight"):
        add(experiment_id, devices(*ordinary, *ODD_IDS))
        edges = inner_edges(experiment_id)
        add(experiment_id, devices(*near_edges(world, experiment_id, "variation", edges, 20_000)))
        add(experiment_id, [*nobody, *both])

    edge = POINTS // 8
    add("exp_thirds", devices(*ordinary, *ODD_IDS, *(f"t-{n}" for n in range(100))))
    add("exp_thirds", devices(*near_edges(world, "exp_thirds", "traffic", [edge], 20_000)))

    named = [f"user-{n}" for n in range(20)]
    add("exp_rebased", users(*named, *ODD_IDS))
    edges = inner_edges("exp_rebased")
    add("exp_rebased", users(*near_edges(world, "exp_rebased", "variation", edges, 20_000)))
    add("exp_rebased", [*nobody, *both, *devices("device-1")])

    add("exp_mixed", users(*named, *ODD_IDS))
    add("exp_mixed", both)

    for n, attributes in enumerate(ATTRIBUTES):
        # An id is out for 20 %, so several.
        ids = [f"s-{n}-{i}" for i in range(3)]
        add("exp_segments", [{"ids": {"device": i}, "attributes": attributes} for i in ids])
        add("exp_frozen", [{"ids": {"device": ids[0]}, "attributes": attributes}])
    edge = POINTS * 4 // 5
    add("exp_segments", devices(*near_edges(world, "exp_segments", "traffic", [edge], 20_000)))
    add("exp_segments", nobody)

    for experiment_id in ("exp_draft", "exp_paused", "exp_done", "exp_archived", "exp_none", ""):
        add(experiment_id, [both[0], nobody[0]])

    check_distinct(rows)
    return rows


def bringing(subject, **brought):
    return [{**subject, **brought}]


def build_ramp_rows(world):
    rows = []

    def add(experiment_id, subjects):
        rows.extend(world.decision(experiment_id, subject) for subject in subjects)

    def edges(experiment_id):
        experiment = world.experiments[experiment_id]
        inner = [start for start, end, _ in world.slices(experiment) if 0 < start < end]
        traffic = [POINTS * exact(experiment["traffic"]) // 100]
        near = near_edges(world, experiment_id, "variation", inner, 20_000)
        return sorted({*near, *near_edges(world, experiment_id, "traffic", traffic, 20_000)})

    ordinary = [f"device-{n}" for n in range(30)]
    for experiment_id in ("exp_bare1", "exp_bare2", "exp_bare3", "exp_shares1", "exp_shares2"):
        add(experiment_id, devices(*ordinary, *ODD_IDS, *edges(experiment_id)))
    add("exp_nobody", devices(*ordinary[:8], *ODD_IDS, *edges("exp_nobody")))
    add("exp_everyone", users(*(f"user-{n}" for n in range(30)), *ODD_IDS, *edges("exp_everyone")))
    add("exp_rebased", devices(*ordinary, *edges("exp_rebased")))
    add("exp_everyone", [*devices("device-0"), {"ids": {"user": ""}, "attributes": {}}])

    # What they bring, with an id and without, in every status.
    device, nobody = devices("device-0")[0], {"ids": {}, "attributes": {}}
    for experiment_id in world.experiments:
        for variation in ("var_a", "var_Zed", "var_9", "var_m"):
            pair = [[experiment_id, variation]]
            add(experiment_id, bringing(device, forced=pair))
            add(experiment_id, bringing(device, kept=pair))
        add(experiment_id, bringing(nobody, forced=[[experiment_id, "var_a"]]))
        add(experiment_id, bringing(nobody, kept=[[experiment_id, "var_a"]]))
        add(experiment_id, bringing(device, forced=[], kept=[]))
    for experiment_id in ("exp_bare1", "exp_beta", "exp_paused", "exp_draft"):
        several = [[experiment_id, v] for v in ("var_none", "", "VAR_A", "var_Zed", "var_a")]
        others = [["exp_other", "var_a"], ["", "var_a"], ["exp_bare2", "var_9"]]
        add(experiment_id, bringing(device, forced=several + others))
        add(experiment_id, bringing(device, kept=others + several))
        add(experiment_id, bringing(device, forced=several[:3], kept=several))
        add(experiment_id, bringing(device, forced=[several[4]], kept=[several[3]]))
    beta = {"ids": {"device": "device-1"}, "attributes": {"beta": "yes"}}
    add("exp_beta", [beta, *bringing(beta, forced=[["exp_beta", "var_a"]])])
    add("exp_missing", bringing(device, forced=[["exp_missing", "var_a"]]))

    check_distinct(rows)
    return rows


# Around each moment at which something begins or ends.
MOMENTS = [
    "2026-11-21T08:59:59.999Z",
    "2026-11-21T09:00:00.000Z",
    "2026-11-21T09:00:00.001Z",
    "2026-11-22T08:59:59.999Z",
    "2026-11-22T10:00:00.000+01:00",
    "2026-11-22T23:00:00.000Z",
    "2026-11-23T09:00:00.000Z",
    "2026-11-24T08:59:59.999Z",
    "2026-11-24T09:00:00.000Z",
]


def build_layer_rows(world):
    rows = []

    def add(experiment_id, subjects, now="2026-11-23T12:00:00.000Z"):
        rows.extend(world.decision(experiment_id, {**subject, "now": now}) for subject in subjects)

    def edges(group, draw, starts):
        salt = group.get("salt", group["id"])
        seed = HASH.draw_seed(salt, draw)
        found = sorted((HASH.point_from_seed(f"g-{n}", seed), n) for n in range(20_000))
        picks = []
        for edge in starts:
            picks += [f for f in found if f[0] < edge][-1:] + [f for f in found if f[0] >= edge][:1]
        return sorted({f"g-{n}" for _, n in picks})

    with_attributes = [
        {"country": "DE", "platform": "ios17"},
        {"country": "FR", "plan": "trial"},
        {"country": "FR", "plan": "team", "platform": "android"},
        {"platform": "web", "plan": 7},
        {"country": "US"},
    ]
    everywhere = [(i, kind) for kind in (devices, users) for i in ODD_IDS[:6]]
    edited, first, _ = world.layers
    inner = [start for start, _, _ in slots(edited) if start]
    for experiment_id in ("exp_begin", "exp_next", "exp_rest", "exp_draft"):
        add(experiment_id, devices(*edges(edited, "layer", inner)[:8], "device-1"))
    add("exp_begin", [kind(i)[0] for i, kind in everywhere])
    inner = [start for start, _, _ in slots(first) if start]
    for experiment_id in ("exp_big", "exp_evenA", "exp_evenB", "exp_nobody"):
        add(experiment_id, users(*edges(first, "layer", inner)))
    hold_a, hold_b, hold_c = world.holdouts
    ends = [POINTS * exact(h["share"]) // 100 for h in world.holdouts]
    add("exp_out", devices(*edges(hold_a, "holdout", ends[:1]), *edges(hold_b, "holdout", ends[1:2])))
    add("exp_out", devices(*(f"device-{n}" for n in range(16)), *ODD_IDS))
    for n, attributes in enumerate(with_attributes):
        named = [f"s-{n}-{i}" for i in range(9)]
        subjects = [{"ids": {"device": i}, "attributes": attributes} for i in named]
        add("exp_segments", subjects)
        for experiment_id in ("exp_audience", "exp_mixed", "exp_every"):
            add(experiment_id, subjects[:6])
    inner = [start for start, _, _ in laid_out([
        {"variation_id": v, "weight": w} for v, w in (("var_m", 20), ("var_Zed", 30), ("var_9", 50))
    ]) if start]
    cut = [1_000_000_000, 3_576_980_377]
    for starts, attributes in ((inner, {"platform": "ios"}), (cut, {"country": "DE"})):
        ids = edges(world.experiments["exp_segments"], "variation", starts)
        add("exp_segments", [{"ids": {"device": i}, "attributes": attributes} for i in ids])
    for now in MOMENTS:
        for experiment_id in ("exp_times", "exp_stages", "exp_base"):
            add(experiment_id, devices("device-1", "device-2", "device-3"), now)
        add("exp_every", [{"ids": {"device": "g-1"}, "attributes": with_attributes[0]}], now)
        kept = [["exp_times", "var_a"], ["exp_asked", "var_9"]]
        add("exp_times", bringing(devices("device-1")[0], kept=kept), now)
        add("exp_asked", bringing(devices("device-1")[0], kept=kept), now)
    stage = POINTS * exact(33.333333) // 100
    near = edges(world.experiments["exp_stages"], "traffic", [stage, POINTS // 10])
    add("exp_stages", devices(*near), MOMENTS[3])
    add("exp_stages", devices(*near), MOMENTS[4])

    # What they bring, with an id and without, behind every gate.
    nobody = {"ids": {}, "attributes": {}}
    for experiment_id in world.experiments:
        pair = [[experiment_id, "var_9"], [experiment_id, "var_a"]]
        experiment = world.experiments[experiment_id]
        kind = experiment.get("subject_kind", "device")
        candidates = ({"ids": {kind: f"in-{n}"}, "attributes": {}} for n in range(200))
        now = "2026-11-23T12:00:00.000Z"
        let_in = (s for s in candidates if world.admits(experiment, {**s, "now": now}) is None)
        for subject in (*devices("device-4"), *users("user-4"), *list(let_in)[:2], nobody):
            add(experiment_id, bringing(subject, kept=pair))
        add(experiment_id, bringing(nobody, forced=pair))
        add(experiment_id, [nobody])

    check_distinct(rows)
    return rows


def build_switch_rows(world):
    rows = []

    def add(experiment_id, subjects, now="2026-11-23T12:00:00.000Z"):
        rows.extend(world.decision(experiment_id, {**subject, "now": now}) for subject in subjects)

    nobody = {"ids": {}, "attributes": {}}
    ordinary = devices(*(f"device-{n}" for n in range(24)), *ODD_IDS[:6])
    german = {"ids": {"device": "device-1"}, "attributes": {"country": "DE"}}
    for experiment_id in world.experiments:
        add(experiment_id, [*ordinary, nobody, german])
        for variation in ("var_a", "var_Zed", "var_9", "var_x", "var_y", "var_z", "var_d"):
            pair = [[experiment_id, variation]]
            for subject in (ordinary[0], nobody):
                add(experiment_id, bringing(subject, kept=pair))
                add(experiment_id, bringing(subject, forced=pair))
    ends = [POINTS // 4]
    seed = HASH.draw_seed("hld_a", "holdout")
    found = sorted((HASH.point_from_seed(f"g-{n}", seed), n) for n in range(20_000))
    for edge in ends:
        near = [max(f for f in found if f[0] < edge), min(f for f in found if f[0] >= edge)]
        add("exp_bright", devices(*(f"g-{n}" for _, n in near)))

    check_distinct(rows)
    return rows


def build_chain_rows(world):
    """Each experiment for subjects on a device, some of them users, who bring nothing, or are kept
    or forced in one or two of the chain."""
    rows = []

    def add(subject):
        rows.extend(world.decision(own, subject) for own in world.experiments)

    for n in range(24):
        ids = {"device": f"device-{n}"} | ({"user": f"user-{n}"} if n % 2 else {})
        add({"ids": ids, "attributes": {"country": "DE" if n % 3 else "FR"}})
    add({"ids": {"user": "user-1"}, "attributes": {"country": "DE"}})
    add({"ids": {}, "attributes": {}})
    for n, (kept, forced) in enumerate([
        (["exp_paused"], []),
        (["exp_second"], []),
        (["exp_paused", "exp_second"], []),
        (["exp_first", "exp_tie1"], []),
        (["exp_second"], ["exp_tie9"]),
        ([], ["exp_third", "exp_paused"]),
        ([], ["exp_draft"]),
        (["exp_off"], ["exp_sharing"]),
    ]):
        for device in (f"device-{n}", f"device-{n + 8}"):
            subject = {"ids": {"device": device}, "attributes": {"country": "DE"}}
            for key, own in (("kept", kept), ("forced", forced)):
                if own:
                    subject[key] = [[experiment, "var_b"] for experiment in own]
            add(subject)
    check_distinct(rows)
    return rows


def check_distinct(rows):
    keys = [json.dumps([row["experiment"], row["subject"]], sort_keys=True) for row in rows]
    assert len(set(keys)) == len(keys), "the same case twice"


# --- The file --------------------------------------------------------------


def render(rows):
    # What cannot be seen is escaped, as in ../points.json.
    def line(row):
        text = json.dumps(row, ensure_ascii=False)
        return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)

    return "[\n" + ",\n".join(map(line, rows)) + "\n]\n"


def main():
    parser = argparse.ArgumentParser(description="Golden decisions of xxh64-v1.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()

    HASH.self_check()
    for snapshot, decisions, build in (
        (SNAPSHOT, DECISIONS, build_rows),
        (RAMPS_SNAPSHOT, RAMPS, build_ramp_rows),
        (LAYERS_SNAPSHOT, LAYERS, build_layer_rows),
        (SWITCH_SNAPSHOT, SWITCH, build_switch_rows),
        (CHAINS_SNAPSHOT, CHAINS, build_chain_rows),
    ):
        rows = build(World(json.loads(snapshot.read_text(encoding="utf-8"))))
        text = render(rows)
        if args.check:
            # Read as text: a checkout may have other line ends.
            if not decisions.is_file() or decisions.read_text(encoding="utf-8") != text:
                sys.exit(f"{decisions.name} differs from what was computed")
            print(f"{decisions.name}: {len(rows)} decisions, all as computed")
        else:
            decisions.write_text(text, encoding="utf-8", newline="\n")
            print(f"{decisions.name}: {len(rows)} decisions written")


if __name__ == "__main__":
    main()
