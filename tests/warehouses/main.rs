//! What `run`, beside this file, compares with the engines: rows of ids and attributes, expressions
//! on them, and what the crate assigns to each.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use variate::{Attribute, Dialect, Plan, Rule, Snapshot, SqlColumns, Status, Subject, Timestamp};

const ROWS: usize = 100_000;

/// The column of the id, and of each attribute of the documents in `tests/golden`.
const ID: &str = "id";

/// Texts that have a meaning somewhere.
const HOSTILE: [&str; 41] = [
    "'",
    "''",
    "\"",
    "`",
    "``",
    "\\",
    "\\'",
    "\\\\",
    "\\x41",
    "\\u0041",
    "' OR 1=1 --",
    "'; --",
    "/*",
    "*/",
    "--",
    "#",
    "%",
    "_",
    "?",
    ":a",
    "$1",
    "${x}",
    "${env:HOME}",
    "$$",
    "{x:String}",
    "{{x}}",
    "\0",
    "a\0b",
    "\n",
    "\r\n",
    "\t",
    " ",
    "a ",
    " a",
    "ä",
    "A\u{308}",
    "👩‍🚀",
    "\u{10ffff}",
    "\u{feff}",
    "NULL",
    "平板",
];

/// Names of columns, each a single identifier.
const COLUMNS: [&str; 15] = [
    "select",
    "a.b",
    "two words",
    "a`b",
    "a``b\\",
    "a\"b",
    "a'b",
    "a\\",
    "$x {y:String}",
    "-- no comment",
    "/* none */",
    "%s?:x",
    "Größe",
    "平板",
    "*",
];

/// Columns that hold no text, and what they hold.
const TYPED: [(&str, &str); 4] = [
    ("whole `number`", "integer"),
    ("float \"number\"", "double"),
    ("true?", "boolean"),
    ("seen 'at'", "moment"),
];

/// Numbers that are asked for, in ascending order.
const NUMBERS: [f64; 15] = [
    -9_007_199_254_740_991.0,
    -16_777_217.5,
    -18.5,
    -1.0,
    0.0,
    5e-324,
    1e-7,
    0.1,
    0.300_000_000_000_000_04,
    1.0,
    18.0,
    18.5,
    16_777_217.0,
    4_503_599_627_370_495.5,
    9_007_199_254_740_991.0,
];

/// Numbers that only ClickHouse compares exactly.
const LARGE: [f64; 3] = [-9_223_372_036_854_775_808.0, 9_007_199_254_740_992.0, 1e300];

/// Moments that are asked for, in ascending order.
const MOMENTS: [&str; 5] = [
    "1969-12-31T23:59:59.999Z",
    "1970-01-01T00:00:00Z",
    AT,
    "2026-11-21T12:00:00.250Z",
    "2261-12-31T23:59:59.998Z",
];

#[test]
#[ignore = "writes what `run` reads, to the directory that VARIATE_CASES names"]
fn write_cases() {
    let directory = PathBuf::from(std::env::var_os("VARIATE_CASES").unwrap());
    let mut dice = Dice(1);
    let snapshots = vec![
        Snapshot::from_json(include_str!("../golden/decisions/snapshot.json")).unwrap(),
        Snapshot::from_json(include_str!("../golden/decisions/ramps-snapshot.json")).unwrap(),
        #[cfg(feature = "launchdarkly")]
        Snapshot::from_json(include_str!("../golden/rollouts/snapshot.json")).unwrap(),
        fuzzed(&mut dice),
    ];
    let attributes = attributes(&snapshots);
    let rows: Vec<Map<String, Value>> =
        (0..ROWS).map(|number| row(&mut dice, number, &attributes)).collect();
    let mut lines = BufWriter::new(File::create(directory.join("rows.jsonl")).unwrap());
    for row in &rows {
        writeln!(lines, "{}", Value::from(row.clone())).unwrap();
    }
    lines.flush().unwrap();

    let types = Map::from_iter(TYPED.map(|(name, kind)| (name.to_owned(), json!(kind))));
    std::fs::write(directory.join("types.json"), Value::from(types).to_string()).unwrap();

    let columns = attributes
        .iter()
        .fold(SqlColumns::new(ID).at(AT.parse().unwrap()), |columns, (name, attribute)| {
            columns.attribute(name, &attribute.column)
        });
    let subjects: Vec<_> = rows.iter().map(|row| known(row, &attributes)).collect();
    let cases: Vec<Value> = snapshots
        .iter()
        .flat_map(plans)
        .map(|plan| case(&plan, &columns, &rows, &subjects))
        .collect();
    let only = |case: &Value| case["sql"].as_object().unwrap().len() == 1;
    assert!(cases.iter().any(only), "numbers that only ClickHouse compares exactly");
    std::fs::write(directory.join("cases.json"), Value::from(cases).to_string()).unwrap();
}

/// The plan of every experiment, as it is or as it would be.
fn plans(snapshot: &Snapshot) -> Vec<Plan> {
    let plan = |id, status| match status {
        Status::Active => snapshot.plan(id).cloned(),
        _ => snapshot.trial_plan(id),
    };
    snapshot.experiments().map(|own| plan(own.id(), own.status()).unwrap()).collect()
}

fn case(
    plan: &Plan,
    columns: &SqlColumns<'_>,
    rows: &[Map<String, Value>],
    subjects: &[BTreeMap<&str, Option<Attribute<'_>>>],
) -> Value {
    let at: Timestamp = AT.parse().unwrap();
    let mut arms: Vec<&str> = Vec::new();
    let expected: Vec<i64> = rows
        .iter()
        .zip(subjects)
        .map(|(row, attributes)| {
            // Experiments go by one kind or the other.
            let id = row[ID].as_str().unwrap_or_default();
            let subject = Subject::of("user", id).with_id("device", id).with_clock(&at);
            let subject = subject.with_attributes(attributes);
            let Some(assignment) = plan.assign(&subject).assignment() else { return -1 };
            let variation = assignment.variation_id.as_str();
            let number = arms.iter().position(|known| *known == variation).unwrap_or_else(|| {
                arms.push(variation);
                arms.len() - 1
            });
            i64::try_from(number).unwrap()
        })
        .collect();
    let sql: BTreeMap<&str, String> = Dialect::ALL
        .iter()
        .filter_map(|dialect| match plan.sql(*dialect, columns) {
            Ok(sql) => Some((dialect.as_str(), sql)),
            Err(error) => {
                let too_large = error.path().ends_with(".number");
                assert!(too_large && *dialect != Dialect::ClickHouse, "{dialect}: {error}");
                None
            }
        })
        .collect();
    json!({"experiment": plan.experiment_id(), "sql": sql, "arms": arms, "expected": expected})
}

/// The attributes by their names, as a row knows them.
fn known<'r>(
    row: &'r Map<String, Value>,
    attributes: &'r BTreeMap<String, Column>,
) -> BTreeMap<&'r str, Option<Attribute<'r>>> {
    let known = attributes.iter().map(|(name, own)| {
        let value = &row[&own.column];
        let attribute = match kind(&own.column) {
            "integer" => value.as_i64().map(Attribute::Integer),
            "double" => value.as_str().map(|text| Attribute::Float(text.parse().unwrap())),
            "boolean" => value.as_bool().map(Attribute::Bool),
            "moment" => value.as_i64().map(|micros| {
                let moment = Timestamp::from_unix_millis(micros.div_euclid(1_000));
                Attribute::Timestamp(moment.unwrap())
            }),
            _ => value.as_str().map(Attribute::String),
        };
        (name.as_str(), attribute)
    });
    known.collect()
}

/// What a column holds.
fn kind(column: &str) -> &'static str {
    TYPED.iter().find(|(known, _)| *known == column).map_or("text", |(_, kind)| kind)
}

/// Where an attribute lies, and what conditions on it ask for.
struct Column {
    column: String,
    items: Vec<String>,
}

/// Every attribute that a rule asks for.
fn attributes(snapshots: &[Snapshot]) -> BTreeMap<String, Column> {
    let mut attributes = BTreeMap::new();
    for snapshot in snapshots {
        let segments = snapshot.segments();
        let frozen = snapshot.experiments().flat_map(|own| own.iteration().segments());
        let mut rules: Vec<&Rule> = segments.chain(frozen).flat_map(|own| own.rules()).collect();
        while let Some(rule) = rules.pop() {
            rules.extend(rule.all().iter().chain(rule.any()).chain(rule.not()));
            for condition in rule.matches().iter().chain(rule.not_matches()) {
                let name = condition.attribute.as_str();
                let column = name.strip_suffix(SUFFIX).unwrap_or(name).to_owned();
                let known = attributes.entry(name.to_owned());
                let known = known.or_insert(Column { column, items: Vec::new() });
                let rule = Rule::new().when("x", condition.expression.clone());
                known.items.extend(texts(&serde_json::to_value(rule).unwrap()));
            }
        }
    }
    attributes
}

/// All texts in a value.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// An id, and values that are often what a condition asks for.
fn row(
    dice: &mut Dice,
    number: usize,
    attributes: &BTreeMap<String, Column>,
) -> Map<String, Value> {
    let id = match number {
        0 => Value::Null,
        1 => json!(""),
        // Every length around the blocks that the hash takes.
        2..=200 => json!("x".repeat(number - 1)),
        201..=241 => json!(HOSTILE[number - 201]),
        _ if dice.roll(100) == 0 => Value::Null,
        _ if dice.roll(4) == 0 => json!(format!("{}{number}{}", dice.text(), dice.text())),
        _ => json!(format!("device-{number}")),
    };
    let mut row = Map::from_iter([(ID.to_owned(), id)]);
    for Column { column, items } in attributes.values() {
        if kind(column) != "text" {
            row.insert(column.clone(), typed(dice, kind(column)));
            continue;
        }
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        let value = match dice.roll(8) {
            0 | 1 => Value::Null,
            2 => json!(dice.text()),
            _ if items.is_empty() => json!("anything"),
            3 => json!(format!("{}{}", dice.text(), dice.pick(&items))),
            4 => json!(format!("{}{}", dice.pick(&items), dice.text())),
            _ => json!(dice.pick(&items)),
        };
        row.insert(column.clone(), value);
    }
    row
}

/// A value that is often close to what is asked for.
fn typed(dice: &mut Dice, kind: &str) -> Value {
    if dice.roll(8) == 0 {
        return Value::Null;
    }
    let number = NUMBERS[dice.roll(NUMBERS.len())];
    match kind {
        "integer" => {
            let edges = [i64::MIN, i64::MIN + 1, i64::MAX, (1 << 53) - 1, 1 << 53, (1 << 53) + 1];
            #[expect(clippy::cast_possible_truncation, reason = "any integer will do")]
            let near = number as i64 + [-1, 0, 0, 1][dice.roll(4)];
            json!([near, near, near, edges[dice.roll(edges.len())]][dice.roll(4)])
        }
        "double" => {
            let edges = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, LARGE[dice.roll(3)]];
            let near = [number.next_down(), number, number, number.next_up()][dice.roll(4)];
            let float = [near, near, near, edges[dice.roll(edges.len())]][dice.roll(4)];
            // JSON has no word for some of them.
            json!(format!("{float:?}"))
        }
        "boolean" => json!(dice.roll(2) == 0),
        _ => {
            let moment: Timestamp = dice.pick(&MOMENTS).parse().unwrap();
            let steps = [-1_001, -1_000, -999, -1, 0, 0, 1, 999, 1_000, 1_001];
            json!(moment.unix_millis() * 1_000 + steps[dice.roll(steps.len())])
        }
    }
}

/// What tells the name of an attribute of the fuzzed documents from that of its column.
const SUFFIX: &str = " '`\"\\ of the subject";

/// The moment at which what has a schedule assigns.
const AT: &str = "2026-11-21T12:00:00Z";

/// A flag, segments that ask for hostile texts, and experiments on both with every gate.
fn fuzzed(dice: &mut Dice) -> Snapshot {
    let variations: Vec<Value> = (0..20)
        .map(|number| json!({"id": variation(number), "name": format!("arm {number}")}))
        .collect();
    let segments: Vec<Value> = (0..40 + SINGLE)
        .map(|number| {
            let rules: Vec<Value> = match number.checked_sub(40) {
                None => (0..=dice.roll(2)).map(|_| rule(dice, 2)).collect(),
                // Of each column that holds no text, each form on its own; the last of them with
                // numbers that are too large for some.
                Some(single) => {
                    let numbers = if single / 4 < 5 { &NUMBERS[..] } else { &LARGE };
                    let asked = asked_of_typed(dice, single % 4, single / 4, numbers);
                    vec![json!({"match": {format!("{}{SUFFIX}", asked.0): asked.1}})]
                }
            };
            json!({"id": segment(number), "name": format!("segment {number}"), "rules": rules})
        })
        .collect();
    let experiments: Vec<Value> = (0..30 + SINGLE)
        .map(|number| {
            let (strategy, allocations) = match number {
                30.. => ("segment", alone(&segment(number + 10))),
                _ if number % 3 == 0 => ("percentage", by_weight([2, 3, 8, 20][dice.roll(4)])),
                _ => ("segment", by_segment(dice)),
            };
            let traffic =
                [100.0, 100.0, 100.0, 100.0, 50.0, 33.333_333, 99.999_999, 0.000_001, 0.0];
            let mut experiment = json!({
                "id": format!("exp_{}", "x".repeat(number + 1)),
                "name": format!("experiment {number}"),
                "flag_id": "flg_a",
                "status": "active",
                "salt": format!("salt {number} {}", dice.pick(&HOSTILE)),
                "strategy": strategy,
                "allocations": allocations,
            });
            if number >= 30 {
                return experiment;
            }
            // Behind others by every gate that they have.
            if dice.roll(2) == 0 {
                experiment["chain"] = json!(dice.pick(&["", "paywall", "banner", "'"]));
            }
            if dice.roll(3) == 0 {
                experiment["audience_id"] = json!(segment(dice.roll(40)));
            }
            if dice.roll(3) == 0 {
                // Either has begun or is just beginning.
                let second = ["2026-11-03T00:00:00Z", AT][dice.roll(2)];
                experiment["starts_at"] = json!([AT, "2026-11-01T00:00:00Z"][dice.roll(2)]);
                experiment["ends_at"] = json!("2026-11-21T12:00:00.001Z");
                experiment["stages"] = json!([
                    {"at": "2026-11-02T00:00:00Z", "traffic": 20},
                    {"at": second, "traffic": 60},
                    {"at": "2026-11-21T12:00:00.001Z", "traffic": 100},
                ]);
            } else {
                experiment["traffic"] = json!(traffic[dice.roll(traffic.len())]);
            }
            experiment
        })
        .collect();
    let member = |number: usize| experiments[number]["id"].as_str().unwrap();
    let document = json!({
        "format": "variate/1",
        "flags": [{
            "id": "flg_a", "name": "A flag", "status": "active",
            "parameters": {"x": {"type": "number", "value": 1}}, "variations": variations,
        }],
        "segments": segments,
        "experiments": experiments,
        "layers": [
            {
                "id": "lay_a", "name": "Parted", "salt": "'",
                "members": {member(0): 20, member(1): 30, member(2): 10},
                "partition": [
                    {"start": 0, "experiment_id": member(0)},
                    {"start": 429_496_730},
                    {"start": 858_993_459, "experiment_id": member(1)},
                    {"start": 2_147_483_647},
                    {"start": 2_147_483_648_u32, "experiment_id": member(0)},
                    {"start": 2_576_980_377_u32},
                    {"start": 3_865_470_567_u32, "experiment_id": member(2)},
                ],
            },
            {"id": "lay_b", "name": "Whole", "members": {member(3): 100}},
            {"id": "lay_c", "name": "Nothing", "members": {member(4): 0, member(5): 50}},
        ],
        "holdouts": [
            {"id": "hld_a", "name": "Ten", "share": 10, "experiments": [member(0), member(6)]},
            {"id": "hld_b", "name": "More", "share": 40, "experiments": [member(6), member(7)]},
            {"id": "hld_c", "name": "None", "share": 0, "experiments": [member(8)]},
        ],
    });
    Snapshot::from_json(document.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

fn variation(number: usize) -> String {
    format!("var_{}", "v".repeat(number + 1))
}

fn segment(number: usize) -> String {
    format!("seg_{}", "s".repeat(number + 1))
}

fn by_weight(arms: u32) -> Vec<Value> {
    let share = |arm| if arm + 1 < arms { 1.25 } else { 101.25 - 1.25 * f64::from(arms) };
    let arm = |arm| {
        let id = variation(usize::try_from(arm).unwrap());
        json!({"variation_id": id, "weight": share(arm), "is_control": arm == 0})
    };
    (0..arms).map(arm).collect()
}

/// How many segments have a single condition, on what is no text.
const SINGLE: usize = 4 * FORMS.len();

/// One target and the fallback.
fn alone(segment: &str) -> Vec<Value> {
    vec![
        json!({"variation_id": variation(1), "segment_id": segment, "priority": 1}),
        json!({"variation_id": variation(0), "is_fallback": true, "is_control": true}),
    ]
}

/// Three targets and the fallback, each of one arm or divided.
fn by_segment(dice: &mut Dice) -> Vec<Value> {
    let first = dice.roll(37);
    let mut allocations: Vec<Value> = Vec::new();
    for target in 0..4 {
        let weights: &[u32] = [&[] as &[u32], &[50, 50], &[10, 0, 90]][dice.roll(3)];
        for arm in 0..weights.len().max(1) {
            let mut allocation = match target {
                3 => json!({"is_fallback": true, "is_control": arm == 0}),
                _ => json!({"segment_id": segment(first + target), "priority": target + 1}),
            };
            allocation["variation_id"] = json!(variation(4 * target + arm));
            if let Some(weight) = weights.get(arm) {
                allocation["weight"] = json!(weight);
            }
            allocations.push(allocation);
        }
    }
    allocations
}

/// A rule, which has rules within it if it can be this deep.
fn rule(dice: &mut Dice, depth: usize) -> Value {
    let mut rule = Map::new();
    let forms: [&[&str]; 4] =
        [&["match"], &["not_match"], &["match", "not_match"], &["match", "not_match"]];
    for key in forms[dice.roll(4)] {
        let conditions = (0..=dice.roll(2)).map(|_| {
            let (column, expression) = condition(dice);
            (format!("{column}{SUFFIX}"), expression)
        });
        rule.insert((*key).to_owned(), conditions.collect());
    }
    for key in ["all", "any", "not"] {
        if depth > 0 && dice.roll(4) == 0 {
            let rules = (0..=dice.roll(2)).map(|_| self::rule(dice, depth - 1));
            rule.insert(key.to_owned(), rules.collect());
        }
    }
    rule.into()
}

/// A column, and what is asked of its attribute.
fn condition(dice: &mut Dice) -> (&'static str, Value) {
    match dice.roll(10) {
        0 => {
            let column = [dice.pick(&COLUMNS), TYPED[dice.roll(4)].0][dice.roll(2)];
            (column, json!({"exists": dice.roll(2) == 0}))
        }
        1..=3 => {
            let (column, form) = (dice.roll(4), dice.roll(FORMS.len()));
            asked_of_typed(dice, column, form, &NUMBERS)
        }
        _ => (dice.pick(&COLUMNS), expression(dice)),
    }
}

/// The bounds that there can be.
const FORMS: [&[&str]; 7] =
    [&["gt"], &["gte"], &["lt"], &["lte"], &["eq"], &["gt", "lte"], &["gte", "lt"]];

/// What is asked of an attribute that is no text.
fn asked_of_typed(
    dice: &mut Dice,
    column: usize,
    form: usize,
    numbers: &[f64],
) -> (&'static str, Value) {
    let (column, kind) = TYPED[column];
    let all: Vec<Value> = match kind {
        "moment" => MOMENTS.map(Value::from).into(),
        _ => numbers.iter().copied().map(Value::from).collect(),
    };
    // An upper bound is more than the lower.
    let keys = FORMS[form];
    let first = dice.roll(all.len() + 1 - keys.len());
    let second = first + 1 + dice.roll((all.len() - first).max(2) - 1);
    let bounds = keys.iter().zip([first, second]);
    let bounds: Map<String, Value> =
        bounds.map(|(key, place)| ((*key).to_owned(), all[place].clone())).collect();
    let expression = match kind {
        "boolean" => json!({"boolean": form.is_multiple_of(2)}),
        "moment" => json!({"date": bounds}),
        _ => json!({"number": bounds}),
    };
    (column, expression)
}

fn expression(dice: &mut Dice) -> Value {
    let items: Vec<String> = (0..=dice.roll(3)).map(|_| dice.text()).collect();
    match dice.roll(6) {
        0 => json!({"contains": items}),
        1 => json!({"starts_with": items}),
        2 => json!({"ends_with": items}),
        3 => json!({"listed": items}),
        _ => json!(items),
    }
}

/// Reproducible numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % sides as u64).unwrap()
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.roll(of.len())]
    }

    /// A few hostile texts one after the other; seldom none.
    fn text(&mut self) -> String {
        let parts = [0, 1, 1, 1, 1, 1, 2, 3][self.roll(8)];
        (0..parts).map(|_| self.pick(&HOSTILE)).collect()
    }
}
