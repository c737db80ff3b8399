//! How a rollout becomes the next one.

use super::{Due, Rollout, RolloutSlice, all};
use crate::id::VariationId;
use crate::partition::{Piece, rebalance};

impl Rollout {
    /// The rollout that gives each arm what it is due and differs from this one in as few buckets
    /// as can be.
    ///
    /// With `served_only`, whoever is in the experiment leaves it and is served what they had, and
    /// those who are in afterwards are all from outside; `None` when the outside has not as many.
    /// The traffic that it is cut for stays what it was, for the caller to set.
    pub(crate) fn carry(&self, due: &[Due<'_>], served_only: bool) -> Option<Self> {
        let fits = |slice: &RolloutSlice| {
            slice.untracked || due.iter().any(|(id, _)| Some(*id) == slice.variation_id.as_ref())
        };
        if !served_only
            && self.slices.iter().all(fits)
            && due.iter().all(|(id, points)| self.tracked(id) == *points)
        {
            return Some(self.clone());
        }
        let (mut fates, mut pieces) = self.fates(due, served_only)?;
        let wanted: u64 = fates.iter().skip(1).map(|fate| fate.want).sum();
        let shortage = wanted.saturating_sub(all());
        if shortage > 0 {
            if served_only {
                return None;
            }
            pieces = take_back(&mut fates, pieces, shortage);
        }
        let wanted: u64 = fates.iter().skip(1).map(|fate| fate.want).sum();
        if let Some(outside) = fates.first_mut() {
            outside.want = all().saturating_sub(wanted);
        }
        let pieces = rebalance(pieces, fates.iter().map(|fate| fate.want).collect());
        let labelled = pieces.iter().filter_map(|piece| {
            let fate = fates.get(usize::from(piece.arm))?;
            Some((fate.variation_id, piece.points, fate.untracked))
        });
        let next = Self::labelled(labelled, self.outside.as_ref());
        Some(Self { traffic: self.traffic, ..next })
    }

    /// The fates of the buckets, that of the outside first and then those of the arms, and the
    /// slices as pieces of them.
    fn fates<'a>(
        &'a self,
        due: &[Due<'a>],
        served_only: bool,
    ) -> Option<(Vec<Fate<'a>>, Vec<Piece>)> {
        let outside = self.outside.as_ref();
        let fate = |variation_id, untracked| Fate { untracked, ..Fate::of(variation_id) };
        let mut fates = vec![fate(outside, true)];
        fates.extend(due.iter().map(|(id, want)| Fate { want: *want, ..fate(Some(id), false) }));
        let mut pieces = Vec::with_capacity(self.slices.len());
        for slice in &self.slices {
            // Who leaves is told from who was outside before, even if both are served the same.
            let leaves = served_only && !slice.untracked;
            let variation_id = slice.variation_id.as_ref();
            let own = Fate { leaves, ..fate(variation_id, slice.untracked || leaves) };
            let place = fates.iter().position(|fate| fate.is(&own)).unwrap_or_else(|| {
                fates.push(own);
                fates.len() - 1
            });
            let points = u64::from(slice.weight);
            if let Some(fate) = fates.get_mut(place) {
                fate.have += points;
                fate.want += if fate.untracked { points } else { 0 };
            }
            pieces.push(Piece { points, arm: u8::try_from(place).ok()? });
        }
        Some((fates, pieces))
    }
}

/// What becomes of buckets: how many there are, and how many there will be.
#[derive(Clone, Copy)]
struct Fate<'a> {
    variation_id: Option<&'a VariationId>,
    untracked: bool,
    /// Whether its subjects are just leaving the experiment.
    leaves: bool,
    have: u64,
    want: u64,
}

impl<'a> Fate<'a> {
    fn of(variation_id: Option<&'a VariationId>) -> Self {
        Self { variation_id, untracked: false, leaves: false, have: 0, want: 0 }
    }

    fn is(&self, other: &Self) -> bool {
        let key = |own: &Self| (own.untracked, own.leaves);
        key(self) == key(other) && self.variation_id == other.variation_id
    }
}

/// Takes buckets of those who were served only, since the outside does not suffice: first for the
/// arms whose variation they have.
fn take_back(fates: &mut [Fate<'_>], mut pieces: Vec<Piece>, mut shortage: u64) -> Vec<Piece> {
    let arms: Vec<usize> = (0..fates.len())
        .filter(|place| fates.get(*place).is_some_and(|fate| !fate.untracked))
        .collect();
    for arm in arms {
        let Some(grown) = fates.get(arm).copied() else { continue };
        let served = Fate { untracked: true, ..grown };
        let Some(place) = fates.iter().skip(1).position(|fate| fate.is(&served)) else { continue };
        let Some(served) = fates.get_mut(place + 1) else { continue };
        let taken = shortage.min(served.have).min(grown.want.saturating_sub(grown.have));
        (served.have, served.want) = (served.have - taken, served.want - taken);
        if let Some(grown) = fates.get_mut(arm) {
            grown.have += taken;
        }
        pieces = rebalance(pieces, fates.iter().map(|fate| fate.have).collect());
        shortage -= taken;
    }
    for served in fates.iter_mut().skip(1).filter(|fate| fate.untracked) {
        let taken = shortage.min(served.want);
        served.want -= taken;
        shortage -= taken;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::number::Percentage;
    use proptest::prelude::*;

    const IDS: [&str; 4] = ["var_a", "var_b", "var_c", "var_d"];

    fn id(number: usize) -> VariationId {
        IDS[number % IDS.len()].parse().unwrap()
    }

    /// Random slices, which never serve the outside variation untracked but as the outside.
    fn slices() -> impl Strategy<Value = Vec<RolloutSlice>> {
        let slice = (0..4_usize, 0..40_000_u32, 0..3_u8);
        prop::collection::vec(slice, 1..12).prop_map(|list| {
            let slice = |(number, weight, fate)| match fate {
                0 => RolloutSlice::tracked(id(number), weight),
                1 => RolloutSlice::untracked(id(number), weight),
                _ => RolloutSlice::outside(weight),
            };
            list.into_iter().map(slice).collect()
        })
    }

    /// What arms must be due for slices to be read.
    fn as_they_are(list: &[RolloutSlice]) -> BTreeMap<VariationId, u64> {
        let mut left = RolloutSlice::BUCKETS;
        let mut due = BTreeMap::new();
        for (index, slice) in list.iter().enumerate() {
            let last = index + 1 == list.len();
            let weight = if last { left } else { slice.weight.min(left) };
            left -= weight;
            let tracked = slice.variation_id.clone().filter(|_| !slice.untracked);
            if let Some(id) = tracked {
                *due.entry(id).or_default() += u64::from(weight);
            }
        }
        due
    }

    /// Each bucket's variation, and whether it is tracked.
    fn buckets(rollout: &Rollout) -> Vec<(Option<&VariationId>, bool)> {
        let slices = rollout.slices().iter();
        slices
            .flat_map(|own| {
                let fate = (own.variation_id.as_ref(), !own.untracked);
                std::iter::repeat_n(fate, usize::try_from(own.weight).unwrap())
            })
            .collect()
    }

    fn count<T: Ord>(all: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
        all.fold(BTreeMap::new(), |mut counts, own| {
            *counts.entry(own).or_default() += 1;
            counts
        })
    }

    fn read(list: &[RolloutSlice], outside: Option<&VariationId>) -> Rollout {
        let due = as_they_are(list);
        let due: Vec<Due<'_>> = due.iter().map(|(id, points)| (id, *points)).collect();
        Rollout::read(list, &due, outside, Percentage::MAX).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn carrying_gives_what_is_due_and_moves_the_least(
            list in slices(),
            shares in prop::collection::vec(0..40_000_u64, 1..5),
            outside in prop::option::of(Just(id(3))),
        ) {
            let before = read(&list, outside.as_ref());
            let ids: Vec<VariationId> = (0..shares.len()).map(id).collect();
            let mut left = all();
            let due: Vec<Due<'_>> = ids.iter().zip(shares).map(|(id, share)| {
                let share = share.min(left);
                left -= share;
                (id, share)
            }).collect();
            let after = before.carry(&due, false).unwrap();
            let [old, new] = [&before, &after].map(buckets);
            prop_assert_eq!(new.len(), 100_000);
            for (id, points) in &due {
                prop_assert_eq!(after.tracked(id), *points);
            }
            prop_assert_eq!(due.iter().map(|(_, points)| points).sum::<u64>(),
                after.slices().iter().filter(|own| !own.untracked).map(|own| u64::from(own.weight)).sum::<u64>());
            // Whatever else is served shrinks only when the outside is used up.
            let (had, has) = (count(old.iter().copied()), count(new.iter().copied()));
            let of = |counts: &BTreeMap<_, u64>, fate| counts.get(&fate).copied().unwrap_or(0);
            let is_outside = |fate: &(Option<&VariationId>, bool)| !fate.1 && fate.0 == outside.as_ref();
            for (fate, points) in &had {
                if !fate.1 && !is_outside(fate) && of(&has, *fate) != *points {
                    prop_assert!(of(&has, *fate) < *points);
                    prop_assert_eq!(of(&has, (outside.as_ref(), false)), 0);
                }
            }
            let moved = old.iter().zip(&new).filter(|(one, other)| one != other).count();
            let shrunk: u64 = had.iter().map(|(fate, points)| points.saturating_sub(of(&has, *fate))).sum();
            prop_assert_eq!(u64::try_from(moved).unwrap(), shrunk);
            // The buckets that a served variation takes back are the arm's of that variation.
            for (one, other) in old.iter().zip(&new).filter(|(one, other)| one != other) {
                prop_assert!(of(&had, *one) > of(&has, *one) && of(&had, *other) < of(&has, *other));
            }
            prop_assert_eq!(after.carry(&due, false), Some(after.clone()));
        }

        #[test]
        fn served_only_takes_all_from_the_outside_and_keeps_what_everyone_sees(
            list in slices(),
            shares in prop::collection::vec(0..30_000_u64, 1..5),
            outside in prop::option::of(Just(id(3))),
        ) {
            let before = read(&list, outside.as_ref());
            let ids: Vec<VariationId> = (0..shares.len()).map(id).collect();
            let due: Vec<Due<'_>> = ids.iter().zip(shares).collect();
            let wanted: u64 = due.iter().map(|(_, points)| points).sum();
            let old = buckets(&before);
            let pool = old.iter().filter(|own| **own == (outside.as_ref(), false)).count();
            let after = before.carry(&due, true);
            prop_assert_eq!(after.is_some(), wanted <= u64::try_from(pool).unwrap());
            let Some(after) = after else { return Ok(()) };
            for (id, points) in &due {
                prop_assert_eq!(after.tracked(id), *points);
            }
            for (one, other) in old.iter().zip(buckets(&after)) {
                match other {
                    (_, true) => prop_assert_eq!(*one, (outside.as_ref(), false)),
                    (served, false) => prop_assert_eq!(one.0, served),
                }
            }
        }
    }

    /// Three arms with 6 % of all, raised to 30 %: those who were in keep what they have, uncounted,
    /// and 64 % of all stay outside.
    #[test]
    fn the_published_case_of_a_ramp_that_is_not_reshuffled() {
        let control = id(0);
        let six: Vec<VariationId> = (0..3).map(id).collect();
        let at = |points: u64| six.iter().map(|id| (id, points)).collect::<Vec<_>>();
        let before = Rollout::lay_out(&at(2_000), Some(&control), Percentage::MAX);
        let after = before.carry(&at(10_000), true).unwrap();
        let counts = count(buckets(&after).into_iter());
        let expected = [
            ((Some(&six[0]), false), 66_000),
            ((Some(&six[0]), true), 10_000),
            ((Some(&six[1]), false), 2_000),
            ((Some(&six[1]), true), 10_000),
            ((Some(&six[2]), false), 2_000),
            ((Some(&six[2]), true), 10_000),
        ];
        assert_eq!(counts, BTreeMap::from(expected));
        let served = |rollout: &Rollout| {
            buckets(rollout)[..6_000].iter().map(|own| own.0.cloned()).collect::<Vec<_>>()
        };
        assert_eq!(served(&after), served(&before));
    }

    #[test]
    fn an_arm_takes_back_what_its_variation_was_served_before_others_do() {
        let slices = [
            RolloutSlice::untracked(id(0), 30_000),
            RolloutSlice::untracked(id(1), 30_000),
            RolloutSlice::tracked(id(0), 20_000),
            RolloutSlice::tracked(id(1), 10_000),
            RolloutSlice::outside(10_000),
        ];
        let before = read(&slices, None);
        let (a, b) = (id(0), id(1));
        let after = before.carry(&[(&a, 50_000), (&b, 20_000)], false).unwrap();
        let old = buckets(&before);
        let changed = old
            .iter()
            .zip(buckets(&after))
            .filter(|(one, other)| one.0.is_some() && one.0 != other.0);
        assert_eq!(changed.count(), 0, "nobody is served something else but from outside");
        assert_eq!((after.tracked(&a), after.tracked(&b)), (50_000, 20_000));
    }
}
