//! Explanations: they say what is decided, each step shows what it came to, and the last one decided.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use crate::common::{at, brought_to, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::select;
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Allocation, Asked, Attributes, Change, Condition, Explanation, Expression, FlagPatch, Keep,
    NewExperiment, NewHoldout, NewLayer, NewSegment, Partition, Percentage, Rule, Snapshot, Status,
    Step, Subject, Timestamp,
};

/// The share of all points, by the formula of the docs.
fn points(share: Percentage) -> u64 {
    u64::try_from((u128::from(share.millionths()) << 32) / 100_000_000).unwrap()
}

/// Which gate a step is of.
fn gate(step: &Step) -> String {
    serde_json::to_value(step).unwrap()["gate"].as_str().unwrap().to_owned()
}

/// Who asks, and when.
struct Who<'a> {
    id: Option<&'a str>,
    attributes: &'a dyn Attributes,
    now: Timestamp,
}

/// What kept a rule from matching, as plainly as it can be put.
fn failed(rule: &Rule, attributes: &dyn Attributes) -> Option<String> {
    let alone = |condition: &Condition| {
        let rule = Rule::new().when(condition.attribute.clone(), condition.expression.clone());
        rule.holds(attributes)
    };
    let missed = rule.matches().iter().filter(|condition| !alone(condition));
    let missed = missed.map(|condition| format!("match.{}", condition.attribute));
    let met = rule.not_matches().iter().filter(|condition| alone(condition));
    missed.chain(met.map(|condition| format!("not_match.{}", condition.attribute))).next()
}

/// A segment that was asked is one that the run froze, and answered as it does.
#[track_caller]
fn check_asked(snapshot: &Snapshot, asked: &Asked, who: &Who<'_>) {
    let run = snapshot.experiment("exp_t").unwrap().iteration();
    let segment = run.segments().find(|segment| *segment.id() == asked.segment_id).unwrap();
    assert_eq!(asked.version, segment.version());
    assert_eq!(asked.matched, segment.contains(who.attributes));
    let wanted: Vec<_> = segment.rules().iter().map(|rule| failed(rule, who.attributes)).collect();
    let end = wanted.iter().position(Option::is_none).map_or(wanted.len(), |first| first + 1);
    let told: Vec<_> = asked.rules.iter().map(|verdict| verdict.failed.clone()).collect();
    assert_eq!(told, wanted[..end]);
    assert!(asked.rules.iter().all(|verdict| verdict.matched == verdict.failed.is_none()));
}

/// What a step says follows from what went in.
#[track_caller]
fn check_step(snapshot: &Snapshot, step: &Step, before: &[Step], who: &Who<'_>) {
    let own = snapshot.experiment("exp_t").unwrap();
    let run = own.iteration();
    let drawn = |salt: &str, draw| point(subject_hash(who.id.unwrap()), draw_seed(salt, draw));
    let (starts, ends) = (own.starts_at(), own.ends_at());
    let is_open = starts.is_none_or(|at| at <= who.now) && ends.is_none_or(|at| who.now < at);
    let begun = own.stages().iter().filter(|stage| stage.at <= who.now);
    let staged = begun.map(|stage| stage.traffic).max().unwrap_or_default();
    match step {
        Step::Status { status } => assert_eq!(*status, own.status()),
        Step::Schedule { now, starts_at, ends_at, open, traffic } => {
            assert_eq!((*now, *starts_at, *ends_at), (who.now, starts, ends));
            assert_eq!(*open, is_open);
            assert_eq!(*traffic, (!own.stages().is_empty()).then_some(staged));
        }
        Step::Subject { kind, id } => {
            assert_eq!((kind.as_str(), id.as_deref()), ("device", who.id));
        }
        Step::Holdout { holdout_id, point, end, held_out } => {
            let holdout = snapshot.holdout(holdout_id).unwrap();
            assert!(holdout.experiments().contains("exp_t"));
            assert_eq!(*point, drawn(holdout.salt().as_str(), Draw::Holdout));
            assert_eq!(*end, points(holdout.share()));
            assert_eq!(*held_out, u64::from(*point) < *end);
        }
        Step::Layer { layer_id, point, owner, inside } => {
            let layer = snapshot.layer_of("exp_t").unwrap();
            assert_eq!(layer_id, layer.id());
            assert_eq!(*point, drawn(layer.salt().as_str(), Draw::Layer));
            assert_eq!(owner.as_ref(), layer.owner(*point));
            assert_eq!(*inside, owner.as_ref().is_some_and(|id| id == "exp_t"));
        }
        Step::Audience(asked) => {
            assert_eq!(run.audience_id(), Some(&asked.segment_id));
            check_asked(snapshot, asked, who);
        }
        Step::Segment(asked) => check_asked(snapshot, asked, who),
        Step::Traffic { point, end } => {
            assert_eq!(*end, points(own.traffic().max(staged)));
            let wanted = drawn(own.salt().as_str(), Draw::Traffic);
            assert_eq!(*point, Some(wanted).filter(|_| *end < Partition::POINTS));
        }
        Step::Split { point, start, end, variation_id } => {
            let partition = match before.last() {
                Some(Step::Segment(asked)) if asked.matched => run.partition_of(&asked.segment_id),
                _ => run.partition(),
            };
            assert_eq!(*point, drawn(own.salt().as_str(), Draw::Variation));
            let mut slices = partition.unwrap().slices();
            let own = slices.find(|(start, end, _)| (*start..*end).contains(&u64::from(*point)));
            let (first, after, arm) = own.unwrap();
            assert_eq!((*start, *end), (first, after));
            assert_eq!(variation_id.as_ref(), Some(&run.allocations().unwrap()[arm].variation_id));
        }
        Step::FlagOff { flag_id, variation_id } => {
            let flag = snapshot.flag(flag_id).unwrap();
            assert_eq!((flag_id, flag.is_on()), (own.flag_id(), false));
            assert_eq!(variation_id.as_ref(), flag.off_variation_id());
            assert!(matches!(own.status(), Status::Active | Status::Paused | Status::Completed));
        }
        Step::Forced { variation_id }
        | Step::Attached { variation_id }
        | Step::Kept { variation_id }
        | Step::Shipped { variation_id } => {
            let arms = own.allocations().iter().map(|arm| &arm.variation_id);
            assert!(arms.into_iter().any(|id| id == variation_id));
        }
        Step::PassedOver { variation_id, forced, is_arm, attached } => {
            let arms = run.allocations().unwrap_or_else(|| own.allocations());
            assert_eq!(*is_arm, arms.iter().any(|arm| arm.variation_id == variation_id.as_str()));
            let keeps = match own.status() {
                Status::Active | Status::Paused if *attached => is_open,
                Status::Active => own.keep() == Keep::Always,
                Status::Paused => own.keep() != Keep::Never,
                Status::Draft | Status::Completed | Status::Archived => false,
            };
            let keeps = keeps && snapshot.flag(own.flag_id()).unwrap().is_on();
            assert!(!is_arm || (!forced && !keeps));
            assert!(!(*forced && *attached));
        }
        other => panic!("{other:?} is new"),
    }
}

/// The last step is the one that decided.
#[track_caller]
fn check_last(explanation: &Explanation<'_>) {
    let decision = explanation.decision();
    let served = decision.variation_id();
    let reason = decision.reason().as_str();
    let fits = match (reason, explanation.steps().last().unwrap()) {
        ("forced", Step::Forced { variation_id }) => {
            explanation.steps().len() == 1 && Some(variation_id) == served
        }
        ("flag_off", Step::FlagOff { variation_id, .. }) => variation_id.as_ref() == served,
        ("attached", Step::Attached { variation_id })
        | ("kept", Step::Kept { variation_id })
        | ("shipped", Step::Shipped { variation_id }) => Some(variation_id) == served,
        ("draft" | "paused" | "completed" | "archived", Step::Status { status }) => {
            status.as_str() == reason
        }
        ("before_start" | "after_end" | "paused", Step::Schedule { open, .. }) => !open,
        ("missing_subject_id" | "paused", Step::Subject { id, .. }) => id.is_none(),
        ("held_out" | "paused", Step::Holdout { held_out, .. }) => *held_out,
        ("outside_layer_slot" | "paused", Step::Layer { inside, .. }) => !inside,
        ("not_targeted", Step::Audience(asked)) | ("fallback", Step::Segment(asked)) => {
            !asked.matched
        }
        ("segment", Step::Segment(asked)) => asked.matched,
        // In a ramp without weights those who have not entered have the control.
        ("not_sampled" | "split", Step::Traffic { point, end }) => {
            point.is_some_and(|point| u64::from(point) >= *end)
        }
        ("fallback", Step::Traffic { point, end }) => point.is_none_or(|own| u64::from(own) < *end),
        ("split" | "segment" | "fallback", Step::Split { variation_id, .. }) => {
            variation_id.as_ref() == served
        }
        _ => false,
    };
    assert!(fits, "{reason}: {explanation}");
}

#[track_caller]
fn check(snapshot: &Snapshot, subject: &Subject<'_>, who: &Who<'_>) {
    const ORDER: [&str; 15] = [
        "passed_over",
        "forced",
        "status",
        "flag_off",
        "schedule",
        "attached",
        "subject",
        "holdout",
        "layer",
        "kept",
        "audience",
        "traffic",
        "segment",
        "split",
        "shipped",
    ];
    let explanation = snapshot.explain("exp_t", subject);
    let decision = snapshot.assign("exp_t", subject);
    assert_eq!(explanation.decision(), decision);
    assert_eq!(snapshot.plan("exp_t").unwrap().explain(subject), explanation);
    let steps = explanation.steps();
    for (index, step) in steps.iter().enumerate() {
        check_step(snapshot, step, &steps[..index], who);
    }
    check_last(&explanation);
    let places: Vec<_> =
        steps.iter().map(|step| ORDER.iter().position(|own| *own == gate(step)).unwrap()).collect();
    let several = |place: usize| matches!(ORDER[place], "holdout" | "segment");
    let in_order = |a: &usize, b: &usize| a < b || (a == b && several(*a));
    assert!(places.is_sorted_by(in_order), "{explanation}");
    // The JSON is the decision's with the steps beside it, and there is a line for each.
    let mut json = serde_json::to_value(&explanation).unwrap();
    let listed = json.as_object_mut().unwrap().remove("steps").unwrap();
    assert_eq!(listed, serde_json::to_value(steps).unwrap());
    assert_eq!(json, serde_json::to_value(decision).unwrap());
    assert_eq!(explanation.to_string().lines().count(), 1 + steps.len());
}

/// How an experiment assigns: by weight, or by segment to one arm or to several each.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Weights,
    Segments,
    Divided,
}

/// An experiment with any gates.
#[derive(Debug, Clone)]
struct World {
    shape: Shape,
    /// No ramp, one with weights, one without them, one by time.
    ramp: u8,
    traffic: u32,
    audience: bool,
    outside: bool,
    keep: Keep,
    times: (Option<i64>, Option<i64>),
    holdouts: Vec<u32>,
    slot: Option<u32>,
    status: Status,
    /// Whether the flag is on, and whether it has an off variation.
    switch: (bool, bool),
}

impl World {
    fn snapshot(&self) -> Snapshot {
        let rules = [
            Rule::new()
                .when("country", Expression::one_of(["FR"]))
                .unless("x", Expression::Exists(true)),
            Rule::new().when("platform", Expression::starts_with(["ios"])),
        ];
        let segment =
            rules.into_iter().fold(NewSegment::new("Both").id(p("seg_t")), NewSegment::rule);
        let by_weight = self.shape == Shape::Weights;
        let new = match by_weight {
            true => NewExperiment::by_percentage("Explained", p("flg_a")),
            false => NewExperiment::by_segment("Explained", p("flg_a")),
        };
        let ramp = if by_weight { self.ramp } else { self.ramp / 2 * 3 };
        let arms = match (self.shape, ramp) {
            (Shape::Divided, _) => vec![
                Allocation::segment(p("var_a"), p("seg_germany"), 1).unwrap().weighing(p("60")),
                Allocation::segment(p("var_b"), p("seg_germany"), 1).unwrap().weighing(p("40")),
                Allocation::segment(p("var_c"), p("seg_t"), 2).unwrap(),
                Allocation::fallback(p("var_c")).weighing(p("10")),
                Allocation::fallback(p("var_a")).weighing(p("90")).control(),
            ],
            (Shape::Segments, _) => vec![Allocation::fallback(p("var_a")).control()],
            (Shape::Weights, 2) => {
                vec![Allocation::ramped(p("var_a")).control(), Allocation::ramped(p("var_b"))]
            }
            (Shape::Weights, _) => vec![share("var_b", "30"), share("var_a", "70").control()],
        };
        let mut new =
            arms.into_iter().fold(new.id(p("exp_t")), NewExperiment::allocation).keep(self.keep);
        match ramp {
            0 => new = new.traffic(self.traffic.try_into().unwrap()),
            1 | 2 => new = new.levels([self.traffic.try_into().unwrap()]),
            _ => new = new.stage(at(3), p("20")).stage(at(6), p("100")),
        }
        if self.audience {
            new = new.audience(p("seg_t"));
        }
        if self.outside {
            new = new.outside_variation_id(p("var_d"));
        }
        new.starts_at = self.times.0.map(at);
        new.ends_at = self.times.1.map(at);
        let mut changes: Vec<Change> = vec![segment.into(), new.into()];
        for (index, share) in self.holdouts.iter().enumerate() {
            let name = format!("Holdout {index}");
            let new = NewHoldout::new(name, "device", (*share).try_into().unwrap());
            changes.push(new.id(p(&format!("hld_{}", index + 1))).experiment(p("exp_t")).into());
        }
        if let Some(share) = self.slot {
            let new = NewLayer::new("Layer", "device").id(p("lay_a"));
            let other = Percentage::try_from((100 - share) / 2).unwrap();
            let new = new.member(p("exp_t"), share.try_into().unwrap());
            changes.push(new.member(p("exp_weights"), other).into());
        }
        let mut switch = FlagPatch::new().on(self.switch.0);
        if self.switch.1 {
            switch = switch.off_variation_id(p("var_c"));
        }
        let snapshot = brought_to(&ok(&world(), changes), "exp_t", self.status);
        ok(&snapshot, Change::patch_flag(&p("flg_a"), switch))
    }
}

fn any_world() -> impl Strategy<Value = World> {
    let shapes = vec![Shape::Weights, Shape::Weights, Shape::Segments, Shape::Divided];
    let shape = (select(shapes), 0..4_u8, select(vec![0, 30, 70, 100]));
    let times = (prop::option::weighted(0.3, 0..6_i64), prop::option::weighted(0.3, 6..9_i64));
    let groups = (
        prop::collection::vec(select(vec![0, 20, 50, 100]), 0..3),
        prop::option::of(select(vec![0, 50, 80, 100])),
    );
    // Mostly what assigns.
    let status =
        prop_oneof![4 => Just(Status::Active), 2 => Just(Status::Paused), 1 => select(Status::ALL)];
    let switch = (prop::bool::weighted(0.8), any::<bool>());
    let rest = (any::<bool>(), any::<bool>(), select(Keep::ALL), switch);
    (shape, times, groups, status, rest).prop_map(
        |((shape, ramp, traffic), times, (holdouts, slot), status, rest)| World {
            shape,
            ramp,
            traffic,
            audience: rest.0,
            outside: rest.1,
            keep: rest.2,
            times,
            holdouts,
            slot,
            status,
            switch: rest.3,
        },
    )
}

type Asking =
    (Option<String>, &'static str, &'static str, i64, Option<(&'static str, &'static str)>);

fn any_asking() -> impl Strategy<Value = Asking> {
    (
        prop::option::weighted(0.9, "[a-z0-9]{1,6}"),
        select(vec!["DE", "FR", "SE"]),
        select(vec!["ios17", "web"]),
        0..10_i64,
        prop::option::weighted(
            0.5,
            (
                select(vec!["forced", "attached", "kept"]),
                select(vec!["var_a", "var_b", "var_d", ""]),
            ),
        ),
    )
}

proptest! {
    #[test]
    fn an_explanation_says_what_is_decided_and_how(
        world in any_world(),
        asking in prop::collection::vec(any_asking(), 16),
    ) {
        let snapshot = world.snapshot();
        for (id, country, platform, seconds, brought) in &asking {
            let attributes = [("country", *country), ("platform", *platform)];
            let now = at(*seconds);
            let subject = match id {
                Some(id) => Subject::new(id),
                None => Subject::of("user", "u-7"),
            };
            let subject = subject.with_attributes(&attributes).with_clock(&now);
            let subject = match brought {
                Some(("forced", variation)) => subject.forced("exp_t", variation),
                Some(("attached", variation)) => subject.attached("exp_t", variation),
                Some((_, variation)) => subject.kept("exp_t", variation),
                None => subject,
            };
            check(&snapshot, &subject, &Who { id: id.as_deref(), attributes: &attributes, now });
        }
    }
}
