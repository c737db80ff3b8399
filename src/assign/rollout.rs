//! Slices, compiled for assigning: one draw that decides both traffic and arm.

use std::ops::Range;

use super::compile::others;
use super::explain::{Step, Trace};
use super::hash::sha1_point;
use super::plan::Arm;
use super::{Decision, Plan, Reason};
use crate::id::VariationId;
use crate::model::{Design, HashVersion, Rollout, RolloutSlice, Salt};

/// The slices of a rollout, as ranges of points.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Buckets {
    pub(crate) salt: Salt,
    /// Ascending to 2^60, none of them empty.
    slices: Box<[Slice]>,
    /// The number of what the first slice with a weight serves.
    first: u8,
}

/// A run of points with one fate; the next begins where it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slice {
    /// The first point after it.
    end: u64,
    share: Share,
}

/// What a slice serves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share {
    /// The number of what is served.
    pub(crate) arm: u8,
    /// Whether its subjects are in the experiment.
    pub(crate) tracked: bool,
}

impl Buckets {
    /// How many points there are: 2^60.
    pub(crate) const POINTS: u64 = 1 << 60;

    pub(super) fn new(hash: HashVersion, design: &Design, rollout: &Rollout) -> Self {
        let others = others(design);
        let share = |slice: &RolloutSlice| Share {
            arm: number(design, &others, slice),
            tracked: !slice.untracked,
        };
        let mut slices: Vec<Slice> = Vec::new();
        let mut start = 0;
        for (slice, end) in rollout.slices().iter().zip(ends(hash, rollout.slices())) {
            if end > start {
                slices.push(Slice { end, share: share(slice) });
                start = end;
            }
        }
        // Whoever lies past the end has the last slice, be it empty.
        if let Some(last) = rollout.slices().last().filter(|_| start < Self::POINTS) {
            slices.pop_if(|before| before.share == share(last));
            slices.push(Slice { end: Self::POINTS, share: share(last) });
        }
        let first = rollout.slices().iter().find(|slice| slice.weight > 0);
        Self {
            salt: design.salt.clone(),
            slices: slices.into(),
            first: first.map_or(Arm::NONE, |slice| share(slice).arm),
        }
    }

    /// The number of what subjects without an id are served: they are in bucket 0.
    pub(super) fn first(&self) -> u8 {
        self.first
    }

    /// The slices in order: their points, and what they serve.
    pub(crate) fn slices(&self) -> impl Iterator<Item = (Range<u64>, Share)> {
        let starts = [0].into_iter().chain(self.slices.iter().map(|slice| slice.end));
        starts.zip(&self.slices).map(|(start, slice)| (start..slice.end, slice.share))
    }

    /// The number of the slice in which a point lies.
    #[inline]
    fn find(&self, point: u64) -> usize {
        self.slices.partition_point(|slice| slice.end <= point)
    }
}

/// The number of what a slice serves.
fn number(design: &Design, others: &[&VariationId], slice: &RolloutSlice) -> u8 {
    let Some(id) = &slice.variation_id else { return Arm::NONE };
    if slice.untracked && design.outside_variation_id.as_ref() == Some(id) {
        return Arm::OUTSIDE;
    }
    let arms = design.allocations.iter().map(|arm| &arm.variation_id);
    let place = arms.chain(others.iter().copied()).position(|own| own == id);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(Arm::NONE)
}

/// The first point after each slice; ascending, though slices of weight 0 have that of the one
/// before.
fn ends(hash: HashVersion, slices: &[RolloutSlice]) -> Vec<u64> {
    let weights = slices.iter().map(|slice| slice.weight);
    match hash {
        HashVersion::Sha1F32V1 => {
            let ends = weights.scan(0.0, |sum: &mut f32, weight| {
                *sum += single(weight.into()) / single(RolloutSlice::BUCKETS.into());
                Some(first_at_least(*sum))
            });
            ends.collect()
        }
        HashVersion::Xxh64V1 | HashVersion::Sha1V1 => {
            let ends = weights.scan(0, |sum: &mut u128, weight| {
                *sum += u128::from(weight);
                let points = *sum * u128::from(Buckets::POINTS - 1);
                let end = points.div_ceil(RolloutSlice::BUCKETS.into());
                Some(u64::try_from(end).unwrap_or(Buckets::POINTS))
            });
            ends.collect()
        }
    }
}

/// The first point whose share in floats of 32 bits is not below this one; 2^60 if none is.
fn first_at_least(share: f32) -> u64 {
    let whole = single(Buckets::POINTS - 1);
    let (mut low, mut high) = (0, Buckets::POINTS);
    while low < high {
        let middle = low + (high - low) / 2;
        if single(middle) / whole < share {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The nearest float of 32 bits, of two that are as near the even one.
#[expect(clippy::cast_precision_loss, reason = "this rounding is what is wanted")]
fn single(number: u64) -> f32 {
    number as f32
}

impl Plan {
    /// What the one draw of a rollout gives.
    #[inline]
    pub(super) fn roll<'s>(
        &'s self,
        buckets: &'s Buckets,
        id: &str,
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        let point = sha1_point(buckets.salt.as_str(), id);
        let place = buckets.find(point);
        // The last slice ends with the last point, so one is always found.
        let share = buckets.slices.get(place).map(|slice| slice.share);
        let served = share.and_then(|share| self.numbered(share.arm));
        let tracked = share.is_some_and(|share| share.tracked);
        trace.note(|| Step::Rollout {
            point,
            start: buckets.slices().nth(place).map_or(0, |(points, _)| points.start),
            end: buckets.slices().nth(place).map_or(0, |(points, _)| points.end),
            variation_id: served.map(|arm| arm.variation_id.clone()),
            tracked,
        });
        self.serve(served, if tracked { Reason::Split } else { Reason::NotSampled })
    }
}
