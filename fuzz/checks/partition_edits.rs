//! Whatever the weights become, a partition keeps its word; what that is, is worked out here anew.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a check fails by panicking")]

use variate::{Partition, Weight};

const ARMS: usize = 20;
const EDITS: usize = 40;

/// Takes any bytes: a line is a list of weights, one byte each, and each line but the first an edit
/// of the cut that those before it have left.
pub fn check(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').take(EDITS);
    let lines = lines.map(|line| line.iter().take(ARMS).copied().map(weight));
    let mut state: Option<(Partition, Vec<u64>)> = None;
    for weights in lines {
        let weights: Vec<Weight> = weights.collect();
        let next = match &state {
            None => Partition::new(&weights),
            Some((before, _)) => before.rebalance(&weights),
        };
        let Ok(next) = next else {
            assert!(weights.iter().all(|weight| weight.is_zero()), "{weights:?} must be a cut");
            continue;
        };
        let shares = shares(&weights);
        check_cut(&next, &shares);
        if let Some((before, old)) = &state {
            check_move(before, old, &next, &shares);
        }
        check_scale(state.as_ref().map(|(before, _)| before), &weights, &next);
        assert_eq!(next.rebalance(&weights).as_ref(), Ok(&next), "the same weights move nobody");
        state = Some((next, shares));
    }
}

/// A digit is itself; the small letters are the least weights, the large ones the greatest; what is
/// left has as many decimals as can be.
fn weight(byte: u8) -> Weight {
    let millionths = match byte {
        b'0'..=b'9' => u64::from(byte - b'0') * 1_000_000,
        b'a'..=b'z' => 1 << (byte - b'a'),
        b'A'..=b'Z' => Weight::MAX.millionths() >> (byte - b'A'),
        _ => u64::from(byte) * 333_333,
    };
    Weight::from_millionths(millionths).unwrap()
}

/// How many points each arm is due.
fn shares(weights: &[Weight]) -> Vec<u64> {
    let sum = |count: usize| -> u128 {
        weights.iter().take(count).map(|weight| u128::from(weight.millionths())).sum()
    };
    let end = |count: usize| (sum(count) << 32) / sum(weights.len());
    (0..weights.len()).map(|arm| u64::try_from(end(arm + 1) - end(arm)).unwrap()).collect()
}

/// The share of an arm, which may not be in the list.
fn share(shares: &[u64], arm: usize) -> u64 {
    shares.get(arm).copied().unwrap_or(0)
}

/// The owner of a point by looking at every slice.
fn owner(partition: &Partition, point: u64) -> usize {
    let own = |(start, end, _): &(u64, u64, usize)| (*start..*end).contains(&point);
    let owners: Vec<usize> = partition.slices().filter(own).map(|(.., arm)| arm).collect();
    assert_eq!(owners.len(), 1, "{point} must have one owner");
    owners[0]
}

/// Every point has one owner, every arm its share, and look-up agrees with the slices.
fn check_cut(partition: &Partition, shares: &[u64]) {
    let mut end = 0;
    let mut last = None;
    let mut owned = vec![0; shares.len()];
    for (start, next, arm) in partition.slices() {
        assert_eq!(start, end, "slices must follow each other");
        assert!(next > start, "no slice is empty");
        assert_ne!(last, Some(arm), "neighbours must have different owners");
        owned[arm] += next - start;
        (end, last) = (next, Some(arm));
        for point in [start.saturating_sub(1), start, start + 1, next - 1] {
            if let Ok(short) = u32::try_from(point) {
                assert_eq!(partition.owner(short), owner(partition, point));
            }
        }
    }
    assert_eq!(end, Partition::POINTS, "the last slice must end with the last point");
    assert_eq!(owned, shares, "each arm must own what its weight says");
    for arm in 0..ARMS {
        assert_eq!(partition.points(arm), share(shares, arm));
    }
}

/// As few points moved as can, each from an arm that shrinks to one that grows.
fn check_move(before: &Partition, old: &[u64], after: &Partition, new: &[u64]) {
    let distance: u64 = (0..ARMS).map(|arm| share(old, arm).abs_diff(share(new, arm))).sum();
    let mut borders: Vec<u64> =
        before.slices().chain(after.slices()).map(|(_, end, _)| end).collect();
    borders.sort_unstable();
    let (mut start, mut moved) = (0, 0);
    for end in borders {
        // Between two borders all points have the same owners.
        if end > start {
            let (from, to) = (owner(before, start), owner(after, start));
            if from != to {
                moved += end - start;
                assert!(share(new, from) < share(old, from), "{from} must shrink to give points");
                assert!(share(new, to) > share(old, to), "{to} must grow to get points");
            }
            start = end;
        }
    }
    assert_eq!(2 * moved, distance, "no more points may move than have to");
    assert_eq!(before.moved(after), moved);
    assert_eq!(after.moved(before), moved);
}

/// Only the proportions of the weights count.
fn check_scale(before: Option<&Partition>, weights: &[Weight], expected: &Partition) {
    let largest = weights.iter().max().map_or(0, |weight| weight.millionths());
    for factor in [2, 7, Weight::MAX.millionths() / largest] {
        let scaled: Result<Vec<Weight>, _> =
            weights.iter().map(|w| Weight::from_millionths(w.millionths() * factor)).collect();
        if let Ok(scaled) = scaled {
            let same = match before {
                None => Partition::new(&scaled),
                Some(before) => before.rebalance(&scaled),
            };
            assert_eq!(same.as_ref(), Ok(expected), "times {factor} must change nothing");
        }
    }
}
