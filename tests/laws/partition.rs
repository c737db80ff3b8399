//! Laws of the partition: every point has one owner, shares are exact, and an edit moves as few
//! points as arithmetic allows.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use proptest::prelude::*;
use variate::{Partition, Weight};

/// Weights in millionths, of which at least one is not 0.
fn weights(arms: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Weight>> {
    let millionths = prop_oneof![
        2 => Just(0),
        2 => 1..=3_u64,
        3 => (0..=100_u64).prop_map(|percent| percent * 1_000_000),
        3 => 0..=100_000_000_u64,
        1 => Just(Weight::MAX.millionths()),
    ];
    let list = prop::collection::vec(millionths, arms);
    list.prop_filter("all 0", |list| list.iter().any(|weight| *weight > 0))
        .prop_map(|list| list.into_iter().map(|m| Weight::from_millionths(m).unwrap()).collect())
}

/// The shares by the documented formula, in wide arithmetic.
fn due(weights: &[Weight]) -> Vec<u64> {
    let sums =
        |upto: usize| weights[..upto].iter().map(|w| u128::from(w.millionths())).sum::<u128>();
    let total = sums(weights.len());
    let end = |upto: usize| u64::try_from((sums(upto) << 32) / total).unwrap();
    (0..weights.len()).map(|arm| end(arm + 1) - end(arm)).collect()
}

/// The owner of a point by a scan of the slices.
fn owner(partition: &Partition, point: u64) -> usize {
    let mut owners = partition.slices().filter(|(start, end, _)| (*start..*end).contains(&point));
    let (_, _, arm) = owners.next().unwrap();
    assert!(owners.next().is_none(), "point {point} has two owners");
    arm
}

/// The slices are one after the other from the first point to the last, and the shares are due.
fn check_whole(partition: &Partition, weights: &[Weight]) {
    let mut next = 0;
    let mut shares = vec![0; weights.len()];
    for (start, end, arm) in partition.slices() {
        assert_eq!(start, next);
        assert!(start < end);
        shares[arm] += end - start;
        next = end;
    }
    assert_eq!(next, Partition::POINTS);
    assert_eq!(shares, due(weights));
    for (arm, weight) in weights.iter().enumerate() {
        assert_eq!(partition.points(arm), shares[arm]);
        assert!(!weight.is_zero() || shares[arm] == 0);
    }
    let edges = partition.slices().flat_map(|(start, end, _)| {
        [start.saturating_sub(1), start, start + 1, end.saturating_sub(2), end - 1, end]
    });
    let last = Partition::POINTS - 1;
    for point in edges.chain([0, 1, last]).filter(|point| *point <= last) {
        assert_eq!(partition.owner(u32::try_from(point).unwrap()), owner(partition, point));
    }
}

/// How many points go from each arm to each other, by every elementary interval.
fn moves(before: &Partition, after: &Partition, arms: usize) -> Vec<Vec<u64>> {
    let starts = before.slices().chain(after.slices()).map(|(start, _, _)| start);
    let mut edges: Vec<u64> = starts.chain([Partition::POINTS]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut moves = vec![vec![0; arms]; arms];
    for edge in edges.windows(2) {
        let (from, to) = (owner(before, edge[0]), owner(after, edge[0]));
        moves[from][to] += edge[1] - edge[0];
    }
    moves
}

fn check_edit(before: &Partition, after: &Partition, old: &[Weight], new: &[Weight]) {
    let arms = old.len().max(new.len());
    let padded = |weights: &[Weight]| {
        let mut shares = due(weights);
        shares.resize(arms, 0);
        shares
    };
    let (old, new) = (padded(old), padded(new));
    let moves = moves(before, after, arms);
    let mut moved = 0;
    for (from, row) in moves.iter().enumerate() {
        for (to, points) in
            row.iter().enumerate().filter(|(to, points)| *to != from && **points > 0)
        {
            assert!(new[from] < old[from], "arm {from} does not shrink");
            assert!(new[to] > old[to], "arm {to} does not grow");
            moved += points;
        }
    }
    let distance: u64 = old.iter().zip(&new).map(|(old, new)| old.abs_diff(*new)).sum::<u64>() / 2;
    assert_eq!(moved, distance);
    assert_eq!(before.moved(after), distance);
    assert_eq!(after.moved(before), distance);
}

proptest! {
    #[test]
    fn every_point_has_one_owner_and_shares_are_exact(weights in weights(1..=20)) {
        check_whole(&Partition::new(&weights).unwrap(), &weights);
    }

    #[test]
    fn scaling_all_weights_changes_nothing(weights in weights(1..=20), factor in 1..=10_u64) {
        let scaled: Option<Vec<Weight>> = weights
            .iter()
            .map(|weight| Weight::from_millionths(weight.millionths() * factor).ok())
            .collect();
        if let Some(scaled) = scaled {
            prop_assert_eq!(Partition::new(&scaled).unwrap(), Partition::new(&weights).unwrap());
        }
    }

    #[test]
    fn an_arm_of_weight_0_changes_nothing_for_the_others(
        weights in weights(1..=19),
        at in any::<prop::sample::Index>(),
    ) {
        let before = Partition::new(&weights).unwrap();
        let at = at.index(weights.len() + 1);
        let mut more = weights;
        more.insert(at, Weight::ZERO);
        let after = Partition::new(&more).unwrap();
        let without = |arm: usize| if arm > at { arm - 1 } else { arm };
        let slices: Vec<_> = after.slices().map(|(s, e, arm)| (s, e, without(arm))).collect();
        prop_assert_eq!(slices, before.slices().collect::<Vec<_>>());
    }

    #[test]
    fn rebalancing_moves_exactly_the_total_variation_distance(
        history in prop::collection::vec(weights(1..=12), 2..12),
    ) {
        let mut before = Partition::new(&history[0]).unwrap();
        for pair in history.windows(2) {
            let after = before.rebalance(&pair[1]).unwrap();
            check_whole(&after, &pair[1]);
            check_edit(&before, &after, &pair[0], &pair[1]);
            before = after;
        }
    }

    #[test]
    fn rebalancing_to_the_same_weights_is_the_identity(
        first in weights(1..=20), second in weights(1..=20), factor in 1..=3_u64,
    ) {
        let partition = Partition::new(&first).unwrap().rebalance(&second).unwrap();
        prop_assert_eq!(&partition.rebalance(&second).unwrap(), &partition);
        let tripled: Option<Vec<Weight>> =
            second.iter().map(|w| Weight::from_millionths(w.millionths() * factor).ok()).collect();
        if let Some(tripled) = tripled {
            prop_assert_eq!(&partition.rebalance(&tripled).unwrap(), &partition);
        }
    }
}

/// Random weights without a library in between, so that the counts below stay what they are.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn slices_stay_few_over_a_thousand_edits() {
    #[track_caller]
    fn check(arms: usize, bound: usize, mut next: impl FnMut(&mut Dice, &mut Vec<u64>)) {
        let mut most = 0;
        for seed in 1..=5 {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
            let mut list = vec![1_000_000; arms];
            let weights = |list: &[u64]| -> Vec<Weight> {
                list.iter().map(|m| Weight::from_millionths(*m).unwrap()).collect()
            };
            let mut partition = Partition::new(&weights(&list)).unwrap();
            for _ in 0..1_000 {
                let old = weights(&list);
                next(&mut dice, &mut list);
                let new = weights(&list);
                let after = partition.rebalance(&new).unwrap();
                check_edit(&partition, &after, &old, &new);
                most = most.max(after.slices().count());
                partition = after;
            }
        }
        assert!(most <= bound, "{arms} arms: {most} slices");
    }
    let anew = |dice: &mut Dice, list: &mut Vec<u64>| {
        for weight in list.iter_mut() {
            *weight = dice.below(100_000_000);
        }
        list[0] += 1;
    };
    let nudge = |dice: &mut Dice, list: &mut Vec<u64>| {
        let arm = usize::try_from(dice.below(list.len() as u64)).unwrap();
        list[arm] = (list[arm] + dice.below(2_000_001)).saturating_sub(1_000_000).max(1);
    };
    let join_and_leave = |dice: &mut Dice, list: &mut Vec<u64>| {
        for weight in list.iter_mut() {
            *weight = if dice.below(2) == 0 { 0 } else { dice.below(100_000_000) };
        }
        list[0] += 1;
    };
    check(2, 3, anew);
    check(8, 50, anew);
    check(20, 100, anew);
    check(2, 3, join_and_leave);
    check(8, 50, join_and_leave);
    check(20, 100, join_and_leave);
    // The hardest: at each edit one arm gains a little from all others, or loses to them.
    check(2, 3, nudge);
    check(8, 100, nudge);
    check(20, 500, nudge);
}

#[test]
fn refuses_what_cannot_be_cut() {
    #[track_caller]
    fn check(weights: &[Weight], rule: &str) {
        assert_eq!(Partition::new(weights).unwrap_err().rule(), rule);
        let whole = Partition::new(&[Weight::MAX]).unwrap();
        assert_eq!(whole.rebalance(weights).unwrap_err().rule(), rule);
    }
    check(&[], "must have an arm");
    check(&[Weight::ZERO], "must not all be 0");
    check(&[Weight::ZERO; 3], "must not all be 0");
    check(&[Weight::MAX; 256], "must have at most 255 arms");
    let most = [Weight::MAX; 255];
    check_whole(&Partition::new(&most).unwrap(), &most);
}
