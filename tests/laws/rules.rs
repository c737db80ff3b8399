//! Laws of rules: every way to ask of an attribute means what its documentation says, rules hold
//! rules, what is written is printed again, and what is no rule is refused with its path.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::common::{apply, at, ok, p};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Number, Value, json};
use variate::{
    Attribute, Attributes, Code, Expression, NewSegment, Rule, Segment, Semver, Snapshot,
    Timestamp, ToAttribute,
};

/// Texts that say when, and the milliseconds since the Unix epoch that they say, if they do.
const DATES: [(&str, Option<i64>); 7] = [
    ("2026-11-21T12:00:00Z", Some(1_795_262_400_000)),
    ("2026-11-21T13:00:00+01:00", Some(1_795_262_400_000)),
    ("2026-11-21T12:00:00.001Z", Some(1_795_262_400_001)),
    ("2026-11-21T11:59:59.9999Z", Some(1_795_262_399_999)),
    ("1969-12-31T23:59:59Z", Some(-1_000)),
    ("2026-11-21", None),
    ("2026-11-21t12:00:00Z", None),
];

const VERSIONS: [&str; 9] = [
    "1.2.3",
    "1.2.3-a",
    "1.2.3-a.2",
    "1.2.3-a.10+b",
    "1.2.3+b",
    "1.10.0",
    "2.0.0",
    "1.2",
    "v1.2.3",
];

const PATTERNS: [&str; 8] =
    ["^x", "y$", "x+y", "(?i)É", "[^x]y", r"^\d+\.", r"(?-u:\bx\b)", "^(x|y|é)*$"];

const NUMBERS: [i64; 8] = [0, 5, -5, 18, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN];

const FLOATS: [f64; 7] =
    [0.5, -5.5, 18.0, 9_007_199_254_740_992.0, 9_223_372_036_854_775_808.0, 1e25, -1e25];

/// A number in 1,024ths, which all of these are whole in.
fn fixed(number: &Number) -> i128 {
    let scaled = |float: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "exact for the numbers above")]
        let fixed = (float * 1_024.0) as i128;
        fixed
    };
    number.as_i64().map_or_else(|| scaled(number.as_f64().unwrap()), |int| i128::from(int) * 1_024)
}

fn millis(text: &str) -> Option<i64> {
    DATES.iter().find(|(known, _)| *known == text)?.1
}

/// Whether a value lies within an object of bounds.
fn lies(bounds: &Value, order: impl Fn(&Value) -> Option<Ordering>) -> bool {
    bounds.as_object().unwrap().iter().all(|(key, bound)| {
        let Some(order) = order(bound) else { return false };
        match key.as_str() {
            "eq" => order.is_eq(),
            "gt" => order.is_gt(),
            "gte" => order.is_ge(),
            "lt" => order.is_lt(),
            "lte" => order.is_le(),
            other => panic!("{other}"),
        }
    })
}

/// What the documentation says of an expression and a value.
fn fulfils(expression: &Value, value: Option<&Value>) -> bool {
    let value = value.filter(|value| !value.is_null());
    let text = value.and_then(Value::as_str);
    let any = |items: &Value, test: fn(&str, &str) -> bool| {
        let mut items = items.as_array().unwrap().iter().map(|item| item.as_str().unwrap());
        text.is_some_and(|text| items.any(|item| test(text, item)))
    };
    if expression.is_array() {
        return any(expression, |text, item| text == item);
    }
    let members = expression.as_object().unwrap();
    if let Some(is) = members.get("is") {
        let mut steps = members["path"].as_array().unwrap().iter();
        let found = steps.try_fold(value, |whole, step| {
            let member = whole?.as_object()?.get(step.as_str().unwrap());
            member.map(Some)
        });
        return fulfils(is, found.flatten());
    }
    let (key, operand) = members.iter().next().unwrap();
    match key.as_str() {
        "boolean" => value == Some(operand),
        "contains" => any(operand, |text, item| text.contains(item)),
        "date" => lies(operand, |bound| {
            Some(millis(text?)?.cmp(&millis(bound.as_str().unwrap()).unwrap()))
        }),
        "ends_with" => any(operand, |text, item| text.ends_with(item)),
        "exists" => json!(value.is_some()) == *operand,
        "listed" => any(operand, |text, item| text == item),
        "number" => lies(operand, |bound| match (value, bound) {
            (Some(Value::Number(value)), Value::Number(bound)) => {
                Some(fixed(value).cmp(&fixed(bound)))
            }
            _ => None,
        }),
        "regex" => {
            let regex = regex::Regex::new(operand.as_str().unwrap()).unwrap();
            text.is_some_and(|text| regex.is_match(text))
        }
        "semver" => lies(operand, |bound| {
            let own = semver::Version::parse(text?).ok()?;
            Some(own.cmp_precedence(&bound.as_str().unwrap().parse().unwrap()))
        }),
        "starts_with" => any(operand, |text, item| text.starts_with(item)),
        other => panic!("{other}"),
    }
}

fn matches(rule: &Value, subject: &Map<String, Value>) -> bool {
    let conditions = |key: &str| rule.get(key).and_then(Value::as_object).cloned();
    let holds = |(name, expression): (String, Value)| fulfils(&expression, subject.get(&name));
    let rules = |key: &str| rule.get(key).and_then(Value::as_array).cloned();
    let fits = |rule: Value| matches(&rule, subject);
    conditions("match").is_none_or(|all| all.into_iter().all(holds))
        && !conditions("not_match").is_some_and(|none| none.into_iter().any(holds))
        && rules("all").is_none_or(|all| all.into_iter().all(fits))
        && rules("any").is_none_or(|any| any.into_iter().any(fits))
        && !rules("not").is_some_and(|none| none.into_iter().any(fits))
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(select(vec!["x", "y", "é"]), 0..=3).prop_map(|letters| letters.concat())
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(&NUMBERS[..]).prop_map(Value::from),
        select(&FLOATS[..]).prop_map(Value::from)
    ]
}

fn bounds(operand: impl Strategy<Value = Value> + Clone + 'static) -> BoxedStrategy<Value> {
    let lower = || select(vec!["gt", "gte"]);
    let upper = || select(vec!["lt", "lte"]);
    prop_oneof![
        operand.clone().prop_map(|value| json!({"eq": value})),
        (lower(), operand.clone()).prop_map(|(key, value)| json!({key: value})),
        (upper(), operand.clone()).prop_map(|(key, value)| json!({key: value})),
        (lower(), operand.clone(), upper(), operand)
            .prop_map(|(a, least, b, most)| json!({a: least, b: most})),
    ]
    .boxed()
}

fn plain_expression() -> impl Strategy<Value = Value> {
    let few = || prop::collection::vec(text(), 1..=2);
    let form = |key: &'static str| move |operand: Value| json!({key: operand});
    let dates: Vec<_> =
        DATES.iter().filter(|(_, at)| at.is_some()).map(|(text, _)| *text).collect();
    let texts = prop_oneof![
        few().prop_map(Value::from),
        (select(vec!["contains", "starts_with", "ends_with"]), few())
            .prop_map(|(key, items)| json!({key: items})),
        prop::collection::vec(text(), 1..=20).prop_map(|items| json!({"listed": items})),
        select(&PATTERNS[..]).prop_map(|pattern| match cfg!(feature = "regex") {
            true => json!({"regex": pattern}),
            false => json!([pattern]),
        }),
    ];
    prop_oneof![
        3 => texts,
        1 => any::<bool>().prop_map(|wanted| json!({"exists": wanted})),
        1 => any::<bool>().prop_map(|wanted| json!({"boolean": wanted})),
        2 => bounds(number().boxed()).prop_map(form("number")),
        1 => bounds(select(dates).prop_map(Value::from).boxed()).prop_map(form("date")),
        1 => bounds(select(&VERSIONS[..7]).prop_map(Value::from).boxed()).prop_map(form("semver")),
    ]
}

fn expression() -> impl Strategy<Value = Value> {
    let steps = || prop::collection::vec(select(vec!["p", "q"]), 1..=3);
    prop_oneof![
        3 => plain_expression(),
        1 => (steps(), plain_expression()).prop_map(|(path, is)| json!({"path": path, "is": is})),
    ]
}

fn rule() -> impl Strategy<Value = Value> {
    let names = || prop::collection::btree_map(select(vec!["p", "q", "r"]), expression(), 1..=2);
    let flat = (select(vec!["match", "not_match"]), names())
        .prop_map(|(key, conditions)| json!({key: conditions}));
    flat.prop_recursive(3, 12, 2, |inner| {
        let keys = prop::sample::subsequence(vec!["all", "any", "not"], 1..=3);
        let lists = prop::collection::vec(prop::collection::vec(inner.clone(), 1..=2), 3);
        (keys, lists, inner).prop_map(|(keys, lists, own)| {
            let mut rule = json!(keys.into_iter().zip(lists).collect::<BTreeMap<_, _>>());
            for (key, conditions) in own.as_object().unwrap() {
                rule.as_object_mut().unwrap().entry(key).or_insert(conditions.clone());
            }
            rule
        })
    })
}

fn value() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        3 => text().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => number(),
        1 => Just(json!(["x"])),
        1 => select(&DATES[..]).prop_map(|(text, _)| json!(text)),
        1 => select(&VERSIONS[..]).prop_map(Value::from),
    ];
    plain.prop_recursive(2, 6, 2, |inner| {
        prop::collection::btree_map(select(vec!["p", "q"]), inner, 0..=2)
            .prop_map(|members| json!(members))
    })
}

fn subject() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(select(vec!["p", "q", "r"]), value(), 0..=3)
        .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The rule that a text says, as a segment takes it.
#[track_caller]
fn read(rule: &Value) -> Rule {
    let read: Rule =
        serde_json::from_str(&rule.to_string()).unwrap_or_else(|e| panic!("{e}: {rule}"));
    let snapshot =
        ok(&Snapshot::new(), NewSegment::new("Segment").id(p("seg_a")).rule(read.clone()));
    let segment = serde_json::to_string(snapshot.segment("seg_a").unwrap()).unwrap();
    let again: Segment = serde_json::from_str(&segment).unwrap();
    assert_eq!(again.rules(), std::slice::from_ref(&read));
    assert_eq!(serde_json::to_string(&again).unwrap(), segment);
    read
}

proptest! {
    #[test]
    fn a_rule_matches_whom_it_describes(
        rule in rule(),
        subjects in prop::collection::vec(subject(), 1..20),
    ) {
        prop_assume!(rule.to_string().len() <= 4_096);
        let read = read(&rule);
        for subject in &subjects {
            prop_assert_eq!(read.holds(subject), matches(&rule, subject), "{} {:?}", rule, subject);
        }
    }

    #[test]
    fn an_expression_is_true_of_what_it_describes(expression in expression(), values in
        prop::collection::vec(value(), 1..20),
    ) {
        let rule = json!({"match": {"p": expression}});
        let read = read(&rule);
        for value in values {
            let subject = json!({"p": value});
            let expected = fulfils(&expression, Some(&value));
            prop_assert_eq!(read.holds(&subject), expected, "{} {}", expression, value);
        }
    }
}

#[test]
fn what_each_expression_is_true_of() {
    #[track_caller]
    fn check(expression: &Value, of: &[Value], not_of: &[Value]) {
        let rule = read(&json!({"match": {"a": expression}}));
        for (values, expected) in [(of, true), (not_of, false)] {
            for value in values {
                assert_eq!(rule.holds(&json!({"a": value})), expected, "{expression} {value}");
            }
        }
        let missing = rule.holds(&());
        assert_eq!(rule.holds(&json!({"a": null})), missing, "{expression} of nothing");
        assert_eq!(missing, fulfils(expression, None), "{expression} of nothing");
    }
    let no_number = [json!("5"), json!(true), json!([5]), json!({"eq": 5})];
    check(&json!({"number": {"eq": 5}}), &[json!(5), json!(5.0)], &no_number);
    check(&json!({"number": {"eq": 5}}), &[], &[json!(5.000_001), json!(4), json!(-5)]);
    let adult = json!({"number": {"gte": 18, "lt": 65}});
    check(
        &adult,
        &[json!(18), json!(64.999), json!(18.0)],
        &[json!(17.999), json!(65), json!(-18)],
    );
    check(&json!({"number": {"gt": 0.5}}), &[json!(1), json!(1e300)], &[json!(0.5), json!(0)]);
    // Neither is rounded to the other.
    let odd = 9_007_199_254_740_993_i64;
    let even = 9_007_199_254_740_992.0;
    check(&json!({"number": {"eq": odd}}), &[json!(odd)], &[json!(even), json!(odd - 1)]);
    check(&json!({"number": {"lt": odd}}), &[json!(even)], &[json!(odd)]);
    check(&json!({"number": {"gt": i64::MAX}}), &[json!(1_u64 << 63)], &[json!(i64::MAX)]);
    check(&json!({"number": {"lt": 1_u64 << 63}}), &[json!(i64::MAX)], &[json!(1_u64 << 63)]);

    let power = 1_u64 << 63;
    let equal = [json!(power), json!(2.0_f64.powi(63))];
    check(&json!({"number": {"eq": power}}), &equal, &[json!(power + 1)]);
    let most = [json!(u64::MAX)];
    check(&json!({"number": {"lt": 2.0_f64.powi(64)}}), &most, &[json!(2.0_f64.powi(64))]);
    check(&json!({"number": {"gt": 1e18}}), &most, &[json!(-1e300)]);

    let since = json!({"semver": {"gte": "4.2.0", "lt": "5.0.0"}});
    let versions = [json!("4.2.0"), json!("4.10.0"), json!("4.2.1-a"), json!("5.0.0-rc.1")];
    check(&since, &versions, &[json!("4.2.0-rc.1"), json!("5.0.0"), json!("4.9"), json!(4.2)]);
    let build = json!({"semver": {"eq": "1.0.0+a"}});
    check(&build, &[json!("1.0.0"), json!("1.0.0+b.07")], &[json!("1.0.0-a"), json!("01.0.0")]);

    let day = json!({"date": {"gte": "2026-11-21T00:00:00Z", "lt": "2026-11-22T00:00:00Z"}});
    let within = [json!("2026-11-21T00:00:00Z"), json!("2026-11-22T00:30:00+01:00")];
    let without = ["2026-11-22T00:00:00Z", "2026-11-21", "2026-11-21T00:00:00", "today", ""];
    check(&day, &within, &without.map(Value::from));
    check(&day, &[], &[json!(1_795_262_400_000_i64)]);

    check(&json!({"boolean": true}), &[json!(true)], &[json!(false), json!("true"), json!(1)]);
    check(&json!({"boolean": false}), &[json!(false)], &[json!(true), json!(0)]);
    let many: Vec<_> = (0..1_000).map(|number| format!("u-{number}")).collect();
    check(&json!({"listed": many}), &[json!("u-999")], &[json!("u-1000"), json!("u"), json!(7)]);

    let germany = json!({"path": ["geo", "country"], "is": ["DE"]});
    let inside = |value: Value| json!({"geo": {"country": value}});
    let outside =
        [json!("DE"), json!({"geo": "DE"}), json!({"country": "DE"}), json!([]), json!({})];
    check(&germany, &[inside(json!("DE"))], &outside);
    check(&germany, &[], &[inside(json!(null)), inside(json!(["DE"])), inside(json!("AT"))]);
    let unknown = json!({"path": ["geo", "country"], "is": {"exists": false}});
    check(&unknown, &outside, &[inside(json!("DE")), inside(json!(false)), inside(json!([]))]);
    check(&unknown, &[inside(json!(null))], &[]);
    let deep = json!({"path": ["a", "b"], "is": {"number": {"gt": 1}}});
    check(&deep, &[json!({"a": {"b": 2}})], &[json!({"a": {"b": 1}}), json!({"a.b": 2})]);

    if cfg!(feature = "regex") {
        let fours = json!({"regex": r"^4\.[0-9]+"});
        check(&fours, &[json!("4.10.0"), json!("4.1")], &[json!("14.1"), json!("4."), json!(4.1)]);
        let (tests, not) = ([json!("a test"), json!("test")], [json!("tast"), json!("")]);
        check(&json!({"regex": "te?st"}), &tests, &not);
        check(&json!({"regex": "(?i)straße"}), &[json!("STRAßE 7")], &[json!("strasse")]);
    }
}

#[test]
fn attributes_of_rust_are_compared_like_those_of_json() {
    #[track_caller]
    fn check(value: &(dyn ToAttribute + Sync), expression: Expression, expected: bool) {
        struct One<'a>(&'a (dyn ToAttribute + Sync));
        impl Attributes for One<'_> {
            fn attribute(&self, _: &str) -> Option<Attribute<'_>> {
                self.0.to_attribute()
            }
        }
        let text = format!("{expression:?} of {:?}", value.to_attribute());
        assert_eq!(Rule::new().when("a", expression).holds(&One(value)), expected, "{text}");
    }
    let any = || (Bound::Included(f64::MIN), Bound::<f64>::Unbounded);
    let number = |(lower, upper): (Bound<f64>, Bound<f64>)| {
        let number = |bound: Bound<f64>| bound.map(|float| float.try_into().unwrap());
        Expression::number((number(lower), number(upper)) as (Bound<variate::Number>, _))
    };
    check(&f64::MAX, number(any()), true);
    check(&f64::INFINITY, number(any()), true);
    check(&f64::NEG_INFINITY, number(any()), false);
    check(&f64::NAN, number(any()), false);
    check(&f64::NAN, Expression::number(..5), false);
    check(&f64::NAN, Expression::Exists(true), true);
    check(&-0.0, Expression::number(0..=0), true);
    check(&7_u8, Expression::number(7..8), true);
    check(&u64::MAX, Expression::number(i64::MAX..), true);
    check(&u64::MAX, Expression::number(..=i64::MAX), false);
    check(&7_usize, Expression::number(7..=7), true);
    assert_eq!(7_u64.to_attribute(), Some(Attribute::Integer(7)));
    assert_eq!((1_u64 << 63).to_attribute(), json!(1_u64 << 63).to_attribute());
    assert_eq!(usize::MAX.to_attribute(), json!(usize::MAX).to_attribute());

    check(&at(5), Expression::date(at(5)..), true);
    check(&at(5), Expression::date(..at(5)), false);
    check(&Some(at(5)), Expression::Exists(true), true);
    check(&None::<Timestamp>, Expression::date(at(5)..), false);
    check(&at(5), Expression::one_of([at(5).to_string()]), false);
    check(&at(5).to_string(), Expression::date(at(5)..=at(5)), true);
    check(&"1.2.3", Expression::semver(p::<Semver>("1.2.3-rc.1")..), true);
}

#[test]
fn what_is_no_rule_is_refused() {
    #[track_caller]
    fn check(rule: &Value, code: Code, path: &str) {
        let whole = json!({"change": "create_segment", "name": "Segment", "rules": [rule]});
        let change = variate::Change::from_json(whole.to_string());
        let error = match change {
            Ok(change) => apply(&Snapshot::new(), change).map(drop).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!((error.code(), error.path()), (code, path), "{error}");
    }
    let (invalid, limit, kind) = (Code::InvalidValue, Code::LimitExceeded, Code::WrongType);
    for (expression, code, within) in [
        (json!({"number": 5}), kind, ".number"),
        (json!({"number": {}}), invalid, ".number"),
        (json!({"number": {"eq": "5"}}), kind, ".number.eq"),
        (json!({"number": {"eq": 5, "lt": 6}}), invalid, ".number"),
        (json!({"number": {"gt": 5, "gte": 5}}), invalid, ".number"),
        (json!({"number": {"lt": 5, "lte": 5}}), invalid, ".number"),
        (json!({"number": {"ne": 5}}), Code::UnknownKey, ".number.ne"),
        (json!({"number": {"gte": u64::MAX}}), invalid, ".number.gte"),
        (json!({"number": {"gte": null}}), kind, ".number.gte"),
        (json!({"semver": "1.2.3"}), kind, ".semver"),
        (json!({"semver": {"gte": 4.2}}), kind, ".semver.gte"),
        (json!({"semver": {"gte": "4.2"}}), invalid, ".semver.gte"),
        (json!({"date": {"gte": "2026-11-21"}}), invalid, ".date.gte"),
        (json!({"date": {"gte": 0}}), kind, ".date.gte"),
        (json!({"boolean": "true"}), kind, ".boolean"),
        (json!({"listed": []}), invalid, ".listed"),
        (json!({"listed": ["x", 7]}), kind, ".listed[1]"),
        (json!({"listed": ["x", "y".repeat(1_025)]}), invalid, ".listed[1]"),
        (json!({"listed": vec!["x"; 100_001]}), limit, ".listed"),
        (json!({"path": ["x"]}), Code::MissingKey, ".is"),
        (json!({"is": ["x"]}), kind, ""),
        (json!({"exists": true, "is": ["x"]}), kind, ""),
        (json!({"path": ["x"], "is": ["x"], "exists": true}), kind, ""),
        (json!({"path": "x", "is": ["x"]}), kind, ".path"),
        (json!({"path": [], "is": ["x"]}), invalid, ".path"),
        (json!({"path": vec!["x"; 9], "is": ["x"]}), invalid, ".path"),
        (json!({"path": ["x", ""], "is": ["x"]}), invalid, ".path[1]"),
        (json!({"path": ["x", "é".repeat(256)], "is": ["x"]}), invalid, ".path[1]"),
        (json!({"path": ["x"], "is": {"path": ["y"], "is": ["x"]}}), invalid, ".is"),
        (json!({"path": ["x"], "is": {"contains": []}}), invalid, ".is.contains"),
        (json!({"path": ["x"], "is": {"number": {"eq": true}}}), kind, ".is.number.eq"),
    ] {
        check(&json!({"match": {"a": expression}}), code, &format!("rules[0].match.a{within}"));
        let nested = json!({"any": [{"match": {"b": ["x"]}}, {"not_match": {"a": expression}}]});
        check(&nested, code, &format!("rules[0].any[1].not_match.a{within}"));
    }
    let fine = json!({"match": {"a": ["x"]}});
    for key in ["all", "any", "not"] {
        check(&json!({key: []}), invalid, &format!("rules[0].{key}"));
        check(&json!({key: fine}), kind, &format!("rules[0].{key}"));
        check(&json!({key: [fine, {}]}), invalid, &format!("rules[0].{key}[1]"));
        let mut deep = fine.clone();
        for _ in 1..8 {
            deep = json!({key: [deep]});
        }
        read(&deep);
        let path = format!("rules[0]{}", format!(".{key}[0]").repeat(8));
        check(&json!({key: [deep]}), limit, &path);
    }
    check(&json!({"none": [fine]}), Code::UnknownKey, "rules[0].none");
    // Rules within rules count for the size, the items of long lists do not.
    let long = |key: &str| json!({"any": [{"match": {"a": {key: vec!["x".repeat(1_000); 5]}}}]});
    check(&long("contains"), limit, "rules[0]");
    read(&long("listed"));
    let most: Vec<_> = (0..100_000).map(|number| number.to_string()).collect();
    let rule = read(&json!({"match": {"a": {"path": ["id"], "is": {"listed": most}}}}));
    assert!(rule.holds(&json!({"a": {"id": "99999"}})) && !rule.holds(&json!({"a": {"id": "-1"}})));
}

#[test]
fn rules_from_rust_are_held_to_the_same() {
    #[track_caller]
    fn check(rule: Rule, path: &str) {
        let error = apply(&Snapshot::new(), NewSegment::new("Segment").rule(rule)).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::InvalidValue, path), "{error}");
    }
    let everything = (Bound::<i32>::Unbounded, Bound::<i32>::Unbounded);
    check(Rule::new().when("a", Expression::number(everything)), "rules[0].match.a.number");
    let path = Expression::path(["x"], Expression::path(["y"], Expression::Exists(true)));
    check(Rule::new().when("a", path), "rules[0].match.a.is");
    let nobody = Rule::new().any_of([]);
    assert!(!nobody.holds(&()), "nothing to choose from is not everything");
    check(nobody, "rules[0].any");

    let is = |name: &str| Rule::new().when(name, Expression::Exists(true));
    let rule = Rule::new().all_of([is("a")]).any_of([is("b")]).any_of([is("c")]).none_of([is("d")]);
    let json = json!({
        "all": [{"match": {"a": {"exists": true}}}],
        "any": [{"match": {"b": {"exists": true}}}, {"match": {"c": {"exists": true}}}],
        "not": [{"match": {"d": {"exists": true}}}]
    });
    assert_eq!(rule, read(&json));
    assert_eq!(
        (rule.all(), rule.any(), rule.not()),
        (&[is("a")][..], &[is("b"), is("c")][..], &[is("d")][..])
    );
}

/// Numbers have one form each, so that equal rules print alike.
#[test]
fn numbers_print_as_they_are_held() {
    #[track_caller]
    fn check(written: &str, printed: &str) {
        let rule = format!(r#"{{"match":{{"a":{{"number":{{"eq":{written}}}}}}}}}"#);
        let read: Rule = serde_json::from_str(&rule).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), rule.replace(written, printed));
    }
    check("5", "5");
    check("5.0", "5");
    check("-0.0", "0");
    check("5e2", "500");
    check("0.1", "0.1");
    check("9223372036854775807", "9223372036854775807");
    check("9223372036854775808", "9.223372036854776e+18");
    check("1e300", "1e+300");
}

#[cfg(not(feature = "regex"))]
#[test]
fn without_the_feature_a_regex_is_refused() {
    let rule = json!([{"match": {"a": {"regex": "x"}}}]);
    let change = json!({"change": "create_segment", "name": "Segment", "rules": rule});
    let error = variate::Change::from_json(change.to_string()).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::FeatureMissing, "rules[0].match.a.regex"));
    assert!(error.is_invalid());
}

/// Auth0's API has no other rules than before, but shows those that are held.
#[cfg(feature = "auth0")]
#[test]
fn the_surface_of_auth0_takes_plain_rules_alone() {
    use variate::Engine;
    use variate::api::auth0::ExperimentCenter;

    let plain = json!({"match": {"a": ["x"]}});
    let rich = read(&json!({"match": {"age": {"number": {"gte": 18}}}, "any": [plain]}));
    let new = NewSegment::new("Rich").id(p("seg_rich")).rule(rich.clone());
    let center = ExperimentCenter::new(Engine::from_snapshot(ok(&Snapshot::new(), new)));
    let call = |method: &str, path: &str, body: &Value| {
        let uri = format!("/experimentation/segments{path}");
        let request = http::Request::builder().method(method).uri(uri);
        let response = center.handle(&request.body(body.to_string().into_bytes()).unwrap());
        let status = response.status().as_u16();
        (status, serde_json::from_slice::<Value>(response.body()).unwrap())
    };
    let conditions = [
        ("number", json!({"eq": 5})),
        ("semver", json!({"eq": "1.2.3"})),
        ("date", json!({"eq": "2026-11-21T12:00:00Z"})),
        ("boolean", json!(true)),
        ("regex", json!("x")),
        ("listed", json!(["x"])),
        ("path", json!(["x"])),
    ];
    let conditions = conditions.map(|(key, operand)| json!({"match": {"a": {key: operand}}}));
    let nested = ["all", "any", "not"].map(|key| json!({"match": {"a": ["x"]}, key: [plain]}));
    for rule in conditions.into_iter().chain(nested) {
        let (created, fault) = call("POST", "", &json!({"name": "New", "rules": [rule]}));
        let (patched, same) = call("PATCH", "/seg_rich", &json!({"rules": [rule]}));
        assert_eq!((created, patched), (400, 400), "{rule}");
        for fault in [fault, same] {
            assert!(fault.to_string().contains("has no such key"), "{rule}: {fault}");
        }
    }
    let (status, renamed) = call("PATCH", "/seg_rich", &json!({"name": "Renamed"}));
    assert_eq!((status, &renamed["rules"]), (200, &json!([rich])));
    assert_eq!(call("GET", "/seg_rich", &Value::Null).1, renamed);
}

#[cfg(feature = "regex")]
mod patterns {
    use super::*;
    use variate::{Limits, Regex};

    /// Patterns on which engines that backtrack or copy take forever.
    #[test]
    fn hostile_patterns_are_refused_or_harmless() {
        #[track_caller]
        fn check(pattern: &str, fits: bool) {
            let compiled = pattern.parse::<Regex>();
            assert_eq!(compiled.is_ok(), fits, "{pattern}: {:?}", compiled.err());
            let Ok(compiled) = compiled else {
                let error = compiled.unwrap_err();
                assert_eq!((error.code(), error.path()), (Code::LimitExceeded, ""), "{error}");
                return;
            };
            let oracle = regex::Regex::new(pattern).unwrap();
            for end in ["", "b", "!", "\n", "é"] {
                // Two to the power of this many ways, were they tried one by one.
                let text = "a".repeat(100_000) + end;
                assert_eq!(compiled.is_match(&text), oracle.is_match(&text), "{pattern} {end:?}");
            }
        }
        check("(a+)+$", true);
        check("^(a+)+$", true);
        check("(a|a)*b", true);
        check("^(a|aa)+$", true);
        check("(.*)*(.*)*(.*)*x$", true);
        check("^(([a-z])+.)+[A-Z]([a-z])+$", true);
        check("a{1,1000}", true);
        check(r"a{1000}{1000}", false);
        check(r"((((a{50}){50}){50}){50})", false);
        check("[ab]*a[ab]{10}c", true);
        check("[ab]*a[ab]{20}c", false);
        check(r"\w{100}", false);
        check(&format!("{}a{}", "(".repeat(200), ")".repeat(200)), true);
        check(&"a?".repeat(512), true);
        check(&format!("^{}{}$", "a?".repeat(30), "a".repeat(30)), true);
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_with_the_reason() {
        #[track_caller]
        fn check(pattern: &str, code: Code, rule: &str) {
            let error = pattern.parse::<Regex>().unwrap_err();
            assert_eq!((error.code(), error.rule()), (code, rule), "{pattern}");
            let rule = json!({"match": {"a": {"regex": pattern}}}).to_string();
            assert!(serde_json::from_str::<Rule>(&rule).is_err());
        }
        let (invalid, limit) = (Code::InvalidValue, Code::LimitExceeded);
        let large = "must be simpler: it must take at most 1048576 bytes when compiled";
        let boundary =
            r"must not have word boundaries of Unicode; those of ASCII are written (?-u:\b)";
        check("(a", invalid, "must be a regular expression: unclosed group");
        check("a\n(b", invalid, "must be a regular expression: unclosed group");
        check(r"(a)\1", invalid, "must be a regular expression: backreferences are not supported");
        check("", invalid, "must have 1 to 1024 characters");
        check(&"a".repeat(1_025), invalid, "must have 1 to 1024 characters");
        check(r"\bx", invalid, boundary);
        check(r"x\B", invalid, boundary);
        check(r"\w{400}", limit, large);
        assert!("é".repeat(1_024).parse::<Regex>().is_ok());
        assert_eq!("a+".parse::<Regex>().unwrap(), "a+".parse::<Regex>().unwrap());
        assert_ne!("a+".parse::<Regex>().unwrap(), "aa*".parse::<Regex>().unwrap());
    }

    #[test]
    fn the_patterns_of_a_document_have_one_bound_together() {
        let segments = (1..=60).map(|index| {
            let rules = json!([{"match": {"a": {"regex": r"\w{3}"}}}]);
            json!({"id": format!("seg_{}", "a".repeat(index)), "name": format!("Segment {index}"), "rules": rules})
        });
        let document = json!({"format": "variate/1", "segments": segments.collect::<Vec<_>>()});
        let read = |patterns| {
            let limits = Limits { patterns, ..Limits::DEFAULT };
            Snapshot::from_json_within(document.to_string(), &limits)
        };
        assert!(read(Limits::DEFAULT.patterns).is_ok());
        let error = read(1 << 20).unwrap_err();
        assert_eq!(error.code(), Code::LimitExceeded);
        assert!(error.path().ends_with(".rules[0].match.a.regex"), "{error}");
        assert!(!error.path().starts_with("segments[0]."), "{error}");
        let error = read(0).unwrap_err();
        assert_eq!(error.path(), "segments[0].rules[0].match.a.regex");
    }

    /// Patterns of every construction, over few letters.
    fn pattern() -> impl Strategy<Value = String> {
        let atom = select(vec![
            "a",
            "b",
            "é",
            ".",
            "[ab]",
            "[^a]",
            r"\d",
            r"\w",
            "(?i:É)",
            "^",
            "$",
            r"(?-u:\b)",
            "\n",
            "(?m:^)",
            "(?s:.)",
            r"\p{L}",
        ]);
        atom.prop_map(str::to_owned).prop_recursive(4, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..=3).prop_map(|parts| parts.concat()),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}|{b})")),
                (inner, select(vec!["*", "+", "?", "*?", "{2}", "{1,3}"]))
                    .prop_map(|(part, times)| format!("(?:{part}){times}")),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_pattern_finds_what_it_should(
            pattern in pattern(),
            texts in prop::collection::vec("[abé7\n É]{0,8}", 1..20),
        ) {
            // What is too large is refused, which is shown above.
            if let Ok(own) = pattern.parse::<Regex>() {
                let oracle = regex::Regex::new(&pattern).unwrap();
                for text in &texts {
                    prop_assert_eq!(own.is_match(text), oracle.is_match(text), "{} {:?}", pattern, text);
                }
            }
        }
    }
}
