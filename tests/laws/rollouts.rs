//! Experiments under `sha1-v1` and `sha1-f32-v1`: one draw over slices, against the arithmetic of
//! LaunchDarkly's SDKs written out; what an edit moves; and what is refused.

#![cfg(feature = "launchdarkly")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a test may"
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{apply, brought_to, ok, p, share, world};
use proptest::prelude::*;
use serde_json::{Value, json};
use variate::hash::{sha1_point, subject_hash};
use variate::{
    Batch, Change, Code, Dialect, ExperimentPatch, HashVersion, NewExperiment, NewHoldout,
    NewLayer, Outcome, Percentage, Reason, RolloutSlice, Snapshot, SqlColumns, Status, Step,
    Subject, Timestamp, VariationId,
};

const BUCKETS: u64 = 100_000;
const SCALE: u64 = (1 << 60) - 1;
const ID: &str = "exp_r";

fn tracked(id: &str, weight: u32) -> RolloutSlice {
    RolloutSlice::tracked(p(id), weight)
}

fn untracked(id: &str, weight: u32) -> RolloutSlice {
    RolloutSlice::untracked(p(id), weight)
}

/// An experiment with these arms and weights, the first of them the control.
fn experiment(hash: HashVersion, arms: &[(&str, &str)], traffic: &str) -> NewExperiment {
    let new = NewExperiment::by_percentage("Rollout", p("flg_a")).id(p(ID)).hash(hash);
    arms.iter().enumerate().fold(new.traffic(p(traffic)).salt(p("61")), |new, (index, own)| {
        let arm = share(own.0, own.1);
        new.allocation(if index == 0 { arm.control() } else { arm })
    })
}

fn running(new: NewExperiment) -> Snapshot {
    brought_to(&ok(&world(), new), ID, Status::Active)
}

fn slices(snapshot: &Snapshot) -> &[RolloutSlice] {
    snapshot.experiment(ID).unwrap().iteration().rollout().unwrap()
}

fn patch(patch: ExperimentPatch) -> Change {
    Change::patch_experiment(&p(ID), patch)
}

/// Pauses, patches and resumes.
fn resumed(snapshot: &Snapshot, edit: ExperimentPatch) -> Snapshot {
    let to = |status| Change::set_experiment_status(&p(ID), status);
    ok(snapshot, vec![to(Status::Paused), patch(edit), to(Status::Active)])
}

/// The slice that LaunchDarkly's SDKs pick for a point.
fn picked(hash: HashVersion, slices: &[RolloutSlice], point: u64) -> usize {
    let (mut exact, mut single) = (0, 0.0_f32);
    for (index, slice) in slices.iter().enumerate() {
        exact += u64::from(slice.weight);
        single += slice.weight as f32 / 100_000.0;
        let below = match hash {
            HashVersion::Sha1V1 => {
                u128::from(point) * u128::from(BUCKETS) < u128::from(exact) * u128::from(SCALE)
            }
            _ => (point as f32) / (SCALE as f32) < single,
        };
        if below {
            return index;
        }
    }
    slices.len() - 1
}

/// Each bucket's variation, and whether it is tracked.
fn buckets(slices: &[RolloutSlice]) -> Vec<(Option<VariationId>, bool)> {
    let each = slices.iter().flat_map(|own| {
        let fate = (own.variation_id.clone(), !own.untracked);
        std::iter::repeat_n(fate, usize::try_from(own.weight).unwrap())
    });
    each.collect()
}

fn counts(slices: &[RolloutSlice]) -> BTreeMap<(Option<VariationId>, bool), u64> {
    let mut counts = BTreeMap::new();
    for own in slices.iter().filter(|own| own.weight > 0) {
        *counts.entry((own.variation_id.clone(), !own.untracked)).or_default() +=
            u64::from(own.weight);
    }
    counts
}

fn hashes() -> impl Strategy<Value = HashVersion> {
    prop_oneof![Just(HashVersion::Sha1V1), Just(HashVersion::Sha1F32V1)]
}

/// Slices of the four variations, summing to anything.
fn lists() -> impl Strategy<Value = Vec<RolloutSlice>> {
    let weight =
        prop_oneof![Just(0), 0..100_u32, 0..60_000_u32, (0..60_u32).prop_map(|w| w * 1_000)];
    let slice = (0..4_usize, weight, 0..4_u8).prop_map(|(number, weight, fate)| {
        let id = ["var_a", "var_b", "var_c", "var_d"][number];
        match fate {
            0 => RolloutSlice::outside(weight),
            1 => untracked(id, weight),
            _ => tracked(id, weight),
        }
    });
    prop::collection::vec(slice, 1..14)
}

/// The buckets that the arms have in a list, as LaunchDarkly reads it.
fn arms_of(list: &[RolloutSlice]) -> BTreeMap<VariationId, u64> {
    let (mut left, mut arms) = (BUCKETS, BTreeMap::new());
    for (index, slice) in list.iter().enumerate() {
        let last = index + 1 == list.len();
        let weight = if last { left } else { u64::from(slice.weight).min(left) };
        left -= weight;
        if let Some(id) = slice.variation_id.clone().filter(|_| !slice.untracked) {
            *arms.entry(id).or_default() += weight;
        }
    }
    arms
}

/// An experiment that is brought over with these slices; `None` if nobody is in it.
fn brought_over(hash: HashVersion, list: &[RolloutSlice]) -> Option<NewExperiment> {
    let arms = arms_of(list);
    let all: u64 = arms.values().sum();
    if all == 0 {
        return None;
    }
    let traffic = Percentage::from_millionths(all * 1_000).unwrap().to_string();
    let (mut sum, mut start) = (0, 0);
    let mut weights = Vec::new();
    for (id, points) in &arms {
        sum += points;
        let end = (sum * 200_000_000 + all) / (2 * all);
        weights.push((id.as_str(), variate::Weight::from_millionths(end - start).unwrap()));
        start = end;
    }
    let weights: Vec<_> = weights.iter().map(|(id, own)| (*id, own.to_string())).collect();
    let weights: Vec<_> = weights.iter().map(|(id, own)| (*id, own.as_str())).collect();
    Some(experiment(hash, &weights, &traffic).rollout(list))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever the weights, in steps however small.
    #[test]
    fn more_traffic_keeps_everyone_who_was_in_where_they_were(
        weights in prop::collection::vec(prop_oneof![1..100_000_000_u64, 1..50_u64], 1..6),
        steps in prop::collection::btree_set(
            prop_oneof![0..=100_000_000_u64, (1..100_u64).prop_map(|step| step * 500)], 2..8),
    ) {
        let weight = |millionths: u64| format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
        let ids = ["var_a", "var_b", "var_c", "var_d", "var_e"];
        let texts: Vec<String> = weights.iter().map(|own| weight(*own)).collect();
        let arms: Vec<_> = ids.into_iter().zip(texts.iter().map(String::as_str)).take(4).collect();
        let mut levels = steps.into_iter().map(|own| Percentage::from_millionths(own).unwrap());
        let first = levels.next().unwrap().to_string();
        let mut snapshot = running(experiment(HashVersion::Sha1V1, &arms, &first));
        for traffic in levels {
            let grown = ok(&snapshot, patch(ExperimentPatch::new().traffic(traffic)));
            let (before, after) = (buckets(slices(&snapshot)), buckets(slices(&grown)));
            for (was, is) in before.iter().zip(&after) {
                prop_assert!(!was.1 || was == is, "{was:?} becomes {is:?} at {traffic}");
            }
            let all = (traffic.millionths() + 500) / 1_000;
            prop_assert_eq!(after.iter().filter(|own| own.1).count() as u64, all);
            snapshot = grown;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// The ends of the range in which a point is found, and those beside it, are picked as
    /// LaunchDarkly's SDKs do from the list as it was given.
    #[test]
    fn a_subject_gets_what_the_sdks_give_it(
        hash in hashes(),
        list in lists(),
        ids in prop::collection::vec("[a-z.]{1,8}|\\PC{1,40}", 20),
    ) {
        let Some(new) = brought_over(hash, &list) else { return Ok(()) };
        let snapshot = running(new);
        let reloaded = Snapshot::from_json(snapshot.to_json()).unwrap();
        prop_assert_eq!(&reloaded, &snapshot);
        let plan = snapshot.plan(ID).unwrap();
        let mut outcomes = vec![Outcome::default(); ids.len()];
        plan.assign_batch(&Batch::new(&ids), &mut outcomes);
        for (id, outcome) in ids.iter().zip(outcomes) {
            let explanation = snapshot.explain(ID, &Subject::new(id));
            let decision = explanation.decision();
            prop_assert_eq!(decision, snapshot.assign(ID, &Subject::new(id)));
            prop_assert_eq!(decision, plan.decision(outcome));
            let Some(Step::Rollout { point, start, end, variation_id, tracked }) =
                explanation.steps().last() else { panic!("{explanation}") };
            prop_assert_eq!(*point, sha1_point("61", id));
            let fate = |point: u64| {
                let own = &list[picked(hash, &list, point)];
                (own.variation_id.clone(), !own.untracked)
            };
            let found = (variation_id.clone(), *tracked);
            prop_assert_eq!(&found, &fate(*point));
            prop_assert_eq!(decision.variation_id(), variation_id.as_ref());
            prop_assert_eq!(decision.in_experiment(), *tracked);
            let reason = if *tracked { Reason::Split } else { Reason::NotSampled };
            prop_assert_eq!(decision.reason(), reason);
            prop_assert!((*start..*end).contains(point));
            prop_assert_eq!(&found, &fate(*start));
            prop_assert_eq!(&found, &fate(*end - 1));
            let beyond = |point: u64| picked(hash, &list, point) != picked(hash, &list, *start);
            prop_assert!(*start == 0 || beyond(*start - 1));
            prop_assert!(*end == SCALE + 1 || beyond(*end));
        }
        let first = list.iter().find(|own| own.weight > 0).or(list.last()).unwrap();
        let nobody = snapshot.assign(ID, &Subject::of("user", "x"));
        prop_assert_eq!(nobody.variation_id(), first.variation_id.as_ref());
        prop_assert_eq!((nobody.reason(), nobody.in_experiment()), (Reason::MissingSubjectId, false));
        prop_assert_eq!(snapshot.assign(ID, &Subject::new("")), nobody);
    }

    /// Of traffic raised and lowered and weights edited: what is due, as few buckets as can be, and
    /// the same from a document.
    #[test]
    fn an_edit_moves_the_least_and_a_raise_moves_nobody_who_is_in(
        hash in hashes(),
        edits in prop::collection::vec((0..=100_000_u64, 0..=100_u64, any::<bool>()), 1..8),
    ) {
        let arms = [("var_c", "20"), ("var_a", "50"), ("var_b", "30")];
        let mut before = running(experiment(hash, &arms, "10").outside_variation_id(p("var_d")));
        let mut shares = [50, 30, 20];
        for (traffic, first, reweigh) in edits {
            let traffic = Percentage::from_millionths(traffic * 1_000).unwrap();
            let mut edit = ExperimentPatch::new().traffic(traffic);
            if reweigh {
                let second = (100 - first) / 3;
                shares = [first, second, 100 - first - second];
                let weights = shares.map(|share| share.to_string());
                edit = edit.allocations([
                    share("var_a", &weights[0]).control(),
                    share("var_b", &weights[1]),
                    share("var_c", &weights[2]),
                ]);
            }
            let after = if reweigh { resumed(&before, edit) } else { ok(&before, patch(edit)) };
            prop_assert_eq!(&Snapshot::from_json(after.to_json()).unwrap(), &after);
            let [old, new] = [&before, &after].map(|own| counts(slices(own)));
            let all = traffic.millionths() / 1_000;
            let of = |counts: &BTreeMap<_, u64>, id: &str, is_in| {
                counts.get(&(Some(p(id)), is_in)).copied().unwrap_or(0)
            };
            for (id, share) in ["var_a", "var_b", "var_c"].into_iter().zip(shares) {
                prop_assert!((of(&new, id, true) * 100).abs_diff(share * all) <= 100);
            }
            prop_assert_eq!(of(&new, "var_d", false), BUCKETS - all);
            let [was, is] = [&before, &after].map(|own| buckets(slices(own)));
            let moved = was.iter().zip(&is).filter(|(one, other)| one != other).count();
            let shrunk: u64 = old
                .iter()
                .map(|(fate, points)| points.saturating_sub(new.get(fate).copied().unwrap_or(0)))
                .sum();
            prop_assert_eq!(u64::try_from(moved).unwrap(), shrunk);
            before = after;
        }
        prop_assert!(slices(&before).len() < 60);
    }

    /// The shares of a preview are those of the buckets, also from one hash to the other.
    #[test]
    fn shares_are_those_of_the_buckets(
        hash in hashes(),
        [low, high] in [0..=100_u32, 0..=100],
    ) {
        let arms = [("var_a", "50"), ("var_b", "50")];
        let new = experiment(hash, &arms, &low.to_string()).outside_variation_id(p("var_a"));
        let before = running(new);
        let raise = ExperimentPatch::new().traffic(high.try_into().unwrap());
        let after = ok(&before, patch(raise));
        let moves = before.preview(&after).shares(ID, Timestamp::EPOCH).unwrap();
        let pairs = buckets(slices(&before)).into_iter().zip(buckets(slices(&after)));
        let mut shares = BTreeMap::<_, f64>::new();
        for pair in pairs {
            *shares.entry(pair).or_default() += 1.0 / 100_000.0;
        }
        prop_assert_eq!(moves.rows().iter().filter(|row| row.share > 1e-6).count(), shares.len());
        for row in moves.rows().iter().filter(|row| row.share > 1e-6) {
            let place = |place: &variate::Place| (place.variation_id.clone(), place.in_experiment);
            let expected = shares[&(place(&row.from), place(&row.to))];
            prop_assert!((row.share - expected).abs() < 2e-7, "{} is not {expected}", row.share);
        }
        let ids: Vec<String> = (0..2_000).map(|n| format!("device-{n}")).collect();
        let counted = before.preview(&after).counts(ID, ids.iter().map(|id| Subject::new(id)));
        prop_assert!((counted.moved() - moves.moved()).abs() < 0.07);
    }
}

#[test]
fn arms_lie_as_they_are_listed_and_then_the_outside() {
    fn check(arms: &[(&str, &str)], traffic: &str, expected: &[RolloutSlice]) {
        for outside in [None, Some("var_d")] {
            let mut new = experiment(HashVersion::Sha1V1, arms, traffic);
            new.outside_variation_id = outside.map(p);
            let snapshot = running(new);
            let expected: Vec<RolloutSlice> = expected
                .iter()
                .cloned()
                .map(|own| match own.untracked {
                    true => RolloutSlice { variation_id: outside.map(p), ..own },
                    false => own,
                })
                .collect();
            assert_eq!(slices(&snapshot), expected);
            let printed: Value = serde_json::from_str(&snapshot.to_json()).unwrap();
            let own = &printed["experiments"][0];
            assert_eq!(own["id"], ID);
            assert!(own.get("rollout").is_none() && own["iteration"].get("rollout").is_none());
        }
    }
    let rest = RolloutSlice::outside;
    check(
        &[("var_b", "50"), ("var_a", "50")],
        "100",
        &[tracked("var_b", 50_000), tracked("var_a", 50_000)],
    );
    check(
        &[("var_c", "60"), ("var_a", "0"), ("var_b", "40")],
        "30",
        &[tracked("var_c", 18_000), tracked("var_b", 12_000), rest(70_000)],
    );
    // Seven percent each, though a third has no end.
    let thirds = [("var_b", "33.333333"), ("var_a", "33.333334"), ("var_c", "33.333333")];
    check(
        &thirds,
        "21",
        &[tracked("var_b", 7_000), tracked("var_a", 7_000), tracked("var_c", 7_000), rest(79_000)],
    );
    check(&[("var_a", "50"), ("var_b", "50")], "0", &[rest(100_000)]);
    check(&[("var_a", "50"), ("var_b", "50")], "0.001", &[tracked("var_a", 1), rest(99_999)]);
}

#[test]
fn every_whole_number_of_buckets_is_met_whatever_the_weights_are_rounded_to() {
    for total in [1_u64, 7, 333, 9_999, 21_000, 65_537, 99_999, 100_000] {
        for first in [0, 1, total / 7, total / 3, total / 2, total - 1] {
            let weight = |points: u64| (points * 200_000_000 + total) / (2 * total);
            let weights = [weight(first), 100_000_000 - weight(first)]
                .map(|own| variate::Weight::from_millionths(own).unwrap().to_string());
            let traffic = Percentage::from_millionths(total * 1_000).unwrap().to_string();
            let arms = [("var_b", weights[0].as_str()), ("var_a", weights[1].as_str())];
            let found = counts(slices(&running(experiment(HashVersion::Sha1V1, &arms, &traffic))));
            let of = |id: &str| found.get(&(Some(p(id)), true)).copied().unwrap_or(0);
            assert_eq!((of("var_b"), of("var_a")), (first, total - first));
        }
    }
}

#[test]
fn a_salt_is_drawn_as_a_seed_and_settled() {
    let mut seeds = BTreeSet::new();
    for bits in [0, 1, (1 << 31) - 2, (1 << 31) - 1, u128::MAX, 0x1234_5678_9abc_def0] {
        let mut new = experiment(HashVersion::Sha1F32V1, &[("var_a", "100")], "100");
        new.salt = None;
        let world = world();
        let commit = world.apply(new, world.updated_at(), &mut || bits).unwrap();
        let salt = |snapshot: &Snapshot| {
            let salt = snapshot.experiment(ID).unwrap().salt().as_str();
            assert_eq!(salt.parse::<u32>().unwrap().to_string(), salt);
            salt.parse::<u32>().unwrap()
        };
        let seed = salt(&commit.snapshot);
        assert!((1..=u32::try_from(i32::MAX).unwrap()).contains(&seed));
        seeds.insert(seed);
        let event = commit.event.unwrap();
        assert_eq!(world.replay([&*event]).unwrap(), *commit.snapshot);

        let before = &commit.snapshot;
        let again = before.apply(Change::reshuffle(&p(ID)), before.updated_at(), &mut || bits ^ 7);
        let again = again.unwrap();
        assert_ne!(salt(&again.snapshot), seed);
        let replayed = before.replay([&*again.event.unwrap()]).unwrap();
        assert_eq!(replayed, *again.snapshot);
    }
    assert_eq!((seeds.first(), seeds.last()), (Some(&1), Some(&0x7fff_ffff)));
}

#[test]
fn slices_to_come_follow_the_draft_and_go_over_into_the_run() {
    let brought = [
        untracked("var_c", 10_000),
        tracked("var_b", 20_000),
        RolloutSlice::outside(50_000),
        tracked("var_a", 20_000),
    ];
    let new = experiment(HashVersion::Sha1V1, &[("var_a", "50"), ("var_b", "50")], "40");
    let draft = ok(&world(), new.rollout(brought.clone()));
    let to_come = |snapshot: &Snapshot| snapshot.experiment(ID).unwrap().rollout().to_vec();
    assert_eq!(to_come(&draft), brought);
    assert_eq!(Snapshot::from_json(draft.to_json()).unwrap(), draft);

    let started = brought_to(&draft, ID, Status::Active);
    assert_eq!((slices(&started), to_come(&started)), (&brought[..], vec![]));

    // Of a draft, too, as few buckets as can be.
    let edit = ExperimentPatch::new().traffic(p("60")).outside_variation_id(p("var_d"));
    let edited = ok(&draft, patch(edit));
    let expected = [((Some(p("var_a")), true), 30_000), ((Some(p("var_b")), true), 30_000)];
    let rest = [((Some(p("var_c")), false), 10_000), ((Some(p("var_d")), false), 30_000)];
    assert_eq!(counts(&to_come(&edited)), expected.into_iter().chain(rest).collect());
    let kept = buckets(&brought).into_iter().zip(buckets(&to_come(&edited)));
    assert!(kept.filter(|(before, _)| before.1).all(|(before, after)| before == after));

    let open = ExperimentPatch::new().allocations([share("var_a", "0").control()]);
    let error = apply(&draft, patch(open)).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.allocations"));
    // Nor does anybody take away what the slices serve.
    let error = apply(&started, Change::delete_variation(&p("var_c"))).unwrap_err();
    assert_eq!(error.code(), Code::InUse);
}

#[test]
fn a_run_that_is_resumed_keeps_who_is_in_unless_it_is_reshuffled() {
    let arms = [("var_b", "50"), ("var_a", "50")];
    let before = running(experiment(HashVersion::Sha1F32V1, &arms, "20"));
    let weights = |a: &str, b: &str| [share("var_b", b).control(), share("var_a", a)];
    let after = resumed(&before, ExperimentPatch::new().allocations(weights("25", "75")));
    let pairs: Vec<_> = buckets(slices(&before)).into_iter().zip(buckets(slices(&after))).collect();
    let changed = pairs.iter().filter(|(one, other)| one != other);
    assert_eq!(changed.count(), 5_000);
    assert_eq!(
        before.experiment(ID).unwrap().iteration().moved(after.experiment(ID).unwrap().iteration()),
        None
    );

    let outside = resumed(&after, ExperimentPatch::new().outside_variation_id(p("var_b")));
    let rest = counts(slices(&outside));
    assert_eq!(rest.get(&(Some(p("var_b")), false)), Some(&80_000));
    assert_eq!(rest.get(&(Some(p("var_b")), true)), Some(&15_000));

    let to = |status| Change::set_experiment_status(&p(ID), status);
    let reshuffle = Change::reshuffle(&p(ID));
    let anew = ok(&outside, vec![to(Status::Paused), reshuffle, to(Status::Active)]);
    let expected = [tracked("var_b", 15_000), tracked("var_a", 5_000), untracked("var_b", 80_000)];
    assert_eq!(slices(&anew), expected);
    // A run that rests is cut when it is resumed, for all that has become different by then.
    let paused = ok(
        &anew,
        vec![
            to(Status::Paused),
            patch(ExperimentPatch::new().allocations(weights("50", "50"))),
            patch(ExperimentPatch::new().traffic(p("40"))),
        ],
    );
    assert_eq!(slices(&paused), slices(&anew));
    assert_eq!(Snapshot::from_json(paused.to_json()).unwrap(), paused);
    let again = ok(&paused, to(Status::Active));
    let expected = [((Some(p("var_a")), true), 20_000), ((Some(p("var_b")), true), 20_000)];
    let rest = ((Some(p("var_b")), false), 60_000);
    assert_eq!(counts(slices(&again)), expected.into_iter().chain([rest]).collect());
    // Also if the traffic alone has.
    let narrow = patch(ExperimentPatch::new().traffic(p("10")));
    let again = ok(&again, vec![to(Status::Paused), narrow, to(Status::Active)]);
    assert_eq!(counts(slices(&again))[&(Some(p("var_b")), false)], 90_000);
}

#[test]
fn holdouts_layers_and_audiences_stand_before_the_draw() {
    let arms = [("var_a", "50"), ("var_b", "50")];
    let new = experiment(HashVersion::Sha1V1, &arms, "50").outside_variation_id(p("var_d"));
    let draft = ok(&world(), new.audience(p("seg_germany")));
    let layer = NewLayer::new("Half", "device").id(p("lay_a")).member(p(ID), p("50"));
    let holdout = NewHoldout::new("Tenth", "device", p("10")).id(p("hld_a")).experiment(p(ID));
    let draft = ok(&draft, vec![layer.into(), holdout.into()]);
    let snapshot = brought_to(&draft, ID, Status::Active);
    let german = [("country", "DE")];
    let reasons: BTreeSet<&str> = (0..200)
        .flat_map(|number| {
            let id = format!("device-{number}");
            let own = Subject::new(&id);
            [own.clone(), own.with_attributes(&german)]
                .map(|subject| snapshot.assign(ID, &subject).reason().as_str())
        })
        .collect();
    let all = ["held_out", "not_sampled", "not_targeted", "outside_layer_slot", "split"];
    assert_eq!(reasons, BTreeSet::from(all));
    let nobody = |subject: Subject<'_>| {
        let decision = snapshot.assign(ID, &subject);
        (decision.reason().as_str(), decision.variation_id().map(|id| id.as_str().to_owned()))
    };
    let served = |reason, id: &str| (reason, Some(id.to_owned()));
    let stranger = Subject::of("user", "u-1");
    assert_eq!(nobody(stranger.clone()), served("not_targeted", "var_d"));
    assert_eq!(nobody(stranger.with_attributes(&german)), served("missing_subject_id", "var_a"));
}

#[test]
fn hashes_of_ids_are_no_ids() {
    let arms = [("var_a", "50"), ("var_b", "50")];
    let snapshot = running(experiment(HashVersion::Sha1V1, &arms, "100"));
    let plan = snapshot.plan(ID).unwrap();
    let hashes = [subject_hash("device-1"), subject_hash("device-2")];
    let expected = snapshot.assign(ID, &Subject::of("user", "u-1"));
    assert_eq!(expected.variation_id().unwrap(), "var_a");
    assert!(plan.decisions(&Batch::hashed(&hashes)).all(|decision| decision == expected));
}

#[test]
fn what_a_subject_brings_is_kept_by_arm() {
    let arms = [("var_a", "50"), ("var_b", "50")];
    let list = [tracked("var_a", 10_000), untracked("var_c", 80_000), tracked("var_b", 10_000)];
    let snapshot = running(experiment(HashVersion::Sha1V1, &arms, "20").rollout(list));
    let own = |variation| Subject::new("device-1").forced(ID, variation);
    let forced = snapshot.assign(ID, &own("var_b"));
    assert_eq!(
        (forced.reason(), forced.variation_id().unwrap().as_str()),
        (Reason::Forced, "var_b")
    );
    // What is served as no part of the experiment is no arm.
    assert_ne!(snapshot.assign(ID, &own("var_c")).reason(), Reason::Forced);
}

#[test]
fn explanations_say_where_the_point_lies() {
    let list = [tracked("var_a", 10_000), untracked("var_c", 89_000), RolloutSlice::outside(1_000)];
    let new = experiment(HashVersion::Sha1V1, &[("var_a", "100")], "10").rollout(list);
    let snapshot = running(new);
    let shown = |id: &str| {
        let shown = snapshot.explain(ID, &Subject::new(id)).to_string();
        shown.lines().last().unwrap().to_owned()
    };
    assert_eq!(
        shown("userKeyA"),
        "  rollout   point 113000217734964355 lies in 0..115292150460684698, which is var_a's"
    );
    assert!(shown("userKeyB").ends_with(", which is served var_c, untracked"));
    let outside =
        (0..9_999).map(|n| shown(&format!("u{n}"))).find(|text| text.ends_with("which is outside"));
    assert!(outside.is_some());
    let json = serde_json::to_value(snapshot.explain(ID, &Subject::new("userKeyA"))).unwrap();
    let step = json!({
        "gate": "rollout", "point": 113_000_217_734_964_355_u64, "start": 0,
        "end": 115_292_150_460_684_698_u64, "variation_id": "var_a", "tracked": true,
    });
    assert_eq!(json["steps"].as_array().unwrap().last(), Some(&step));
}

#[test]
fn the_expression_compares_with_whole_numbers() {
    let arms = [("var_a", "50"), ("var_b", "50")];
    let snapshot = running(experiment(HashVersion::Sha1V1, &arms, "20"));
    let sql = snapshot.sql(ID, Dialect::Spark, &SqlColumns::new("id")).unwrap();
    let point =
        "CAST(conv(substr(sha1(concat('61.', CAST(`id` AS STRING))), 1, 15), 16, 10) AS BIGINT)";
    let expected = format!(
        "CASE\n  WHEN coalesce(CAST(`id` AS STRING), '') = '' THEN NULL\n  \
         WHEN {point} < 115292150460684698 THEN 'var_a'\n  \
         WHEN {point} < 230584300921369395 THEN 'var_b'\n  ELSE NULL\nEND"
    );
    assert_eq!(sql, expected);
}

/// Refused when they are created and in a document alike.
#[test]
fn what_such_an_experiment_cannot_be() {
    fn check(edit: impl Fn(&mut Value), code: Code, path: &str, rule: &str) {
        let mut own = json!({
            "id": ID, "name": "Rollout", "flag_id": "flg_a", "strategy": "percentage",
            "hash": "sha1-v1", "salt": "61", "traffic": 50,
            "allocations": [
                {"variation_id": "var_a", "weight": 50, "is_control": true},
                {"variation_id": "var_b", "weight": 50},
            ],
            "rollout": [
                {"variation_id": "var_a", "weight": 25_000},
                {"variation_id": "var_b", "weight": 25_000},
                {"weight": 50_000, "untracked": true},
            ],
        });
        edit(&mut own);
        let mut document: Value = serde_json::from_str(&world().to_json()).unwrap();
        document["experiments"].as_array_mut().unwrap().push(own.clone());
        let read = Snapshot::from_json(document.to_string()).unwrap_err();
        let at = format!("experiments[2].{path}");
        assert_eq!((read.code(), read.path()), (code, at.as_str()), "{read}");
        assert!(read.rule().contains(rule), "{read}");
        let new: Result<NewExperiment, _> = serde_json::from_value(own);
        let Ok(new) = new else { return };
        let error = apply(&world(), new).unwrap_err();
        assert_eq!((error.code(), error.path(), error.rule()), (code, path, read.rule()));
    }
    let invalid = Code::InvalidValue;
    check(|own| own["hash"] = json!("sha1-v2"), invalid, "hash", "sha1-f32-v1");
    check(|own| own["hash"] = json!("xxh64-v1"), invalid, "rollout", "is only for");
    check(|own| own["levels"] = json!([1, 50]), invalid, "levels", "xxh64-v1");
    let stages = json!([{"at": "2026-11-23T09:00:00Z", "traffic": 60}]);
    check(|own| own["stages"] = stages.clone(), invalid, "stages", "xxh64-v1");
    let fallback = json!([{"variation_id": "var_a", "is_fallback": true, "is_control": true}]);
    check(
        |own| {
            own["strategy"] = json!("segment");
            own["allocations"] = fallback.clone();
        },
        invalid,
        "strategy",
        "one draw",
    );
    let open = json!([{"variation_id": "var_a", "weight": 0, "is_control": true}]);
    check(|own| own["allocations"] = open.clone(), invalid, "allocations", "above 0");
    check(|own| own["traffic"] = json!(51), invalid, "rollout", "var_a 25500 tracked buckets");
    check(|own| own["rollout"][1]["weight"] = json!(24_999), invalid, "rollout", "not 24999");
    check(
        |own| own["rollout"][1]["variation_id"] = json!("var_c"),
        invalid,
        "rollout[1].variation_id",
        "allocation",
    );
    check(
        |own| own["rollout"][2]["variation_id"] = json!("var_x"),
        Code::UnknownReference,
        "rollout",
        "flg_a",
    );
    check(
        |own| own["rollout"][2]["untracked"] = json!(false),
        Code::MissingKey,
        "rollout[2].variation_id",
        "",
    );
    check(|own| own["rollout"][2]["weight"] = json!(-1), Code::WrongType, "rollout[2].weight", "");
    check(|own| own["rollout"][2]["share"] = json!(1), Code::UnknownKey, "rollout[2].share", "");
    let many = vec![json!({"weight": 1, "untracked": true}); 4_097];
    check(|own| own["rollout"] = many.clone().into(), Code::LimitExceeded, "rollout", "4096");
}

#[test]
fn what_a_patch_cannot_make_of_such_an_experiment() {
    let snapshot = ok(&world(), experiment(HashVersion::Sha1V1, &[("var_a", "100")], "50"));
    let refused = |edit: ExperimentPatch, path: &str| {
        let error = apply(&snapshot, patch(edit)).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::InvalidValue, path), "{error}");
    };
    refused(ExperimentPatch::new().levels([p("10"), p("50")]), "patch.levels");
    let stage = variate::Stage { at: p("2026-11-23T09:00:00Z"), traffic: p("60") };
    refused(ExperimentPatch::new().stages([stage]), "patch.stages");
    let same = ExperimentPatch::new().levels([]).stages([]).traffic(p("50"));
    assert!(apply(&snapshot, patch(same)).unwrap().event.is_none());
}

#[test]
fn a_run_in_a_document_has_slices_under_such_a_hash_alone() {
    let read = |edit: &dyn Fn(&mut Value)| {
        let new = experiment(HashVersion::Sha1V1, &[("var_a", "50"), ("var_b", "50")], "50");
        let mut document: Value = serde_json::from_str(&running(new).to_json()).unwrap();
        edit(&mut document["experiments"][0]);
        Snapshot::from_json(document.to_string())
    };
    let check = |edit: &dyn Fn(&mut Value), code: Code, path: &str| {
        let error = read(edit).unwrap_err();
        assert_eq!((error.code(), error.path()), (code, path), "{error}");
    };
    let list = json!([
        {"variation_id": "var_b", "weight": 25_000},
        {"weight": 50_000, "untracked": true},
        {"variation_id": "var_a", "weight": 25_000},
    ]);
    let given = read(&|own| own["iteration"]["rollout"] = list.clone()).unwrap();
    assert_eq!(slices(&given)[0], tracked("var_b", 25_000));
    let at = "experiments[0].iteration";
    let invalid = Code::InvalidValue;
    check(&|own| own["iteration"]["partition"] = json!([]), invalid, &format!("{at}.partition"));
    check(
        &|own| own["iteration"]["splits"] = json!([{"partition": []}]),
        invalid,
        &format!("{at}.splits"),
    );
    check(&|own| own["rollout"] = list.clone(), invalid, "experiments[0].rollout");
    check(&|own| own["iteration"]["rollout"] = json!([]), invalid, &format!("{at}.rollout"));
    check(
        &|own| {
            own["hash"] = json!("xxh64-v1");
            own["iteration"]["rollout"] = list.clone();
        },
        invalid,
        &format!("{at}.rollout"),
    );
    check(
        &|own| {
            own["iteration"]["rollout"] = list.clone();
            own["iteration"]["rollout"][1]["variation_id"] = json!("var_x");
        },
        Code::UnknownReference,
        &format!("{at}.rollout"),
    );
}

#[test]
fn experiments_that_hash_differently_do_not_split_alike() {
    let found = |hash: HashVersion| {
        let arms = [("var_a", "50"), ("var_b", "50")];
        let mut other = experiment(hash, &arms, "100").id(p("exp_s"));
        "Other".clone_into(&mut other.name);
        let first = ok(&world(), experiment(HashVersion::Sha1V1, &arms, "100"));
        let snapshot = ok(&first, other);
        let findings = snapshot.lint(Timestamp::EPOCH);
        findings.iter().filter(|own| own.code() == variate::FindingCode::SharedSalt).count()
    };
    assert_eq!(found(HashVersion::Sha1F32V1), 2);
    assert_eq!(found(HashVersion::Xxh64V1), 0);
}
