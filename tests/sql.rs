//! What `Snapshot::sql` prints, and what it refuses. That engines give every row what the crate
//! assigns is for `warehouses`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

mod common;

use std::collections::BTreeSet;

use common::{brought_to, ok, p, world};
use proptest::prelude::*;
use variate::hash::{Draw, draw_seed};
use variate::{
    Allocation, Change, Code, Dialect, ExperimentPatch, Expression, NewExperiment, NewSegment,
    Rule, SegmentPatch, Snapshot, SqlColumns, Status,
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
