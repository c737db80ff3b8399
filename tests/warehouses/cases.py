"""What the crate wrote: rows, expressions, and what it assigns."""

import json
import pathlib
import sys
import time

import pyarrow as pa
import pyarrow.parquet

# Rows are numbered, since an engine returns them in any order. No attribute lies in this column.
NUMBER = "row number"

# How a value is read, and the type of its column.
TYPES = {
    "boolean": (bool, pa.bool_()),
    "double": (float, pa.float64()),
    "integer": (int, pa.int64()),
    "moment": (int, pa.timestamp("us", "UTC")),
    "text": (str, pa.string()),
}


class Cases:
    def __init__(self, dialect, chunk):
        """Of a dialect; so many expressions stand in one query."""
        self.dialect = dialect
        self.chunk = chunk
        self.started = time.monotonic()
        directory = pathlib.Path(sys.argv[1])
        with open(directory / "rows.jsonl", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        types = json.loads((directory / "types.json").read_text(encoding="utf-8"))
        columns = {NUMBER: pa.array(range(len(rows)), pa.int64())}
        for name in rows[0]:
            read, type = TYPES[types.get(name, "text")]
            values = (row[name] for row in rows)
            columns[name] = pa.array((v if v is None else read(v) for v in values), type)
        self.table = pa.table(columns)
        self.rows = len(rows)
        self.directory = directory
        self.experiments = []
        for case in json.loads((directory / "cases.json").read_text(encoding="utf-8")):
            arms = [*case["arms"], None]
            expected = [arms[arm] for arm in case["expected"]]
            if dialect in case["sql"]:
                self.experiments.append((case["experiment"], case["sql"][dialect], expected))
        self.compared = 0

    def parquet(self, rows):
        """A file with so many of the rows."""
        path = self.directory / f"{rows}.parquet"
        pyarrow.parquet.write_table(self.table.slice(0, rows), path)
        return str(path)

    def compare(self, what, select, rows):
        """Compares what `select` makes of lists of expressions: tables of rows that begin with
        their numbers, which must be these."""
        rows = list(rows)
        for first in range(0, len(self.experiments), self.chunk):
            chunk = self.experiments[first : first + self.chunk]
            table = select(", ".join(f"{sql} AS e{n}" for n, (_, sql, _) in enumerate(chunk)))
            table = table.sort_by(table.column_names[0])
            numbers = table.column(0).to_pylist()
            if numbers != rows or not rows:
                sys.exit(f"{self.dialect}, {what}: the rows are not those that were asked for")
            for n, (experiment, sql, expected) in enumerate(chunk):
                for row, actual in zip(numbers, table.column(n + 1).to_pylist()):
                    if actual != expected[row]:
                        sys.exit(
                            f"{self.dialect}, {what}: {experiment} assigns {expected[row]} in row "
                            f"{self.table.slice(row, 1).to_pylist()}, but {actual} by\n{sql}"
                        )
                self.compared += len(numbers)

    def holds(self, what, actual, expected):
        self.compared += 1
        if actual != expected:
            sys.exit(f"{self.dialect}, {what}: {actual!r} is not {expected!r}")

    def done(self, engine):
        seconds = time.monotonic() - self.started
        print(f"{engine}: {self.compared:,} values as the crate assigns, in {seconds:.0f} s")
