#!/usr/bin/env python3
"""Golden vectors of the hash version `xxh64-v1`.

    python3 generate.py           write points.json beside this file
    python3 generate.py --check   exit 1 if points.json differs from what is computed here

Standard library only, and nothing taken from the crate: a vector computed by
the code it tests would prove nothing.
"""

import argparse
import json
import sys
from pathlib import Path

POINTS = Path(__file__).resolve().parent / "points.json"
DRAWS = ("holdout", "layer", "traffic", "variation")

# --- XXH64, from the published specification -------------------------------

MASK = 0xFFFF_FFFF_FFFF_FFFF
P1 = 0x9E37_79B1_85EB_CA87
P2 = 0xC2B2_AE3D_27D4_EB4F
P3 = 0x1656_67B1_9E37_79F9
P4 = 0x85EB_CA77_C2B2_AE63
P5 = 0x27D4_EB2F_1656_67C5


def rotl(x, r):
    return ((x << r) | (x >> (64 - r))) & MASK


def mix_lane(acc, lane):
    return rotl((acc + lane * P2) & MASK, 31) * P1 & MASK


def merge(acc, lane_acc):
    return ((acc ^ mix_lane(0, lane_acc)) * P1 + P4) & MASK


def xxh64(data, seed=0):
    n, at = len(data), 0

    if n >= 32:
        accs = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK]
        while n - at >= 32:
            for i in range(4):
                accs[i] = mix_lane(accs[i], int.from_bytes(data[at : at + 8], "little"))
                at += 8
        a, b, c, d = accs
        h = (rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18)) & MASK
        for acc in accs:
            h = merge(h, acc)
    else:
        h = (seed + P5) & MASK

    h = (h + n) & MASK

    while n - at >= 8:
        h ^= mix_lane(0, int.from_bytes(data[at : at + 8], "little"))
        h = (rotl(h, 27) * P1 + P4) & MASK
        at += 8
    if n - at >= 4:
        h ^= int.from_bytes(data[at : at + 4], "little") * P1 & MASK
        h = (rotl(h, 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        h ^= byte * P5 & MASK
        h = rotl(h, 11) * P1 & MASK

    h = (h ^ (h >> 33)) * P2 & MASK
    h = (h ^ (h >> 29)) * P3 & MASK
    return h ^ (h >> 32)


def sanity_bytes(n):
    """The test buffer of the reference implementation's own sanity check."""
    out, state = bytearray(), 2654435761
    for _ in range(n):
        out.append(state >> 56)
        state = state * 11400714785074694797 & MASK
    return bytes(out)


def self_check():
    prime32 = 2654435761
    published = [
        (b"", 0, 0xEF46DB3751D8E999),
        (b"a", 0, 0xD24EC4F1A98C6E5B),
        (b"abc", 0, 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
        # Tails of 1, 4 and 14 bytes, then six full blocks and a tail.
        (sanity_bytes(1), 0, 0xE934A84ADB052768),
        (sanity_bytes(4), 0, 0x9136A0DCA57457EE),
        (sanity_bytes(14), 0, 0x8282DCC4994E35C8),
        (sanity_bytes(222), 0, 0xB641AE8CB691C174),
        # The formula uses seed 0 only; these show that xxh64() is right in full.
        (b"", prime32, 0xAC75FDA2929B17EF),
        (sanity_bytes(222), prime32, 0x20CB8AB7AE10C14A),
    ]
    for data, seed, want in published:
        got = xxh64(data, seed)
        if got != want:
            sys.exit(f"XXH64 self-check failed: {data!r} seed {seed}: {got:016x}, not {want:016x}")


# --- The formula -----------------------------------------------------------


def draw_seed(salt, draw):
    return xxh64(salt.encode() + b"\x00" + draw.encode())


def point_from_seed(subject, seed):
    subject_hash = xxh64(subject.encode())
    return xxh64((subject_hash ^ seed).to_bytes(8, "little")) >> 32


def point(salt, draw, subject):
    return point_from_seed(subject, draw_seed(salt, draw))


# --- The cases -------------------------------------------------------------

# Non-ASCII is written as escapes where an editor could normalise or hide it.
E_NFC = "caf\u00e9"
E_NFD = "cafe\u0301"
HANGUL_NFC = "\ud55c\uae00"
HANGUL_NFD = "\u1112\u1161\u11ab\u1100\u1173\u11af"

TEXTS = [
    E_NFC,
    E_NFD,
    HANGUL_NFC,
    HANGUL_NFD,
    "Stra\u00dfe",
    "\u00c5ngstr\u00f6m",
    "A\u030angstro\u0308m",
    "\u212bngstr\u00f6m",  # ANGSTROM SIGN: NFC would turn it into U+00C5
    "\ufb01ne",  # the fi ligature: NFKC would turn it into two letters
    "用户-42",
    "ユーザー",
    "Пользователь",
    "مستخدم-٧",
    "משתמש-7",
    "\u200fabc\u200e",  # direction marks
    "🙂",
    "\U0001f469\u200d\U0001f4bb",  # woman, ZWJ, laptop
    "\U0001f469\U0001f4bb",  # the same without the joiner
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f1eb\U0001f1f7",  # flag: two regional indicators
    "\U0001f44d\U0001f3fd",  # thumb with a skin tone
    "\u2764\ufe0f",  # heart with a variation selector
    "q\u0307\u0323",  # combining marks in the two possible orders
    "q\u0323\u0307",
    "\u0e19\u0e49\u0e33",  # Thai, with a tone mark
    "\ufeffabc",  # a byte order mark is part of the id
]

# Texts that trimming, C strings, case folding or sloppy escaping would change.
AWKWARD = [
    "\u0000",
    "\u0000\u0000",
    "id\u0000",
    "\u0000id",
    "i\u0000d",
    "id",
    "ID",
    " id",
    "id ",
    " id ",
    " ",
    "\t",
    "\tid",
    "id\n",
    "id\r\n",
    "\n",
    "two\nlines",
    "\u00a0id",
    "id\u3000",
    "line\u2028separator",
    "next\u0085line",
    "del\u007f",
    "esc\u001b[0m",
    '"',
    'say "id"',
    "'id'",
    "\\",
    "\\\\",
    "\\u0000",
    "\\n",
    "C:\\users\\id",
    "a/b?c=d&e=%00#f",
    "{\"id\": null}",
]

# Salts that are easily mixed up: by prefix, by case, by a number at the end,
# or by where the salt ends and the draw's name begins.
LOOK_ALIKES = [
    "exp_1",
    "exp_2",
    "exp_11",
    "exp-1",
    "Exp_1",
    "x",
    "x2",
    "xx",
    "X",
    "a",
    "a\u0000",
    "a\u0000\u0000",
    "\u0000a",
    "\u0000",
    "alayer",
    "a\u0000layer",
    "a\u0000layer\u0000",
    "a\u0000traffic",
    "layer",
    "\u0000layer",
]

ORDINARY = [
    *(f"device-{n}" for n in range(17, 25)),
    "123e4567-e89b-12d3-a456-426614174000",
    "123E4567-E89B-12D3-A456-426614174000",
    "f47ac10b58cc4372a5670e02b2c3d479",
    "ana.lopez@example.com",
    "ana.lopez+test@example.com",
    "0",
    "1",
    "42",
    "042",
    "-1",
    "1.0",
    "4294967296",
    "18446744073709551615",
]


def cycle(pattern, n):
    return (pattern * (n // len(pattern) + 1))[:n]


def ascii_of(n):
    return cycle("abcdefghijklmnopqrstuvwxyz0123456789", n)


def long_text(n):
    """n characters (code points) of one to four bytes each."""
    return cycle("ab-\u00e9-日本-🙂|", n)


def boundary_ids(salt, draw):
    """Among 200,000 ids: the extremes, and those closest around 2^30 and 2^31."""
    seed = draw_seed(salt, draw)
    found = [(point_from_seed(f"b-{n}", seed), n) for n in range(200_000)]
    picks = [min(found), max(found)]
    for edge in (1 << 30, 1 << 31):
        picks.append(max(f for f in found if f[0] < edge))
        picks.append(min(f for f in found if f[0] >= edge))
    return [f"b-{n}" for _, n in picks]


def build_cases():
    cases = []

    def add(salt, draw, subject):
        cases.append((salt, draw, subject))

    for subject in ORDINARY:
        for draw in DRAWS:
            add("checkout-button", draw, subject)

    # Byte lengths of the subject: XXH64 works in steps of 32, 8, 4 and 1 bytes.
    for i, n in enumerate([*range(41), 63, 64, 65, 127, 128, 129]):
        add("lengths", DRAWS[i % 4], ascii_of(n))

    # Characters that end at such an edge, or lie across it.
    for edge in (4, 8, 32, 64):
        for before in (2, 1):
            add("lengths", "traffic", "x" * (edge - before) + "\u00e9")
            add("lengths", "variation", "x" * (edge - 2 * before) + "🙂")

    # The same edges for the seed's input: salt, 0x00 and the draw's name.
    for draw in DRAWS:
        for total in (31, 32, 33, 64, 65):
            add(ascii_of(total - 1 - len(draw)), draw, "device-17")

    for draw in DRAWS:
        add("", draw, "")
        add("", draw, "device-17")
        add("checkout-button", draw, "")

    for i, salt in enumerate(LOOK_ALIKES):
        add(salt, "layer", "user-1")
        add(salt, ("holdout", "traffic", "variation")[i % 3], "user-1")

    for i, text in enumerate(TEXTS):
        add("text", DRAWS[i % 4], text)
        add(text, DRAWS[(i + 1) % 4], "user-1")
    # Same salt and draw, so that only the normal form differs.
    for text in (E_NFC, E_NFD, HANGUL_NFC, HANGUL_NFD):
        add("normal-form", "variation", text)
        add(text, "variation", text)

    for text in AWKWARD:
        add("awkward", "variation", text)
    for i, text in enumerate(AWKWARD):
        add(text, DRAWS[i % 4], "user-2")

    for i, n in enumerate((1000, 1024, 5000)):
        add("long", DRAWS[i], long_text(n))
        add(long_text(n), DRAWS[i + 1], "user-1")
        add(long_text(n), "variation", long_text(n))

    for subject in boundary_ids("boundary", "traffic"):
        add("boundary", "traffic", subject)

    if len(set(cases)) != len(cases):
        twice = sorted({c for c in cases if cases.count(c) > 1})
        sys.exit(f"the same case twice: {twice}")
    return cases


# --- The file --------------------------------------------------------------


def quote(text):
    # What cannot be seen is escaped, so that no editor or viewer changes or
    # hides it; all else stays readable.
    return "".join(
        c if c.isprintable() else json.dumps(c)[1:-1]
        for c in json.dumps(text, ensure_ascii=False)
    )


def render(cases):
    lines = [
        f'{{"salt": {quote(salt)}, "draw": {quote(draw)}, '
        f'"subject": {quote(subject)}, "point": {point(salt, draw, subject)}}}'
        for salt, draw, subject in cases
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main():
    parser = argparse.ArgumentParser(description="Golden vectors of xxh64-v1.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()

    self_check()
    cases = build_cases()
    text = render(cases)

    if args.check:
        # Read as text: a checkout may have other line ends.
        if not POINTS.is_file() or POINTS.read_text(encoding="utf-8") != text:
            sys.exit(f"{POINTS.name} differs from what was computed")
        print(f"{POINTS.name}: {len(cases)} cases, all as computed")
    else:
        POINTS.write_text(text, encoding="utf-8", newline="\n")
        print(f"{POINTS.name}: {len(cases)} cases written")


if __name__ == "__main__":
    main()
