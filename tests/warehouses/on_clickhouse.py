"""ClickHouse, in process."""

import io

import chdb
import pyarrow as pa
from cases import NUMBER, Cases

# What could change the meaning of an expression.
SETTINGS = [
    "transform_null_in = 1",
    "cast_keep_nullable = 1",
    "short_circuit_function_evaluation = 'disable'",
    "compile_expressions = 0",
    "optimize_if_chain_to_multiif = 1, optimize_if_transform_strings_to_enum = 1",
    "data_type_default_nullable = 1",
]

# An id is taken as text, whatever its type: these hold the same text as the column of strings.
TYPES = [
    ("String", "assumeNotNull({})"),
    ("LowCardinality(String)", "toLowCardinality(assumeNotNull({}))"),
    ("LowCardinality(Nullable(String))", "toLowCardinality({})"),
]


def query(sql):
    return pa.ipc.open_file(io.BytesIO(chdb.query(sql, "Arrow").bytes())).read_all()


def select(path, columns="*", settings=""):
    """What selects expressions on the columns of a file."""
    source = f"(SELECT {columns} FROM file('{path}', Parquet))"
    settings = f"SETTINGS output_format_arrow_string_as_string = 1{settings}"
    return lambda expressions: query(f"SELECT `{NUMBER}`, {expressions} FROM {source} {settings}")


def main():
    cases = Cases("clickhouse")
    cases.compare("all rows", select(cases.parquet()))

    head = cases.parquet(5_000)
    for settings in SETTINGS:
        cases.compare(settings, select(head, settings=f", {settings}"))
    for name, conversion in TYPES:
        columns = f"* REPLACE ({conversion.format('`id`')} AS `id`)"
        cases.compare(name, select(head, columns))

    experiment, sql, expected = cases.experiments[0]
    arm = next(arm for arm in expected if arm)
    found = query(f"SELECT count() FROM file('{cases.parquet()}') WHERE {sql} = '{arm}'")
    cases.holds(f"WHERE {experiment}", found.column(0).to_pylist(), [expected.count(arm)])
    cases.done(f"ClickHouse {chdb.engine_version}")


main()
