use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;
use crate::assign::ToAttribute;
use crate::model::{Bounds, Expression, Semver};
use crate::time::Timestamp;

const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// Some differ in length alone, some in the middle alone.
const TEXTS: [&str; 18] = [
    "",
    "\0",
    "\0\0",
    "a",
    "ab",
    "abc",
    "abcd",
    "abcdefg",
    "abcdefgh",
    "abcdefghi",
    "abcdefgh-abcdefgh",
    "abcdefgh+abcdefgh",
    "abcdefghabcdefgh",
    "hgfedcbahgfedcba",
    "é",
    "1970-01-01T00:00:02Z",
    "3",
    "60",
];

const VERSIONS: [&str; 9] = [
    "0.9.0",
    "1.0.0-a",
    "1.0.0-a.1",
    "1.0.0",
    "1.0.0+b",
    "1.0.1",
    "1.10.0",
    "2.0.0-0",
    "18446744073709551615.0.0",
];

#[derive(Debug, Clone)]
enum Given {
    Float(f64),
    Json(Value),
    Moment(Timestamp),
    Unsigned(u64),
}

impl ToAttribute for Given {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        match self {
            Self::Float(float) => float.to_attribute(),
            Self::Json(value) => value.to_attribute(),
            Self::Moment(moment) => moment.to_attribute(),
            Self::Unsigned(number) => number.to_attribute(),
        }
    }
}

fn segment(rules: Vec<Rule>) -> Arc<Segment> {
    let rule = json!({"match": {"a": {"exists": true}}});
    let any = json!({
        "id": "seg_a",
        "name": "A",
        "rules": [rule],
        "version": 1,
        "created_at": "2026-11-21T12:00:00Z",
        "updated_at": "2026-11-21T12:00:00Z",
    });
    Arc::new(Segment { rules: rules.into(), ..serde_json::from_value(any).unwrap() })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(&TEXTS[..]).prop_map(str::to_owned),
        2 => select(&VERSIONS[..]).prop_map(str::to_owned),
        1 => (0..400_u32).prop_map(|number| number.to_string()),
    ]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        4 => prop::collection::vec(text(), 0..4),
        1 => (0..6_u32, 1..70_u32).prop_map(|(tens, count)| {
            (tens * 60..tens * 60 + count).map(|number| number.to_string()).collect()
        }),
    ]
}

fn bounds<T: Clone + std::fmt::Debug + 'static>(
    operand: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Bounds<T>> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let bound = {
        let operand = operand.clone();
        move || {
            prop_oneof![
                operand.clone().prop_map(Included),
                operand.clone().prop_map(Excluded),
                Just(Unbounded),
            ]
        }
    };
    prop_oneof![
        1 => operand.prop_map(Bounds::Equal),
        3 => (bound(), bound()).prop_map(|(lower, upper)| Bounds::Between(lower, upper)),
    ]
}

fn plain_expression() -> impl Strategy<Value = Expression> {
    let version = select(&VERSIONS[..]).prop_map(|text| text.parse::<Semver>().unwrap());
    let number = prop_oneof![
        (0..4_i64).prop_map(crate::model::Number::from),
        Just(crate::model::Number::try_from(1.5).unwrap()),
    ];
    let pattern = select(vec!["^1", "c", "h$"]).prop_map(|pattern| {
        #[cfg(feature = "regex")]
        return Expression::Regex(pattern.parse().unwrap());
        #[cfg(not(feature = "regex"))]
        Expression::contains([pattern])
    });
    prop_oneof![
        8 => texts().prop_map(Expression::one_of),
        4 => bounds(version).prop_map(Expression::semver),
        1 => texts().prop_map(Expression::listed),
        1 => texts().prop_map(Expression::contains),
        1 => texts().prop_map(Expression::starts_with),
        1 => texts().prop_map(Expression::ends_with),
        1 => any::<bool>().prop_map(Expression::Exists),
        1 => any::<bool>().prop_map(Expression::Boolean),
        1 => bounds(number).prop_map(Expression::number),
        1 => bounds((0..4_i64).prop_map(moment)).prop_map(Expression::date),
        1 => pattern,
    ]
}

fn moment(second: i64) -> Timestamp {
    format!("1970-01-01T00:00:0{second}Z").parse().unwrap()
}

fn expression() -> impl Strategy<Value = Expression> {
    prop_oneof![
        9 => plain_expression(),
        1 => plain_expression().prop_map(|is| Expression::path(["x"], is)),
    ]
}

/// Also rules that no segment takes: empty ones, and with one attribute twice. Some ask that a
/// condition both holds and does not.
fn rule(names: usize) -> impl Strategy<Value = Rule> {
    let conditions =
        move |most| prop::collection::vec((select(&NAMES[..names]), expression()), 0..most);
    let never = prop::bool::weighted(0.1);
    let flat = (conditions(4), conditions(2), never).prop_map(|(when, mut unless, never)| {
        unless.extend(when.first().filter(|_| never).cloned());
        let rule = when.into_iter().fold(Rule::new(), |rule, (name, own)| rule.when(name, own));
        unless.into_iter().fold(rule, |rule, (name, own)| rule.unless(name, own))
    });
    flat.prop_recursive(8, 16, 2, |inner| {
        let list = || prop::option::of(prop::collection::vec(inner.clone(), 0..3));
        (inner.clone(), list(), list(), list()).prop_map(|(mut rule, all, any, not)| {
            if let Some(list) = all {
                rule = rule.all_of(list);
            }
            if let Some(list) = any {
                rule = rule.any_of(list);
            }
            match not {
                Some(list) => rule.none_of(list),
                None => rule,
            }
        })
    })
}

/// Some rules stand in several segments.
fn segments(most: usize) -> impl Strategy<Value = Vec<Arc<Segment>>> {
    (1..=most).prop_flat_map(|names| prop::collection::vec(rule(names), 1..24)).prop_flat_map(
        |rules| {
            let some = prop::collection::vec(select(rules), 0..4);
            prop::collection::vec(some.prop_map(segment), 0..30)
        },
    )
}

fn value() -> impl Strategy<Value = Given> {
    let part = prop_oneof![
        text().prop_map(Value::from),
        (0..4).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    prop_oneof![
        6 => text().prop_map(|text| Given::Json(text.into())),
        1 => part.clone().prop_map(Given::Json),
        1 => part.prop_map(|part| Given::Json(json!({"x": part}))),
        1 => select(vec![f64::NAN, f64::INFINITY, 1.5, 2.0, -0.0]).prop_map(Given::Float),
        1 => (0..4_i64).prop_map(|second| Given::Moment(moment(second))),
        1 => select(vec![2, u64::MAX]).prop_map(Given::Unsigned),
    ]
}

fn subject() -> impl Strategy<Value = BTreeMap<&'static str, Given>> {
    prop::collection::btree_map(select(&NAMES[..]), value(), 0..=NAMES.len())
}

fn naive(segments: &[Arc<Segment>], attributes: &dyn Attributes) -> Option<usize> {
    segments.iter().position(|segment| segment.contains(attributes))
}

/// Lends pairs and counts how often it is asked for each.
struct Counting<'a> {
    pairs: &'a BTreeMap<&'static str, Given>,
    asked: BTreeMap<&'static str, AtomicUsize>,
}

impl<'a> Counting<'a> {
    fn new(pairs: &'a BTreeMap<&'static str, Given>) -> Self {
        Self { pairs, asked: NAMES.iter().map(|name| (*name, AtomicUsize::new(0))).collect() }
    }
}

impl Attributes for Counting<'_> {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.asked[name].fetch_add(1, Ordering::Relaxed);
        self.pairs.attribute(name)
    }
}

/// Of everything that a program allocates but the segments.
fn size(program: &Program) -> usize {
    let group = |group: &Group| {
        group.attribute.len()
            + match &group.test {
                Test::Texts(texts) => size_of::<Texts>() + texts.size(),
                Test::Versions(versions) => size_of::<Versions>() + versions.size(),
                Test::Other(place) => size_of::<Place>() + size_of_val(&*place.turns),
            }
    };
    let code = |code: &Code| {
        size_of_val(&*code.steps)
            + size_of_val(&*code.group_of)
            + size_of_val(&*code.groups)
            + code.groups.iter().map(group).sum::<usize>()
    };
    let codes = program.blocks.iter().filter_map(|block| block.code.as_ref());
    size_of_val(program)
        + size_of_val(&*program.segments)
        + size_of_val(&*program.blocks)
        + codes.map(code).sum::<usize>()
}

/// A segment of one plan, in twelve countries, from a version on.
fn of_plan(number: usize) -> Arc<Segment> {
    let countries = ["AT", "BE", "CH", "DE", "DK", "ES", "FI", "FR", "IT", "NL", "NO", "SE"];
    let rule = Rule::new()
        .when("country", Expression::one_of(countries))
        .when("version", Expression::semver("4.2.0".parse::<Semver>().unwrap()..))
        .when("plan", Expression::one_of([format!("plan-{number}")]));
    segment(vec![rule])
}

#[test]
fn a_program_is_small() {
    let segments: Vec<_> = (0..10).map(of_plan).collect();
    let size = size(&Program::new(&*segments));
    assert!(size <= 1_536, "{size}");
}

/// The more segments, the more conditions, each of which stays exact.
#[test]
fn many_segments_take_several_blocks() {
    let segments: Vec<_> = (0..200).map(of_plan).collect();
    let program = Program::new(&*segments);
    assert!(program.blocks.len() > 2 && program.blocks.iter().all(|block| block.code.is_some()));
    for number in 0..=200 {
        let plan = format!("plan-{number}");
        let subject = [("country", "SE"), ("version", "4.2.0"), ("plan", &*plan)];
        assert_eq!(program.first(&subject), (number < 200).then_some(number));
        let old = [("country", "SE"), ("version", "4.2.0-a"), ("plan", &*plan)];
        assert_eq!(program.first(&old), None);
    }
}

#[test]
fn a_segment_of_too_many_conditions_is_asked_as_it_is() {
    let rule = |number: usize| Rule::new().when("a", Expression::one_of([number.to_string()]));
    let segments = [
        segment(vec![rule(200)]),
        segment((0..=MAX_CONDITIONS).map(rule).collect()),
        segment(vec![rule(0), rule(300)]),
    ];
    let program = Program::new(segments);
    let coded: Vec<_> = program.blocks.iter().map(|block| block.code.is_some()).collect();
    assert_eq!(coded, [true, false, true]);
    for (text, place) in [("200", Some(0)), ("64", Some(1)), ("0", Some(1)), ("300", Some(2))] {
        assert_eq!(program.first(&[("a", text)]), place, "{text}");
    }
    assert_eq!(program.first(&[("a", "65")]), None);
}

#[test]
fn two_programs_are_equal_if_their_segments_are() {
    let segments: Vec<_> = (0..3).map(of_plan).collect();
    let anew: Vec<_> = (0..3).map(of_plan).collect();
    assert_eq!(Program::new(&*segments), Program::new(&*anew));
    assert_ne!(
        Program::new(&*segments),
        Program::new(anew.iter().rev().cloned().collect::<Vec<_>>())
    );
    assert_ne!(Program::new(&*segments), Program::new(&anew[..2]));
    assert_eq!(Program::new([]).first(&()), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn finds_the_segment_that_is_found_by_asking_each(
        segments in segments(NAMES.len()),
        subjects in prop::collection::vec(subject(), 1..40),
    ) {
        let program = Program::new(&*segments);
        for subject in &subjects {
            prop_assert_eq!(program.first(subject), naive(&segments, subject), "{:?}", subject);
        }
        prop_assert_eq!(program.first(&()), naive(&segments, &()));
    }

    #[test]
    fn asks_for_an_attribute_once_a_block(segments in segments(SLOTS), subject in subject()) {
        let program = Program::new(&*segments);
        prop_assume!(program.blocks.iter().all(|block| block.code.is_some()));
        let counting = Counting::new(&subject);
        program.first(&counting);
        for (name, asked) in &counting.asked {
            let asked = asked.load(Ordering::Relaxed);
            prop_assert!(asked <= program.blocks.len(), "{} {} times", name, asked);
        }
    }

    /// So that there is an end: each step leads on, and what is asked for gets settled.
    #[test]
    fn goes_on_at_each_step(segments in segments(NAMES.len())) {
        for code in Program::new(&*segments).blocks.iter().filter_map(|block| block.code.as_ref()) {
            for (bit, group) in code.group_of.iter().enumerate() {
                prop_assert_ne!(code.groups[usize::from(*group)].mask & 1 << bit, 0);
            }
            for (place, step) in code.steps.iter().enumerate() {
                let all = code.groups.iter().fold(0, |all, group| all | group.mask);
                prop_assert_eq!((step.asked & !all, step.wanted & !step.asked), (0, 0));
                for target in [step.yes, step.no] {
                    prop_assert!(usize::from(target) > place);
                    prop_assert!(target >= MISS || usize::from(target) < code.steps.len());
                }
            }
        }
    }
}
