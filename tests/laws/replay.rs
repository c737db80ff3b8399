//! Histories: whatever is committed, its events lead to the same snapshot again, through JSON and in
//! parts; a snapshot survives its document; what is refused leaves no trace; a dry run tells the
//! truth; and events that do not fit are refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::common::{apply, at, brought_to, p, share, world};
use crate::users::check_users;
use proptest::prelude::*;
use serde_json::{Value, json};
use variate::{
    ActiveLimit, Allocation, Analysis, AnalysisPatch, Carryover, ChainName, Change, Code, Commit,
    DraftPatch, Effect, EffectKind, Engine, EntityKind, Error, Event, Experiment, ExperimentId,
    ExperimentPatch, Expression, Flag, FlagPatch, FlagStatus, Goal, Holdout, HoldoutPatch, Keep,
    Layer, LayerPatch, MetricDefinition, MetricUse, NewExperiment, NewFlag, NewHoldout, NewLayer,
    NewMetric, NewSegment, NewVariation, Parameter, PastIteration, Percentage, Rule, SegmentId,
    SegmentPatch, SegmentStatus, SettingsPatch, Snapshot, Stage, Status, Timestamp, Transaction,
    Variation, VariationId, VariationPatch, Weight,
};

/// Choices that follow from one number.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one_of<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }
}

/// An id for what is created: left open, or of the caller's. Of those some are given again after
/// what had them is deleted, and some while it is there.
fn own_id(dice: &mut Dice, prefix: &str, taken: &[String]) -> Option<String> {
    match dice.below(20) {
        0..8 => None,
        8..13 => Some(format!("{prefix}{:x}", dice.next()).replace('0', "G")),
        13..19 => Some(format!("{prefix}{}", dice.one_of(&["a", "b", "c", "d", "e"]))),
        _ => taken.first().cloned(),
    }
}

fn name(dice: &mut Dice) -> String {
    match dice.below(40) {
        0 => "no\n".to_owned(),
        number => format!("Name {number}{}", dice.below(9)),
    }
}

/// A key, mostly of nobody else's.
fn key(dice: &mut Dice) -> Option<String> {
    let key = match dice.below(20) {
        0 => "no key".to_owned(),
        _ => format!("key-{}", dice.below(40)),
    };
    Some(key).filter(|_| dice.chance(30))
}

fn description(dice: &mut Dice) -> String {
    dice.one_of(&["What it is about", "Größe 🙂 \"quoted\" \\", "x", "one\ttab"]).to_string()
}

fn value(dice: &mut Dice) -> Value {
    match dice.below(12) {
        0 => json!("Hi"),
        1 => json!(""),
        2 => json!("\u{0}\u{2028}🙂"),
        3 => json!(7),
        4 => json!(-0.1),
        5 => json!(1e300),
        6 => json!(u64::MAX),
        7 => json!(dice.chance(50)),
        8 => json!([1, [null, {}]]),
        9 => json!({"b": 1, "a": [true]}),
        10 => json!(null),
        _ => json!(f64::from(u32::try_from(dice.below(1 << 20)).unwrap()) / 3.0),
    }
}

/// A value of the same type, mostly.
fn like(dice: &mut Dice, other: &Value) -> Value {
    let kind = variate::ParameterType::of(other);
    let mut tries = std::iter::repeat_with(|| value(dice)).take(40);
    tries.find(|value| variate::ParameterType::of(value) == kind).unwrap_or(Value::Null)
}

fn parameters(dice: &mut Dice) -> BTreeMap<String, Parameter> {
    let names = ["a", "b", "c d"];
    let count = 1 + dice.below(3);
    let parameter = |name: &&str, dice: &mut Dice| {
        let default =
            Parameter::new(if dice.chance(95) { json!(dice.below(9)) } else { value(dice) });
        let described = dice.chance(20);
        let parameter = if described { default.with_description("what for") } else { default };
        ((*name).to_owned(), parameter)
    };
    names[..count].iter().map(|name| parameter(name, dice)).collect()
}

fn overrides(dice: &mut Dice, defaults: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let some = defaults.iter().filter(|_| dice.chance(50)).collect::<Vec<_>>();
    some.into_iter().map(|(name, default)| (name.clone(), like(dice, default))).collect()
}

fn variation(
    dice: &mut Dice,
    snapshot: &Snapshot,
    defaults: &BTreeMap<String, Value>,
) -> NewVariation {
    let taken: Vec<_> =
        snapshot.flags().flat_map(|f| f.variations().keys()).map(ToString::to_string).collect();
    let mut new = NewVariation::new(name(dice));
    new.id = own_id(dice, "var_", &taken).map(|id| p(&id));
    new.description = Some(description(dice)).filter(|_| dice.chance(20));
    new.overrides = overrides(dice, defaults);
    new
}

fn flag(dice: &mut Dice, snapshot: &Snapshot) -> NewFlag {
    let taken: Vec<_> = snapshot.flags().map(|flag| flag.id().to_string()).collect();
    let mut new = NewFlag::new(name(dice));
    new.id = own_id(dice, "flg_", &taken).map(|id| p(&id));
    new.description = Some(description(dice)).filter(|_| dice.chance(20));
    new.parameters = parameters(dice);
    let defaults =
        new.parameters.iter().map(|(name, p)| (name.clone(), p.value().clone())).collect();
    let count = if dice.chance(80) { 2 + dice.below(4) } else { dice.below(2) };
    new.variations = (0..count).map(|_| variation(dice, snapshot, &defaults)).collect();
    new.key = key(dice);
    new.on = dice.one_of(&[None, Some(true), Some(true), Some(false)]).filter(|_| dice.chance(20));
    let known: Vec<VariationId> = new.variations.iter().filter_map(|v| v.id.clone()).collect();
    new.off_variation_id = known.first().cloned().filter(|_| dice.chance(50));
    new
}

fn rules(dice: &mut Dice) -> Vec<Rule> {
    let expression = |dice: &mut Dice| match dice.below(6) {
        0 => Expression::contains(["x", "é"]),
        1 => Expression::ends_with(["x"]),
        2 => Expression::Exists(dice.chance(50)),
        3 => Expression::starts_with(["\u{0}", ""]),
        4 => Expression::one_of((0..12).map(|n| format!("{}", (n * 7) % 12))),
        _ => Expression::one_of(["DE", "AT"]),
    };
    let rule = |dice: &mut Dice| {
        let rule = Rule::new().when("country", expression(dice));
        let rule = if dice.chance(50) { rule.when("app \"x\"", expression(dice)) } else { rule };
        if dice.chance(50) { rule.unless("country", expression(dice)) } else { rule }
    };
    let count = dice.below(20).min(3);
    (0..count).map(|_| rule(dice)).collect()
}

fn segment(dice: &mut Dice, snapshot: &Snapshot) -> NewSegment {
    let taken: Vec<_> = snapshot.segments().map(|segment| segment.id().to_string()).collect();
    let mut new = NewSegment::new(name(dice));
    new.id = own_id(dice, "seg_", &taken).map(|id| p(&id));
    new.description = Some(description(dice)).filter(|_| dice.chance(20));
    new.rules = rules(dice);
    new
}

/// Arms over the variations of a flag; mostly such that the experiment can start.
fn allocations(
    dice: &mut Dice,
    snapshot: &Snapshot,
    flag: &str,
    by_weight: bool,
) -> Vec<Allocation> {
    let mut variations: Vec<_> = match snapshot.flag(flag) {
        Some(flag) => flag.variations().keys().cloned().collect(),
        None => Vec::new(),
    };
    if dice.chance(3) {
        variations.push(p("var_nobody"));
    }
    if variations.is_empty() {
        return Vec::new();
    }
    let turn = dice.below(variations.len());
    variations.rotate_left(turn);
    let mut arms: Vec<Allocation> = Vec::new();
    if by_weight {
        variations.truncate(1 + dice.below(5));
        let cuts = (1..variations.len()).map(|_| {
            let percent = u64::try_from(dice.below(101)).unwrap();
            percent * 1_000_000 + u64::from(percent < 100 && dice.chance(30))
        });
        let mut cuts: Vec<u64> = cuts.collect();
        cuts.extend([0, if dice.chance(95) { 100_000_000 } else { 99_999_999 }]);
        cuts.sort_unstable();
        for (id, pair) in variations.into_iter().zip(cuts.windows(2)) {
            arms.push(Allocation::share(id, Weight::from_millionths(pair[1] - pair[0]).unwrap()));
        }
    } else {
        let mut segments: Vec<_> =
            snapshot.segments().map(|segment| segment.id().clone()).collect();
        segments.sort_unstable();
        segments.truncate(dice.below(4));
        for (priority, segment) in (1..).zip(segments) {
            let id = dice.one_of(&variations).clone();
            let priority = if dice.chance(97) { priority * 3 % 7 + 1 } else { 1 };
            arms.push(Allocation::segment(id, segment, priority).unwrap());
        }
        if dice.chance(97) {
            arms.push(Allocation::fallback(dice.one_of(&variations).clone()));
        }
        arms = arms.iter().flat_map(|arm| divided(dice, &variations, arm)).collect();
    }
    for arm in &mut arms {
        arm.name = Some(p("Arm")).filter(|_| dice.chance(10));
    }
    if !arms.is_empty() && dice.chance(95) {
        let control = dice.below(arms.len());
        arms[control].is_control = true;
    }
    arms
}

/// Weights that mostly sum to 100.
fn weights(dice: &mut Dice, count: usize) -> Vec<Weight> {
    let mut cuts: Vec<u64> =
        (1..count).map(|_| u64::try_from(dice.below(101)).unwrap() * 1_000_000).collect();
    cuts.extend([0, if dice.chance(95) { 100_000_000 } else { 100_000_001 }]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| Weight::from_millionths(pair[1] - pair[0]).unwrap()).collect()
}

/// A target's only arm, or in its place several that divide the target.
fn divided(dice: &mut Dice, variations: &[VariationId], arm: &Allocation) -> Vec<Allocation> {
    if dice.chance(50) {
        return vec![arm.clone()];
    }
    let turn = dice.below(variations.len());
    let ids = variations.iter().cycle().skip(turn);
    let weights = weights(dice, variations.len().min(3));
    let arms = ids.zip(weights);
    arms.map(|(id, weight)| Allocation { variation_id: id.clone(), ..arm.clone() }.weighing(weight))
        .collect()
}

/// The stages of a ramp by time, mostly in order.
fn stages(dice: &mut Dice) -> Vec<Stage> {
    let mut stages: Vec<_> = levels(dice)
        .into_iter()
        .zip(1..)
        .map(|(traffic, day)| Stage { at: at(day * 86_400), traffic })
        .collect();
    if dice.chance(5) {
        stages.reverse();
    }
    stages
}

/// A moment of which one can be before another.
fn moment(dice: &mut Dice) -> Timestamp {
    at(i64::try_from(dice.below(9)).unwrap() * 40_000)
}

/// The segment of an audience, if there are any.
fn audience(dice: &mut Dice, snapshot: &Snapshot) -> Option<SegmentId> {
    let mut segments: Vec<_> = snapshot.segments().map(|segment| segment.id().clone()).collect();
    segments.sort_unstable();
    if dice.chance(3) {
        segments = vec![p("seg_nobody")];
    }
    (!segments.is_empty()).then(|| dice.one_of(&segments).clone())
}

/// Experiments for a layer or holdout, mostly such as can join or have joined.
fn members(
    dice: &mut Dice,
    snapshot: &Snapshot,
    kind: Option<&str>,
    old: &[ExperimentId],
) -> Vec<ExperimentId> {
    let mut all: Vec<_> = snapshot
        .experiments()
        .filter(|own| match old.contains(own.id()) {
            true => own.status() == Status::Active || dice.chance(80),
            false => {
                let joins = own.status() != Status::Active
                    && Some(own.subject_kind().as_str()) == kind
                    && snapshot.layer_of(own.id()).is_none();
                if joins { dice.chance(70) } else { dice.chance(1) }
            }
        })
        .map(|own| own.id().clone())
        .collect();
    if dice.chance(2) {
        all.push(p("exp_nobody"));
    }
    all.sort_unstable();
    all.truncate(8);
    all
}

/// Shares of the members of a layer, which mostly have room.
fn shares(dice: &mut Dice, members: Vec<ExperimentId>) -> BTreeMap<ExperimentId, Percentage> {
    let most = if dice.chance(95) { 100_000_000 / members.len().max(1) } else { 100_000_000 };
    let share = |dice: &mut Dice| {
        let millionths = if dice.chance(20) { most } else { dice.below(most + 1) };
        Percentage::from_millionths(u64::try_from(millionths).unwrap()).unwrap()
    };
    members.into_iter().map(|id| (id, share(dice))).collect()
}

fn layer(dice: &mut Dice, snapshot: &Snapshot) -> NewLayer {
    let taken: Vec<_> = snapshot.layers().map(|layer| layer.id().to_string()).collect();
    let kind = *dice.one_of(&["device", "device", "user"]);
    let mut new = NewLayer::new(name(dice), kind);
    new.id = own_id(dice, "lay_", &taken).map(|id| p(&id));
    new.description = Some(description(dice)).filter(|_| dice.chance(20));
    new.salt = Some(p("salt \u{0} 🙂")).filter(|_| dice.chance(20));
    new.subject_kind = new.subject_kind.filter(|own| own != "device" || dice.chance(50));
    let members = members(dice, snapshot, Some(kind), &[]);
    new.members = shares(dice, members);
    new.key = key(dice);
    new
}

fn holdout(dice: &mut Dice, snapshot: &Snapshot) -> NewHoldout {
    let taken: Vec<_> = snapshot.holdouts().map(|holdout| holdout.id().to_string()).collect();
    let kind = *dice.one_of(&["device", "device", "user"]);
    let mut new = NewHoldout::new(name(dice), kind, traffic(dice));
    new.id = own_id(dice, "hld_", &taken).map(|id| p(&id));
    new.description = Some(description(dice)).filter(|_| dice.chance(20));
    new.salt = Some(p("salt \u{0} 🙂")).filter(|_| dice.chance(20));
    new.experiments = members(dice, snapshot, Some(kind), &[]).into_iter().collect();
    new.key = key(dice);
    new
}

fn layer_patch(dice: &mut Dice, snapshot: &Snapshot, old: &Layer) -> LayerPatch {
    let patch = LayerPatch::new();
    match dice.below(9) {
        0 => patch.name(name(dice)),
        1 => patch.description(description(dice)),
        2 => patch.clear_description(),
        3 => patch.leave(old.members().keys().cloned().collect::<BTreeSet<_>>()),
        _ => {
            let own: Vec<_> = old.members().keys().cloned().collect();
            let members = members(dice, snapshot, Some(old.subject_kind().as_str()), &own);
            let [named, leave] = named(dice, &own, &members);
            patch.members(shares(dice, named)).leave(BTreeSet::from_iter(leave))
        }
    }
}

/// Whom a patch names so that, of those there are, these stay, and whom so that the others go: who
/// stays may be left out, and few are named as both, or leave what they are not in.
fn named(dice: &mut Dice, own: &[ExperimentId], wanted: &[ExperimentId]) -> [Vec<ExperimentId>; 2] {
    let named = wanted.iter().filter(|id| !own.contains(id) || dice.chance(70)).cloned().collect();
    let leaves = |id: &&ExperimentId| !wanted.contains(id);
    let mut leave: Vec<_> = own.iter().filter(leaves).cloned().collect();
    if dice.chance(4) {
        leave.push(p("exp_nobody"));
    }
    if dice.chance(2) {
        leave.extend(wanted.first().cloned());
    }
    [named, leave]
}

fn holdout_patch(dice: &mut Dice, snapshot: &Snapshot, old: &Holdout) -> HoldoutPatch {
    let patch = HoldoutPatch::new();
    match dice.below(8) {
        0 => patch.name(name(dice)),
        1 => patch.description(description(dice)),
        2 => patch.clear_description(),
        3 => patch.leave(old.experiments().clone()),
        4 | 5 => patch.share(traffic(dice)),
        _ => {
            let own: Vec<_> = old.experiments().iter().cloned().collect();
            let kind = Some(old.subject_kind().as_str());
            let members = members(dice, snapshot, kind, &own);
            let [join, leave] = named(dice, &own, &members).map(BTreeSet::from_iter);
            patch.join(join).leave(leave)
        }
    }
}

/// A change of a layer or a holdout, and the version that it can be made for.
fn group_change(dice: &mut Dice, snapshot: &Snapshot) -> (Change, u64) {
    let mut layers: Vec<_> = snapshot.layers().collect();
    let mut holdouts: Vec<_> = snapshot.holdouts().collect();
    layers.sort_unstable_by_key(|layer| layer.id());
    holdouts.sort_unstable_by_key(|holdout| holdout.id());
    match dice.below(13) {
        0 => (holdout(dice, snapshot).into(), 0),
        12 if !holdouts.is_empty() => {
            let old = *dice.one_of(&holdouts);
            (Change::end_holdout(old.id()), old.version())
        }
        2..6 if !layers.is_empty() => {
            let old = *dice.one_of(&layers);
            (Change::patch_layer(old.id(), layer_patch(dice, snapshot, old)), old.version())
        }
        6..9 if !holdouts.is_empty() => {
            let old = *dice.one_of(&holdouts);
            (Change::patch_holdout(old.id(), holdout_patch(dice, snapshot, old)), old.version())
        }
        9 if !layers.is_empty() => {
            let old = *dice.one_of(&layers);
            (Change::delete_layer(old.id()), old.version())
        }
        10 if !holdouts.is_empty() => {
            let old = *dice.one_of(&holdouts);
            (Change::delete_holdout(old.id()), old.version())
        }
        _ => (layer(dice, snapshot).into(), 0),
    }
}

/// Some metrics, mostly such as exist and none twice, and perhaps one of them primary.
fn uses(dice: &mut Dice, snapshot: &Snapshot) -> Vec<MetricUse> {
    let mut ids: Vec<_> = snapshot.metrics().map(|metric| metric.id().clone()).collect();
    ids.sort_unstable();
    ids.retain(|_| dice.chance(50));
    if dice.chance(3) {
        ids.push(p("met_nobody"));
    }
    let primary = dice.below(ids.len() + 1);
    let own = |(index, metric_id)| MetricUse {
        metric_id,
        is_primary: index == primary,
        unit: Some(p("user")).filter(|_| dice.chance(20)),
    };
    ids.into_iter().enumerate().map(own).collect()
}

fn analysis_patch(dice: &mut Dice, snapshot: &Snapshot, old: &Analysis) -> AnalysisPatch {
    let patch = AnalysisPatch::new();
    match dice.below(8) {
        0 => patch.hypothesis(p("More\nthan \"before\" 🙂")),
        1 => patch.clear_hypothesis().clear_methodology(),
        2 => patch.methodology(*dice.one_of(variate::Methodology::ALL)),
        3 => patch.sequential(dice.chance(50)).significance_threshold(p("0.05")),
        4 => patch.attributes(vec!["country".to_owned(), dice.one_of(&["age", "app"]).to_string()]),
        5 => patch.metrics(uses(dice, snapshot)),
        6 => match dice.below(3) {
            0 => patch.clear_goal(),
            1 => patch.goal(Goal::new()),
            _ => patch.goal(Goal::new().metric(p("sales")).value(0.1.try_into().unwrap())),
        },
        _ => {
            let mut grown = old.metrics.clone();
            let more =
                uses(dice, snapshot).into_iter().map(|own| MetricUse { is_primary: false, ..own });
            let known = |own: &MetricUse| old.metrics.iter().any(|o| o.metric_id == own.metric_id);
            grown.extend(more.filter(|own| !known(own)));
            patch.metrics(grown)
        }
    }
}

/// The creation or deletion of a metric, and the version that it can be made for.
fn metric_change(dice: &mut Dice, snapshot: &Snapshot) -> (Change, u64) {
    let mut metrics: Vec<_> = snapshot.metrics().collect();
    metrics.sort_unstable_by_key(|metric| metric.id());
    if !metrics.is_empty() && dice.chance(40) {
        let old = *dice.one_of(&metrics);
        return (Change::delete_metric(old.id()), old.version());
    }
    let members =
        metrics.iter().filter(|own| dice.chance(if own.kind().is_group() { 1 } else { 40 }));
    let members: Vec<_> = members.map(|own| own.id().clone()).collect();
    let definition = match dice.below(5) {
        0 => MetricDefinition::click(p("#buy > \"a\"")),
        1 => MetricDefinition::conversion(p("signed\nin")),
        2 => MetricDefinition::group(members),
        3 => MetricDefinition::funnel(members.into_iter().map(|id| (id, p("step")))),
        _ => {
            let mut own = MetricDefinition::numeric(p("order 🙂"));
            own.filters = Some(value(dice));
            own.window_end_offset = Some(dice.next() >> 11);
            own
        }
    };
    let taken: Vec<_> = metrics.iter().map(|metric| metric.id().to_string()).collect();
    let mut new = NewMetric::new(name(dice), definition);
    new.id = own_id(dice, "met_", &taken).map(|id| p(&id));
    new.description = Some(description(dice)).filter(|_| dice.chance(20));
    new.tags = ["one", "two"].map(ToOwned::to_owned)[..dice.below(3)].to_vec();
    (new.into(), 0)
}

/// The levels of a ramp, mostly in order.
fn levels(dice: &mut Dice) -> Vec<Percentage> {
    let all = [0, 1, 5_000_000, 12_500_000, 50_000_000, 99_999_999, 100_000_000];
    let mut levels: Vec<_> = all.into_iter().filter(|_| dice.chance(50)).collect();
    if dice.chance(5) {
        levels.reverse();
    }
    levels.into_iter().map(|level| Percentage::from_millionths(level).unwrap()).collect()
}

/// The same arms as a ramp can have them.
fn weightless(arms: Vec<Allocation>) -> Vec<Allocation> {
    arms.into_iter().map(|arm| Allocation { weight: None, ..arm }).collect()
}

/// Mostly one that can go on.
fn some_ramp<'e>(dice: &mut Dice, experiments: &[&'e Experiment]) -> &'e Experiment {
    let goes_on =
        |e: &&&Experiment| e.status() == Status::Active && Some(&e.traffic()) < e.levels().last();
    let ramp = experiments.iter().find(goes_on).filter(|_| dice.chance(80));
    ramp.unwrap_or_else(|| dice.one_of(experiments))
}

/// A level for a ramp to go to: mostly the next.
fn level(dice: &mut Dice, ramp: &Experiment) -> Percentage {
    let next = ramp.levels().iter().find(|level| Some(**level) > ramp.current_level());
    match next.filter(|_| dice.chance(80)) {
        Some(next) => *next,
        None => ramp.levels().first().copied().unwrap_or_else(|| traffic(dice)),
    }
}

fn traffic(dice: &mut Dice) -> Percentage {
    let millionths = dice.one_of(&[0, 1, 12_500_000, 50_000_000, 99_999_999, 100_000_000]);
    Percentage::from_millionths(*millionths).unwrap()
}

fn experiment(dice: &mut Dice, snapshot: &Snapshot) -> NewExperiment {
    let taken: Vec<_> = snapshot.experiments().map(|e| e.id().to_string()).collect();
    // The flag that can most easily be varied.
    let flag =
        snapshot.flags().max_by_key(|f| (f.status() == FlagStatus::Active, f.variations().len()));
    let flag = flag.filter(|_| dice.chance(97)).map_or_else(|| p("flg_nobody"), |f| f.id().clone());
    let by_weight = dice.chance(60);
    let arms = allocations(dice, snapshot, flag.as_str(), by_weight);
    let mut new = match by_weight {
        true => NewExperiment::by_percentage(name(dice), flag),
        false => NewExperiment::by_segment(name(dice), flag),
    };
    new.id = own_id(dice, "exp_", &taken).map(|id| p(&id));
    new.description = Some(description(dice)).filter(|_| dice.chance(20));
    new.tags = ["one", "two"].map(ToOwned::to_owned)[..dice.below(3)].to_vec();
    new.flow = dice.one_of(&[None, None, Some("sign-in"), Some("all")]).map(ToOwned::to_owned);
    new.subject_kind = Some("user".to_owned()).filter(|_| dice.chance(30));
    new.traffic = Some(traffic(dice)).filter(|_| dice.chance(30));
    new.outside_variation_id =
        arms.first().map(|arm| arm.variation_id.clone()).filter(|_| dice.chance(20));
    new.salt = Some(p("salt \u{0} 🙂")).filter(|_| dice.chance(20));
    new.allocations = arms;
    new.audience_id = audience(dice, snapshot).filter(|_| dice.chance(20));
    new.keep = *dice.one_of(Keep::ALL);
    new.starts_at = Some(moment(dice)).filter(|_| dice.chance(15));
    new.ends_at = Some(moment(dice)).filter(|_| dice.chance(15));
    new.key = key(dice);
    new.maintainer = Some("Ann".to_owned()).filter(|_| dice.chance(20));
    new.chain = dice.one_of(&[None, None, Some("paywall"), Some("")]).map(ToOwned::to_owned);
    if dice.chance(30) {
        new.analysis.metrics = uses(dice, snapshot);
    }
    if dice.chance(10) {
        new.stages = stages(dice);
    } else if dice.chance(if by_weight { 50 } else { 2 }) {
        new.levels = levels(dice);
        new.traffic = new.traffic.filter(|_| dice.chance(5));
        if by_weight && dice.chance(75) {
            new.allocations = weightless(new.allocations);
        }
    }
    new
}

fn flag_patch(dice: &mut Dice, old: &Flag) -> FlagPatch {
    let patch = FlagPatch::new();
    match dice.below(7) {
        4 => patch.on(!old.is_on() || dice.chance(50)),
        5 if !old.variations().is_empty() => {
            let ids: Vec<VariationId> = old.variations().keys().cloned().collect();
            patch.off_variation_id(dice.one_of(&ids).clone())
        }
        6 => patch.clear_off_variation_id(),
        0 => patch.name(name(dice)),
        1 => patch.description(description(dice)),
        2 => patch.clear_description(),
        _ => patch.parameters(parameters(dice)),
    }
}

fn variation_patch(dice: &mut Dice, old: &Variation) -> VariationPatch {
    let patch = VariationPatch::new();
    match dice.below(4) {
        0 => patch.name(name(dice)),
        1 => patch.description(description(dice)),
        2 => patch.clear_description(),
        _ => {
            let config = old.config().iter();
            let config = config.map(|(name, value)| (name.to_owned(), value.clone())).collect();
            patch.overrides(overrides(dice, &config))
        }
    }
}

fn segment_patch(dice: &mut Dice) -> SegmentPatch {
    let patch = SegmentPatch::new();
    match dice.below(4) {
        0 => patch.name(name(dice)),
        1 => patch.description(description(dice)),
        2 => patch.clear_description(),
        _ => patch.rules(rules(dice)),
    }
}

fn transition(dice: &mut Dice, old: &Experiment) -> Change {
    let next = old.status().leads_to();
    let status = match next.is_empty() || dice.chance(5) {
        true => *dice.one_of(Status::ALL),
        // The first is the one that leads on.
        false if dice.chance(75) => next[0],
        false => *dice.one_of(next),
    };
    let refresh = dice.chance(if status == Status::Active { 30 } else { 3 });
    Change::SetExperimentStatus { id: old.id().clone(), if_version: None, status, refresh }
}

fn experiment_patch(dice: &mut Dice, snapshot: &Snapshot, old: &Experiment) -> ExperimentPatch {
    let mut patch = ExperimentPatch::new();
    for _ in 0..=dice.below(5) / 3 {
        let by_weight = old.strategy() == variate::Strategy::Percentage;
        let sides = if old.status() == Status::Paused { 39 } else { 25 };
        patch = match dice.below(sides) {
            0 => patch.name(name(dice)),
            1 => patch.description(description(dice)),
            2 => patch.clear_description(),
            3 => patch.tags(vec!["one".to_owned(), dice.one_of(&["one", "three"]).to_string()]),
            4 => patch.flow(dice.one_of(&["all", "sign-in", "reset"]).to_string()),
            5 => patch.clear_flow(),
            6 => patch.subject_kind(dice.one_of(&["device", "user"]).to_string()),
            7 => patch.clear_outside_variation_id(),
            8 => match snapshot.flag(old.flag_id()).and_then(|f| f.variations().keys().next()) {
                Some(id) => patch.outside_variation_id(id.clone()),
                None => patch,
            },
            9 | 10 => patch.traffic(traffic(dice)),
            11 => patch.levels(levels(dice)),
            12 => patch.keep(*dice.one_of(Keep::ALL)),
            13 => patch.starts_at(moment(dice)),
            14 => patch.ends_at(moment(dice)),
            15 => patch.clear_starts_at(),
            16 => patch.clear_ends_at().clear_audience_id(),
            21 => match dice.below(4) {
                0 => patch.maintainer("Bob"),
                1 => patch.clear_maintainer(),
                2 => patch.annotation(dice.one_of(&["ticket", "owner"]).to_string(), "EX-1"),
                _ => patch.without_annotation("ticket"),
            },
            22 => match dice.chance(70) {
                true => patch.chain(dice.one_of(&["paywall", ""]).to_string()),
                false => patch.clear_chain(),
            },
            17 => patch.stages(if dice.chance(30) { Vec::new() } else { stages(dice) }),
            18 => match audience(dice, snapshot) {
                Some(segment) => patch.audience_id(segment),
                None => patch,
            },
            19 | 20 => patch.analysis(analysis_patch(dice, snapshot, old.analysis())),
            _ => {
                let arms = allocations(dice, snapshot, old.flag_id().as_str(), by_weight);
                let bare = !old.levels().is_empty() && dice.chance(70);
                patch.allocations(if bare { weightless(arms) } else { arms })
            }
        };
    }
    patch
}

/// A change that has to do with iterations, mostly of an experiment that has one.
fn iteration_change(
    dice: &mut Dice,
    snapshot: &Snapshot,
    experiments: &[&Experiment],
) -> (Change, u64) {
    let begun: Vec<_> = experiments.iter().filter(|e| e.status() != Status::Draft).collect();
    let old = match begun.is_empty() || dice.chance(20) {
        true => *dice.one_of(experiments),
        false => **dice.one_of(&begun),
    };
    let (id, by_weight) = (old.id(), old.strategy() == variate::Strategy::Percentage);
    let change = match dice.below(20) {
        0..6 => {
            let arms = allocations(dice, snapshot, old.flag_id().as_str(), by_weight);
            let bare = !old.levels().is_empty() && dice.chance(70);
            let arms = if bare { weightless(arms) } else { arms };
            let patch = match dice.below(8) {
                0 => DraftPatch::new(),
                1 => DraftPatch::new().traffic(traffic(dice)),
                2 => DraftPatch::new().can_reshuffle(dice.chance(50)),
                3 => DraftPatch::new().subject_kind(*dice.one_of(&["device", "user"])),
                4 => DraftPatch::new().clear_audience_id().clear_outside_variation_id(),
                5 => match audience(dice, snapshot) {
                    Some(segment) => DraftPatch::new().audience_id(segment),
                    None => DraftPatch::new(),
                },
                _ => DraftPatch::new().allocations(arms),
            };
            Change::draft_iteration(id, patch)
        }
        6 => Change::discard_draft(id),
        7..14 => {
            let salt = *dice.one_of(&[None, None, Some("one"), Some(old.salt().as_str())]);
            let (salt, reshuffle) = (salt.map(p), dice.chance(20));
            Change::StartIteration {
                id: id.clone(),
                if_version: None,
                reshuffle,
                salt,
                carryover: Carryover::default(),
            }
        }
        14..18 => {
            let stop = Change::stop_iteration(id);
            let arms = old.iteration().allocations().unwrap_or_else(|| old.allocations());
            match arms.is_empty() || dice.chance(20) {
                true => stop,
                false => {
                    let stop = stop.with_winner(&dice.one_of(arms).variation_id);
                    let stop = if dice.chance(50) { stop.because(description(dice)) } else { stop };
                    if dice.chance(50) { stop.shipping() } else { stop }
                }
            }
        }
        18 => Change::shelve(id),
        _ => Change::unshelve(id),
    };
    (change, old.version())
}

fn settings_patch(dice: &mut Dice) -> SettingsPatch {
    // Mostly without a limit, under which more can happen.
    let limit = *dice.one_of(&[ActiveLimit::One, ActiveLimit::PerFlow]);
    let limit = if dice.chance(80) { ActiveLimit::Unlimited } else { limit };
    let patch = SettingsPatch::new().active_limit(limit);
    // Sometimes with kinds that creations then have to go by.
    match dice.below(5) {
        0 => patch
            .subject_kinds(["device", "user"].map(ToOwned::to_owned))
            .default_subject_kind("user"),
        1 => patch.subject_kinds(["user".to_owned()]).clear_default_subject_kind(),
        _ => patch.subject_kinds([]).clear_default_subject_kind(),
    }
}

/// A change that might well be made to this snapshot, of any kind that there is.
fn change(dice: &mut Dice, snapshot: &Snapshot) -> Change {
    let mut flags: Vec<_> = snapshot.flags().collect();
    let mut segments: Vec<_> = snapshot.segments().collect();
    let mut experiments: Vec<_> = snapshot.experiments().collect();
    flags.sort_unstable_by_key(|flag| flag.id());
    segments.sort_unstable_by_key(|segment| segment.id());
    experiments.sort_unstable_by_key(|experiment| experiment.id());
    if flags.is_empty() {
        return flag(dice, snapshot).into();
    }
    let a_flag = *dice.one_of(&flags);
    // Mostly those with which something can still happen.
    if experiments.len() > 4 {
        experiments.retain(|e| e.status() != Status::Archived || dice.chance(20));
    }
    let variations: Vec<_> = flags.iter().flat_map(|flag| flag.variations().values()).collect();
    let (change, version) = match dice.below(155) {
        100..125 => group_change(dice, snapshot),
        125..145 if !experiments.is_empty() => iteration_change(dice, snapshot, &experiments),
        145..155 => metric_change(dice, snapshot),
        0..6 => (flag(dice, snapshot).into(), 0),
        12..22 => (experiment(dice, snapshot).into(), 0),
        22..27 => {
            let defaults = a_flag.parameters().iter();
            let defaults =
                defaults.map(|(name, p)| (name.to_string(), p.value().clone())).collect();
            (Change::create_variation(a_flag.id(), variation(dice, snapshot, &defaults)), 0)
        }
        27..30 => {
            let patch = flag_patch(dice, a_flag);
            (Change::patch_flag(a_flag.id(), patch), a_flag.version())
        }
        30..34 if !variations.is_empty() => {
            let old = *dice.one_of(&variations);
            let patch = variation_patch(dice, old);
            (Change::patch_variation(old.id(), patch), old.version())
        }
        34..39 if !segments.is_empty() => {
            let old = *dice.one_of(&segments);
            let patch = segment_patch(dice);
            (Change::patch_segment(old.id(), patch), old.version())
        }
        39..58 if !experiments.is_empty() => {
            let paused = experiments.iter().find(|e| e.status() == Status::Paused);
            let paused = paused.filter(|_| dice.chance(50));
            let old = *paused.unwrap_or_else(|| dice.one_of(&experiments));
            let patch = experiment_patch(dice, snapshot, old);
            (Change::patch_experiment(old.id(), patch), old.version())
        }
        58..60 => (Change::patch_settings(settings_patch(dice)), 0),
        60..67 => {
            let to = if dice.chance(96) { FlagStatus::Active } else { FlagStatus::Archived };
            (Change::set_flag_status(a_flag.id(), to), a_flag.version())
        }
        67..69 if !segments.is_empty() => {
            let old = *dice.one_of(&segments);
            let to = *dice.one_of(SegmentStatus::ALL);
            (Change::set_segment_status(old.id(), to), old.version())
        }
        83..89 if !experiments.is_empty() => {
            let old = some_ramp(dice, &experiments);
            (Change::advance_ramp(old.id(), level(dice, old)), old.version())
        }
        69..83 if !experiments.is_empty() => {
            let ready = |e: &&&Experiment| {
                matches!(e.status(), Status::Draft | Status::Paused)
                    && snapshot.readiness(e.id()).is_some_and(|readiness| readiness.is_ready())
            };
            let ready = experiments.iter().find(ready).filter(|_| dice.chance(50));
            let old = *ready.unwrap_or_else(|| dice.one_of(&experiments));
            (transition(dice, old), old.version())
        }
        89..92 if !experiments.is_empty() => {
            let old = *dice.one_of(&experiments);
            let salt = *dice.one_of(&[None, Some("one"), Some("two"), Some(old.salt().as_str())]);
            let salt = salt.map(p);
            (Change::Reshuffle { id: old.id().clone(), if_version: None, salt }, old.version())
        }
        92..94 if !experiments.is_empty() => {
            let old = *dice.one_of(&experiments);
            (Change::delete_experiment(old.id()), old.version())
        }
        94..96 if !variations.is_empty() => {
            let old = *dice.one_of(&variations);
            (Change::delete_variation(old.id()), old.version())
        }
        96..98 if !segments.is_empty() => {
            let old = *dice.one_of(&segments);
            (Change::delete_segment(old.id()), old.version())
        }
        98 => (Change::delete_flag(a_flag.id()), a_flag.version()),
        99 => (Change::delete_segment(&p("seg_nobody")), 0),
        _ => (segment(dice, snapshot).into(), 0),
    };
    match dice.below(10) {
        0 | 1 => change.if_version(version),
        2 if dice.chance(30) => change.if_version(version + 1),
        _ => change,
    }
}

/// Other weights for an experiment that runs, in one go.
fn reweighted(dice: &mut Dice, snapshot: &Snapshot) -> Option<Transaction> {
    let strategy = *dice.one_of(variate::Strategy::ALL);
    let running = |e: &&Experiment| e.status() == Status::Active && e.strategy() == strategy;
    let old = snapshot.experiments().filter(running).min_by_key(|e| e.id())?;
    let mut arms = old.allocations().to_vec();
    if strategy == variate::Strategy::Percentage || dice.chance(10) {
        let by_weight = strategy == variate::Strategy::Percentage;
        arms = allocations(dice, snapshot, old.flag_id().as_str(), by_weight);
    } else {
        // Those that divide a target stand beside each other.
        for own in arms.chunk_by_mut(|one, next| one.segment_id == next.segment_id) {
            if own.iter().all(|arm| arm.weight.is_some()) {
                let weights = weights(dice, own.len());
                for (arm, weight) in own.iter_mut().zip(weights) {
                    arm.weight = Some(weight);
                }
            }
        }
    }
    let patch = ExperimentPatch::new().allocations(arms);
    let edit = Change::patch_experiment(old.id(), patch).if_version(old.version() + 1);
    let [halt, resume] =
        [Status::Paused, Status::Active].map(|to| Change::set_experiment_status(old.id(), to));
    Some([halt, edit, resume].into())
}

/// Something else by the id of what a run rests on and no design names any more.
fn replaced(dice: &mut Dice, snapshot: &Snapshot) -> Option<Transaction> {
    let unused = |id: &str| snapshot.used_by(id).next().is_none();
    let runs = || {
        let previous = snapshot.experiments().flat_map(Experiment::previous_iterations);
        let previous = previous.map(PastIteration::iteration);
        snapshot.experiments().map(Experiment::iteration).chain(previous)
    };
    let segments = runs().flat_map(|run| run.segments()).map(|segment| segment.id());
    let segment = segments.filter(|id| unused(id.as_str()) && snapshot.segment(id).is_some()).min();
    let flags = runs().filter_map(|run| run.flag()).map(|flag| flag.id());
    let old_flag = flags.filter(|id| unused(id.as_str()) && snapshot.flag(id).is_some()).min();
    match (segment, old_flag) {
        (Some(id), _) if dice.chance(50) => {
            let new = self::segment(dice, snapshot).id(id.clone());
            Some([Change::delete_segment(id), new.into()].into())
        }
        (_, Some(id)) => {
            Some([Change::delete_flag(id), flag(dice, snapshot).id(id.clone()).into()].into())
        }
        _ => None,
    }
}

fn transaction(seed: u64, snapshot: &Snapshot) -> Transaction {
    let mut dice = Dice(seed);
    if dice.chance(4)
        && let Some(mut transaction) = replaced(&mut dice, snapshot)
    {
        // At once, or the deletion first.
        transaction.changes.truncate(1 + dice.below(2));
        return transaction;
    }
    if dice.chance(10)
        && let Some(transaction) = reweighted(&mut dice, snapshot)
    {
        return transaction;
    }
    let count = if dice.chance(80) { 1 } else { dice.below(4) };
    let changes = (0..count).map(|_| change(&mut dice, snapshot)).collect::<Vec<_>>();
    match dice.chance(20) {
        true => Transaction::from(changes).comment("why \u{0} \"so\""),
        false => changes.into(),
    }
}

/// An engine under test, and what its listener was told.
struct Recorded {
    engine: Engine,
    told: Arc<Mutex<Vec<(Event, Snapshot)>>>,
    clock: Arc<AtomicI64>,
}

impl Recorded {
    /// A clock that jumps, backwards too, and ids that are counted.
    fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(0));
        let told = Arc::new(Mutex::new(Vec::new()));
        let (mut dice, mut ids) = (Dice(7), Dice(8));
        let jumps: Vec<i64> =
            (0..97).map(|_| i64::try_from(dice.below(9_000_000)).unwrap()).collect();
        let (hand, step) = (Arc::clone(&clock), AtomicU64::new(0));
        let now = move || {
            let step = usize::try_from(step.fetch_add(1, Ordering::Relaxed)).unwrap();
            let millis =
                jumps[step % jumps.len()] + i64::try_from(step).unwrap() * 100_000 - 5_000_000;
            hand.store(millis, Ordering::Relaxed);
            Timestamp::from_unix_millis(millis).unwrap()
        };
        let entropy = move || u128::from(ids.next()) << 64 | u128::from(ids.next());
        let engine = Engine::with(Snapshot::new(), now, entropy);
        let heard = Arc::clone(&told);
        let hear = move |event: &Event, snapshot: &Snapshot| {
            heard.lock().unwrap().push((event.clone(), snapshot.clone()));
        };
        engine.listen(hear).unwrap();
        Self { engine, told, clock }
    }

    fn told(&self) -> usize {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn events(&self) -> Vec<Event> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().map(|(event, _)| event.clone()).collect()
    }

    /// Commits, and checks all that holds of one step.
    fn commit(&self, transaction: Transaction) -> Result<Commit, Error> {
        let read = Transaction::from_json(serde_json::to_string(&transaction).unwrap());
        let unreadable = read.is_err();
        assert!(unreadable || read.unwrap() == transaction);
        let before = self.engine.snapshot();
        let (json, told) = (before.to_json(), self.told());
        let unchanged = || {
            assert!(Arc::ptr_eq(&self.engine.snapshot(), &before));
            assert_eq!(self.engine.to_json(), json);
            assert_eq!(self.told(), told);
        };
        let dry = self.engine.dry_run(transaction.clone());
        unchanged();
        let commit = self.engine.commit(transaction);
        check_dry_run(dry.as_ref(), commit.as_ref());
        assert!(!unreadable || commit.is_err(), "what JSON refuses is committed");
        match commit.as_ref().map(|commit| (commit, commit.event.as_deref())) {
            Err(_) => unchanged(),
            Ok((commit, None)) => {
                unchanged();
                assert_eq!(*commit.snapshot, *before);
            }
            Ok((commit, Some(event))) => {
                assert!(Arc::ptr_eq(&self.engine.snapshot(), &commit.snapshot));
                let now = Timestamp::from_unix_millis(self.clock.load(Ordering::Relaxed)).unwrap();
                assert_eq!(event.at, now.max(before.updated_at()));
                assert_eq!(event.at, commit.snapshot.updated_at());
                assert_eq!(event.sequence, before.sequence() + 1);
                assert_eq!(event.sequence, commit.snapshot.sequence());
                assert_eq!(self.told(), told + 1);
                let heard = self.told.lock().unwrap();
                assert_eq!(heard[told].0, *event);
                assert_eq!(heard[told].1, *commit.snapshot);
                assert_eq!(before.to_json(), json, "what was held before has changed");
                check_document(&commit.snapshot);
            }
        }
        commit
    }
}

/// A dry run says what the commit then says, but for ids that are drawn anew.
#[track_caller]
fn check_dry_run(dry: Result<&Commit, &Error>, commit: Result<&Commit, &Error>) {
    let effects = |commit: &Commit| -> Option<Vec<Effect>> {
        let mut effects = commit.event.as_ref()?.effects.clone();
        for effect in &mut effects {
            effect.id = None;
        }
        Some(effects)
    };
    match (dry, commit) {
        (Ok(dry), Ok(commit)) => {
            assert_eq!(effects(dry), effects(commit));
            assert_eq!(dry.snapshot.sequence(), commit.snapshot.sequence());
        }
        (Err(dry), Err(commit)) => {
            let parts = |error: &Error| (error.code(), error.change(), error.path().to_owned());
            assert_eq!(parts(dry), parts(commit));
        }
        (dry, commit) => panic!("a dry run says {dry:?}, the commit {commit:?}"),
    }
}

/// A snapshot is what its document says, and equal snapshots have equal documents.
#[track_caller]
fn check_document(snapshot: &Snapshot) {
    let json = snapshot.to_json();
    let read = Snapshot::from_json(&json).unwrap_or_else(|error| panic!("{error}\n{json}"));
    assert_eq!(read.to_json(), json);
    assert!(read == *snapshot, "another snapshot of the same document: {json}");
}

#[track_caller]
fn check_same(one: &Snapshot, two: &Snapshot) {
    assert_eq!(one.to_json(), two.to_json());
    assert!(one == two);
}

/// Runs a history and returns what was recorded.
fn run(seeds: &[u64]) -> Recorded {
    let recorded = Recorded::new();
    for seed in seeds {
        let transaction = transaction(*seed, &recorded.engine.snapshot());
        drop(recorded.commit(transaction));
    }
    recorded
}

fn through_json(event: &Event) -> Event {
    Event::from_json(serde_json::to_string(event).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_history_leads_to_the_same_snapshot_again(
        seeds in prop::collection::vec(any::<u64>(), 1..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let recorded = run(&seeds);
        let events = recorded.events();
        let end = recorded.engine.snapshot();
        for (event, sequence) in events.iter().zip(1..) {
            prop_assert_eq!(event.sequence, sequence);
        }
        prop_assert!(events.is_sorted_by_key(|event| event.at));

        check_same(&Engine::replay(&events).unwrap().snapshot(), &end);
        let read: Vec<Event> = events.iter().map(through_json).collect();
        prop_assert_eq!(&read, &events);
        check_same(&Engine::replay(&read).unwrap().snapshot(), &end);

        let cut = cut.index(events.len() + 1);
        let half = Snapshot::new().replay(&events[..cut]).unwrap();
        check_same(&half.replay(&events[cut..]).unwrap(), &end);
        let told = recorded.told.lock().unwrap();
        told.iter().for_each(|(_, snapshot)| check_users(snapshot));
        if let Some((_, between)) = cut.checked_sub(1).map(|index| &told[index]) {
            check_same(&half, between);
        }
        // A document in between loses nothing that comes to matter later.
        let loaded = Snapshot::from_json(half.to_json()).unwrap();
        check_same(&loaded.replay(&read[cut..]).unwrap(), &end);
    }

    #[test]
    fn a_history_that_was_tampered_with_is_refused(
        seeds in prop::collection::vec(any::<u64>(), 1..60),
        index in any::<prop::sample::Index>(),
        how in 0..TAMPERINGS,
    ) {
        let mut events = run(&seeds).events();
        if !events.is_empty() {
            let index = index.index(events.len());
            if tamper(&mut events, index, how) {
                let error = Engine::replay(&events).expect_err("must be refused");
                prop_assert_eq!(error.code(), Code::ReplayMismatch, "{}", error);
            }
        }
    }
}

const TAMPERINGS: usize = 15;

/// Falsifies a history at an event; whether this way of doing so applies to it.
fn tamper(events: &mut Vec<Event>, index: usize, how: usize) -> bool {
    let last = index + 1 == events.len();
    let before = index.checked_sub(1).map_or(Timestamp::EPOCH, |index| events[index].at);
    let event = &mut events[index];
    match how {
        0 => event.sequence += 1,
        1 => event.sequence -= 1,
        2 => event.effects.clear(),
        3 => event.effects.push(event.effects[0].clone()),
        4 => event.effects[0].version = Some(event.effects[0].version.unwrap_or(0) + 1),
        5 => event.effects[0].fields.push("name".to_owned()),
        6 => event.effects[0].froze = !event.effects[0].froze,
        7 => event.effects[0].id = Some("exp_another".to_owned()),
        8 => event.effects[0].from = Some("nowhere".to_owned()),
        9 => event.at = Timestamp::from_unix_millis(before.unix_millis() - 1).unwrap(),
        10 => {
            let again = event.clone();
            events.insert(index, again);
        }
        11 if !last => drop(events.remove(index)),
        12 if !last => events.swap(index, index + 1),
        13 => event.changes.clear(),
        14 => return event.changes.iter_mut().any(forget),
        _ => return false,
    }
    true
}

/// Removes an id or a salt that was created.
fn forget(change: &mut Change) -> bool {
    match change {
        Change::CreateFlag(new) => new.id.take().is_some(),
        Change::CreateSegment(new) => new.id.take().is_some(),
        Change::CreateVariation { variation, .. } => variation.id.take().is_some(),
        Change::CreateExperiment(new) => new.id.take().is_some(),
        Change::CreateLayer(new) => new.id.take().is_some(),
        Change::CreateHoldout(new) => new.id.take().is_some(),
        Change::Reshuffle { salt, .. } => salt.take().is_some(),
        _ => false,
    }
}

#[test]
fn every_way_of_tampering_is_noticed() {
    let mut seeds = Dice(1);
    let seeds: Vec<u64> = (0..300).map(|_| seeds.next()).collect();
    let events = run(&seeds).events();
    let mut applied = BTreeMap::new();
    for index in 0..events.len().min(60) {
        let so_far = Snapshot::new().replay(&events[..index]).unwrap();
        for how in 0..TAMPERINGS {
            let mut events = events.clone();
            if tamper(&mut events, index, how) {
                *applied.entry(how).or_insert(0) += 1;
                let error = so_far.replay(&events[index..]).expect_err("must be refused");
                assert_eq!(error.code(), Code::ReplayMismatch, "{how}: {error}");
            }
        }
    }
    assert_eq!(applied.len(), TAMPERINGS, "{applied:?}");
}

#[test]
fn events_follow_on_the_snapshot_that_they_were_made_for() {
    let before = world();
    let patch = ExperimentPatch::new().traffic(p("50"));
    let commit = apply(&before, Change::patch_experiment(&p("exp_weights"), patch)).unwrap();
    let event = commit.event.unwrap();
    check_same(&before.replay([&*event]).unwrap(), &commit.snapshot);
    check_same(&before.replay(std::iter::empty::<Event>()).unwrap(), &before);
    for snapshot in [&Snapshot::new(), &*commit.snapshot] {
        let error = snapshot.replay([&*event]).unwrap_err();
        assert_eq!(error.code(), Code::ReplayMismatch);
    }
    // Of the right number, but of a history in which something else was changed.
    let patch = ExperimentPatch::new().traffic(p("9"));
    let next = apply(&commit.snapshot, Change::patch_experiment(&p("exp_weights"), patch)).unwrap();
    let patch = ExperimentPatch::new().name("Another name");
    let other = apply(&before, Change::patch_experiment(&p("exp_segments"), patch)).unwrap();
    let error = other.snapshot.replay([&*next.event.unwrap()]).unwrap_err();
    assert_eq!(error.code(), Code::ReplayMismatch);
}

/// How many winners an experiment has ever shipped.
fn shipped_by(experiment: &Experiment) -> usize {
    let runs = experiment.previous_iterations().iter().map(PastIteration::iteration);
    let winners = runs.chain([experiment.iteration()]).filter_map(|run| run.winner());
    winners.filter(|winner| winner.is_shipped()).count()
}

/// What the random histories show depends on what happens in them.
/// The refusals that random changes meet.
const REFUSALS: [Code; 11] = [
    Code::AlreadyExists,
    Code::InUse,
    Code::InvalidValue,
    Code::NameTaken,
    Code::NotFound,
    Code::NotMutable,
    Code::NotReady,
    Code::TransitionNotAllowed,
    Code::UnknownReference,
    Code::VersionConflict,
    Code::WrongType,
];

#[test]
fn the_histories_have_every_kind_of_change() {
    let mut changes = BTreeSet::new();
    let mut effects = BTreeSet::new();
    let mut refusals = BTreeSet::new();
    let (mut committed, mut partitions, mut revisions, mut froze) = (0, 0, 0, 0);
    let (mut splits, mut slots, mut held) = (BTreeSet::new(), BTreeSet::new(), 0);
    let (mut advanced, mut analysed, mut weightless) = (0, 0, BTreeSet::new());
    let (mut previous, mut drafted, mut shipped) = (0, 0, 0);
    let mut chained = 0;
    for history in 0..50 {
        let mut dice = Dice(history);
        let recorded = Recorded::new();
        for _ in 0..150 {
            let transaction = transaction(dice.next(), &recorded.engine.snapshot());
            if let Err(error) = recorded.commit(transaction) {
                refusals.insert(error.code());
            }
        }
        for event in recorded.events() {
            committed += 1;
            for change in &event.changes {
                let json = serde_json::to_value(change).unwrap();
                changes.insert(json["change"].as_str().unwrap().to_owned());
            }
            for effect in event.effects {
                froze += usize::from(effect.froze);
                effects.insert((effect.effect, effect.entity));
            }
            let advances = |change: &&Change| matches!(change, Change::AdvanceRamp { .. });
            advanced += event.changes.iter().filter(advances).count();
        }
        let told = recorded.told.lock().unwrap();
        let experiments = told.iter().flat_map(|(_, snapshot)| snapshot.experiments());
        weightless.extend(
            experiments
                .filter(|e| e.current_level().is_some())
                .filter(|e| e.iteration().allocations().is_some_and(|a| a[0].weight.is_none()))
                .map(|e| (history, e.id().clone())),
        );
        for (_, snapshot) in told.iter().step_by(5) {
            let document = serde_json::to_value(snapshot).unwrap();
            let runs = document["experiments"].as_array().unwrap().iter().map(|e| &e["iteration"]);
            let layers = document.get("layers").and_then(Value::as_array).into_iter().flatten();
            slots.extend(
                layers.filter_map(|own| Some((history, own.get("partition")?.to_string()))),
            );
            splits.extend(runs.filter_map(|run| Some((history, run.get("splits")?.to_string()))));
            let several = |name: &&ChainName| snapshot.chain(name).experiments().count() > 1;
            chained += snapshot.chains().filter(several).count();
        }
        let json = recorded.engine.to_json();
        let document: Value = json.parse().unwrap();
        let lists = ["experiments", "holdouts"].map(|list| document.get(list));
        let [experiments, holdouts] =
            lists.map(|list| list.and_then(Value::as_array).cloned().unwrap_or_default());
        let has = |key: &str| {
            experiments.iter().filter(|own| own["iteration"].get(key).is_some()).count()
        };
        partitions += has("partition");
        let last = recorded.engine.snapshot();
        previous += last.experiments().map(|own| own.previous_iterations().len()).sum::<usize>();
        drafted += last.experiments().filter(|own| own.draft().is_some()).count();
        shipped += last.experiments().map(shipped_by).sum::<usize>();
        let reads = |own: &&Value| own["analysis"].get("metrics").is_some();
        analysed += experiments.iter().filter(reads).count();
        held += holdouts.iter().filter(|own| own["experiments"] != json!([])).count();
        revisions += usize::from(json.contains("\"revisions\""));
    }
    assert_eq!(changes.len(), 32, "{changes:?}");
    let created = EntityKind::ALL.iter().filter(|entity| **entity != EntityKind::Settings);
    let edited = EntityKind::ALL.iter().filter(|entity| **entity != EntityKind::Metric);
    let moved = [EntityKind::Experiment, EntityKind::Flag, EntityKind::Segment];
    let all = created
        .flat_map(|entity| [(EffectKind::Created, *entity), (EffectKind::Deleted, *entity)])
        .chain(edited.map(|entity| (EffectKind::Edited, *entity)))
        .chain(moved.iter().map(|entity| (EffectKind::Transitioned, *entity)));
    assert_eq!(effects, all.collect());
    for code in REFUSALS {
        assert!(refusals.contains(&code), "{code} is never met: {refusals:?}");
    }
    assert!(committed > 1_000, "{committed} of 7500");
    assert!(partitions > 10, "{partitions} rebalanced");
    assert!(splits.len() > 5, "{splits:?} rebalanced within a segment");
    assert!(slots.len() > 5, "{slots:?} of layers edited");
    assert!(held > 5, "{held} holdouts with experiments");
    assert!(analysed > 10, "{analysed} experiments with metrics");
    assert!(revisions > 10, "{revisions} documents with revisions");
    assert!(froze > 100, "{froze} frozen");
    assert!(advanced > 10, "{advanced} ramps went on");
    assert!(weightless.len() > 10, "ramps without weights: {weightless:?}");
    assert!(previous > 30, "{previous} previous iterations");
    assert!(drafted > 10, "{drafted} drafts");
    assert!(chained > 5, "{chained} chains of several");
    assert!(shipped > 5, "{shipped} winners shipped");
}

#[test]
fn a_transaction_is_whole_or_nothing() {
    #[track_caller]
    fn check(changes: Vec<Change>, refused: usize, code: Code) {
        let engine = Engine::from_snapshot(world());
        let before = (engine.snapshot(), engine.to_json());
        let error = engine.commit(changes).unwrap_err();
        assert_eq!((error.change(), error.code()), (Some(refused), code), "{error}");
        assert!(Arc::ptr_eq(&engine.snapshot(), &before.0));
        assert_eq!(engine.to_json(), before.1);
    }
    let renamed = || {
        let patch = ExperimentPatch::new().name("Another name");
        Change::patch_experiment(&p("exp_weights"), patch)
    };
    let unknown = || Change::delete_experiment(&p("exp_none"));
    check(vec![renamed(), unknown()], 1, Code::NotFound);
    check(vec![unknown(), renamed()], 0, Code::NotFound);
    check(
        vec![
            Change::delete_experiment(&p("exp_segments")),
            Change::delete_experiment(&p("exp_weights")),
            Change::delete_flag(&p("flg_a")),
            Change::delete_flag(&p("flg_a")),
        ],
        3,
        Code::NotFound,
    );
    check(vec![renamed(), renamed().if_version(1)], 1, Code::VersionConflict);
}

#[test]
fn a_dry_run_publishes_nothing() {
    let engine = Engine::with(world(), || at(100), || 7);
    engine.listen(|_, _| panic!("must not be told of a dry run")).unwrap();
    let start = Change::set_experiment_status(&p("exp_weights"), Status::Active);
    let before = (engine.snapshot(), engine.to_json());
    let dry = engine.dry_run(start.clone()).unwrap();
    assert!(Arc::ptr_eq(&engine.snapshot(), &before.0));
    assert_eq!(engine.to_json(), before.1);
    let refused = Change::delete_flag(&p("flg_a"));
    assert_eq!(engine.dry_run(refused).unwrap_err().code(), Code::InUse);

    // With nothing left open, it is the commit to the last byte.
    let twin = Engine::with(world(), || at(100), || 7);
    let commit = twin.commit(start).unwrap();
    assert_eq!(dry, commit);
    assert_eq!(dry.snapshot.to_json(), commit.snapshot.to_json());
}

#[test]
fn what_makes_no_difference_is_no_event() {
    #[track_caller]
    fn check(change: impl Into<Transaction>) {
        let engine = Engine::from_snapshot(brought_to(&world(), "exp_weights", Status::Paused));
        engine.listen(|_, _| panic!("must not be told")).unwrap();
        let before = engine.snapshot();
        let commit = engine.commit(change).unwrap();
        assert_eq!(commit.event, None);
        assert_eq!(*commit.snapshot, *before);
        assert!(Arc::ptr_eq(&engine.snapshot(), &before));
    }
    check(Vec::new());
    check(Transaction::default().comment("nothing"));
    check(Change::patch_flag(&p("flg_a"), FlagPatch::new()));
    check(Change::patch_flag(&p("flg_a"), FlagPatch::new().name("Sign-in screen")));
    check(Change::patch_settings(SettingsPatch::new().active_limit(ActiveLimit::Unlimited)));
    let same = vec![share("var_a", "50").control(), share("var_b", "50.0")];
    let same = ExperimentPatch::new().allocations(same).clear_description().traffic(p("100"));
    check(Change::patch_experiment(&p("exp_weights"), same));
    let salt = Some(p("exp_weights"));
    check(Change::Reshuffle { id: p("exp_weights"), if_version: None, salt });
}
