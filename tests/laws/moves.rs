//! How many subjects an edit of weights moves, told by variation, against assigning them all.

#![allow(clippy::unwrap_used, reason = "a test may")]

use crate::common::{brought_to, ok, p, share, world};
use proptest::prelude::*;
use variate::{Change, ExperimentPatch, Partition, Snapshot, Status, Subject};

/// Pauses, gives these weights to these variations in this order, resumes.
fn reweighed(snapshot: &Snapshot, arms: &[(&str, u64)]) -> Snapshot {
    let id = p("exp_weights");
    let arms: Vec<_> = arms.iter().map(|(id, weight)| share(id, &weight.to_string())).collect();
    let arms: Vec<_> = arms
        .into_iter()
        .enumerate()
        .map(|(index, arm)| if index == 0 { arm.control() } else { arm })
        .collect();
    ok(
        snapshot,
        vec![
            Change::set_experiment_status(&id, Status::Paused),
            Change::patch_experiment(&id, ExperimentPatch::new().allocations(arms)),
            Change::set_experiment_status(&id, Status::Active),
        ],
    )
}

fn moved(before: &Snapshot, after: &Snapshot) -> Option<u64> {
    let iteration =
        |snapshot: &Snapshot| snapshot.experiment("exp_weights").unwrap().iteration().clone();
    iteration(before).moved(&iteration(after))
}

proptest! {
    #[test]
    fn the_moved_share_is_the_distance_and_what_subjects_see(
        weights in prop::collection::vec((0..=100_u64, 0..=100_u64), 3),
        order in Just(vec!["var_a", "var_b", "var_c", "var_d"]).prop_shuffle(),
    ) {
        let running = brought_to(&world(), "exp_weights", Status::Active);
        let mut before = running;
        let mut old = vec![("var_a", 50_u64), ("var_b", 50), ("var_c", 0), ("var_d", 0)];
        for (first, second) in weights {
            let (first, second) = (first.min(second), first.max(second));
            let shares = [first, second - first, 100 - second, 0];
            let mut new: Vec<_> = order.iter().copied().zip(shares).collect();
            let after = reweighed(&before, &new);
            let count = moved(&before, &after).unwrap();
            prop_assert_eq!(moved(&after, &before), Some(count));
            new.sort_unstable();
            // Percentages of 2^32 are off by less than a point an arm.
            let distance: u64 = old.iter().zip(&new).map(|(a, b)| a.1.abs_diff(b.1)).sum::<u64>() / 2;
            prop_assert!(count.abs_diff(Partition::POINTS * distance / 100) <= 4);
            let ids: Vec<String> = (0..2_000).map(|n| format!("device-{n}")).collect();
            let seen = ids.iter().map(|id| Subject::new(id)).filter(|subject| {
                let served = |snapshot: &Snapshot| {
                    let decision = snapshot.assign("exp_weights", subject);
                    decision.variation_id().unwrap().clone()
                };
                served(&before) != served(&after)
            });
            // Six standard deviations of a share among 2,000 are at most 0.067.
            let seen = u64::try_from(seen.count()).unwrap() * Partition::POINTS / 2_000;
            prop_assert!(seen.abs_diff(count) < Partition::POINTS * 67 / 1_000);
            (before, old) = (after, new);
        }
    }
}

#[test]
fn reordering_moves_nobody_and_a_reshuffle_is_no_move() {
    let before = brought_to(&world(), "exp_weights", Status::Active);
    let reordered = reweighed(&before, &[("var_b", 50), ("var_a", 50)]);
    assert_eq!(moved(&before, &reordered), Some(0));
    let id = p("exp_weights");
    let anew = ok(
        &before,
        vec![
            Change::set_experiment_status(&id, Status::Paused),
            Change::reshuffle(&id),
            Change::set_experiment_status(&id, Status::Active),
        ],
    );
    assert_eq!(moved(&before, &anew), None);
    assert_eq!(moved(&world(), &before), None);
}
