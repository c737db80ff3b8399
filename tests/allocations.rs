//! Assigning allocates nothing: counted by the allocator, per thread, for both strategies and every
//! reason.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;

use common::{apply, brought_to, ok, p, share, world};
use serde_json::{Value, json};
use variate::{
    Allocation, Attributes, Batch, Change, Engine, ExperimentPatch, Expression, NewExperiment,
    NewSegment, Outcome, Rule, Scratch, Snapshot, Status, Subject, Timestamp,
};

thread_local! {
    // Const, so that counting allocates nothing itself.
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // Threads that end still allocate when their locals are gone.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

/// Notes how many bytes more are live, or fewer.
fn grow(before: usize, after: usize) {
    let more = after.cast_signed() - before.cast_signed();
    let _ = LIVE.try_with(|live| live.set(live.get() + more));
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        grow(0, layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        grow(0, layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        grow(layout.size(), size);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        grow(layout.size(), 0);
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How often this thread allocates while it does something.
fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = COUNT.get();
    // The compiler leaves out an allocation that nobody looks at.
    let result = black_box(work());
    let after = COUNT.get();
    drop(result);
    after - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| 7), 0);
    assert_eq!(allocations(|| Box::new(7)), 1);
    assert_eq!(allocations(|| vec![0_u8; 100]), 1);
    assert_eq!(
        allocations(|| {
            let mut grown = black_box(Vec::with_capacity(1));
            grown.extend([1, 2, 3]);
            grown
        }),
        2
    );
    // Others do not disturb.
    let other = || std::thread::scope(|scope| scope.spawn(|| allocations(|| vec![1; 9])).join());
    assert_eq!(other().unwrap(), 1);
}

const IDS: [&str; 17] = [
    "exp_weights",
    "exp_segments",
    "exp_eight",
    "exp_shut",
    "exp_shutsegments",
    "exp_user",
    "exp_ramp",
    "exp_rampshut",
    "exp_rampopen",
    "exp_rampweighted",
    "exp_draft",
    "exp_paused",
    "exp_done",
    "exp_away",
    "exp_none",
    "",
    "flg_a",
];

/// An experiment of each strategy and status, with traffic for all, some and none, one rebalanced,
/// ramps at several levels, and segments with every operator.
fn many() -> Snapshot {
    let halves = |id: &str| {
        NewExperiment::by_percentage(format!("Named {id}"), p("flg_a"))
            .id(p(id))
            .allocation(share("var_a", "50").control())
            .allocation(share("var_b", "50"))
    };
    let hard = Rule::new()
        .when("country", Expression::one_of((0..40).map(|n| format!("X{n}"))))
        .when("agent", Expression::contains(["a", "b"]))
        .unless("agent", Expression::ends_with(["bot"]));
    let absent = Rule::new()
        .when("nothing", Expression::Exists(false))
        .when("platform", Expression::starts_with(["web"]));
    let shut = NewExperiment::by_segment("Shut segments", p("flg_a"))
        .id(p("exp_shutsegments"))
        .allocation(Allocation::segment(p("var_b"), p("seg_hard"), 1).unwrap())
        .allocation(Allocation::fallback(p("var_a")).control())
        .traffic(p("0"));
    let ramp = |id: &str, level: &str| {
        NewExperiment::by_percentage(format!("Named {id}"), p("flg_a"))
            .id(p(id))
            .allocation(Allocation::ramped(p("var_a")).control())
            .allocation(Allocation::ramped(p("var_b")))
            .allocation(Allocation::ramped(p("var_c")))
            .levels([p(level)])
    };
    let snapshot = ok(
        &world(),
        vec![
            ramp("exp_ramp", "50").into(),
            ramp("exp_rampshut", "0").into(),
            ramp("exp_rampopen", "100").into(),
            halves("exp_rampweighted").levels([p("50")]).into(),
            NewSegment::new("Hard").id(p("seg_hard")).rule(hard).rule(absent).into(),
            halves("exp_eight").traffic(p("50")).outside_variation_id(p("var_d")).into(),
            halves("exp_shut").traffic(p("0")).outside_variation_id(p("var_d")).into(),
            shut.into(),
            halves("exp_user").subject_kind("user").into(),
            halves("exp_draft").into(),
            halves("exp_paused").into(),
            halves("exp_done").into(),
            halves("exp_away").into(),
            Change::patch_experiment(
                &p("exp_segments"),
                ExperimentPatch::new().allocations(vec![
                    Allocation::segment(p("var_d"), p("seg_hard"), 9).unwrap(),
                    Allocation::segment(p("var_b"), p("seg_germany"), 1).unwrap(),
                    Allocation::segment(p("var_c"), p("seg_ios"), 2).unwrap(),
                    Allocation::fallback(p("var_a")).control(),
                ]),
            ),
        ],
    );
    let statuses = [
        ("exp_weights", Status::Active),
        ("exp_segments", Status::Active),
        ("exp_eight", Status::Active),
        ("exp_shut", Status::Active),
        ("exp_shutsegments", Status::Active),
        ("exp_user", Status::Active),
        ("exp_ramp", Status::Active),
        ("exp_rampshut", Status::Active),
        ("exp_rampopen", Status::Active),
        ("exp_rampweighted", Status::Active),
        ("exp_paused", Status::Paused),
        ("exp_done", Status::Completed),
        ("exp_away", Status::Archived),
    ];
    let snapshot = statuses
        .into_iter()
        .fold(snapshot, |snapshot, (id, status)| brought_to(&snapshot, id, status));
    let arms = ["var_a", "var_b", "var_c", "var_d"].map(|id| share(id, "25"));
    let [a, b, c, d] = arms;
    let patch = ExperimentPatch::new().allocations(vec![d, a.control(), c, b]);
    let id = p("exp_eight");
    ok(
        &snapshot,
        vec![
            Change::set_experiment_status(&id, Status::Paused),
            Change::patch_experiment(&id, patch),
            Change::set_experiment_status(&id, Status::Active),
        ],
    )
}

/// What subjects know of themselves, in every shape.
fn shapes() -> Vec<Box<dyn Attributes>> {
    let pairs = |country: &str, platform: &str, agent: &str| {
        [("country", country), ("platform", platform), ("agent", agent)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    vec![
        Box::new(()),
        Box::new(pairs("DE", "ios17", "a")),
        Box::new(pairs("FR", "ios17", "a").to_vec()),
        Box::new(HashMap::from(pairs("X7", "android", "ab"))),
        Box::new(HashMap::from(pairs("X7", "android", "abot"))),
        Box::new(json!({"country": "US", "platform": "web", "agent": null})),
        Box::new(json!({"country": 7, "platform": ["web"]})),
    ]
}

/// Every subject that these tests ask for, by what it has.
fn subjects(shapes: &[Box<dyn Attributes>]) -> Vec<Subject<'_>> {
    let both = Subject::of("user", "u-1").with_id("device", "d-1");
    let bring = |subject: fn() -> Subject<'static>, variation: &'static str| {
        let kept = IDS.into_iter().fold(subject(), |subject, id| subject.kept(id, variation));
        [kept.clone(), IDS.into_iter().fold(kept, |subject, id| subject.forced(id, variation))]
    };
    let mut subjects = vec![Subject::new(""), Subject::of("user", "u-7"), both];
    // Whether there is such an arm or not.
    for variation in ["var_b", "var_d", "var_nothing"] {
        subjects.extend(bring(|| Subject::new("device-42"), variation));
        subjects.extend(bring(|| Subject::new(""), variation));
    }
    for shape in shapes {
        subjects.push(Subject::new("device-42").with_attributes(&**shape));
        subjects.push(Subject::new("device-44").with_attributes(&**shape));
        subjects.push(Subject::of("user", "🙂").with_attributes(&**shape));
    }
    subjects
}

#[test]
#[cfg(target_pointer_width = "64")]
fn an_experiment_takes_at_most_800_bytes() {
    const EXPERIMENTS: usize = 10_000;
    let experiments: Vec<Value> = (0..EXPERIMENTS)
        .map(|number| {
            json!({
                "id": format!("exp_{number}").replace('0', "z"), "name": format!("Experiment {number}"),
                "flag_id": "flg_a", "strategy": "percentage", "status": "active",
                "allocations": [
                    {"variation_id": "var_a", "weight": 50, "is_control": true},
                    {"variation_id": "var_b", "weight": 50}
                ]
            })
        })
        .collect();
    let document = json!({
        "format": "variate/1",
        "flags": [{
            "id": "flg_a", "name": "A flag", "status": "active",
            "parameters": {"x": {"type": "number", "value": 1}},
            "variations": [{"id": "var_a", "name": "one"}, {"id": "var_b", "name": "two"}]
        }],
        "experiments": experiments
    });
    let json = document.to_string();
    let before = LIVE.get();
    let snapshot = Snapshot::from_json(&json).unwrap();
    let live = usize::try_from(LIVE.get() - before).unwrap();
    assert_eq!(snapshot.experiment_count(), EXPERIMENTS);
    assert!(live <= 800 * EXPERIMENTS, "{} bytes an experiment", live / EXPERIMENTS);
}

#[test]
fn asking_for_one_experiment_allocates_nothing() {
    let snapshot = many();
    let shapes = shapes();
    let mut reasons = BTreeSet::new();
    for subject in &subjects(&shapes) {
        for id in IDS {
            let mut reason = "";
            let count = allocations(|| {
                let decision = snapshot.assign(id, subject);
                reason = decision.reason().as_str();
                // What it says is lent, too.
                let served = decision.config().map_or(0, |config| config.len());
                (served, decision.assignment().is_some(), decision.variation_id().is_some())
            });
            assert_eq!(count, 0, "{id:?}, {reason}");
            reasons.insert(reason);
            let count = allocations(|| snapshot.plan(id).map(|plan| plan.assign(subject)));
            assert_eq!(count, 0, "the plan of {id:?}, {reason}");
        }
    }
    assert_eq!(reasons.len(), 12, "{reasons:?}");
    // A ramp without weights, below its level and above.
    let served: BTreeSet<_> = (0..40)
        .map(|number| format!("device-{number}"))
        .map(|id| snapshot.assign("exp_ramp", &Subject::new(&id)).variation_id().cloned())
        .collect();
    assert_eq!(served.len(), 3, "{served:?}");
    for number in 0..40 {
        let id = format!("device-{number}");
        assert_eq!(allocations(|| snapshot.assign("exp_ramp", &Subject::new(&id))), 0, "{id}");
    }
}

#[test]
fn asking_for_all_experiments_allocates_nothing_after_the_first() {
    let snapshot = many();
    let shapes = shapes();
    let subjects = subjects(&shapes);
    let mut scratch = Scratch::new();
    let mut decisions = Vec::new();
    decisions.extend(snapshot.assign_all(&subjects[3], &mut scratch));
    assert_eq!(decisions.len(), 10);
    for subject in &subjects {
        let count = allocations(|| {
            decisions.clear();
            decisions.extend(snapshot.assign_all(subject, &mut scratch));
        });
        assert_eq!(count, 0, "{subject:?}");
        assert_eq!(decisions.len(), 10);
    }
    // Nor does another snapshot of the same size make it grow.
    let patch = ExperimentPatch::new().traffic(p("60"));
    let next = apply(&snapshot, Change::patch_experiment(&p("exp_shut"), patch)).unwrap();
    let mut all = Vec::with_capacity(10);
    let count = allocations(|| all.extend(next.snapshot.assign_all(&subjects[4], &mut scratch)));
    assert_eq!((count, all.len()), (0, 10));
}

#[test]
fn reading_allocates_nothing() {
    let engine = Engine::from_snapshot(many());
    let mut reader = engine.reader();
    let read = |reader: &mut variate::Reader| reader.snapshot().sequence();
    assert_eq!(allocations(|| read(&mut reader)), 0);
    let patch = ExperimentPatch::new().traffic(p("60"));
    engine.commit(Change::patch_experiment(&p("exp_weights"), patch)).unwrap();
    assert_eq!(allocations(|| read(&mut reader)), 0, "not even the first time after a commit");
    assert_eq!(allocations(|| engine.snapshot()), 0);
    assert_eq!(allocations(|| engine.reader()), 0);
}

#[test]
fn a_subject_with_one_id_allocates_nothing() {
    let shapes = shapes();
    for shape in &shapes {
        let count = allocations(|| Subject::new("device-42").with_attributes(&**shape));
        assert_eq!(count, 0);
        assert_eq!(allocations(|| Subject::of("user", "").with_attributes(&**shape)), 0);
    }
    let subject = Subject::new("device-42").with_attributes(&*shapes[1]);
    assert_eq!(allocations(|| subject.clone()), 0);
    assert_eq!(allocations(|| subject.id("device").is_some() && subject.id("user").is_none()), 0);
    let again = subject.clone();
    assert_eq!(allocations(|| again.with_id("device", "device-43")), 0, "the id is replaced");
}

#[test]
fn every_way_to_ask_allocates_nothing() {
    let long = "9".repeat(200);
    let bounds = ["eq", "gt", "gte", "lt", "lte"];
    let within = |key: &str, operand: &Value| bounds.map(|bound| json!({key: {bound: operand}}));
    let mut asked = vec![
        json!(["x", "y"]),
        json!((0..40).map(|n| n.to_string()).collect::<Vec<_>>()),
        json!({"contains": ["x", "7"]}),
        json!({"starts_with": ["x", "7"]}),
        json!({"ends_with": ["x", "7"]}),
        json!({"exists": true}),
        json!({"exists": false}),
        json!({"boolean": true}),
        json!({"listed": (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>()}),
    ];
    asked.extend(within("number", &json!(7)));
    asked.extend(within("number", &json!(7.5)));
    asked.extend(within("semver", &json!(format!("1.2.3-a.b.{long}+{long}"))));
    asked.extend(within("date", &json!("2026-11-21T12:00:00Z")));
    if cfg!(feature = "regex") {
        asked.push(json!({"regex": r"(?i)^(x|\w+7)*$"}));
    }
    let inside = asked.iter().map(|is| json!({"path": ["a", "b"], "is": is}));
    asked.extend(inside.collect::<Vec<_>>());
    let mut values = vec![
        json!(null),
        json!(true),
        json!(7),
        json!(7.5),
        json!(u64::MAX),
        json!(["x"]),
        json!(-7),
        json!("7"),
        json!("x"),
        json!("x".repeat(10_000)),
        json!(format!("1.2.3-a.b.{long}+{long}")),
        json!(format!("1.2.3-a.b.{long}+{long}!")),
        json!(format!("{long}.2.3")),
        json!("2026-11-21T12:00:00.123456789012345678901234567890Z"),
        json!("2026-11-21T12:00:00+01:00"),
        json!("2026-11-21T12:00:61Z"),
        json!("2026-02-30T12:00:00Z"),
        json!("2026-11-21Tomorrow"),
        json!("1969-12-31T23:59:59Z"),
        json!("2026-11-21T12:00:00Z"),
        json!("1.2.2"),
        json!("1.2.4-0"),
    ];
    let objects = values.iter().map(|value| json!({"a": {"b": value}}));
    values.extend(objects.collect::<Vec<_>>());
    let (mut held, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for (index, expression) in asked.iter().enumerate() {
        let plain = json!({"match": {"a": expression}});
        let nested = json!({"all": [plain], "any": [{"not_match": {"a": expression}}, plain],
            "not": [{"not_match": {"a": expression}}]});
        for rule in [plain, nested] {
            let rule: Rule = serde_json::from_str(&rule.to_string()).unwrap();
            for value in &values {
                let subject = json!({"a": value});
                let mut holds = false;
                let count = allocations(|| holds = rule.holds(&subject));
                assert_eq!(count, 0, "{rule:?} of {value}");
                if holds {
                    held.insert(index)
                } else {
                    failed.insert(index)
                };
            }
        }
    }
    assert_eq!((held.len(), failed.len()), (asked.len(), asked.len()));
}

/// Holdouts, layers, audiences, schedules, divided segments and what subjects bring, alone and as a
/// batch.
#[test]
fn no_gate_and_no_batch_allocates() {
    let read = || Snapshot::from_json(include_str!("../examples/checkout.json")).unwrap();
    let paused = ok(&read(), Change::set_experiment_status(&p("exp_express"), Status::Paused));
    let clock = p::<Timestamp>("2026-11-25T12:00:00Z");
    let shapes = [
        json!({"app": "4.10.0", "age": 36, "geo": {"country": "AT"}}),
        json!({"app": "4.10.0", "age": "36"}),
        json!({}),
    ];
    let ids: Vec<String> = (0..400).map(|n| format!("user-{n}")).collect();
    let mut reasons = BTreeSet::new();
    for snapshot in [read(), paused] {
        for experiment in snapshot.experiments() {
            let (plan, id) = (snapshot.plan(experiment.id()).unwrap(), experiment.id().as_str());
            for (row, user) in ids.iter().enumerate() {
                let bare = Subject::of("user", user).with_attributes(&shapes[row % 3]);
                let bare = bare.with_clock(&clock);
                let kept = bare.clone().kept(id, "var_express");
                let forced = bare.clone().forced(id, "var_today");
                let attached = bare.clone().attached(id, "var_today");
                for subject in [&bare, &kept, &forced, &attached] {
                    reasons.insert(plan.assign(subject).reason().as_str());
                    assert_eq!(allocations(|| plan.assign(subject)), 0, "{subject:?}");
                }
            }
            let batch = Batch::new(&ids).with_attribute("geo", &shapes).with_clock(&clock);
            let mut outcomes = vec![Outcome::default(); ids.len()];
            assert_eq!(allocations(|| plan.assign_batch(&batch, &mut outcomes)), 0);
            assert_eq!(allocations(|| plan.decisions(&batch).count()), 0);
            let decided = || outcomes.iter().filter(|one| plan.decision(**one).in_experiment());
            assert_eq!(allocations(|| decided().count()), 0);
        }
    }
    let all = [
        "attached",
        "fallback",
        "forced",
        "held_out",
        "kept",
        "not_sampled",
        "not_targeted",
        "outside_layer_slot",
        "paused",
        "segment",
        "split",
    ];
    assert_eq!(reasons, BTreeSet::from(all));
}

/// A walk along a chain, whoever has the subject, one by one and all at once.
#[test]
fn no_chain_allocates() {
    let member = |number: u8| {
        NewExperiment::by_percentage(format!("Number {number}"), p("flg_a"))
            .id(p(&format!("exp_m{number}")))
            .allocation(share("var_a", "50").control())
            .allocation(share("var_b", "50"))
            .traffic(p("30"))
            .outside_variation_id(p("var_d"))
            .chain("paywall")
    };
    let germans = member(2).audience(p("seg_germany")).keep(variate::Keep::Always);
    let started = [member(1), germans, member(3), member(4).starts_at(Timestamp::EPOCH)];
    let snapshot = started.into_iter().fold(world(), |snapshot, new| {
        let id = new.id.clone().unwrap();
        brought_to(&ok(&snapshot, new), id.as_str(), Status::Active)
    });
    let snapshot = ok(&snapshot, Change::set_experiment_status(&p("exp_m3"), Status::Paused));
    let (chain, shape) = (snapshot.chain("paywall"), json!({"country": "DE"}));
    let mut scratch = Scratch::new();
    let bare = Subject::new("device-1").with_attributes(&shape);
    snapshot.assign_all(&bare, &mut scratch).for_each(drop);
    let mut reasons = BTreeSet::new();
    let ids: Vec<String> = (0..200).map(|number| format!("device-{number}")).collect();
    for id in &ids {
        let bare = Subject::new(id).with_attributes(&shape);
        let kept = bare.clone().kept("exp_m3", "var_a").kept("exp_m2", "var_b");
        let forced = bare.clone().forced("exp_m4", "var_a");
        for subject in [&bare, &kept, &forced, &Subject::new(id), &Subject::of("user", id)] {
            for number in 1..=4 {
                let member = format!("exp_m{number}");
                assert_eq!(allocations(|| snapshot.assign(&member, subject)), 0, "{subject:?}");
                reasons.insert(snapshot.assign(&member, subject).reason().as_str());
            }
            assert_eq!(allocations(|| chain.assign(subject)), 0, "{subject:?}");
            let all = || snapshot.assign_all(subject, &mut scratch).for_each(drop);
            assert_eq!(allocations(all), 0, "{subject:?}");
        }
    }
    let batch = Batch::new(&ids);
    let mut outcomes = vec![Outcome::default(); ids.len()];
    let plan = snapshot.plan("exp_m4").unwrap();
    assert_eq!(allocations(|| plan.assign_batch(&batch, &mut outcomes)), 0);
    let all = [
        "elsewhere",
        "forced",
        "kept",
        "missing_subject_id",
        "not_sampled",
        "not_targeted",
        "paused",
        "split",
    ];
    assert_eq!(reasons, BTreeSet::from(all));
}

#[cfg(feature = "launchdarkly")]
#[test]
fn drawing_in_slices_does_not_allocate() {
    let new = NewExperiment::by_percentage("Slices", p("flg_a"))
        .id(p("exp_cut"))
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"))
        .hash(variate::HashVersion::Sha1F32V1)
        .salt(p("61"))
        .traffic(p("50"))
        .outside_variation_id(p("var_d"));
    let snapshot = brought_to(&ok(&world(), new), "exp_cut", Status::Active);
    let long = "x".repeat(300);
    let mut scratch = Scratch::new();
    snapshot.assign_all(&Subject::new("device-1"), &mut scratch).for_each(drop);
    let mut reasons = BTreeSet::new();
    for id in ["", "a", "userKeyA", "userKeyB", "平板", &long] {
        let subject = Subject::new(id);
        assert_eq!(allocations(|| snapshot.assign("exp_cut", &subject)), 0);
        let all = || snapshot.assign_all(&subject, &mut scratch).for_each(drop);
        assert_eq!(allocations(all), 0);
        reasons.insert(snapshot.assign("exp_cut", &subject).reason().as_str());
    }
    let all = ["missing_subject_id", "not_sampled", "split"];
    assert_eq!(reasons, BTreeSet::from(all));
}
