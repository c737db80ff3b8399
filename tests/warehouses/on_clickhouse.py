"""ClickHouse, in process."""

import io

import chdb
import pyarrow as pa
from cases import NUMBER, Cases

# How many rows there are for each of the next.
SOME = 5_000

# What could change the meaning of an expression.
SETTINGS = [
    "transform_null_in = 1",
    "cast_keep_nullable = 1",
    "short_circuit_function_evaluation = 'disable'",
    "compile_expressions = 0",
    "optimize_if_chain_to_multiif = 1, optimize_if_transform_strings_to_enum = 1",
    "data_type_default_nullable = 1",
]

# Columns of other types that hold the same.
TYPES = [
    "assumeNotNull(`id`) AS `id`",
    "toLowCardinality(assumeNotNull(`id`)) AS `id`",
    "toLowCardinality(`id`) AS `id`, toLowCardinality(`a.b`) AS `a.b`",
    "toDateTime64(`seen 'at'`, 9, 'Asia/Tokyo') AS `seen 'at'`",
    "toInt128(`whole \\`number\\``) AS `whole \\`number\\``",
]


def query(sql):
    return pa.ipc.open_file(io.BytesIO(chdb.query(sql, "Arrow").bytes())).read_all()


def select(path, columns="*", settings=""):
    """What selects expressions on the columns of a file."""
    source = f"(SELECT {columns} FROM file('{path}', Parquet))"
    settings = f"SETTINGS output_format_arrow_string_as_string = 1{settings}"
    return lambda expressions: query(f"SELECT `{NUMBER}`, {expressions} FROM {source} {settings}")


def main():
    cases = Cases("clickhouse", chunk=40)
    path = cases.parquet(cases.rows)
    cases.compare("all rows", select(path), range(cases.rows))

    head = cases.parquet(SOME)
    for settings in SETTINGS:
        cases.compare(settings, select(head, settings=f", {settings}"), range(SOME))
    for conversion in TYPES:
        cases.compare(conversion, select(head, f"* REPLACE ({conversion})"), range(SOME))

    experiment, sql, expected = cases.experiments[0]
    arm = next(arm for arm in expected if arm)
    found = query(f"SELECT count() FROM file('{path}', Parquet) WHERE {sql} = '{arm}'")
    cases.holds(f"WHERE {experiment}", found.column(0).to_pylist(), [expected.count(arm)])
    cases.done(f"ClickHouse {chdb.engine_version}")


main()
