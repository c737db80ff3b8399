//! Audiences, and arms that divide a segment or the fallback by weight: against an evaluator of its
//! own, to the point, through edits and documents.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeMap;

use crate::common::{apply, ok, p, world};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Allocation, Change, Code, Experiment, ExperimentPatch, NewExperiment, Partition, SegmentId,
    Snapshot, Status, Subject, Weight,
};

/// Weights in millionths by variation, of one segment with its priority or of the fallback.
#[derive(Debug, Clone)]
struct Target {
    segment: Option<(&'static str, u32)>,
    /// Of one arm alone the weight is not written down.
    arms: Vec<(&'static str, u64)>,
}

impl Target {
    fn allocations(&self) -> Vec<Allocation> {
        let arm = |(id, weight): &(&str, u64)| {
            let arm = match self.segment {
                Some((segment, priority)) => {
                    Allocation::segment(p(id), p(segment), priority).unwrap()
                }
                None => Allocation::fallback(p(id)),
            };
            match self.arms.len() {
                1 => arm,
                _ => arm.weighing(Weight::from_millionths(*weight).unwrap()),
            }
        };
        self.arms.iter().map(arm).collect()
    }

    /// Whose a point is when nobody has moved yet: the arms in the order of their ids.
    fn laid_out(&self, point: u32) -> &'static str {
        let mut arms = self.arms.clone();
        arms.sort_unstable();
        let total: u64 = arms.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0;
        let found = arms.iter().find(|(_, weight)| {
            sum += u128::from(*weight);
            u128::from(point) < (sum << 32) / u128::from(total)
        });
        found.unwrap().0
    }

    /// How many points an arm is due.
    fn due(&self, id: &str) -> u64 {
        let mut arms = self.arms.clone();
        arms.sort_unstable();
        let total: u64 = arms.iter().map(|(_, weight)| weight).sum();
        let end = |sum: u64| u64::try_from((u128::from(sum) << 32) / u128::from(total)).unwrap();
        let mut sum = 0;
        for (own, weight) in arms {
            if own == id {
                return end(sum + weight) - end(sum);
            }
            sum += weight;
        }
        0
    }
}

/// Three targets: two segments and the fallback.
#[derive(Debug, Clone)]
struct Design {
    targets: Vec<Target>,
    audience: Option<&'static str>,
    traffic: u32,
}

impl Design {
    fn allocations(&self) -> Vec<Allocation> {
        let mut arms: Vec<_> = self.targets.iter().flat_map(Target::allocations).collect();
        arms[0].is_control = true;
        arms
    }

    /// Gives `exp_t` this design.
    fn patch(&self) -> Change {
        let patch = ExperimentPatch::new()
            .allocations(self.allocations())
            .traffic(self.traffic.try_into().unwrap());
        let patch = match self.audience {
            Some(segment) => patch.audience_id(p(segment)),
            None => patch.clear_audience_id(),
        };
        Change::patch_experiment(&p("exp_t"), patch)
    }

    /// What a subject gets where nobody has moved yet: the reason and the variation.
    fn decide(&self, id: &str, country: &str, platform: &str) -> (String, &'static str) {
        let draw = |draw| point(subject_hash(id), draw_seed("exp_t", draw));
        let is_in = |segment: &str| match segment {
            "seg_germany" => country == "DE",
            _ => platform.starts_with("ios"),
        };
        if self.audience.is_some_and(|segment| !is_in(segment)) {
            return ("not_targeted".to_owned(), "var_d");
        }
        if u64::from(draw(Draw::Traffic)) >= (u64::from(self.traffic) << 32) / 100 {
            return ("not_sampled".to_owned(), "var_d");
        }
        let mut asked: Vec<_> =
            self.targets.iter().filter(|target| target.segment.is_some()).collect();
        asked.sort_by_key(|target| target.segment.unwrap().1);
        let hit = asked.into_iter().find(|target| is_in(target.segment.unwrap().0));
        let fallback = self.targets.iter().find(|target| target.segment.is_none()).unwrap();
        let target = hit.unwrap_or(fallback);
        let reason = match target.segment {
            Some((segment, _)) => format!("segment {segment}"),
            None => "fallback".to_owned(),
        };
        (reason, target.laid_out(draw(Draw::Variation)))
    }
}

/// `exp_t`, active with this design for the first time.
fn running(design: &Design) -> Snapshot {
    let new = NewExperiment::by_segment("Divided", p("flg_a"))
        .id(p("exp_t"))
        .outside_variation_id(p("var_d"));
    ok(&world(), vec![new.into(), design.patch(), set(Status::Active)])
}

fn set(status: Status) -> Change {
    Change::set_experiment_status(&p("exp_t"), status)
}

/// Pauses, edits, resumes.
fn edited(snapshot: &Snapshot, design: &Design) -> Snapshot {
    ok(snapshot, [set(Status::Paused), design.patch(), set(Status::Active)])
}

fn own(snapshot: &Snapshot) -> &Experiment {
    snapshot.experiment("exp_t").unwrap()
}

/// The cut of a target by variation: the first point, the one after the last, whose.
fn slices(snapshot: &Snapshot, segment: Option<&str>) -> Vec<(u64, u64, String)> {
    let run = own(snapshot).iteration();
    let partition: Option<&Partition> = match segment {
        Some(segment) => run.partition_of(&p::<SegmentId>(segment)),
        None => run.partition(),
    };
    let arms = run.allocations().unwrap();
    let slices = partition.into_iter().flat_map(Partition::slices);
    slices.map(|(start, end, arm)| (start, end, arms[arm].variation_id.to_string())).collect()
}

fn points(slices: &[(u64, u64, String)], id: &str) -> u64 {
    slices.iter().filter(|slice| slice.2 == id).map(|slice| slice.1 - slice.0).sum()
}

/// How many points have another owner.
fn moved(one: &[(u64, u64, String)], two: &[(u64, u64, String)]) -> u64 {
    let both = |a: &(u64, u64, String), b: &(u64, u64, String)| {
        if a.2 == b.2 { 0 } else { a.1.min(b.1).saturating_sub(a.0.max(b.0)) }
    };
    one.iter().flat_map(|a| two.iter().map(move |b| both(a, b))).sum()
}

fn any_arms() -> impl Strategy<Value = Vec<(&'static str, u64)>> {
    let variations = vec!["var_a", "var_b", "var_c", "var_d"];
    let cuts =
        prop_oneof![(0..=100_u64).prop_map(|percent| percent * 1_000_000), 0..=100_000_000_u64,];
    (Just(variations).prop_shuffle(), prop::collection::vec(cuts, 0..4)).prop_map(
        |(ids, mut cuts)| {
            cuts.extend([0, 100_000_000]);
            cuts.sort_unstable();
            ids.into_iter().zip(cuts.windows(2).map(|pair| pair[1] - pair[0])).collect()
        },
    )
}

fn any_design() -> impl Strategy<Value = Design> {
    let audience = select(vec![None, None, Some("seg_germany"), Some("seg_ios")]);
    let priorities = select(vec![[1, 2], [7, 3]]);
    (
        prop::collection::vec(any_arms(), 3),
        priorities,
        audience,
        select(vec![0_u32, 50, 100]),
        0..6_usize,
    )
        .prop_map(|(mut arms, [one, two], audience, traffic, turn)| {
            let segments = [None, Some(("seg_germany", one)), Some(("seg_ios", two))];
            let mut targets: Vec<_> = segments
                .into_iter()
                .map(|segment| Target { segment, arms: arms.pop().unwrap() })
                .collect();
            targets.rotate_left(turn % 3);
            Design { targets, audience, traffic }
        })
}

/// Subjects of four kinds with any id.
fn any_subject() -> impl Strategy<Value = (String, &'static str, &'static str)> {
    ("[a-z0-9]{1,8}", select(vec!["DE", "FR"]), select(vec!["ios17", "web"]))
}

/// Each target has its cut if it is divided, with the points that are due.
#[track_caller]
fn check_points(snapshot: &Snapshot, design: &Design) {
    for target in &design.targets {
        let own = slices(snapshot, target.segment.map(|(segment, _)| segment));
        if target.arms.len() == 1 {
            assert!(own.is_empty());
            continue;
        }
        for (id, _) in &target.arms {
            assert_eq!(points(&own, id), target.due(id), "{id} of {target:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_design_decides_as_an_evaluator_of_its_own(
        design in any_design(),
        subjects in prop::collection::vec(any_subject(), 30),
    ) {
        let snapshot = running(&design);
        check_points(&snapshot, &design);
        for (id, country, platform) in &subjects {
            let attributes = [("country", *country), ("platform", *platform)];
            let subject = Subject::new(id).with_attributes(&attributes);
            let decision = snapshot.assign("exp_t", &subject);
            let served = decision.variation_id().unwrap().as_str();
            let wanted = design.decide(id, country, platform);
            prop_assert_eq!((decision.reason().to_string(), served), wanted, "{:?}", design);
            let part = !matches!(decision.reason().as_str(), "not_targeted" | "not_sampled");
            prop_assert_eq!(decision.in_experiment(), part);
        }
    }

    /// An edit gives each target the points that it is due, and moves as few as can be.
    #[test]
    fn a_resumption_moves_as_few_as_can_be(designs in prop::collection::vec(any_design(), 2..6)) {
        let mut snapshot = running(&designs[0]);
        for (old, new) in designs.iter().zip(&designs[1..]) {
            let after = edited(&snapshot, new);
            check_points(&after, new);
            for target in &new.targets {
                let segment = target.segment.map(|(segment, _)| segment);
                let same = |own: &&Target| own.segment.map(|(segment, _)| segment) == segment;
                let before = old.targets.iter().find(same).unwrap();
                // Where one arm had, or has, all of it.
                let cut = |snapshot: &Snapshot, target: &Target| match target.arms.as_slice() {
                    [(id, _)] => vec![(0, Partition::POINTS, (*id).to_owned())],
                    _ => slices(snapshot, segment),
                };
                let [one, two] = [cut(&snapshot, before), cut(&after, target)];
                let ids = ["var_a", "var_b", "var_c", "var_d"];
                let lost = ids.iter().map(|id| points(&one, id).saturating_sub(points(&two, id)));
                prop_assert_eq!(moved(&one, &two), lost.sum::<u64>(), "{:?}", target);
            }
            // What is written down is all there is, also while the run and the design differ.
            for snapshot in [&after, &ok(&after, [set(Status::Paused), designs[0].patch()])] {
                let json = snapshot.to_json();
                let restored = Snapshot::from_json(&json).unwrap();
                prop_assert!(restored == *snapshot);
                prop_assert_eq!(restored.to_json(), json);
            }
            snapshot = after;
        }
        // Drawn anew, they lie as at first.
        let anew = ok(&snapshot, [set(Status::Paused), Change::reshuffle(&p("exp_t")), set(Status::Active)]);
        let last = designs.last().unwrap();
        for target in last.targets.iter().filter(|target| target.arms.len() > 1) {
            for (start, end, id) in slices(&anew, target.segment.map(|(segment, _)| segment)) {
                for point in [start, end - 1] {
                    prop_assert_eq!(target.laid_out(u32::try_from(point).unwrap()), id.as_str());
                }
            }
        }
    }
}

/// One list of arms in another order, or with other priorities, moves nobody; the draws of two
/// targets are one draw, cut for each by its own.
#[test]
fn reordering_moves_nobody() {
    let arms =
        |list: &[(&'static str, u64)]| list.iter().map(|(id, w)| (*id, w * 1_000_000)).collect();
    let design = |first: &[(&'static str, u64)], one, two| Design {
        targets: vec![
            Target { segment: Some(("seg_germany", one)), arms: arms(first) },
            Target { segment: Some(("seg_ios", two)), arms: arms(&[("var_c", 50), ("var_b", 50)]) },
            Target { segment: None, arms: arms(&[("var_a", 10), ("var_b", 90)]) },
        ],
        audience: None,
        traffic: 100,
    };
    let start = running(&design(&[("var_a", 20), ("var_b", 30), ("var_c", 50)], 1, 2));
    let edit = edited(&start, &design(&[("var_c", 60), ("var_a", 10), ("var_b", 30)], 1, 2));
    let reordered = edited(&edit, &design(&[("var_b", 30), ("var_c", 60), ("var_a", 10)], 9, 4));
    for segment in [Some("seg_germany"), Some("seg_ios"), None] {
        assert_eq!(slices(&reordered, segment), slices(&edit, segment), "{segment:?}");
    }
    let run: Value = serde_json::to_value(own(&edit)).unwrap()["iteration"].clone();
    let splits = run["splits"].as_array().unwrap();
    assert_eq!(splits.len(), 1, "only what does not lie as at first: {splits:?}");
    assert_eq!(splits[0]["segment_id"], "seg_germany");
    assert!(run.get("partition").is_none());
    // Each share of the target is that of its subjects, whichever segments they are in.
    let mut counts: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for (what, country, platform) in
        [("both", "DE", "ios17"), ("german", "DE", "web"), ("rest", "FR", "web")]
    {
        for n in 0..20_000 {
            let id = format!("device-{n}");
            let attributes = [("country", country), ("platform", platform)];
            let subject = Subject::new(&id).with_attributes(&attributes);
            let decision = edit.assign("exp_t", &subject);
            *counts.entry((what, decision.variation_id().unwrap().to_string())).or_default() += 1;
        }
    }
    for ((what, id), count) in counts {
        let percent = match (what, &*id) {
            ("both" | "german", "var_c") => 60,
            ("german" | "both", "var_b") => 30,
            ("rest", "var_b") => 90,
            _ => 10,
        };
        // Six standard deviations of a share among 20,000 are at most 0.0213.
        assert!(count.abs_diff(percent * 200) < 426, "{what} {id}: {count} of 20000");
    }
}

/// The audience is a segment like others: frozen, in use, restored.
#[test]
fn an_audience_is_frozen_and_in_use() {
    let new = NewExperiment::by_percentage("Targeted", p("flg_a"))
        .id(p("exp_t"))
        .audience(p("seg_germany"))
        .allocation(crate::common::share("var_a", "100").control());
    let started = ok(&world(), vec![new.into(), set(Status::Active)]);
    let reason = |snapshot: &Snapshot, country: &str| {
        let attributes = [("country", country)];
        let subject = Subject::new("device-42").with_attributes(&attributes);
        snapshot.assign("exp_t", &subject).reason().as_str()
    };
    assert_eq!([reason(&started, "DE"), reason(&started, "FR")], ["split", "not_targeted"]);
    let users: Vec<_> = started.used_by("seg_germany").map(AsRef::<str>::as_ref).collect();
    assert!(users.contains(&"exp_t"), "{users:?}");
    let free = ok(&started, Change::delete_experiment(&p("exp_segments")));
    let error = apply(&free, Change::delete_segment(&p("seg_germany"))).unwrap_err();
    assert_eq!(error.code(), Code::InUse);
    let rules = [variate::Rule::new().when("country", variate::Expression::one_of(["FR"]))];
    let french = variate::SegmentPatch::new().rules(rules);
    let edited = ok(&started, Change::patch_segment(&p("seg_germany"), french));
    let restored = Snapshot::from_json(edited.to_json()).unwrap();
    for snapshot in [&edited, &restored] {
        assert_eq!([reason(snapshot, "DE"), reason(snapshot, "FR")], ["split", "not_targeted"]);
        let run = own(snapshot).iteration();
        assert_eq!(run.audience_id().map(AsRef::as_ref), Some("seg_germany"));
        assert_eq!(run.segments().map(|segment| segment.version()).collect::<Vec<_>>(), [1]);
    }
    let refreshed = ok(&edited, [set(Status::Paused), Change::resume_refreshed(&p("exp_t"))]);
    assert_eq!([reason(&refreshed, "DE"), reason(&refreshed, "FR")], ["not_targeted", "split"]);
    // Another audience is another design; while paused, the run keeps the one that it has.
    let other = ExperimentPatch::new().audience_id(p("seg_ios"));
    let paused = ok(&started, [set(Status::Paused), Change::patch_experiment(&p("exp_t"), other)]);
    let restored = Snapshot::from_json(paused.to_json()).unwrap();
    assert!(restored == paused);
    assert_eq!(own(&restored).iteration().audience_id().map(AsRef::as_ref), Some("seg_germany"));
    assert_eq!(own(&restored).audience_id().map(AsRef::as_ref), Some("seg_ios"));
    let resumed = apply(&paused, set(Status::Active)).unwrap();
    assert!(resumed.event.unwrap().effects[0].froze);
    assert_eq!(reason(&resumed.snapshot, "DE"), "not_targeted");
}
