"""Trino's expressions in DuckDB, whose SQL is near enough that they are read as they are.

The functions that DuckDB lacks, or has with another meaning, are written here after Trino's
documentation. So this shows that the expressions say what they should in these words, and not that
Trino reads them so.
"""

import hashlib

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from cases import NUMBER, Cases

# Functions in Python are slow.
ROWS = 10_000


def xxhash64(binary):
    return xxhash.xxh64_digest(binary, seed=0)


def from_big_endian_64(binary):
    if len(binary) != 8:
        raise ValueError(f"expected 8 bytes, not {len(binary)}")
    return int.from_bytes(binary, "big", signed=True)


def to_big_endian_64(number):
    return number.to_bytes(8, "big", signed=True)


def reverse(binary):
    return binary[::-1]


def bitwise_right_shift(number, shift):
    """The bits that come in are zeros, whatever the sign."""
    return (number % 2**64) >> shift


def substr(text, start):
    """Characters count from 1, or back from the end; from 0 and from before the first, there is
    nothing."""
    if start > 0:
        return text[start - 1 :]
    return "" if start == 0 or -start > len(text) else text[start:]


def sha1(binary):
    return hashlib.sha1(binary).digest()


def piece(binary, start, length):
    """What `substr` is of bytes, which count from 1."""
    return binary[start - 1 :][:length]


FUNCTIONS = [
    (xxhash64, ["BLOB"], "BLOB"),
    (from_big_endian_64, ["BLOB"], "BIGINT"),
    (to_big_endian_64, ["BIGINT"], "BLOB"),
    (reverse, ["BLOB"], "BLOB"),
    (bitwise_right_shift, ["BIGINT", "BIGINT"], "BIGINT"),
    (substr, ["VARCHAR", "BIGINT"], "VARCHAR"),
    (sha1, ["BLOB"], "BLOB"),
    (piece, ["BLOB", "BIGINT", "BIGINT"], "BLOB"),
]


TYPES = {"BIGINT": pa.int64(), "BLOB": pa.binary(), "VARCHAR": pa.string()}


def by_column(function, parameters, returned):
    """The function of whole columns: NULL wherever an argument is."""

    def apply(columns):
        rows = zip(*(column.to_pylist() for column in columns))
        results = [None if None in row else function(*row) for row in rows]
        return pa.array(results, TYPES[returned])

    # The engine counts the parameters.
    if len(parameters) == 1:
        return lambda column: apply([column])
    if len(parameters) == 2:
        return lambda one, two: apply([one, two])
    return lambda one, two, three: apply([one, two, three])


def main():
    cases = Cases("trino", chunk=40)
    subjects = cases.table.slice(0, ROWS)
    # DuckDB has other types for moments, and takes NaN for more than all numbers.
    for index, field in enumerate(subjects.schema):
        column = subjects.column(index)
        if pa.types.is_timestamp(field.type):
            subjects = subjects.set_column(index, field.name, column.cast(pa.timestamp("us")))
    for index, field in enumerate(subjects.schema):
        if pa.types.is_floating(field.type):
            is_number = pc.invert(pc.is_nan(subjects.column(index)))
            subjects = subjects.filter(pc.fill_null(is_number, True))
    engine = duckdb.connect()
    engine.register("subjects", subjects)
    for function, parameters, returned in FUNCTIONS:
        engine.create_function(
            f"trino_{function.__name__}",
            by_column(function, parameters, returned),
            parameters,
            returned,
            type="arrow",
            null_handling="special",
        )
        # A macro takes the place of a function that the engine has.
        names = ", ".join("xyz"[: len(parameters)])
        name = function.__name__
        engine.execute(f"CREATE MACRO {name}({names}) AS trino_{name}({names})")
    engine.execute(
        "CREATE OR REPLACE MACRO substr(x, y) AS trino_substr(x, y), "
        "(x, y, z) AS trino_piece(x, y, z)"
    )
    engine.execute("CREATE MACRO bitwise_xor(x, y) AS xor(x, y)")
    engine.execute("CREATE MACRO to_utf8(x) AS encode(x)")
    engine.execute("CREATE MACRO from_utf8(x) AS decode(x)")

    def select(expressions):
        query = f'SELECT "{NUMBER}", {expressions} FROM subjects'
        return engine.sql(query).arrow().read_all()

    rows = subjects.column(NUMBER).to_pylist()
    cases.compare(f"numbers among the first {ROWS:,} rows", select, rows)
    cases.done(f"DuckDB {duckdb.__version__} for Trino")


main()
