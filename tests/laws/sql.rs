//! What `Snapshot::sql` prints, and what it refuses. That engines give every row what the crate
//! assigns is for `warehouses`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::common::{brought_to, ok, p, world};
use proptest::prelude::*;
use variate::hash::{Draw, draw_seed};
use variate::{
    Allocation, Bounds, Change, Code, Dialect, ExperimentPatch, Expression, FlagPatch,
    NewExperiment, NewSegment, Number, Rule, SegmentPatch, Semver, Snapshot, SqlColumns, Status,
    Timestamp,
};

const ALL: &[Dialect] = Dialect::ALL;

/// The world with all of its experiments active, and this as the only rule of `seg_germany`.
fn asking(rule: Rule) -> Snapshot {
    let patch = SegmentPatch::new().rules([rule]);
    let asking = ok(&world(), Change::patch_segment(&p("seg_germany"), patch));
    let active = |snapshot, id| brought_to(&snapshot, id, Status::Active);
    ["exp_weights", "exp_segments"].into_iter().fold(asking, active)
}

fn columns() -> SqlColumns<'static> {
    SqlColumns::new("device_id").attribute("country", "country").attribute("platform", "os")
}

#[track_caller]
fn sql(snapshot: &Snapshot, id: &str, dialect: Dialect, columns: &SqlColumns<'_>) -> String {
    snapshot.sql(id, dialect, columns).unwrap_or_else(|error| panic!("{dialect}: {error}"))
}

fn germany() -> Rule {
    Rule::new().when("country", Expression::one_of(["DE"]))
}

#[test]
fn a_split_in_trino() {
    let traffic = ExperimentPatch::new().traffic(p("25"));
    let snapshot = ok(&world(), Change::patch_experiment(&p("exp_weights"), traffic));
    let snapshot = brought_to(&snapshot, "exp_weights", Status::Active);
    let expected = r#"CASE
  WHEN coalesce(CAST("device_id" AS varchar), '') = '' THEN NULL
  WHEN bitwise_right_shift(from_big_endian_64(xxhash64(reverse(to_big_endian_64(bitwise_xor(from_big_endian_64(xxhash64(to_utf8(CAST("device_id" AS varchar)))), BIGINT '-7347987835397104834'))))), 32) >= 1073741824 THEN NULL
  WHEN bitwise_right_shift(from_big_endian_64(xxhash64(reverse(to_big_endian_64(bitwise_xor(from_big_endian_64(xxhash64(to_utf8(CAST("device_id" AS varchar)))), BIGINT '488994456336540927'))))), 32) < 2147483648 THEN 'var_a'
  ELSE 'var_b'
END"#;
    assert_eq!(sql(&snapshot, "exp_weights", Dialect::Trino, &columns()), expected);
}

#[test]
fn segments_in_trino() {
    let rule = germany()
        .when("platform", Expression::ends_with(["os", "Büro", ""]))
        .unless("note", Expression::contains(["a b"]))
        .unless("partner", Expression::Exists(true));
    let columns = columns().attribute("note", "note").attribute("partner", "partner");
    let expected = r#"CASE
  WHEN coalesce(CAST("device_id" AS varchar), '') = '' THEN NULL
  WHEN coalesce("country" IN ('DE'), false) AND coalesce(substr("os", -2) = 'os' OR substr("os", -4) = from_utf8(X'42C3BC726F') OR substr("os", -0) = '', false) AND NOT coalesce(strpos("note", 'a b') > 0, false) AND NOT ("partner" IS NOT NULL) THEN 'var_b'
  WHEN coalesce(starts_with("os", 'ios'), false) THEN 'var_c'
  ELSE 'var_a'
END"#;
    assert_eq!(sql(&asking(rule), "exp_segments", Dialect::Trino, &columns), expected);
}

#[test]
fn every_gate_in_trino() {
    let document = r#"{
        "format": "variate/1",
        "flags": [{
            "id": "flg_a", "name": "A flag", "status": "active",
            "parameters": {"x": {"type": "number", "value": 1}},
            "variations": [{"id": "var_a", "name": "one"}, {"id": "var_b", "name": "two"}]
        }],
        "segments": [
            {"id": "seg_a", "name": "Adults", "rules": [
                {"match": {"age": {"number": {"gte": 18}}, "staff": {"boolean": false}}},
                {"any": [
                    {"match": {"joined": {"date": {"gt": "2026-11-21T13:00:00+01:00"}}}},
                    {"not": [{"match": {"u": {"listed": ["u-1"]}}}], "match": {"age": {"number": {"eq": 0.5}}}}
                ]}
            ]}
        ],
        "experiments": [
            {
                "id": "exp_a", "name": "Every gate", "status": "active", "flag_id": "flg_a",
                "strategy": "segment", "audience_id": "seg_a", "starts_at": "2026-11-01T00:00:00Z",
                "stages": [{"at": "2026-11-02T00:00:00Z", "traffic": 25}],
                "allocations": [
                    {"variation_id": "var_a", "segment_id": "seg_a", "priority": 1, "weight": 50},
                    {"variation_id": "var_b", "segment_id": "seg_a", "priority": 1, "weight": 50},
                    {"variation_id": "var_b", "is_fallback": true, "is_control": true}
                ]
            },
            {
                "id": "exp_b", "name": "Nothing", "status": "active", "flag_id": "flg_a",
                "strategy": "percentage", "allocations": [
                    {"variation_id": "var_a", "weight": 100, "is_control": true},
                    {"variation_id": "var_b", "weight": 0}
                ]
            }
        ],
        "layers": [
            {"id": "lay_a", "name": "Halves", "members": {"exp_a": 50}, "partition": [
                {"start": 0, "experiment_id": "exp_a"},
                {"start": 1073741824},
                {"start": 3221225472, "experiment_id": "exp_a"}
            ]},
            {"id": "lay_b", "name": "Nothing", "members": {"exp_b": 0}}
        ],
        "holdouts": [{"id": "hld_a", "name": "Tenth", "share": 12.5, "experiments": ["exp_a"]}]
    }"#;
    let snapshot = Snapshot::from_json(document).unwrap();
    let columns = SqlColumns::new("id")
        .attribute("age", "age")
        .attribute("staff", "staff")
        .attribute("joined", "joined")
        .attribute("u", "u")
        .at(p("2026-11-03T00:00:00Z"));
    let adults = r#""age" >= DOUBLE '18'"#;
    let segment = format!(
        r#"(coalesce({adults}, false) AND coalesce("staff" = false, false))
    OR (((coalesce("joined" >= TIMESTAMP '2026-11-21 12:00:00.001 UTC', false)) OR (coalesce("age" = DOUBLE '0.5', false) AND NOT (coalesce("u" IN ('u-1'), false)))))"#
    );
    let point = |salt: &str, draw| {
        let seed = draw_seed(salt, draw).cast_signed();
        format!(
            "bitwise_right_shift(from_big_endian_64(xxhash64(reverse(to_big_endian_64(bitwise_xor(\
             from_big_endian_64(xxhash64(to_utf8(CAST(\"id\" AS varchar)))), BIGINT '{seed}'))))), 32)"
        )
    };
    let slot = point("lay_a", Draw::Layer);
    let expected = [
        "CASE".to_owned(),
        "  WHEN coalesce(CAST(\"id\" AS varchar), '') = '' THEN NULL".to_owned(),
        format!("  WHEN {} < 536870912 THEN NULL", point("hld_a", Draw::Holdout)),
        format!(
            "  WHEN NOT ({slot} BETWEEN 0 AND 1073741823 \
             OR {slot} BETWEEN 3221225472 AND 4294967295) THEN NULL"
        ),
        format!("  WHEN NOT ({segment}) THEN NULL"),
        format!("  WHEN {} >= 1073741824 THEN NULL", point("exp_a", Draw::Traffic)),
        format!("  WHEN {segment} THEN CASE"),
        format!("      WHEN {} < 2147483648 THEN 'var_a'", point("exp_a", Draw::Variation)),
        "      ELSE 'var_b'".to_owned(),
        "    END".to_owned(),
        "  ELSE 'var_b'".to_owned(),
        "END".to_owned(),
    ];
    assert_eq!(sql(&snapshot, "exp_a", Dialect::Trino, &columns), expected.join("\n"));
    let nobody = "CASE
  WHEN coalesce(CAST(\"id\" AS varchar), '') = '' THEN NULL
  WHEN NOT (false) THEN NULL
  ELSE 'var_a'
END";
    assert_eq!(sql(&snapshot, "exp_b", Dialect::Trino, &columns), nobody);
}

/// A condition on the attribute `country` in each dialect.
#[track_caller]
fn check_condition(expression: Expression, expected: [&str; 3]) {
    let snapshot = asking(Rule::new().when("country", expression));
    for (dialect, expected) in ALL.iter().zip(expected) {
        let sql = sql(&snapshot, "exp_segments", *dialect, &columns().attribute("country", "c"));
        let line = sql.lines().nth(2).and_then(|line| line.strip_prefix("  WHEN ")).unwrap();
        let (condition, _) = line.split_once(" THEN ").unwrap();
        assert_eq!(condition, format!("coalesce({expected}, false)"), "{dialect}");
    }
}

fn numbers(range: impl Into<Bounds<Number>>) -> Expression {
    Expression::number(range)
}

fn float(float: f64) -> Number {
    Number::try_from(float).unwrap()
}

#[test]
fn numbers_are_compared_exactly() {
    let from = ["`c` >= 18", "`c` >= 18D AND NOT isnan(`c`)", "\"c\" >= DOUBLE '18'"];
    check_condition(numbers(18..), from);
    let between = [
        "`c` >= -5 AND `c` < 65",
        "`c` >= -5D AND `c` < 65D",
        "\"c\" >= DOUBLE '-5' AND \"c\" < DOUBLE '65'",
    ];
    check_condition(numbers(-5..65), between);
    check_condition(numbers(..=float(0.1)), ["`c` <= 0.1", "`c` <= 0.1D", "\"c\" <= DOUBLE '0.1'"]);
    let above = (Bound::Excluded(float(1e-300)), Bound::Unbounded);
    let printed = ["`c` > 1e-300", "`c` > 1e-300D AND NOT isnan(`c`)", "\"c\" > DOUBLE '1e-300'"];
    check_condition(numbers(above), printed);
    let last = (1_i64 << 53) - 1;
    let printed =
        ["`c` = 9007199254740991", "`c` = 9007199254740991D", "\"c\" = DOUBLE '9007199254740991'"];
    check_condition(numbers(Bounds::Equal(Number::from(last))), printed);
}

#[test]
fn moments_are_compared_by_the_millisecond() {
    let moment = |millis| Timestamp::from_unix_millis(millis).unwrap();
    let dates = |bounds: Bounds<Timestamp>| Expression::date(bounds);
    let check = |expression, expected: &str| {
        let clickhouse = expected.replace("timestamp_millis(", "fromUnixTimestamp64Milli(toInt64(");
        let clickhouse = clickhouse.replace("9)", "9))").replace("0)", "0))");
        let trino = expected.replace('`', "\"");
        let trino =
            trino.replace("timestamp_millis(999)", "TIMESTAMP '1970-01-01 00:00:00.999 UTC'");
        let trino =
            trino.replace("timestamp_millis(1000)", "TIMESTAMP '1970-01-01 00:00:01.000 UTC'");
        check_condition(expression, [&clickhouse, expected, &trino]);
    };
    let (at, all) = (moment(999), Bound::Unbounded);
    check(dates((at..).into()), "`c` >= timestamp_millis(999)");
    check(dates((..at).into()), "`c` < timestamp_millis(999)");
    check(dates((..=at).into()), "`c` < timestamp_millis(1000)");
    check(dates((Bound::Excluded(at), all).into()), "`c` >= timestamp_millis(1000)");
    let equal = "`c` >= timestamp_millis(999) AND `c` < timestamp_millis(1000)";
    check(dates(Bounds::Equal(at)), equal);
}

/// What these dialects refuse to ask, where, and with which words.
#[track_caller]
fn check_no_words(rule: Rule, refusing: &[Dialect], expected: &str) {
    let snapshot = asking(rule);
    for dialect in ALL {
        let printed = snapshot.sql("exp_segments", *dialect, &columns());
        let error = printed.err().map(|error| (error.code(), error.to_string()));
        let expected = refusing.contains(dialect).then(|| (Code::NotExpressible, expected.into()));
        assert_eq!(error, expected, "{dialect}");
    }
}

#[test]
fn what_no_dialect_says_exactly_is_refused_where_it_stands() {
    let asked = |expression| Rule::new().when("country", expression);
    let version: Semver = p("4.2.0");
    check_no_words(
        Rule::new().all_of([Rule::new().none_of([asked(Expression::semver(version..))])]),
        ALL,
        "seg_germany.rules[0].all[0].not[0].match.country.semver: must not be asked in SQL, \
         which has no exact words for semver",
    );
    check_no_words(
        Rule::new().any_of([
            germany(),
            Rule::new().unless("country", Expression::path(["a"], Expression::Exists(true))),
        ]),
        ALL,
        "seg_germany.rules[0].any[1].not_match.country.path: must not be asked in SQL, \
         which has no exact words for path",
    );
    // Said before that there is no column, which would not help.
    check_no_words(
        Rule::new().when("app", Expression::semver(p::<Semver>("1.0.0")..)),
        ALL,
        "seg_germany.rules[0].match.app.semver: must not be asked in SQL, \
         which has no exact words for semver",
    );
    let floats = [Dialect::Spark, Dialect::Trino];
    let rule = "must be less than 2^53 in magnitude for an exact comparison in SQL";
    for (number, printed) in [
        (Number::from(1_i64 << 53), "9007199254740992"),
        (Number::from(i64::MIN), "-9223372036854775808"),
        (float(1e300), "1e+300"),
    ] {
        let expected = format!("seg_germany.rules[0].match.country.number: {rule}; got {printed}");
        check_no_words(asked(Expression::number(..number)), &floats, &expected);
    }
    let rule = "must lie in the years 1900 to 2261 for a comparison in SQL";
    for (bounds, printed) in [
        (Bounds::from(..p::<Timestamp>("1899-12-31T23:59:59.999Z")), "1899-12-31T23:59:59.999Z"),
        (Bounds::from(p::<Timestamp>("2262-01-01T00:00:00Z")..), "2262-01-01T00:00:00.000Z"),
        (Bounds::from(..=Timestamp::MAX), "9999-12-31T23:59:59.999Z"),
    ] {
        let expected =
            format!("seg_germany.rules[0].match.country.date: {rule}; got \"{printed}\"");
        check_no_words(asked(Expression::date(bounds)), ALL, &expected);
    }
}

#[cfg(feature = "regex")]
#[test]
fn a_pattern_is_refused() {
    let pattern = Rule::new().when("country", Expression::Regex(p("^D")));
    let expected = "seg_germany.rules[0].match.country.regex: must not be asked in SQL, \
                    which has no exact words for regex";
    check_no_words(pattern, ALL, expected);
}

#[test]
fn a_schedule_needs_a_moment_at_which_it_assigns() {
    let schedule = ExperimentPatch::new()
        .starts_at(p("2026-11-01T00:00:00Z"))
        .ends_at(p("2026-12-01T00:00:00Z"));
    let snapshot = ok(&world(), Change::patch_experiment(&p("exp_weights"), schedule));
    let snapshot = brought_to(&snapshot, "exp_weights", Status::Active);
    let none = "columns.at: must be given for an experiment that has a schedule";
    check_refused(&snapshot, "exp_weights", &columns(), (Code::NotExpressible, none));
    for outside in ["2026-10-31T23:59:59.999Z", "2026-12-01T00:00:00.000Z"] {
        let rule = "columns.at: must lie in the time in which the experiment assigns";
        let expected = format!("{rule}; got \"{outside}\"");
        let columns = columns().at(p(outside));
        check_refused(&snapshot, "exp_weights", &columns, (Code::NotExpressible, &expected));
    }
    // Without a schedule the moment does not matter.
    let always = brought_to(&world(), "exp_weights", Status::Active);
    for dialect in ALL {
        for within in ["2026-11-01T00:00:00Z", "2026-11-30T23:59:59.999Z"] {
            let columns = columns().at(p(within));
            let expected = sql(&always, "exp_weights", *dialect, &self::columns());
            assert_eq!(sql(&snapshot, "exp_weights", *dialect, &columns), expected);
            assert_eq!(sql(&always, "exp_weights", *dialect, &columns), expected);
        }
    }
}

/// The seeds, which are the only long numbers in a dialect that writes them without a sign.
#[test]
fn each_draw_has_its_seed() {
    let traffic = ExperimentPatch::new().traffic(p("25"));
    let snapshot = ok(&world(), Change::patch_experiment(&p("exp_weights"), traffic));
    let snapshot = brought_to(&snapshot, "exp_weights", Status::Active);
    let sql = sql(&snapshot, "exp_weights", Dialect::ClickHouse, &columns());
    let seeds: Vec<u64> = sql
        .split("toUInt64(")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap().parse().unwrap())
        .collect();
    let salt = snapshot.experiment("exp_weights").unwrap().salt().as_str();
    assert_eq!(seeds, [Draw::Traffic, Draw::Variation].map(|draw| draw_seed(salt, draw)));
}

/// One text in each dialect.
#[track_caller]
fn check_text(text: &str, expected: [&str; 3]) {
    let snapshot = asking(Rule::new().when("country", Expression::one_of([text])));
    for (dialect, expected) in ALL.iter().zip(expected) {
        let sql = sql(&snapshot, "exp_segments", *dialect, &columns());
        let (_, rest) = sql.split_once(" IN (").unwrap();
        let (literal, _) = rest.split_once("), false)").unwrap();
        assert_eq!(literal, expected, "{dialect} {text:?}");
    }
}

#[test]
fn texts_are_quoted_if_plain_and_hex_if_not() {
    for plain in ["", "DE", "a b", "2026-11-21T12:00:00.5+01:00", "a_b", "a/b@c,d", "--"] {
        let quoted = format!("'{plain}'");
        check_text(plain, [&quoted; 3]);
    }
    let hex = |digits| {
        let forms = [("unhex('", "')"), ("CAST(X'", "' AS STRING)"), ("from_utf8(X'", "')")];
        forms.map(|(before, after)| format!("{before}{digits}{after}"))
    };
    for (text, digits) in [
        ("'", "27"),
        ("\\", "5C"),
        ("\"", "22"),
        ("`", "60"),
        ("${x}", "247B787D"),
        ("{x:String}", "7B783A537472696E677D"),
        ("?", "3F"),
        ("%", "25"),
        ("\0", "00"),
        ("a\n", "610A"),
        ("ä", "C3A4"),
        ("A\u{308}", "41CC88"),
        ("👩", "F09F91A9"),
    ] {
        let forms = hex(digits);
        check_text(text, [&forms[0], &forms[1], &forms[2]]);
    }
}

/// One column in each dialect; `None` where its name is refused.
#[track_caller]
fn check_column(name: &str, expected: [Option<&str>; 3]) {
    let snapshot = asking(Rule::new().when("country", Expression::Exists(true)));
    for (dialect, expected) in ALL.iter().zip(expected) {
        let as_attribute = columns().attribute("country", name);
        let as_id = SqlColumns::new(name).attribute("country", "c").attribute("platform", "os");
        let printed =
            [as_attribute, as_id].map(|columns| snapshot.sql("exp_segments", *dialect, &columns));
        let Some(expected) = expected else {
            let paths = ["columns.attributes.country", "columns.id"];
            for (error, path) in printed.into_iter().zip(paths) {
                let error = error.unwrap_err();
                assert_eq!((error.code(), error.path()), (Code::InvalidValue, path), "{error}");
                assert_eq!(error.value(), Some(serde_json::to_string(name).unwrap().as_str()));
            }
            continue;
        };
        let [attribute, id] = printed.map(Result::unwrap);
        assert!(attribute.contains(&format!("WHEN ({expected} IS NOT NULL) THEN")), "{attribute}");
        assert!(id.contains(&format!("({expected}")), "{id}");
    }
}

#[test]
fn columns_are_quoted() {
    check_column("country", [Some("`country`"), Some("`country`"), Some("\"country\"")]);
    check_column("a.b", [Some("`a.b`"), Some("`a.b`"), Some("\"a.b\"")]);
    check_column("a`b", [Some(r"`a\`b`"), Some("`a``b`"), Some("\"a`b\"")]);
    check_column("a\"b", [Some("`a\"b`"), Some("`a\"b`"), Some("\"a\"\"b\"")]);
    check_column(r"a\", [Some(r"`a\\`"), Some(r"`a\`"), Some("\"a\\\"")]);
    check_column(r"\`", [Some(r"`\\\``"), Some(r"`\```"), Some("\"\\`\"")]);
    check_column("a'b", [Some("`a'b`"), Some("`a'b`"), Some("\"a'b\"")]);
    check_column("Größe", [Some("`Größe`"), Some("`Größe`"), Some("\"Größe\"")]);
    check_column("$x", [Some("`$x`"), Some("`$x`"), Some("\"$x\"")]);
    check_column("${x}", [Some("`${x}`"), None, Some("\"${x}\"")]);
    for refused in ["", "\0", "a\nb", "a\u{7f}", "a\u{85}"] {
        check_column(refused, [None; 3]);
    }
}

#[test]
fn the_last_column_of_an_attribute_counts() {
    let snapshot = asking(germany());
    let twice = SqlColumns::new("device_id")
        .attribute("country", "old")
        .attribute("platform", "os")
        .attribute("country", "country");
    for dialect in ALL {
        let expected = sql(&snapshot, "exp_segments", *dialect, &columns());
        assert_eq!(sql(&snapshot, "exp_segments", *dialect, &twice), expected);
    }
}

#[track_caller]
fn check_refused(snapshot: &Snapshot, id: &str, columns: &SqlColumns<'_>, expected: (Code, &str)) {
    for dialect in ALL {
        let error = snapshot.sql(id, *dialect, columns).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), expected, "{dialect}");
    }
}

#[test]
fn what_assigns_nobody_has_no_expression() {
    let error = "experiment: must be the id of an experiment that exists; got \"exp_none\"";
    check_refused(&world(), "exp_none", &columns(), (Code::NotFound, error));
    for (status, expected) in [
        (Status::Draft, "status: must be active, since a draft experiment assigns nobody"),
        (Status::Paused, "status: must be active, since a paused experiment assigns nobody"),
        (Status::Completed, "status: must be active, since a completed experiment assigns nobody"),
        (Status::Archived, "status: must be active, since an archived experiment assigns nobody"),
    ] {
        let snapshot = brought_to(&world(), "exp_weights", status);
        let expected = format!("{expected}; got \"{status}\"");
        check_refused(&snapshot, "exp_weights", &columns(), (Code::NotExpressible, &expected));
    }
}

#[test]
fn nobody_is_assigned_while_the_flag_is_off() {
    let off = FlagPatch::new().on(false).off_variation_id(p("var_a"));
    let off = Change::patch_flag(&p("flg_a"), off);
    let active = ok(&brought_to(&world(), "exp_weights", Status::Active), off.clone());
    for (dialect, expected) in
        ALL.iter().zip(["toString(NULL)", "CAST(NULL AS STRING)", "CAST(NULL AS varchar)"])
    {
        assert_eq!(sql(&active, "exp_weights", *dialect, &columns()), expected);
        // A trial assigns as if it were on.
        let on = brought_to(&world(), "exp_weights", Status::Active);
        let trial = active.trial_plan("exp_weights").unwrap();
        let trial = trial.sql(*dialect, &columns()).unwrap();
        assert_eq!(trial, sql(&on, "exp_weights", *dialect, &columns()));
    }
    let paused = ok(&brought_to(&world(), "exp_weights", Status::Paused), off);
    let error = "status: must be active, since a paused experiment assigns nobody; got \"paused\"";
    check_refused(&paused, "exp_weights", &columns(), (Code::NotExpressible, error));
}

#[test]
fn an_attribute_needs_a_column() {
    let snapshot = asking(germany().unless("a key", Expression::Exists(true)));
    let error = r#"seg_germany.rules[0].not_match["a key"]: must be an attribute that has a column; got "a key""#;
    check_refused(&snapshot, "exp_segments", &columns(), (Code::NotExpressible, error));
    // What no rule asks for needs none.
    let id = SqlColumns::new("device_id");
    assert!(ALL.iter().all(|dialect| snapshot.sql("exp_weights", *dialect, &id).is_ok()));
}

#[test]
fn a_trial_is_printed_as_what_it_leads_to() {
    for id in ["exp_weights", "exp_segments"] {
        let trial = world().trial_plan(id).unwrap();
        let active = brought_to(&world(), id, Status::Active);
        let restored = Snapshot::from_json(active.to_json()).unwrap();
        for dialect in ALL {
            let expected = sql(&active, id, *dialect, &columns());
            assert_eq!(trial.sql(*dialect, &columns()).unwrap(), expected);
            assert_eq!(sql(&restored, id, *dialect, &columns()), expected);
        }
    }
}

#[test]
fn whoever_a_ramp_without_weights_leaves_out_has_the_control() {
    let ramp = NewExperiment::by_percentage("Ramp", p("flg_a"))
        .id(p("exp_ramp"))
        .allocation(Allocation::ramped(p("var_a")).control())
        .allocation(Allocation::ramped(p("var_b")))
        .levels([p("25"), p("60")]);
    let snapshot = brought_to(&ok(&world(), ramp), "exp_ramp", Status::Active);
    for dialect in ALL {
        let sql = sql(&snapshot, "exp_ramp", *dialect, &columns());
        let mut lines = sql.lines().skip(2);
        assert!(lines.next().unwrap().ends_with(" >= 1073741824 THEN 'var_a'"), "{sql}");
        assert_eq!(lines.next(), Some("  ELSE 'var_b'"));
    }
}

/// Everything in an expression that is neither a name nor a text.
fn skeleton(dialect: Dialect, sql: &str) -> (String, BTreeSet<String>) {
    let name_quote = if dialect == Dialect::Trino { '"' } else { '`' };
    let (mut bare, mut names) = (String::new(), BTreeSet::new());
    let mut rest = sql.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\'' {
            let text: String = rest.by_ref().take_while(|c| *c != '\'').collect();
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || " _-.:/@+,".contains(c)));
        } else if c == name_quote {
            let mut name = String::new();
            loop {
                match rest.next().unwrap() {
                    '\\' if dialect == Dialect::ClickHouse => name.push(rest.next().unwrap()),
                    c if c == name_quote => match rest.next_if_eq(&name_quote) {
                        Some(quote) => name.push(quote),
                        None => break,
                    },
                    c => name.push(c),
                }
            }
            names.insert(name);
        } else {
            bare.push(c);
        }
    }
    (bare, names)
}

/// What can stand between words.
const SIGNS: &str = " \n(),=<>-^";

/// The only words there are.
const WORDS: &[&str] = &[
    "AND",
    "AS",
    "BIGINT",
    "CASE",
    "CAST",
    "ELSE",
    "END",
    "IN",
    "IS",
    "NOT",
    "NULL",
    "OR",
    "STRING",
    "THEN",
    "WHEN",
    "X",
    "bitShiftRight",
    "bitXor",
    "bitwise_right_shift",
    "bitwise_xor",
    "coalesce",
    "contains",
    "endsWith",
    "endswith",
    "false",
    "from_big_endian_64",
    "from_utf8",
    "position",
    "reinterpretAsFixedString",
    "reverse",
    "shiftrightunsigned",
    "startsWith",
    "starts_with",
    "startswith",
    "strpos",
    "substr",
    "toString",
    "toUInt64",
    "to_big_endian_64",
    "to_utf8",
    "unhex",
    "varchar",
    "xxHash64",
    "xxhash64",
];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z'\"`\\\\${}:;#%?*/ -]{1,6}",
        "\\PC{1,4}",
        Just("' OR 1=1 --".to_owned()),
        Just("THEN".to_owned()),
    ]
}

fn any_expression() -> impl Strategy<Value = Expression> {
    let items = || prop::collection::vec(any_text(), 1..3);
    prop_oneof![
        items().prop_map(Expression::one_of),
        items().prop_map(Expression::contains),
        items().prop_map(Expression::starts_with),
        items().prop_map(Expression::ends_with),
        any::<bool>().prop_map(Expression::Exists),
    ]
}

proptest! {
    /// Nothing that anybody wrote stands outside quotes, where only known words do.
    #[test]
    fn no_text_gets_out_of_its_quotes(
        attributes in prop::collection::btree_map(any_text(), (any_text(), any_expression()), 1..4),
        id in any_text(),
        salt in any_text(),
        unless in any::<bool>(),
    ) {
        let rule = attributes.iter().fold(Rule::new(), |rule, (name, (_, expression))| {
            if unless { rule.unless(name, expression.clone()) } else { rule.when(name, expression.clone()) }
        });
        let segments = NewExperiment::by_segment("Hostile", p("flg_a"))
            .id(p("exp_rude"))
            .salt(p(&salt))
            .traffic(p("50"))
            .allocation(Allocation::segment(p("var_b"), p("seg_rude"), 1).unwrap())
            .allocation(Allocation::fallback(p("var_a")).control());
        let segment = NewSegment::new("Hostile").id(p("seg_rude")).rule(rule);
        let snapshot = ok(&world(), vec![Change::from(segment), segments.into()]);
        let snapshot = brought_to(&snapshot, "exp_rude", Status::Active);
        let columns = attributes.iter().fold(SqlColumns::new(&id), |columns, (name, (column, _))| {
            columns.attribute(name, column)
        });
        let given: BTreeSet<String> =
            attributes.values().map(|(column, _)| column.clone()).chain([id.clone()]).collect();
        for dialect in ALL {
            let refused = *dialect == Dialect::Spark && given.iter().any(|n| n.contains("${"));
            let printed = snapshot.sql("exp_rude", *dialect, &columns);
            prop_assert_eq!(printed.is_err(), refused);
            let Ok(sql) = printed else { continue };
            let (bare, names) = skeleton(*dialect, &sql);
            prop_assert_eq!(&names, &given, "{}", sql);
            for word in bare.split(|c| SIGNS.contains(c)) {
                let number = word.strip_suffix('L').unwrap_or(word);
                let known = WORDS.contains(&word) || number.bytes().all(|b| b.is_ascii_digit());
                prop_assert!(known, "{} in {}", word, sql);
            }
            prop_assert_eq!(&snapshot.sql("exp_rude", *dialect, &columns).unwrap(), &sql);
        }
    }
}
