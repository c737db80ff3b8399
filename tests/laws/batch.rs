//! A batch gives each subject what it gets alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use std::cell::Cell;

use crate::common::{at, brought_to, ok, p, share, world};
use proptest::prelude::*;
use variate::hash::subject_hash;
use variate::{
    Allocation, Batch, Change, ExperimentPatch, FlagPatch, NewHoldout, NewLayer, Outcome,
    Percentage, Plan, Snapshot, Stage, Status, Subject,
};

/// Experiments by weight and by segment in every status, with every gate.
fn worlds() -> Vec<Snapshot> {
    let mut worlds = Vec::new();
    for status in Status::ALL {
        let both = brought_to(&world(), "exp_weights", *status);
        worlds.push(brought_to(&both, "exp_segments", *status));
    }
    let half = || Percentage::try_from(50).unwrap();
    let (weights, segments) = (p("exp_weights"), p("exp_segments"));
    let germany = |variation: &str, weight: u32| {
        let arm = Allocation::segment(p(variation), p("seg_germany"), 1).unwrap();
        arm.weighing(weight.try_into().unwrap())
    };
    let split = [
        germany("var_b", 30),
        germany("var_c", 70),
        Allocation::fallback(p("var_a")).control().weighing(half().into()),
        Allocation::fallback(p("var_d")).weighing(half().into()),
    ];
    let gated = ExperimentPatch::new()
        .traffic(80.try_into().unwrap())
        .outside_variation_id(p("var_d"))
        .audience_id(p("seg_ios"))
        .allocations([share("var_a", "0").control(), share("var_b", "100")]);
    let staged = ExperimentPatch::new()
        .allocations(split)
        .traffic(20.try_into().unwrap())
        .stages([Stage { at: at(10), traffic: half() }])
        .starts_at(at(5))
        .ends_at(at(20));
    worlds.push(ok(
        &world(),
        vec![
            Change::patch_experiment(&weights, gated),
            Change::patch_experiment(&segments, staged),
            NewLayer::new("A layer", "device")
                .id(p("lay_a"))
                .member(weights.clone(), half())
                .member(segments.clone(), half())
                .into(),
            NewHoldout::new("A holdout", "device", 20.try_into().unwrap())
                .id(p("hld_a"))
                .experiment(weights.clone())
                .experiment(segments.clone())
                .into(),
            Change::set_experiment_status(&weights, Status::Active),
            Change::set_experiment_status(&segments, Status::Active),
        ],
    ));
    // While the flag is on, only those who are held out get its off variation.
    for off in [
        FlagPatch::new().off_variation_id(p("var_c")),
        FlagPatch::new().on(false),
        FlagPatch::new().on(false).off_variation_id(p("var_c")),
    ] {
        let snapshot = worlds.last().unwrap();
        worlds.push(ok(snapshot, Change::patch_flag(&p("flg_a"), off)));
    }
    worlds
}

fn check(plan: &Plan, rows: &[(String, Option<&str>, Option<&str>)], second: i64) {
    let clock = at(second);
    let ids: Vec<_> = rows.iter().map(|row| row.0.clone()).collect();
    let countries: Vec<_> = rows.iter().map(|row| row.1).collect();
    // A column that ends early has nothing in the rows after it.
    let platforms: Vec<_> = rows.iter().take(rows.len() / 2).map(|row| row.2).collect();
    let batch = Batch::new(&ids)
        .with_attribute("country", &countries)
        .with_attribute("platform", &platforms)
        .with_clock(&clock);
    let mut outcomes = vec![Outcome::default(); rows.len() + 1];
    plan.assign_batch(&batch, &mut outcomes);

    let attributes: Vec<_> = (0..rows.len())
        .map(|row| {
            [("country", countries[row]), ("platform", platforms.get(row).copied().flatten())]
        })
        .collect();
    let alone: Vec<_> = rows
        .iter()
        .zip(&attributes)
        .map(|((id, ..), attributes)| {
            let subject = Subject::new(id);
            plan.assign(&subject.with_attributes(attributes).with_clock(&clock))
        })
        .collect();
    assert_eq!(plan.decisions(&batch).collect::<Vec<_>>(), alone);
    let decided: Vec<_> = outcomes.iter().map(|outcome| plan.decision(*outcome)).collect();
    assert_eq!(decided[..rows.len()], alone);
    let nobody = Subject::new("").with_clock(&clock);
    assert_eq!(decided.last(), Some(&plan.assign(&nobody)), "beyond the batch");
    for (one, decision) in outcomes.iter().zip(&decided) {
        for (other, same) in outcomes.iter().zip(&decided) {
            assert_eq!(one == other, decision == same);
        }
    }

    let known = || ids.iter().filter(|id| !id.is_empty());
    let bare = known().map(|id| plan.assign(&Subject::new(id).with_clock(&clock)));
    let hashed: Vec<u64> = known().map(|id| subject_hash(id)).collect();
    let by_hash = Batch::hashed(&hashed).with_clock(&clock);
    assert_eq!(plan.decisions(&by_hash).collect::<Vec<_>>(), bare.collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn a_batch_is_each_of_its_subjects(
        rows in prop::collection::vec(
            (
                "[a-zé]{0,3}",
                prop::option::of(prop_oneof![Just("DE"), Just("AT")]),
                prop::option::of(prop_oneof![Just("ios/4"), Just("web")]),
            ),
            0..40,
        ),
        second in 0..25_i64,
    ) {
        for snapshot in worlds() {
            for id in ["exp_weights", "exp_segments"] {
                check(snapshot.plan(id).unwrap(), &rows, second);
            }
        }
    }
}

#[test]
fn the_clock_is_read_only_for_a_schedule() {
    thread_local!(static READ: Cell<u32> = const { Cell::new(0) });
    let clock = || {
        READ.set(READ.get() + 1);
        at(7)
    };
    let worlds = worlds();
    let ids = ["a", "b", "c"];
    let mut outcomes = [Outcome::default(); 3];
    let mut reads = |snapshot: &Snapshot, id: &str| {
        READ.set(0);
        let batch = Batch::new(&ids).with_clock(&clock);
        snapshot.plan(id).unwrap().assign_batch(&batch, &mut outcomes);
        READ.get()
    };
    let (gated, off) = (&worlds[Status::ALL.len()], worlds.last().unwrap());
    assert_eq!(reads(&worlds[1], "exp_weights"), 0);
    assert_eq!(reads(gated, "exp_weights"), 0);
    assert_eq!(reads(gated, "exp_segments"), 3);
    assert_eq!(reads(off, "exp_segments"), 0, "the flag goes before the schedule");
}
