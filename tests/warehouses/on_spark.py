"""Spark, on this machine."""

from cases import NUMBER, Cases
from pyspark.sql import SparkSession

# How many rows there are for each of the settings.
SOME = 1_000

# What could change the meaning of an expression.
SETTINGS = [
    {"spark.sql.ansi.enabled": "false"},
    {"spark.sql.parser.escapedStringLiterals": "true"},
    {"spark.sql.ansi.enabled": "true", "spark.sql.ansi.doubleQuotedIdentifiers": "true"},
    {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"},
    {"spark.sql.caseSensitive": "true"},
]


def select(spark, path):
    """What selects expressions on the columns of a file."""
    spark.read.parquet(path).createOrReplaceTempView("subjects")
    return lambda expressions: spark.sql(
        f"SELECT `{NUMBER}`, {expressions} FROM subjects"
    ).toArrow()


def main():
    # More than this, and Spark interprets what it could compile.
    cases = Cases("spark", chunk=8)
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "2g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    path = cases.parquet(cases.rows)
    cases.compare("all rows", select(spark, path), range(cases.rows))

    head = cases.parquet(SOME)
    for settings in SETTINGS:
        before = {key: spark.conf.get(key) for key in settings}
        for key, value in settings.items():
            spark.conf.set(key, value)
        cases.compare(settings, select(spark, head), range(SOME))
        for key, value in before.items():
            spark.conf.set(key, value)

    experiment, sql, expected = cases.experiments[0]
    arm = next(arm for arm in expected if arm)
    spark.read.parquet(path).createOrReplaceTempView("subjects")
    found = spark.sql(f"SELECT count(*) FROM subjects WHERE {sql} = '{arm}'").first()
    cases.holds(f"WHERE {experiment}", list(found), [expected.count(arm)])
    cases.done(f"Spark {spark.version}")
    spark.stop()


main()
