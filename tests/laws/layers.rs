//! Layers: a subject is in at most one member, however the layer is edited; a member owns its share
//! of the points to the unit; and an edit takes points from shrinking members and what is free alone.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::common::{apply, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Change, Code, Event, ExperimentId, ExperimentPatch, Keep, Layer, LayerPatch, NewExperiment,
    NewLayer, Partition, Percentage, Snapshot, Status, Subject,
};

const MEMBERS: [&str; 5] = ["exp_m1", "exp_m2", "exp_m3", "exp_m4", "exp_m5"];

/// The world with five drafts that could be members, and a layer without any.
fn drafts() -> Snapshot {
    let member = |id: &&str| {
        let new = NewExperiment::by_percentage(format!("Member {id}"), p("flg_a"))
            .id(p(id))
            .allocation(share("var_a", "50").control())
            .allocation(share("var_b", "50"));
        Change::from(new)
    };
    let mut changes: Vec<Change> = MEMBERS.iter().map(member).collect();
    changes.push(NewLayer::new("Layer", "device").id(p("lay_a")).into());
    ok(&world(), changes)
}

/// The patch that names these shares, in millionths of a percent.
fn naming(shares: &BTreeMap<&str, u64>) -> LayerPatch {
    let share = |(id, share): (&&str, &u64)| -> (ExperimentId, Percentage) {
        (p(id), Percentage::from_millionths(*share).unwrap())
    };
    LayerPatch::new().members(shares.iter().map(share).collect::<BTreeMap<_, _>>())
}

/// The change that leaves a layer these of all as its members: the others go, if they are any.
fn exactly<S: AsRef<str>>(layer: &str, all: &[S], shares: &BTreeMap<&str, u64>) -> Change {
    let others = all.iter().map(AsRef::as_ref).filter(|id| !shares.contains_key(id));
    let patch = naming(shares).leave(others.map(p).collect::<BTreeSet<_>>());
    Change::patch_layer(&p(layer), patch)
}

fn members(layer: &str, shares: &BTreeMap<&str, u64>) -> Change {
    exactly(layer, &MEMBERS, shares)
}

/// The same with whole percents.
fn percents(shares: &[(&'static str, u64)]) -> Change {
    members("lay_a", &shares.iter().map(|(id, share)| (*id, share * 1_000_000)).collect())
}

fn set(id: &str, status: Status) -> Change {
    Change::set_experiment_status(&p(id), status)
}

fn layer(snapshot: &Snapshot) -> &Layer {
    snapshot.layer("lay_a").unwrap()
}

fn slots(layer: &Layer, member: &str) -> Vec<Range<u64>> {
    layer.slots(&p(member)).collect()
}

fn width(slots: &[Range<u64>]) -> u64 {
    slots.iter().map(|slot| slot.end - slot.start).sum()
}

/// How many points lie in both.
fn overlap(one: &[Range<u64>], two: &[Range<u64>]) -> u64 {
    let both =
        |a: &Range<u64>, b: &Range<u64>| a.end.min(b.end).saturating_sub(a.start.max(b.start));
    one.iter().flat_map(|a| two.iter().map(move |b| both(a, b))).sum()
}

/// The points that a share is due, by the formula of the docs.
fn due(millionths: u64) -> u64 {
    u64::try_from((u128::from(millionths) << 32) / 100_000_000).unwrap()
}

/// What holds of a layer whatever has led to it.
#[track_caller]
fn check_slots(snapshot: &Snapshot, shares: &BTreeMap<&str, u64>) {
    let layer = layer(snapshot);
    let mut all = Vec::new();
    for id in MEMBERS {
        let own = slots(layer, id);
        assert_eq!(width(&own), shares.get(id).map_or(0, |share| due(*share)), "{id}");
        for slot in &own {
            for point in [slot.start, slot.end - 1] {
                let owner = layer.owner(u32::try_from(point).unwrap()).unwrap();
                assert_eq!(owner.as_str(), id, "{point}");
            }
        }
        all.extend(own);
    }
    // They are disjoint, and what lies between is nobody's.
    all.sort_unstable_by_key(|slot| slot.start);
    let ends = [0].into_iter().chain(all.iter().map(|slot| slot.end)).collect::<Vec<_>>();
    let starts = all.iter().map(|slot| slot.start).chain([Partition::POINTS]).collect::<Vec<_>>();
    for (end, start) in ends.into_iter().zip(starts) {
        assert!(end <= start, "{all:?}");
        if end < start {
            for point in [end, start - 1] {
                assert_eq!(layer.owner(u32::try_from(point).unwrap()), None);
            }
        }
    }
    let taken: u64 = shares.values().sum();
    assert_eq!(layer.free().millionths(), 100_000_000 - taken);
    let told: BTreeMap<_, _> =
        layer.members().iter().map(|(id, share)| (id.as_str(), share.millionths())).collect();
    assert_eq!(told, *shares);
    // What is written down is all there is.
    let json = snapshot.to_json();
    let restored = Snapshot::from_json(&json).unwrap();
    assert!(restored == *snapshot && restored.to_json() == json);
    for id in MEMBERS {
        assert_eq!(slots(restored.layer("lay_a").unwrap(), id), slots(layer, id));
        let of = snapshot.layer_of(id).map(|layer| layer.id().as_str());
        assert_eq!(of, Some("lay_a").filter(|_| shares.contains_key(id)));
    }
}

/// Points to look at: the ends of all slots, and some in between.
fn sampled(layers: [&Layer; 2]) -> Vec<u32> {
    let slots = layers.iter().flat_map(|layer| MEMBERS.iter().flat_map(|id| slots(layer, id)));
    let ends = slots.flat_map(|slot| [slot.start, slot.end - 1, slot.end, slot.start.max(1) - 1]);
    let ends = ends.filter_map(|point| u32::try_from(point).ok());
    ends.chain((0..200).map(|n: u32| n.wrapping_mul(0x9e37_79b9))).collect()
}

/// An edit moves no point that it need not: point by point, and all in all.
#[track_caller]
fn check_edit(before: &Snapshot, after: &Snapshot) {
    let [old, new] = [before, after].map(layer);
    let share = |layer: &Layer, id: &ExperimentId| {
        layer.members().get(id).map_or(0, |share| share.millionths())
    };
    for point in sampled([old, new]) {
        let [from, to] = [old, new].map(|layer| layer.owner(point));
        if from != to {
            assert!(
                from.is_none_or(|id| share(new, id) < share(old, id)),
                "{from:?} loses {point}"
            );
            assert!(to.is_none_or(|id| share(new, id) > share(old, id)), "{to:?} gains {point}");
        }
    }
    for id in MEMBERS {
        let [old, new] = [old, new].map(|layer| slots(layer, id));
        assert_eq!(
            overlap(&old, &new),
            width(&old).min(width(&new)),
            "{id} moves more than it must"
        );
    }
}

fn any_shares(most: usize) -> impl Strategy<Value = BTreeMap<&'static str, u64>> {
    let millionths = prop_oneof![
        4 => (0..=40_u64).prop_map(|percent| percent * 1_000_000),
        2 => 0..=45_000_000_u64,
        1 => select(vec![0, 1, 99_999_999, 100_000_000]),
    ];
    prop::collection::btree_map(select(MEMBERS.to_vec()), millionths, 0..=most)
}

proptest! {
    #[test]
    fn an_edit_moves_what_it_must_and_no_more(
        edits in prop::collection::vec(any_shares(5), 1..12),
    ) {
        let start = drafts();
        let mut snapshot = start.clone();
        let mut events: Vec<Event> = Vec::new();
        let mut now = BTreeMap::new();
        for shares in edits {
            let outcome = apply(&snapshot, members("lay_a", &shares));
            if shares.values().sum::<u64>() > 100_000_000 {
                let error = outcome.unwrap_err();
                prop_assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.members"));
                continue;
            }
            let commit = outcome.unwrap();
            check_slots(&commit.snapshot, &shares);
            check_edit(&snapshot, &commit.snapshot);
            prop_assert_eq!(commit.event.is_some(), now != shares);
            events.extend(commit.event.as_deref().cloned());
            snapshot = Snapshot::clone(&commit.snapshot);
            now = shares;
        }
        let replayed = start.replay(&events).unwrap();
        prop_assert!(replayed == snapshot && replayed.to_json() == snapshot.to_json());
    }

    /// Whoever a patch does not name keeps each point; who leaves frees what they have, which those
    /// who grow by the same patch may take.
    #[test]
    fn a_patch_changes_whom_it_names_and_nobody_else(
        first in any_shares(5),
        edits in prop::collection::vec(
            (any_shares(3), subsequence(MEMBERS.to_vec(), 0..=3), prop::bool::weighted(0.2)),
            1..12,
        ),
    ) {
        prop_assume!(first.values().sum::<u64>() <= 100_000_000);
        let start = ok(&drafts(), members("lay_a", &first));
        let mut snapshot = start.clone();
        let mut events: Vec<Event> = Vec::new();
        let mut now = first;
        for (shares, mut leave, may_clash) in edits {
            leave.retain(|id| may_clash || !shares.contains_key(id));
            let patch = leave.iter().fold(naming(&shares), |patch, id| patch.without(p(id)));
            let outcome = apply(&snapshot, Change::patch_layer(&p("lay_a"), patch));
            if let Some(both) = leave.iter().find(|id| shares.contains_key(**id)) {
                let error = outcome.unwrap_err();
                prop_assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.leave"));
                prop_assert_eq!(error.value(), Some(&*format!("\"{both}\"")));
                continue;
            }
            let mut wanted = now.clone();
            wanted.extend(&shares);
            wanted.retain(|id, _| !leave.contains(id));
            if wanted.values().sum::<u64>() > 100_000_000 {
                let error = outcome.unwrap_err();
                prop_assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.members"));
                continue;
            }
            let commit = outcome.unwrap();
            check_slots(&commit.snapshot, &wanted);
            check_edit(&snapshot, &commit.snapshot);
            let [old, new] = [&snapshot, &commit.snapshot].map(layer);
            for id in MEMBERS {
                if !shares.contains_key(id) && !leave.contains(&id) {
                    prop_assert_eq!(slots(new, id), slots(old, id), "{} is not named", id);
                }
            }
            let freed = leave.iter().flat_map(|id| slots(old, id)).collect::<Vec<_>>();
            let taken = shares.keys().map(|id| overlap(&freed, &slots(new, id))).sum::<u64>();
            let owned = MEMBERS.iter().map(|id| overlap(&freed, &slots(new, id))).sum::<u64>();
            prop_assert_eq!(owned, taken, "freed for those who are named alone");
            let fields = commit.event.iter().flat_map(|event| &event.effects);
            let fields: Vec<_> = fields.flat_map(|effect| effect.fields.clone()).collect();
            prop_assert_eq!(fields, if now == wanted { vec![] } else { vec!["members"] });
            events.extend(commit.event.as_deref().cloned());
            snapshot = Snapshot::clone(&commit.snapshot);
            now = wanted;
        }
        let replayed = start.replay(&events).unwrap();
        prop_assert!(replayed == snapshot && replayed.to_json() == snapshot.to_json());
    }

    /// A layer that is created with its members lies as one that is filled: what is free, then the
    /// members from the smallest share to the largest, equal ones in the order of their ids.
    #[test]
    fn a_layer_lies_as_it_is_said_to_at_first(shares in any_shares(5)) {
        prop_assume!(shares.values().sum::<u64>() <= 100_000_000);
        let filled = ok(&drafts(), members("lay_a", &shares));
        let new = shares.iter().fold(NewLayer::new("At once", "device").id(p("lay_b")), |new, one| {
            new.member(p(one.0), Percentage::from_millionths(*one.1).unwrap())
        });
        let commit = apply(&drafts(), new).unwrap();
        prop_assert_eq!(commit.layer().map(AsRef::as_ref), Some("lay_b"));
        let created = commit.snapshot;
        let mut order: Vec<_> = shares.iter().map(|(id, share)| (due(*share), *id)).collect();
        order.sort_unstable();
        let mut start = Partition::POINTS - order.iter().map(|(points, _)| points).sum::<u64>();
        for (points, id) in order {
            let wanted: Vec<_> = (points > 0).then_some(start..start + points).into_iter().collect();
            prop_assert_eq!(slots(layer(&filled), id), wanted);
            start += points;
        }
        for id in MEMBERS {
            let at_once = slots(created.layer("lay_b").unwrap(), id);
            prop_assert_eq!(at_once, slots(layer(&filled), id));
        }
    }
}

/// However long its history, a layer's document can be read.
#[test]
fn a_long_history_leaves_few_slices() {
    let id = |n: u64| format!("exp_n{}", n.to_string().replace('0', "z"));
    let all: Vec<String> = (1..=60).map(id).collect();
    let drafts = all.iter().map(|id| {
        NewExperiment::by_percentage(format!("Number {id}"), p("flg_a")).id(p(id)).into()
    });
    let mut changes: Vec<Change> = drafts.collect();
    changes.push(NewLayer::new("Layer", "device").id(p("lay_a")).into());
    let mut snapshot = ok(&world(), changes);
    let mut state = 7_u64;
    let mut random = move |end: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) % end
    };
    let mut most = 0;
    for _ in 0..200 {
        let ids: Vec<&str> = all.iter().map(String::as_str).filter(|_| random(3) > 0).collect();
        let shares = ids.iter().map(|id| (*id, random(1_600_000))).collect();
        snapshot = ok(&snapshot, exactly("lay_a", &all, &shares));
        let slices: usize = ids.iter().map(|id| slots(layer(&snapshot), id).len()).sum();
        most = most.max(slices);
    }
    assert!((60..1_000).contains(&most), "{most} slices");
    assert!(Snapshot::from_json(snapshot.to_json()).unwrap() == snapshot);
}

/// Every member but those of `active` is paused; three of them keep whatever a subject brings.
fn running(snapshot: &Snapshot, active: &[&str]) -> Snapshot {
    let mut changes = Vec::new();
    for id in MEMBERS {
        let keep = if id < "exp_m4" { Keep::Always } else { Keep::WhilePaused };
        let patch = ExperimentPatch::new().keep(keep).outside_variation_id(p("var_d"));
        changes.push(Change::patch_experiment(&p(id), patch));
        changes.push(set(id, Status::Active));
        if !active.contains(&id) {
            changes.push(set(id, Status::Paused));
        }
    }
    ok(snapshot, changes)
}

#[test]
fn a_subject_is_in_one_member_at_most_whatever_it_keeps() {
    let ids: Vec<String> = (0..4_000).map(|n| format!("device-{n}")).collect();
    let seed = draw_seed("lay_a", Draw::Layer);
    let states = [
        (&[("exp_m1", 20), ("exp_m2", 20), ("exp_m3", 20), ("exp_m4", 20), ("exp_m5", 20)], 5),
        (&[("exp_m1", 60), ("exp_m2", 10), ("exp_m3", 10), ("exp_m4", 0), ("exp_m5", 20)], 5),
        (&[("exp_m1", 5), ("exp_m2", 0), ("exp_m3", 5), ("exp_m4", 85), ("exp_m5", 5)], 2),
        (&[("exp_m1", 1), ("exp_m2", 2), ("exp_m3", 3), ("exp_m4", 4), ("exp_m5", 5)], 0),
        (&[("exp_m1", 25), ("exp_m2", 25), ("exp_m3", 0), ("exp_m4", 25), ("exp_m5", 25)], 3),
    ];
    let mut snapshot = running(&ok(&drafts(), percents(states[0].0)), &MEMBERS);
    let mut met = BTreeMap::new();
    for (shares, active) in states {
        // Shares change at once, also of what runs; some is paused meanwhile.
        snapshot = ok(&snapshot, percents(shares));
        let runs = |id: &str| snapshot.experiment(id).unwrap().status() == Status::Active;
        let halt: Vec<_> = MEMBERS[active..].iter().filter(|id| runs(id)).collect();
        let resume: Vec<_> = MEMBERS[..active].iter().filter(|id| !runs(id)).collect();
        let halt = halt.into_iter().map(|id| set(id, Status::Paused));
        let resume = resume.into_iter().map(|id| set(id, Status::Active));
        snapshot = ok(&snapshot, halt.chain(resume).collect::<Vec<_>>());
        for id in &ids {
            let plain = Subject::new(id);
            let kept = MEMBERS.iter().fold(plain.clone(), |own, id| own.kept(id, "var_b"));
            let owner = layer(&snapshot).owner(point(subject_hash(id), seed));
            for (subject, brings) in [(&plain, false), (&kept, true)] {
                for member in MEMBERS {
                    let decision = snapshot.assign(member, subject);
                    let owns = owner.is_some_and(|owner| owner == member);
                    let is_active = snapshot.experiment(member).unwrap().status() == Status::Active;
                    let wanted = match (is_active, owns) {
                        (true, false) => "outside_layer_slot",
                        (true, true) if brings && member < "exp_m4" => "kept",
                        (true, true) => "split",
                        (false, true) if brings => "kept",
                        (false, _) => "paused",
                    };
                    assert_eq!(decision.reason().as_str(), wanted, "{id} {member} {shares:?}");
                    assert!(!decision.in_experiment() || owns);
                    let outside = decision.variation_id().is_some_and(|id| id == "var_d");
                    assert_eq!(outside, wanted == "outside_layer_slot");
                    *met.entry(wanted).or_insert(0) += 1;
                }
            }
        }
    }
    assert_eq!(met.len(), 4, "{met:?}");
    assert!(met.values().all(|count| *count > 500), "{met:?}");
}

#[test]
fn a_subject_without_an_id_is_in_no_member_and_a_forced_one_is_asked_nothing() {
    let snapshot = running(&ok(&drafts(), percents(&[("exp_m1", 100)])), &["exp_m1"]);
    let nobody = Subject::of("user", "u-7");
    let reason = |subject: &Subject<'_>| snapshot.assign("exp_m1", subject).reason().as_str();
    assert_eq!(reason(&nobody), "missing_subject_id");
    assert_eq!(reason(&nobody.clone().kept("exp_m1", "var_b")), "missing_subject_id");
    assert_eq!(reason(&nobody.forced("exp_m1", "var_b")), "forced");
    let none = ok(&snapshot, percents(&[("exp_m1", 0)]));
    let forced = Subject::new("device-42").forced("exp_m1", "var_b");
    let decision = none.assign("exp_m1", &forced);
    assert_eq!((decision.reason().as_str(), decision.in_experiment()), ("forced", false));
}

/// A change is refused with this code at this path, and then is accepted after these others.
#[track_caller]
fn check(before: &[Change], change: &Change, code: Code, path: &str, first: &[Change]) {
    let snapshot = ok(&drafts(), before.to_vec());
    let error = apply(&snapshot, change.clone()).unwrap_err();
    assert_eq!((error.code(), error.path()), (code, path), "{change:?}: {error}");
    assert!(error.is_refused() || error.is_conflict() || error.is_invalid());
    ok(&snapshot, [first, std::slice::from_ref(change)].concat());
}

#[test]
fn members_join_and_leave_at_rest_and_stay_until_they_have_left() {
    let ten = || percents(&[("exp_m1", 10)]);
    let start = || set("exp_m1", Status::Active);
    let pause = || set("exp_m1", Status::Paused);
    let none = || percents(&[]);
    let start_all = [ten(), start()];
    check(&[start()], &ten(), Code::NotMutable, "patch.members", &[pause()]);
    check(&start_all, &none(), Code::NotMutable, "patch.leave", &[pause()]);
    // Whoever else leaves or joins beside a member that runs.
    let others = percents(&[("exp_m1", 30), ("exp_m2", 70)]);
    ok(&drafts(), [&start_all[..], &[others, percents(&[("exp_m1", 0)])]].concat());
    let new = NewLayer::new("Other", "device").id(p("lay_b")).member(p("exp_m1"), p("5"));
    let create: Change = new.into();
    check(&[start()], &create, Code::NotMutable, "members", &[pause()]);
    check(&[ten()], &create, Code::InUse, "members", &[none()]);
    let other = NewLayer::new("Other", "device").id(p("lay_b"));
    let join = members("lay_b", &BTreeMap::from([("exp_m1", 1)]));
    check(&[ten(), other.into()], &join, Code::InUse, "patch.members", &[none()]);
    let delete = Change::delete_layer(&p("lay_a"));
    check(&[ten()], &delete, Code::InUse, "id", &[none()]);
    let delete = Change::delete_experiment(&p("exp_m1"));
    check(&[ten()], &delete, Code::InUse, "id", &[none()]);
    let kind =
        |id: &str| Change::patch_experiment(&p(id), ExperimentPatch::new().subject_kind("user"));
    check(&[ten()], &kind("exp_m1"), Code::InvalidValue, "patch.subject_kind", &[none()]);
    let device =
        Change::patch_experiment(&p("exp_m1"), ExperimentPatch::new().subject_kind("device"));
    check(&[kind("exp_m1")], &ten(), Code::InvalidValue, "patch.members", &[device]);
    let most = percents(&[("exp_m1", 60), ("exp_m2", 41)]);
    let error = apply(&drafts(), most).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.members"));
    assert_eq!(error.value(), Some("101"));
}

#[test]
fn a_patch_names_who_joins_and_who_leaves_once() {
    let of = |patch: LayerPatch| Change::patch_layer(&p("lay_a"), patch);
    let percent = |id: &str, share: &str| LayerPatch::new().member(p(id), p(share));
    let full = ok(&drafts(), percents(&[("exp_m1", 30), ("exp_m2", 70)]));
    let full = ok(&full, [set("exp_m1", Status::Active), set("exp_m2", Status::Active)]);
    let shares = |snapshot: &Snapshot| -> Vec<String> {
        layer(snapshot).members().iter().map(|(id, share)| format!("{id} {share}")).collect()
    };
    // Beside those who run, one joins, and what nobody names stays.
    let less = ok(&full, of(percent("exp_m2", "40")));
    let joined = ok(&less, of(percent("exp_m3", "30")));
    assert_eq!(shares(&joined), ["exp_m1 30", "exp_m2 40", "exp_m3 30"]);
    for id in ["exp_m1", "exp_m2"] {
        assert_eq!(slots(layer(&joined), id), slots(layer(&less), id));
    }
    // What one frees is there for another of the same patch.
    let swap = percent("exp_m4", "30").without(p("exp_m3"));
    let swapped = ok(&joined, of(swap));
    assert_eq!(shares(&swapped), ["exp_m1 30", "exp_m2 40", "exp_m4 30"]);
    assert_eq!(slots(layer(&swapped), "exp_m4"), slots(layer(&joined), "exp_m3"));
    assert_eq!(swapped.layer_of("exp_m3"), None);
    // Of a patch that does nothing there is no event.
    let nobody = LayerPatch::new().without(p("exp_m3")).without(p("exp_nobody"));
    let nothing = [
        nobody,
        LayerPatch::new().members(BTreeMap::new()).leave(BTreeSet::new()),
        percent("exp_m1", "30"),
    ];
    for patch in nothing {
        let commit = apply(&swapped, of(patch.clone())).unwrap();
        assert!(commit.event.is_none() && *commit.snapshot == swapped, "{patch:?}");
    }
    // Who is named twice is refused, be it a member, no member, or no experiment at all.
    for id in ["exp_m1", "exp_m4", "exp_m5", "exp_nobody"] {
        let error = apply(&swapped, of(percent(id, "30").without(p(id)))).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.leave"), "{error}");
        assert_eq!(error.value(), Some(&*format!("\"{id}\"")));
    }
    // The same in JSON.
    let patch = percent("exp_m4", "12.5").without(p("exp_m3"));
    let json = serde_json::json!({"members": {"exp_m4": 12.5}, "leave": ["exp_m3"]});
    assert_eq!(serde_json::to_value(&patch).unwrap(), json);
    assert_eq!(serde_json::from_value::<LayerPatch>(json).unwrap(), patch);
}

/// What an experiment becomes does not take its share away.
#[test]
fn a_member_keeps_its_share_whatever_becomes_of_it() {
    let full = ok(&drafts(), percents(&[("exp_m1", 10), ("exp_m2", 90)]));
    let before = slots(layer(&full), "exp_m1");
    let mut snapshot = full;
    for status in
        [Status::Active, Status::Paused, Status::Active, Status::Completed, Status::Archived]
    {
        snapshot = ok(&snapshot, set("exp_m1", status));
        assert_eq!(slots(layer(&snapshot), "exp_m1"), before);
        assert!(apply(&snapshot, percents(&[("exp_m2", 91), ("exp_m1", 10)])).is_err());
    }
    let renamed = ok(&snapshot, Change::patch_layer(&p("lay_a"), LayerPatch::new().name("Other")));
    assert_eq!(slots(layer(&renamed), "exp_m1"), before);
    // Who has left is asked no more, even before it is resumed.
    let kept = Subject::new("device-42").kept("exp_m1", "var_b");
    let nobody =
        [percents(&[("exp_m1", 0)]), set("exp_m1", Status::Active), set("exp_m1", Status::Paused)];
    let paused = ok(&drafts(), nobody);
    assert_eq!(paused.assign("exp_m1", &kept).reason().as_str(), "paused");
    let left = ok(&paused, percents(&[]));
    assert_eq!(left.assign("exp_m1", &kept).reason().as_str(), "kept");
    let left = ok(&snapshot, percents(&[("exp_m2", 100)]));
    assert_eq!(width(&slots(layer(&left), "exp_m2")), Partition::POINTS);
    assert_eq!(left.layer_of("exp_m1"), None);
}
