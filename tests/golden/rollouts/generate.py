#!/usr/bin/env python3
"""Golden decisions under `sha1-v1` and `sha1-f32-v1`, on the experiments of snapshot.json.

    python3 generate.py           write decisions.json beside this file
    python3 generate.py --check   exit 1 if it differs from what is computed here, or if points.json
                                  does

Standard library only, and nothing taken from the crate: what is documented is worked out here a
second time, with SHA-1 from the library, exact fractions, and floats of 32 bits that are rounded by
hand.
"""

import argparse
import hashlib
import json
import struct
import sys
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUCKETS = 100_000
SCALE = (1 << 60) - 1


def point(salt, subject):
    return int(hashlib.sha1(f"{salt}.{subject}".encode()).hexdigest()[:15], 16)


def single(number):
    """A whole number as the nearest float of 32 bits, the even one of two; floats of 64 bits hold
    it exactly."""
    excess = max(number.bit_length() - 24, 0)
    kept, lost = number >> excess, number & ((1 << excess) - 1)
    half = (1 << excess) >> 1
    if excess and (lost > half or lost == half and kept & 1):
        kept += 1
    return float(kept << excess)


def to_single(float64):
    """The result of one operation on two floats of 32 bits, made of that in 64."""
    return struct.unpack("f", struct.pack("f", float64))[0]


def share(number):
    return to_single(single(number) / single(SCALE))


def pick(hash_version, slices, number):
    """The slice in which a point lies."""
    total = 0
    for own in slices:
        if hash_version == "sha1-v1":
            total += own["weight"]
            if Fraction(number, SCALE) < Fraction(total, BUCKETS):
                return own
        else:
            width = to_single(float(own["weight"]) / float(BUCKETS))
            total = to_single(total + width)
            if share(number) < total:
                return own
    return slices[-1]


def exact(number):
    # The shortest text of a float is the decimal that stands in the document.
    return Fraction(str(number))


def layout(experiment):
    """The slices that the document gives, or those of the first layout."""
    iteration = experiment.get("iteration", {})
    given = iteration.get("rollout", experiment.get("rollout"))
    if given is not None:
        return given
    arms = experiment["allocations"]
    traffic = exact(experiment.get("traffic", 100)) / 100
    # One bucket after the other, by the divisors 1, 3, 5, ...
    due = {arm["variation_id"]: 0 for arm in arms}
    weights = {arm["variation_id"]: exact(arm["weight"]) for arm in arms}
    taken = int(BUCKETS * traffic + Fraction(1, 2))
    turns = [
        ((2 * n + 1) / weight, own, n)
        for own, weight in weights.items()
        if weight
        for n in range(int(taken * weight / sum(weights.values())) + len(arms) + 1)
    ]
    for _, own, _ in sorted(turns)[:taken]:
        due[own] += 1
    start = sum(due.values())
    slices = [
        {"variation_id": arm["variation_id"], "weight": due[arm["variation_id"]]} for arm in arms
    ]
    slices.append({"weight": BUCKETS - start, "untracked": True})
    return [own for own in slices if own["weight"]]


def decide(experiment, ids):
    """The variation, whether it is in the experiment, and why."""
    if experiment["status"] != "active":
        return None, False, experiment["status"]
    slices = layout(experiment)
    subject = ids.get(experiment.get("subject_kind", "device"), "")
    if subject:
        salt = experiment.get("salt", experiment["id"])
        own = pick(experiment["hash"], slices, point(salt, subject))
        tracked = not own.get("untracked", False)
        reason = "split" if tracked else "not_sampled"
    else:
        own = next(own for own in slices if own["weight"])
        tracked, reason = False, "missing_subject_id"
    return own.get("variation_id", experiment.get("outside_variation_id")), tracked, reason


SUBJECTS = [
    "userKeyA", "userKeyB", "userKeyC", "userKeyD", "33333", "99999", "device-42", "a.b", ".", " ",
    "x" * 55, "x" * 64, "x" * 200, "ä", "a\u0308", "平板", "👩‍🚀", "a\0b", "\n", "0",
    *(f"user-{number}" for number in range(25)),
]

# Points next to the borders of exp_many, where floats of 32 bits decide otherwise.
SEARCHED = 4_000_000


def rounded(experiments):
    """Subjects that the two formulas put into different slices, by salt."""
    found = {"61": ["user-23539670"]}
    many = next(own for own in experiments if own["id"] == "exp_many")
    slices, salt = layout(many), many["salt"]
    ends, total = [], 0
    for own in slices:
        total += own["weight"]
        ends.append(total * (SCALE + 1) // BUCKETS)
    near = 1 << 37
    for number in range(SEARCHED):
        own = point(salt, f"user-{number}")
        if any(abs(own - end) < near for end in ends):
            if pick("sha1-v1", slices, own) is not pick("sha1-f32-v1", slices, own):
                found.setdefault(salt, []).append(f"user-{number}")
    return found


def decisions():
    snapshot = json.loads((HERE / "snapshot.json").read_text(encoding="utf-8"))
    values = {name: own["value"] for name, own in snapshot["flags"][0]["parameters"].items()}
    overrides = {own["id"]: own.get("overrides", {}) for own in snapshot["flags"][0]["variations"]}
    experiments = snapshot["experiments"]
    known = rounded(experiments)
    rows = []
    for experiment in experiments:
        kind = experiment.get("subject_kind", "device")
        subjects = SUBJECTS + known.get(experiment.get("salt"), [])
        ids = [{kind: subject} for subject in subjects]
        for own in [*ids, {kind: ""}, {"session": "userKeyA"}]:
            variation, tracked, reason = decide(experiment, own)
            config = None if variation is None else {**values, **overrides[variation]}
            rows.append(
                {
                    "experiment": experiment["id"],
                    "subject": {"ids": own, "attributes": {}},
                    "variation": variation,
                    "in_experiment": tracked,
                    "reason": reason,
                    "config": config,
                }
            )
    return rows


def check_points():
    rows = json.loads((HERE / "points.json").read_text(encoding="utf-8"))
    for row in rows:
        number = point(row["salt"], row["subject"])
        assert number == row["point"], row
        assert share(number) == row["share"], row
        if "published" in row:
            assert abs(share(number) - row["published"]) < 1e-7, row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    check_points()
    rows = [json.dumps(row, ensure_ascii=False) for row in decisions()]
    text = "[\n" + ",\n".join(rows) + "\n]\n"
    path = HERE / "decisions.json"
    if not check:
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path.name} differs")


main()
