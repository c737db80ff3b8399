//! Holdouts: who is held out of one experiment is held out of all, whatever is edited and whatever
//! the subject keeps; raising the share only adds, lowering it only removes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{apply, at, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Allocation, Change, Code, Event, ExperimentPatch, HoldoutPatch, Keep, LayerPatch,
    NewExperiment, NewHoldout, NewLayer, Percentage, Snapshot, Stage, Status, Step, Subject,
};

/// Members of the holdouts: by weight, by segment, a ramp without weights, a ramp by time.
const MEMBERS: [&str; 4] = ["exp_m1", "exp_m2", "exp_m3", "exp_m4"];

/// The world with four running members of `hld_a`, of which two are in `hld_b` too, and a layer that
/// they can join.
fn held(a: &str, b: &str) -> Snapshot {
    let by_weight = |id: &str| {
        NewExperiment::by_percentage(format!("Member {id}"), p("flg_a"))
            .id(p(id))
            .outside_variation_id(p("var_d"))
    };
    let weights = by_weight("exp_m1")
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"));
    let segments = NewExperiment::by_segment("Member 2", p("flg_a"))
        .id(p("exp_m2"))
        .allocation(Allocation::segment(p("var_b"), p("seg_germany"), 1).unwrap())
        .allocation(Allocation::fallback(p("var_a")).control());
    let ramp = by_weight("exp_m3")
        .allocation(Allocation::ramped(p("var_a")).control())
        .allocation(Allocation::ramped(p("var_b")))
        .levels([p("30"), p("60"), p("100")]);
    let staged = by_weight("exp_m4")
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"))
        .stage(at(5), p("50"))
        .stage(at(9), p("100"));
    let hold = |id: &str, share: &str, members: &[&str]| {
        let new = NewHoldout::new(format!("Holdout {id}"), "device", p(share)).id(p(id));
        members.iter().fold(new, |new, member| new.experiment(p(member)))
    };
    let mut changes: Vec<Change> = vec![
        weights.into(),
        segments.into(),
        ramp.into(),
        staged.into(),
        hold("hld_a", a, &MEMBERS).into(),
        hold("hld_b", b, &["exp_m1", "exp_m3"]).into(),
        NewLayer::new("Layer", "device").id(p("lay_a")).into(),
    ];
    changes.extend(MEMBERS.map(|id| Change::set_experiment_status(&p(id), Status::Active)));
    ok(&world(), changes)
}

/// Whether a holdout of this share keeps a subject out, by the formula of the docs.
fn is_held(id: &str, holdout: &str, millionths: u64) -> bool {
    let point = point(subject_hash(id), draw_seed(holdout, Draw::Holdout));
    u128::from(point) < (u128::from(millionths) << 32) / 100_000_000
}

/// Whether a subject is held out of a member.
fn is_out(snapshot: &Snapshot, id: &str, member: &str) -> bool {
    let holdouts: Vec<&str> = match member {
        "exp_m1" | "exp_m3" => vec!["hld_a", "hld_b"],
        _ => vec!["hld_a"],
    };
    let told: Vec<_> = snapshot.holdouts_of(member).map(|holdout| holdout.id().as_str()).collect();
    assert_eq!(told, holdouts);
    holdouts.into_iter().any(|holdout| {
        is_held(id, holdout, snapshot.holdout(holdout).unwrap().share().millionths())
    })
}

/// No subject that is held out of a member is in it, and every other gets on as if there were no
/// holdout.
#[track_caller]
fn check(snapshot: &Snapshot, ids: &[String]) {
    let clock = at(7);
    let attributes = [("country", "DE")];
    for id in ids {
        for member in MEMBERS {
            let experiment = snapshot.experiment(member).unwrap();
            let plain = Subject::new(id).with_clock(&clock).with_attributes(&attributes);
            let kept = plain.clone().kept(member, "var_b");
            let out = is_out(snapshot, id, member);
            for (subject, keeps) in [(&plain, false), (&kept, true)] {
                let decision = snapshot.assign(member, subject);
                let shown = format!("{id} in {member}: {decision:?}");
                let open = experiment.starts_at().is_none_or(|start| start <= clock);
                let reason = decision.reason().as_str();
                if out {
                    assert!(!decision.in_experiment(), "{shown}");
                    assert!(decision.assignment().is_none(), "{shown}");
                    let wanted = match experiment.status() {
                        Status::Active if open => "held_out",
                        Status::Active => "before_start",
                        status => status.as_str(),
                    };
                    assert_eq!(reason, wanted, "{shown}");
                    let outside = experiment.outside_variation_id();
                    let outside = outside.filter(|_| wanted == "held_out");
                    assert_eq!(decision.variation_id(), outside, "{shown}");
                } else {
                    assert_ne!(reason, "held_out", "{shown}");
                    assert!(keeps || reason != "kept", "{shown}");
                }
            }
            let forced = snapshot.assign(member, &kept.forced(member, "var_b"));
            assert_eq!(forced.reason().as_str(), "forced");
            assert_eq!(forced.variation_id().unwrap(), &p::<variate::VariationId>("var_b"));
            assert!(!forced.in_experiment());
        }
    }
}

/// What can be edited of a member, or of the layer; it may be refused.
fn any_edit() -> impl Strategy<Value = Vec<Change>> {
    let id = || select(MEMBERS.to_vec());
    let patch = |id: &str, patch: ExperimentPatch| Change::patch_experiment(&p(id), patch);
    let paused = move |id: &str, edit: Change| {
        let [halt, resume] =
            [Status::Paused, Status::Active].map(|to| Change::set_experiment_status(&p(id), to));
        vec![halt, edit, resume]
    };
    prop_oneof![
        (id(), 0..=100_u32).prop_map(move |(id, weight)| {
            let arms = [
                Allocation::share(p("var_a"), weight.try_into().unwrap()).control(),
                Allocation::share(p("var_b"), (100 - weight).try_into().unwrap()),
            ];
            paused(id, patch(id, ExperimentPatch::new().allocations(arms)))
        }),
        id().prop_map(move |id| paused(id, Change::reshuffle(&p(id)))),
        (id(), any::<bool>()).prop_map(move |(id, german)| {
            let segment = if german { "seg_germany" } else { "seg_ios" };
            paused(id, patch(id, ExperimentPatch::new().audience_id(p(segment))))
        }),
        (id(), 0..=100_u32).prop_map(move |(id, traffic)| {
            vec![patch(id, ExperimentPatch::new().traffic(traffic.try_into().unwrap()))]
        }),
        (id(), select(Keep::ALL))
            .prop_map(move |(id, keep)| vec![patch(id, ExperimentPatch::new().keep(keep))]),
        (id(), select(Status::ALL))
            .prop_map(|(id, to)| vec![Change::set_experiment_status(&p(id), to)]),
        (1..=2_usize).prop_map(|level| {
            vec![Change::advance_ramp(&p("exp_m3"), p(["60", "100"][level - 1]))]
        }),
        (id(), 0..9_i64).prop_map(move |(id, start)| vec![patch(
            id,
            ExperimentPatch::new().starts_at(at(start))
        )]),
        Just(vec![patch(
            "exp_m4",
            ExperimentPatch::new().stages([Stage { at: at(1), traffic: Percentage::MAX }])
        )]),
        any::<bool>().prop_map(move |joins| {
            let both = ["exp_m1", "exp_m2"];
            let patch = both.into_iter().zip(["60", "40"]).fold(LayerPatch::new(), |patch, one| {
                if joins { patch.member(p(one.0), p(one.1)) } else { patch.without(p(one.0)) }
            });
            let edit = Change::patch_layer(&p("lay_a"), patch);
            let set = |to| both.map(|id| Change::set_experiment_status(&p(id), to)).to_vec();
            [set(Status::Paused), vec![edit], set(Status::Active)].concat()
        }),
        (select(vec!["hld_a", "hld_b"]), 0..=60_u32).prop_map(|(id, share)| {
            let patch = HoldoutPatch::new().share(share.try_into().unwrap());
            vec![Change::patch_holdout(&p(id), patch)]
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn who_is_held_out_stays_out_whatever_is_edited(
        edits in prop::collection::vec(any_edit(), 1..16),
        ids in prop::collection::vec("[a-z0-9]{1,8}", 24),
    ) {
        let mut snapshot = held("40", "20");
        check(&snapshot, &ids);
        for edit in edits {
            if let Ok(commit) = apply(&snapshot, edit) {
                snapshot = Snapshot::clone(&commit.snapshot);
                check(&snapshot, &ids);
            }
        }
        prop_assert!(Snapshot::from_json(snapshot.to_json()).unwrap() == snapshot);
    }

    /// Whoever a patch does not name stays where it is, and the same subjects are held out of it.
    #[test]
    fn a_patch_changes_whom_it_names_and_nobody_else(
        edits in prop::collection::vec(
            (
                select(vec!["hld_a", "hld_b"]),
                subsequence(MEMBERS.to_vec(), 0..=3),
                subsequence(MEMBERS.to_vec(), 0..=3),
                prop::bool::weighted(0.2),
            ),
            1..10,
        ),
        ids in prop::collection::vec("[a-z0-9]{1,8}", 24),
    ) {
        let start = held("40", "20");
        let mut snapshot = start.clone();
        let mut events: Vec<Event> = Vec::new();
        let mut now = BTreeMap::from([
            ("hld_a", BTreeSet::from(MEMBERS)),
            ("hld_b", BTreeSet::from(["exp_m1", "exp_m3"])),
        ]);
        let all = |to| MEMBERS.map(|id| Change::set_experiment_status(&p(id), to));
        for (holdout, join, mut leave, may_clash) in edits {
            leave.retain(|id| may_clash || !join.contains(id));
            let patch = join.iter().fold(HoldoutPatch::new(), |patch, id| patch.experiment(p(id)));
            let patch = leave.iter().fold(patch, |patch, id| patch.without(p(id)));
            let edit = Change::patch_holdout(&p(holdout), patch);
            if let Some(both) = leave.iter().find(|id| join.contains(*id)) {
                let error = apply(&snapshot, edit).unwrap_err();
                prop_assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.leave"));
                prop_assert_eq!(error.value(), Some(&*format!("\"{both}\"")));
                continue;
            }
            let old = now.clone();
            let own = now.get_mut(holdout).unwrap();
            own.extend(&join);
            own.retain(|id| !leave.contains(id));
            // While they run, it is refused unless it makes no difference.
            prop_assert_eq!(apply(&snapshot, edit.clone()).is_ok(), now == old);
            for changes in [all(Status::Paused).to_vec(), vec![edit], all(Status::Active).to_vec()] {
                let commit = apply(&snapshot, changes).unwrap();
                events.extend(commit.event.as_deref().cloned());
                snapshot = Snapshot::clone(&commit.snapshot);
            }
            for (holdout, wanted) in &now {
                let told = snapshot.holdout(*holdout).unwrap().experiments();
                let told: BTreeSet<&str> = told.iter().map(AsRef::as_ref).collect();
                prop_assert_eq!(&told, wanted, "{}", holdout);
            }
            let shares = [("hld_a", 40_000_000), ("hld_b", 20_000_000)];
            for (id, member) in ids.iter().flat_map(|id| MEMBERS.map(|member| (id, member))) {
                let clock = at(9);
                let subject = Subject::new(id).with_clock(&clock);
                let wanted = shares.iter().any(|(holdout, share)| {
                    now[holdout].contains(member) && is_held(id, holdout, *share)
                });
                let reason = snapshot.assign(member, &subject).reason().as_str();
                prop_assert_eq!(reason == "held_out", wanted, "{} in {}: {}", id, member, reason);
            }
        }
        let replayed = start.replay(&events).unwrap();
        prop_assert!(replayed == snapshot && replayed.to_json() == snapshot.to_json());
    }

    /// The share takes effect at once, and only by as many points as it says.
    #[test]
    fn raising_only_adds_and_lowering_only_removes(
        shares in prop::collection::vec(0..=100_000_000_u64, 2..6),
    ) {
        let mut snapshot = held("0", "0");
        let ids: Vec<String> = (0..400).map(|n| format!("device-{n}")).collect();
        let mut before: (u64, BTreeSet<&str>) = (0, BTreeSet::new());
        for share in shares {
            let patch = HoldoutPatch::new().share(Percentage::from_millionths(share).unwrap());
            snapshot = ok(&snapshot, Change::patch_holdout(&p("hld_a"), patch));
            let held = |member: &str| -> BTreeSet<&str> {
                let decide = |id: &&String| {
                    let clock = at(9);
                    let subject = Subject::new(id).with_clock(&clock);
                    snapshot.assign(member, &subject).reason().as_str() == "held_out"
                };
                ids.iter().filter(decide).map(String::as_str).collect()
            };
            let now = held("exp_m1");
            for member in MEMBERS {
                prop_assert_eq!(&held(member), &now, "the same of each");
            }
            let wanted = ids.iter().filter(|id| is_held(id, "hld_a", share));
            prop_assert_eq!(&now, &wanted.map(String::as_str).collect());
            match share >= before.0 {
                true => prop_assert!(before.1.is_subset(&now)),
                false => prop_assert!(now.is_subset(&before.1)),
            }
            before = (share, now);
        }
    }
}

/// Of subjects that lie at the very end of a share, the one before it is held out, and it is not.
#[test]
fn a_share_ends_at_a_point() {
    let end = |millionths: u64| (u128::from(millionths) << 32) / 100_000_000;
    let mut met = 0;
    for id in (0..2_000).map(|n| format!("device-{n}")) {
        let point = u128::from(point(subject_hash(&id), draw_seed("hld_a", Draw::Holdout)));
        // The least share whose end does not lie before the point.
        let share = u64::try_from((point * 100_000_000).div_ceil(1 << 32)).unwrap();
        if end(share) == point {
            for (millionths, out) in [(share - 1, false), (share, false), (share + 1, true)] {
                let snapshot =
                    held(&Percentage::from_millionths(millionths).unwrap().to_string(), "0");
                let reason = snapshot.assign("exp_m1", &Subject::new(&id)).reason().as_str();
                assert_eq!(reason == "held_out", out, "{id} at {millionths}");
            }
            met += 1;
        }
    }
    assert!(met > 10, "{met}");
}

/// The patch that leaves a holdout these of all members: the others go, if they are in it.
fn exactly(ids: &[&str]) -> HoldoutPatch {
    MEMBERS.iter().fold(HoldoutPatch::new(), |patch, id| {
        if ids.contains(id) { patch.experiment(p(id)) } else { patch.without(p(id)) }
    })
}

/// A change is refused with this code at this path, and is accepted after these others.
#[track_caller]
fn check_refused(change: &Change, code: Code, path: &str, first: &[Change]) {
    let snapshot = held("10", "10");
    let error = apply(&snapshot, change.clone()).unwrap_err();
    assert_eq!((error.code(), error.path()), (code, path), "{change:?}: {error}");
    ok(&snapshot, [first, std::slice::from_ref(change)].concat());
}

#[test]
fn a_patch_names_who_joins_and_who_leaves_once() {
    let paused = MEMBERS.map(|id| Change::set_experiment_status(&p(id), Status::Paused));
    let snapshot = ok(&held("10", "10"), paused);
    let of = |patch: &HoldoutPatch| Change::patch_holdout(&p("hld_b"), patch.clone());
    let told = |snapshot: &Snapshot| -> Vec<String> {
        let ids = snapshot.holdout("hld_b").unwrap().experiments().iter();
        ids.map(ToString::to_string).collect()
    };
    let patch = HoldoutPatch::new().experiment(p("exp_m2")).without(p("exp_m3"));
    let commit = apply(&snapshot, of(&patch)).unwrap();
    assert_eq!(told(&commit.snapshot), ["exp_m1", "exp_m2"]);
    assert_eq!(commit.event.unwrap().effects[0].fields, ["experiments"]);
    let json = serde_json::json!({"join": ["exp_m2"], "leave": ["exp_m3"]});
    assert_eq!(serde_json::to_value(&patch).unwrap(), json);
    assert_eq!(serde_json::from_value::<HoldoutPatch>(json).unwrap(), patch);
    // Of a patch that does nothing there is no event.
    for patch in [
        HoldoutPatch::new().without(p("exp_m2")).without(p("exp_nobody")),
        HoldoutPatch::new().join(BTreeSet::new()).leave(BTreeSet::new()),
        HoldoutPatch::new().experiment(p("exp_m1")),
    ] {
        let commit = apply(&snapshot, of(&patch)).unwrap();
        assert!(commit.event.is_none() && *commit.snapshot == snapshot, "{patch:?}");
    }
    // Who is named twice is refused, be it in it, in none, or no experiment at all.
    for id in ["exp_m1", "exp_m2", "exp_nobody"] {
        let both = HoldoutPatch::new().experiment(p(id)).without(p(id));
        let error = apply(&snapshot, of(&both)).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.leave"), "{error}");
        assert_eq!(error.value(), Some(&*format!("\"{id}\"")));
    }
    let error = apply(&snapshot, of(&HoldoutPatch::new().experiment(p("exp_nobody")))).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::UnknownReference, "patch.join"), "{error}");
}

#[test]
fn experiments_join_and_leave_at_rest() {
    let pause = MEMBERS.map(|id| Change::set_experiment_status(&p(id), Status::Paused));
    let only = |ids: &[&str]| Change::patch_holdout(&p("hld_b"), exactly(ids));
    let code = Code::NotMutable;
    check_refused(&only(&["exp_m1", "exp_m2", "exp_m3"]), code, "patch.join", &pause);
    check_refused(&only(&["exp_m1"]), code, "patch.leave", &pause);
    check_refused(&only(&[]), code, "patch.leave", &pause);
    check_refused(&only(&["exp_m2"]), code, "patch.join", &pause);
    let new = NewHoldout::new("Third", "device", p("1")).experiment(p("exp_m4"));
    check_refused(&new.into(), code, "experiments", &pause);
    let none = |id: &str| Change::patch_holdout(&p(id), exactly(&[]));
    let apart = [&pause[..], &[none("hld_a"), none("hld_b")]].concat();
    check_refused(&Change::delete_holdout(&p("hld_b")), Code::InUse, "id", &apart);
    let gone = Change::delete_experiment(&p("exp_m1"));
    check_refused(&gone, Code::TransitionNotAllowed, "status", &apart);
    let one_left = [&pause[..], &[none("hld_a")]].concat();
    let error = apply(&ok(&held("1", "1"), one_left), gone).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::InUse, "id"), "{error}");
    assert!(error.to_string().contains("hld_b"), "{error}");
    // What is at rest may join beside what runs, and the share change at any time.
    let beside = [
        Change::set_experiment_status(&p("exp_m2"), Status::Paused),
        only(&["exp_m1", "exp_m2", "exp_m3"]),
        Change::patch_holdout(&p("hld_b"), HoldoutPatch::new().share(p("99"))),
    ];
    ok(&held("10", "10"), beside);
    // What is created without an id gets one, and its salt with it.
    let commit = apply(&world(), NewHoldout::new("Holdout", "device", p("1"))).unwrap();
    let created = commit.snapshot.holdout(commit.holdout().unwrap()).unwrap();
    assert_eq!(created.salt().as_str(), created.id().as_str());
    // All go by one kind of subject.
    let kind = ExperimentPatch::new().subject_kind("user");
    let draft = ok(
        &world(),
        NewHoldout::new("Holdout", "device", p("1")).id(p("hld_a")).experiment(p("exp_weights")),
    );
    let error =
        apply(&draft, Change::patch_experiment(&p("exp_weights"), kind.clone())).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.subject_kind"));
    let other = ok(&world(), Change::patch_experiment(&p("exp_weights"), kind));
    let new = NewHoldout::new("Holdout", "device", p("1")).experiment(p("exp_weights"));
    let error = apply(&other, new).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::InvalidValue, "experiments"));
    let empty = ok(&other, NewHoldout::new("Holdout", "device", p("1")).id(p("hld_a")));
    let join = HoldoutPatch::new().experiment(p("exp_weights"));
    let error = apply(&empty, Change::patch_holdout(&p("hld_a"), join)).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.join"));
}

#[test]
fn an_experiment_is_in_at_most_sixteen_holdouts() {
    let holdout = |index: usize| {
        let new = NewHoldout::new(format!("Holdout {index}"), "device", p("1"));
        Change::from(new.id(p(&format!("hld_{}", "a".repeat(index)))).experiment(p("exp_weights")))
    };
    let full = ok(&world(), (1..=16).map(holdout).collect::<Vec<_>>());
    assert_eq!(full.holdouts_of("exp_weights").count(), 16);
    let error = apply(&full, holdout(17)).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::LimitExceeded, "experiments"));
    let leave = HoldoutPatch::new().without(p("exp_weights"));
    let left = ok(&full, Change::patch_holdout(&p("hld_a"), leave));
    let read = Snapshot::from_json(ok(&left, holdout(17)).to_json()).unwrap();
    assert_eq!(read.holdouts_of("exp_weights").count(), 16);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever was held out by what has ended gets on as if it had never been, and everyone else
    /// stays.
    #[test]
    fn what_has_ended_holds_nobody_out(
        edits in prop::collection::vec(any_edit(), 0..8),
        ids in prop::collection::vec("[a-z0-9]{1,8}", 24),
        which in select(vec!["hld_a", "hld_b"]),
    ) {
        let start = held("40", "20");
        let commit = apply(&start, Change::end_holdout(&p(which))).unwrap();
        let event = commit.event.clone().unwrap();
        prop_assert_eq!(&event.effects[0].fields, &["ended_at"]);
        let ended = Snapshot::clone(&commit.snapshot);
        let own = ended.holdout(which).unwrap();
        prop_assert_eq!(own.ended_at(), Some(event.at));
        prop_assert_eq!(own.version(), start.holdout(which).unwrap().version() + 1);
        prop_assert!(start.replay([&*event]).unwrap() == ended);
        // The same without any share at all.
        let none = HoldoutPatch::new().share(Percentage::ZERO);
        let mut like = ok(&start, Change::patch_holdout(&p(which), none));
        let mut snapshot = ended;
        for edit in edits {
            let edits_it = |change: &Change| {
                matches!(change, Change::PatchHoldout { id, .. } if id.as_str() == which)
            };
            if edit.iter().any(edits_it) {
                continue;
            }
            // The same salt for both.
            let settled = edit.into_iter().map(|change| match change {
                Change::Reshuffle { id, if_version, .. } => {
                    Change::Reshuffle { id, if_version, salt: Some(p("thyme")) }
                }
                other => other,
            });
            let edit: Vec<Change> = settled.collect();
            let both = [&snapshot, &like].map(|own| apply(own, edit.clone()));
            prop_assert_eq!(both[0].is_ok(), both[1].is_ok());
            if let [Ok(one), Ok(other)] = both {
                snapshot = Snapshot::clone(&one.snapshot);
                like = Snapshot::clone(&other.snapshot);
            }
        }
        let read = Snapshot::from_json(snapshot.to_json()).unwrap();
        prop_assert!(read == snapshot && read.to_json() == snapshot.to_json());
        let clock = at(7);
        let attributes = [("country", "DE")];
        for (id, member) in ids.iter().flat_map(|id| MEMBERS.map(|member| (id, member))) {
            let plain = Subject::new(id).with_clock(&clock).with_attributes(&attributes);
            for subject in [plain.clone(), plain.kept(member, "var_b")] {
                let told = [&snapshot, &read, &like].map(|own| own.assign(member, &subject));
                prop_assert_eq!(told[0], told[2]);
                prop_assert_eq!(told[1], told[2]);
                let asked = snapshot.explain(member, &subject);
                let asks = |step: &Step| {
                    matches!(step, Step::Holdout { holdout_id, .. } if holdout_id.as_str() == which)
                };
                prop_assert!(!asked.steps().iter().any(asks), "{}", asked);
            }
            let shares = [&snapshot, &like].map(|own| start.preview(own).shares(member, clock));
            prop_assert_eq!(&shares[0], &shares[1]);
        }
    }
}

#[test]
fn a_holdout_ends_for_good() {
    let end = Change::end_holdout(&p("hld_b"));
    let snapshot = ok(&held("10", "20"), end.clone());
    // Twice is once.
    assert_eq!(apply(&snapshot, end.clone()).unwrap().event, None);
    let stale = apply(&snapshot, end.if_version(1)).unwrap_err();
    assert_eq!(stale.code(), Code::VersionConflict);
    let error = apply(&snapshot, Change::end_holdout(&p("hld_none"))).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::NotFound, "id"));
    let edit = |patch: HoldoutPatch| Change::patch_holdout(&p("hld_b"), patch);
    let paused = Change::set_experiment_status(&p("exp_m2"), Status::Paused);
    for (patch, path) in [
        (HoldoutPatch::new().share(p("21")), "patch.share"),
        (HoldoutPatch::new().share(p("0")), "patch.share"),
        (HoldoutPatch::new().experiment(p("exp_m2")), "patch.join"),
    ] {
        let error = apply(&snapshot, vec![paused.clone(), edit(patch)]).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::NotMutable, path), "{error}");
    }
    // What it has stays, and what it is called is free.
    for patch in [
        HoldoutPatch::new().share(p("20")),
        HoldoutPatch::new().experiment(p("exp_m1")),
        HoldoutPatch::new().without(p("exp_m2")),
    ] {
        assert_eq!(apply(&snapshot, edit(patch)).unwrap().event, None);
    }
    ok(&snapshot, edit(HoldoutPatch::new().name("Over").description("Last winter's")));
    // Members leave while they run, which moves nobody, and then it can go.
    let left = ok(&snapshot, edit(exactly(&[])));
    for member in MEMBERS {
        assert!(left.plan(member) == snapshot.plan(member), "{member}");
    }
    assert!(left.lint(at(7)).iter().all(|found| found.id() != "hld_b"));
    let gone = ok(&left, Change::delete_holdout(&p("hld_b")));
    assert_eq!(gone.holdouts_of("exp_m1").count(), 1);
    assert_eq!(snapshot.holdouts_of("exp_m1").count(), 2);
    // A document says when it ended, and with that it holds nobody out, at whatever moment.
    let text = held("10", "100").to_json();
    assert!(!text.contains("ended_at\": \"2"), "{text}");
    let mut document: serde_json::Value = text.parse().unwrap();
    document["holdouts"][1]["ended_at"] = serde_json::json!("2999-01-01T00:00:00.000Z");
    let read = Snapshot::from_json(document.to_string()).unwrap();
    let reasons = (0..200).map(|number| {
        let id = format!("device-{number}");
        let reason = read.assign("exp_m1", &Subject::new(&id)).reason().as_str();
        usize::from(reason == "held_out")
    });
    assert!(reasons.sum::<usize>() < 60, "a tenth is held out, not everyone");
}
