//! Who moves: the arithmetic against every cell of every draw, the counts against assigning twice.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{at, brought_to, ok, p, share, world};
use proptest::prelude::*;
use variate::hash::{Draw, draw_seed};
use variate::{
    Allocation, Change, Experiment, ExperimentPatch, FlagPatch, HoldoutPatch, LayerPatch, Move,
    NewHoldout, NewLayer, Partition, Percentage, Place, Snapshot, Stage, Status, Subject,
};

/// What an edit makes of the experiment and of what is around it.
#[derive(Debug, Clone)]
struct Edit {
    weights: [u32; 3],
    traffic: u32,
    stage: Option<(i64, u32)>,
    ends_at: Option<i64>,
    outside: bool,
    reshuffle: bool,
    /// Its share of the layer, and another's.
    layer: (u32, u32),
    in_layer: bool,
    holdouts: [Option<u32>; 2],
    status: Status,
    /// Whether the flag is on, and its off variation.
    switch: (bool, Option<&'static str>),
}

fn edit() -> impl Strategy<Value = Edit> {
    let cuts = (0..=100_u32, 0..=100_u32);
    let weights = cuts.prop_map(|(a, b)| [a.min(b), a.max(b) - a.min(b), 100 - a.max(b)]);
    let share = || prop_oneof![Just(0_u32), Just(100), 0..=100_u32];
    (
        (weights, share(), prop::option::of((0..4_i64, share()))),
        (prop::option::weighted(0.2, 1..4_i64), any::<bool>(), prop::bool::weighted(0.2)),
        (0..=50_u32, 0..=50_u32),
        prop::bool::weighted(0.7),
        [prop::option::of(0..=30_u32), prop::option::of(0..=30_u32)],
        prop_oneof![6 => Just(Status::Active), 1 => Just(Status::Paused)],
        (prop::bool::weighted(0.9), prop::option::of(Just("var_c"))),
    )
        .prop_map(|(own, rest, layer, in_layer, holdouts, status, switch)| {
            let (ends_at, outside, reshuffle) = rest;
            let (weights, traffic, stage) = own;
            let holdouts = holdouts.map(|share| share);
            Edit {
                weights,
                traffic,
                stage,
                ends_at,
                outside,
                reshuffle,
                layer,
                in_layer,
                holdouts,
                status,
                switch,
            }
        })
}

fn percent(whole: u32) -> Percentage {
    whole.try_into().unwrap()
}

/// A paused `exp_weights`, a layer and two holdouts.
fn start() -> Snapshot {
    let snapshot = brought_to(&world(), "exp_weights", Status::Paused);
    ok(
        &snapshot,
        vec![
            NewLayer::new("A layer", "device").id(p("lay_a")).into(),
            NewHoldout::new("One", "device", Percentage::ZERO).id(p("hld_a")).into(),
            NewHoldout::new("Two", "device", Percentage::ZERO).id(p("hld_b")).into(),
        ],
    )
}

/// Applies an edit to a snapshot in which the experiment is active or paused.
fn edited(snapshot: &Snapshot, edit: &Edit) -> Snapshot {
    let id = p("exp_weights");
    let switch = |patch| Change::patch_flag(&p("flg_a"), patch);
    let mut changes = vec![switch(FlagPatch::new().on(true))];
    if snapshot.experiment(&id).unwrap().status() == Status::Active {
        changes.push(Change::set_experiment_status(&id, Status::Paused));
    }
    let arms = ["var_a", "var_b", "var_c"].into_iter().zip(edit.weights);
    let arms = arms.map(|(id, weight)| share(id, &weight.to_string())).enumerate();
    let arms: Vec<Allocation> =
        arms.map(|(index, arm)| if index == 0 { arm.control() } else { arm }).collect();
    let stages =
        edit.stage.map(|(second, share)| Stage { at: at(second), traffic: percent(share) });
    let patch = ExperimentPatch::new()
        .allocations(arms)
        .traffic(percent(edit.traffic))
        .stages(Vec::from_iter(stages));
    let patch = match edit.ends_at {
        Some(second) => patch.ends_at(at(second)),
        None => patch.clear_ends_at(),
    };
    let patch = match edit.outside {
        true => patch.outside_variation_id(p("var_d")),
        false => patch.clear_outside_variation_id(),
    };
    changes.push(Change::patch_experiment(&id, patch));
    if edit.reshuffle {
        changes.push(Change::reshuffle(&id));
    }
    let members = [(id.clone(), edit.layer.0), (p("exp_segments"), edit.layer.1)];
    let members = members.into_iter().filter(|(own, _)| *own != id || edit.in_layer);
    let members = members.map(|(id, share)| (id, percent(share)));
    let members: BTreeMap<_, _> = members.collect();
    let patch = LayerPatch::new().members(members);
    let patch = if edit.in_layer { patch } else { patch.without(id.clone()) };
    changes.push(Change::patch_layer(&p("lay_a"), patch));
    for (holdout, share) in ["hld_a", "hld_b"].into_iter().zip(edit.holdouts) {
        let patch = HoldoutPatch::new().share(percent(share.unwrap_or(0)));
        let patch = match share {
            Some(_) => patch.experiment(id.clone()),
            None => patch.without(id.clone()),
        };
        changes.push(Change::patch_holdout(&p(holdout), patch));
    }
    if edit.status == Status::Active {
        changes.push(Change::set_experiment_status(&id, Status::Active));
    }
    let (on, off) = edit.switch;
    let off = match off {
        Some(id) => FlagPatch::new().off_variation_id(p(id)),
        None => FlagPatch::new().clear_off_variation_id(),
    };
    changes.push(switch(off.on(on)));
    ok(snapshot, changes)
}

/// One draw of one snapshot: its seed, and whether or where each point goes.
struct Axis {
    seed: u64,
    ends: Vec<u64>,
    outcome: Box<dyn Fn(u64) -> usize>,
}

/// The draws of an experiment by what is documented, and what their outcomes come to.
type Model = (Vec<Axis>, Box<dyn Fn(&[usize]) -> Place>);

fn axis(seed: u64, ends: Vec<u64>, outcome: impl Fn(u64) -> usize + 'static) -> Axis {
    Axis { seed, ends, outcome: Box::new(outcome) }
}

fn points(share: Percentage) -> u64 {
    (u128::from(share.millionths()) * (1 << 32) / 100_000_000).try_into().unwrap()
}

fn place(variation: Option<&str>, in_experiment: bool) -> Place {
    let json = serde_json::json!({"variation_id": variation, "in_experiment": in_experiment});
    // What a place is made of, read back from what the crate prints of one.
    let probe = |place: &Place| serde_json::to_value(place).unwrap() == json;
    PLACES.with(|places| places.iter().find(|place| probe(place)).unwrap().clone())
}

thread_local! {
    /// Every place that there can be here, taken from counting subjects.
    static PLACES: Vec<Place> = places();
}

fn places() -> Vec<Place> {
    let third = Edit {
        weights: [34, 33, 33],
        traffic: 50,
        stage: None,
        ends_at: None,
        outside: true,
        reshuffle: false,
        layer: (0, 0),
        in_layer: false,
        holdouts: [None, None],
        status: Status::Active,
        switch: (true, None),
    };
    let off = edited(&start(), &Edit { switch: (false, Some("var_c")), ..third });
    let some = edited(&start(), &third);
    let none = start();
    let subjects: Vec<String> = (0..200).map(|n| format!("device-{n}")).collect();
    let subjects = || subjects.iter().map(|id| Subject::new(id));
    let counts = [&some, &off].map(|then| none.preview(then).counts("exp_weights", subjects()));
    let rows = counts.iter().flat_map(|counts| counts.rows());
    let all = rows.flat_map(|row| [row.from.clone(), row.to.clone()]);
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

fn model(snapshot: &Snapshot, now: i64) -> Model {
    let experiment: &Experiment = snapshot.experiment("exp_weights").unwrap();
    let nothing: Model = (Vec::new(), Box::new(|_| place(None, false)));
    let flag = snapshot.flag("flg_a").unwrap();
    let off = flag.off_variation_id().map(ToString::to_string);
    if !flag.is_on() {
        return (Vec::new(), Box::new(move |_| place(off.as_deref(), false)));
    }
    let over = experiment.ends_at().is_some_and(|end| at(now) >= end);
    if experiment.status() != Status::Active || over {
        return nothing;
    }
    let mut axes = Vec::new();
    for holdout in snapshot.holdouts_of("exp_weights") {
        let end = points(holdout.share());
        let seed = draw_seed(holdout.salt().as_str(), Draw::Holdout);
        axes.push(axis(seed, vec![end], move |point| usize::from(point >= end)));
    }
    let holdouts = axes.len();
    if let Some(layer) = snapshot.layer_of("exp_weights") {
        let slots: Vec<_> = layer.slots(experiment.id()).collect();
        let ends = slots.iter().flat_map(|slot| [slot.start, slot.end]).collect();
        let seed = draw_seed(layer.salt().as_str(), Draw::Layer);
        axes.push(axis(seed, ends, move |point| {
            usize::from(slots.iter().any(|slot| slot.contains(&point)))
        }));
    }
    let salt = experiment.salt().as_str();
    let stages = experiment.stages().iter().filter(|stage| stage.at <= at(now));
    let traffic = stages.map(|stage| stage.traffic).fold(experiment.traffic(), Ord::max);
    let end = points(traffic);
    axes.push(axis(draw_seed(salt, Draw::Traffic), vec![end], move |point| {
        usize::from(point < end)
    }));
    let slices: Vec<_> = experiment.iteration().partition().unwrap().slices().collect();
    let ends = slices.iter().map(|(_, end, _)| *end).collect();
    axes.push(axis(draw_seed(salt, Draw::Variation), ends, move |point| {
        slices.iter().find(|(start, end, _)| (*start..*end).contains(&point)).unwrap().2
    }));
    let arms = experiment.iteration().allocations().unwrap();
    let arms: Vec<String> = arms.iter().map(|arm| arm.variation_id.to_string()).collect();
    let outside = experiment.outside_variation_id().map(ToString::to_string);
    (
        axes,
        Box::new(move |outcomes| {
            let (arm, gates) = outcomes.split_last().unwrap();
            match gates.iter().position(|open| *open == 0) {
                None => place(Some(&arms[*arm]), true),
                Some(gate) if gate < holdouts && off.is_some() => place(off.as_deref(), false),
                Some(_) => place(outside.as_deref(), false),
            }
        }),
    )
}

/// Every cell that the draws of both models cut the subjects into, draws with one seed being one.
fn brute_force(before: &Model, after: &Model) -> BTreeMap<(Place, Place), f64> {
    let mut seeds: Vec<u64> = before.0.iter().chain(&after.0).map(|axis| axis.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let mut cells: Vec<(Vec<u64>, f64)> = vec![(Vec::new(), 1.0)];
    for seed in &seeds {
        let own = before.0.iter().chain(&after.0).filter(|axis| axis.seed == *seed);
        let mut ends: Vec<u64> = own.flat_map(|axis| axis.ends.iter().copied()).collect();
        ends.extend([0, Partition::POINTS]);
        ends.sort_unstable();
        ends.dedup();
        let slices: Vec<(u64, u64)> = ends.windows(2).map(|pair| (pair[0], pair[1])).collect();
        cells = cells
            .iter()
            .flat_map(|(points, share)| {
                slices.iter().map(move |(start, end)| {
                    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
                    let width = (end - start) as f64 / Partition::POINTS as f64;
                    ([&points[..], &[*start]].concat(), share * width)
                })
            })
            .collect();
    }
    let mut shares = BTreeMap::new();
    for (points, share) in cells {
        let place = |model: &Model| {
            let point = |axis: &Axis| points[seeds.iter().position(|s| *s == axis.seed).unwrap()];
            let outcomes: Vec<usize> =
                model.0.iter().map(|axis| (axis.outcome)(point(axis))).collect();
            (model.1)(&outcomes)
        };
        *shares.entry((place(before), place(after))).or_insert(0.0) += share;
    }
    shares.retain(|_, share| *share > 0.0);
    shares
}

fn subjects() -> Vec<String> {
    (0..1_000).map(|n| format!("device-{n}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn shares_equal_brute_force_over_all_slices(
        edits in prop::collection::vec(edit(), 1..4),
        last in edit(),
        now in 0..4_i64,
    ) {
        let before = edits.iter().fold(start(), |snapshot, edit| edited(&snapshot, edit));
        let after = edited(&before, &last);
        let moves = before.preview(&after).shares("exp_weights", at(now)).unwrap();
        let brute = brute_force(&model(&before, now), &model(&after, now));
        let keys = |rows: &[Move]| -> Vec<_> {
            rows.iter().map(|row| (row.from.clone(), row.to.clone())).collect()
        };
        prop_assert_eq!(keys(moves.rows()), brute.keys().cloned().collect::<Vec<_>>());
        for (row, share) in moves.rows().iter().zip(brute.values()) {
            prop_assert!((row.share - share).abs() < 1e-12, "{row:?}: {share}");
        }
        let all: f64 = moves.rows().iter().map(|row| row.share).sum();
        prop_assert!((all - 1.0).abs() < 1e-12);
        // What nothing decides anew has not moved.
        let still = before.preview(&before).shares("exp_weights", at(now)).unwrap();
        prop_assert!(still.moved().abs() < f64::EPSILON);
    }

    #[test]
    fn counts_equal_assigning_twice_and_lie_near_the_shares(
        first in edit(),
        last in edit(),
        now in 0..4_i64,
    ) {
        let before = edited(&start(), &first);
        let after = edited(&before, &last);
        let clock = at(now);
        let ids = subjects();
        let all = || ids.iter().map(|id| Subject::new(id).with_clock(&clock));
        let moves = before.preview(&after).counts("exp_weights", all());
        let mut twice = BTreeMap::new();
        for subject in all() {
            let seen = [&before, &after].map(|snapshot| {
                let decision = snapshot.assign("exp_weights", &subject);
                (decision.variation_id().cloned(), decision.in_experiment())
            });
            *twice.entry(seen).or_insert(0_u64) += 1;
        }
        prop_assert_eq!(moves.rows().len(), twice.len());
        prop_assert_eq!(moves.count(), Some(1_000));
        for row in moves.rows() {
            let key = [&row.from, &row.to].map(|at| (at.variation_id.clone(), at.in_experiment));
            prop_assert_eq!(row.count, twice.get(&key).copied());
        }
        let shares = before.preview(&after).shares("exp_weights", clock).unwrap();
        for row in shares.rows() {
            let same = |own: &&Move| (&own.from, &own.to) == (&row.from, &row.to);
            let counted = moves.rows().iter().find(same).map_or(0.0, |own| own.share);
            // Six standard deviations of a thousand draws; a few of what is rare.
            let margin = 6.0 * (row.share * (1.0 - row.share) / 1_000.0).sqrt() + 0.006;
            prop_assert!((counted - row.share).abs() <= margin, "{row:?}: {counted}");
        }
    }
}

#[test]
fn shares_are_known_only_where_no_attribute_decides() {
    let world = world();
    let running = brought_to(&world, "exp_segments", Status::Active);
    let preview = world.preview(&running);
    assert_eq!(preview.shares("exp_segments", at(0)), None);
    assert_eq!(preview.experiments(), ["exp_segments"]);

    let id = p("exp_weights");
    let patch = ExperimentPatch::new().audience_id(p("seg_germany"));
    let gated = ok(
        &world,
        [Change::patch_experiment(&id, patch), Change::set_experiment_status(&id, Status::Active)],
    );
    assert_eq!(world.preview(&gated).shares(&id, at(0)), None);

    let patch = ExperimentPatch::new().subject_kind("user");
    let of_users = ok(&world, Change::patch_experiment(&id, patch));
    assert_eq!(world.preview(&of_users).shares(&id, at(0)), None);
}

#[test]
fn what_comes_and_goes_moves_from_and_to_nothing() {
    let world = world();
    let running = brought_to(&world, "exp_weights", Status::Active);
    let gone = ok(&world, Change::delete_experiment(&p("exp_weights")));
    let table = "\
from     to     share
nothing  var_a  50.0000 %  moves
nothing  var_b  50.0000 %  moves
100.0000 % move";
    for before in [&world, &gone] {
        let preview = before.preview(&running);
        assert_eq!(preview.shares("exp_weights", at(0)).unwrap().to_string(), table);
        assert_eq!(preview.experiments(), ["exp_weights"]);
    }
    let unknown = world.preview(&running).shares("exp_unknown", at(0)).unwrap();
    assert_eq!(
        unknown.to_string(),
        "from     to       share\nnothing  nothing  100.0000 %\n0.0000 % move"
    );
}

#[test]
fn counted_moves_print_as_a_table_and_as_json() {
    let before = brought_to(&world(), "exp_weights", Status::Active);
    let patch = ExperimentPatch::new().traffic(percent(0));
    let after = ok(&before, Change::patch_experiment(&p("exp_weights"), patch));
    let ids = subjects();
    let subjects = ids.iter().take(4).map(|id| Subject::new(id));
    let moves = before.preview(&after).counts("exp_weights", subjects);
    let rows = moves.rows();
    assert_eq!(rows.iter().map(|row| row.count).sum::<Option<u64>>(), Some(4));
    assert!((moves.moved() - 1.0).abs() < f64::EPSILON);
    let first = &rows[0];
    assert_eq!(
        serde_json::to_value(&moves).unwrap()["rows"][0],
        serde_json::json!({
            "from": {"variation_id": first.from.variation_id, "in_experiment": true},
            "to": {"variation_id": null, "in_experiment": false},
            "share": first.share,
            "count": first.count,
        }),
    );
    let line = format!("\nvar_a  nothing  {:>5}  {:.4} %  moves\n", 2, 50.0);
    assert!(moves.to_string().contains(&line), "{moves}");
    assert!(moves.to_string().starts_with("from   to       count  share\n"), "{moves}");
}

/// Holdouts with one salt are one draw: whoever is in the smaller is in the larger.
#[test]
fn draws_with_one_salt_are_one_draw() {
    let salted = |id: &str, share| {
        let new = NewHoldout::new(format!("Holdout {id}"), "device", percent(share)).id(p(id));
        Change::from(new.salt(p("one")).experiment(p("exp_weights")))
    };
    let before = ok(
        &world(),
        vec![
            salted("hld_a", 5),
            salted("hld_b", 20),
            Change::set_experiment_status(&p("exp_weights"), Status::Active),
        ],
    );
    let more = HoldoutPatch::new().share(percent(40));
    let after = ok(&before, Change::patch_holdout(&p("hld_b"), more));
    let shares = before.preview(&after).shares("exp_weights", at(0)).unwrap();
    let table = "\
from     to       share
var_a    var_a    30.0000 %
var_a    nothing  10.0000 %  moves
var_b    var_b    30.0000 %
var_b    nothing  10.0000 %  moves
nothing  nothing  20.0000 %
20.0000 % move";
    assert_eq!(shares.to_string(), table);
    let same = before.preview(&before).shares("exp_weights", at(0)).unwrap();
    assert!(same.moved().is_sign_positive() && same.moved() <= 0.0);
    assert_eq!(serde_json::to_value(&same).unwrap()["moved"], 0.0);
}
