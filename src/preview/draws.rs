//! The draws of a plan, and what they come to.

use std::collections::BTreeMap;

use super::Place;
#[cfg(feature = "launchdarkly")]
use crate::assign::Buckets;
use crate::assign::{Gate, Guards, Link, Open, Plan, Route, Share, Shipped};
#[cfg(feature = "launchdarkly")]
use crate::model::Salt;
use crate::partition::Partition;
use crate::time::Timestamp;

/// How far a subject has come through the gates of one plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It has passed all that it was asked.
    Alive,
    Done(Place),
}

impl Fate {
    pub(super) fn into_place(self) -> Place {
        match self {
            Self::Alive => Place::NOTHING,
            Self::Done(place) => place,
        }
    }
}

/// What a point is drawn by: with the same key a subject has the same point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Seed(u64),
    #[cfg(feature = "launchdarkly")]
    Salt(Salt),
}

impl Key {
    /// How many bits a point has.
    fn bits(&self) -> u32 {
        match self {
            Self::Seed(_) => Partition::POINTS.ilog2(),
            #[cfg(feature = "launchdarkly")]
            Self::Salt(_) => Buckets::POINTS.ilog2(),
        }
    }
}

/// A draw of a plan: the fate of each point, as slices that each end where the next begins.
struct Draw {
    key: Key,
    /// The first point after each slice, ascending to all points, and what becomes of those in it.
    slices: Vec<(u64, Fate)>,
}

impl Draw {
    /// A draw in which all points below `end` have one fate and the others another.
    fn below(seed: u64, end: u64, below: Fate, rest: Fate) -> Self {
        Self { key: Key::Seed(seed), slices: vec![(end, below), (Partition::POINTS, rest)] }
    }

    fn fate(&self, point: u64) -> &Fate {
        let slice = self.slices.partition_point(|(end, _)| *end <= point);
        self.slices.get(slice).map_or(&Fate::Alive, |(_, fate)| fate)
    }
}

/// The draws of a plan, in the order in which they are made.
#[derive(Default)]
pub(super) struct Draws {
    /// What becomes of everyone, when nothing is drawn.
    fate: Option<Fate>,
    holdouts: Vec<Draw>,
    layer: Vec<Draw>,
    traffic: Vec<Draw>,
    variation: Vec<Draw>,
}

impl Draws {
    /// The draws at a moment; `None` when attributes or other experiments of a chain decide.
    pub(super) fn of(plan: Option<&Plan>, now: Timestamp) -> Option<Self> {
        let nothing = || {
            let fate = Some(Fate::Done(Place::NOTHING));
            Some(Self { fate, ..Self::default() })
        };
        let Some(plan) = plan else { return nothing() };
        let outside = Fate::Done(Place::arm(plan.outside(), false));
        let held_out = Fate::Done(Place::arm(plan.held_out(), false));
        let open = match &plan.gate {
            Gate::Open(open) => open,
            Gate::Shipped(shipped) => return Self::of_shipped(plan, shipped, &held_out),
            Gate::Off(_) => {
                let fate = Some(Fate::Done(Place::arm(plan.off(), false)));
                return Some(Self { fate, ..Self::default() });
            }
            Gate::Paused(_) | Gate::Closed(_) => return nothing(),
        };
        let mut draws = Self::default();
        let mut traffic_end = open.traffic_end;
        if let Some(guards) = &open.guards {
            if let Some(schedule) = &guards.schedule {
                let Ok(traffic) = schedule.traffic_at(now) else { return nothing() };
                traffic_end = traffic_end.max(traffic.points());
            }
            let before = guards.chain.iter().flat_map(Link::before);
            let chained = before.into_iter().any(|plan| matches!(plan.gate, Gate::Open(_)));
            if guards.audience.is_some() || chained {
                return None;
            }
            draws.holdouts = draws_of_holdouts(guards, &held_out);
            draws.layer.extend(guards.layer.as_ref().map(|gate| {
                let slots = gate
                    .slots()
                    .flat_map(|slot| [(slot.start, outside.clone()), (slot.end, Fate::Alive)]);
                let slices = slots.chain([(Partition::POINTS, outside.clone())]).collect();
                Draw { key: Key::Seed(gate.seed), slices }
            }));
        }
        #[cfg(feature = "launchdarkly")]
        if let Route::Rollout(buckets) = &open.route {
            draws.variation.push(draw_of_rollout(plan, buckets));
            return Some(draws);
        }
        let arm = |number: usize| Fate::Done(Place::arm(plan.arms.get(number), true));
        let rest = open.rest.map_or(outside, |control| arm(control.into()));
        draws.traffic.push(Draw::below(open.traffic_seed, traffic_end, Fate::Alive, rest));
        draws.variation.push(draw_of_variation(open, arm)?);
        Some(draws)
    }
}

impl Draws {
    fn of_shipped(plan: &Plan, shipped: &Shipped, held_out: &Fate) -> Option<Self> {
        let mut draws = Self::default();
        if let Some(guards) = &shipped.guards {
            if guards.audience.is_some() {
                return None;
            }
            draws.holdouts = draws_of_holdouts(guards, held_out);
        }
        let winner = Fate::Done(Place::arm(plan.arms.get(usize::from(shipped.arm)), false));
        draws.variation.push(Draw { key: Key::Seed(0), slices: vec![(Partition::POINTS, winner)] });
        Some(draws)
    }
}

fn draws_of_holdouts(guards: &Guards, held_out: &Fate) -> Vec<Draw> {
    let gates = guards.holdouts.iter();
    gates.map(|gate| Draw::below(gate.seed, gate.end, held_out.clone(), Fate::Alive)).collect()
}

/// The draw that decides both traffic and arm.
#[cfg(feature = "launchdarkly")]
fn draw_of_rollout(plan: &Plan, buckets: &Buckets) -> Draw {
    let slices = buckets.slices().map(|(points, share)| {
        (points.end, Fate::Done(Place::arm(plan.numbered(share.arm), share.tracked)))
    });
    Draw { key: Key::Salt(buckets.salt.clone()), slices: slices.collect() }
}

/// The draw of the arm; `None` when a segment decides.
fn draw_of_variation(open: &Open, arm: impl Fn(usize) -> Fate) -> Option<Draw> {
    let partition = match &open.route {
        Route::Percentage(partition) => partition,
        Route::Segments(targets) if targets.iter().next().is_none() => match &targets.fallback {
            Share::Split(partition) => partition,
            Share::Whole(number) => {
                let all = vec![(Partition::POINTS, arm(usize::from(*number)))];
                return Some(Draw { key: Key::Seed(open.variation_seed), slices: all });
            }
        },
        Route::Segments(_) => return None,
        #[cfg(feature = "launchdarkly")]
        Route::Rollout(_) => return None,
    };
    let slices = partition.slices().map(|(_, end, number)| (end, arm(number)));
    Some(Draw { key: Key::Seed(open.variation_seed), slices: slices.collect() })
}

/// What all subjects are in the arithmetic of shares: as much as leaves room for one more draw, and
/// far finer than a float.
pub(super) const WHOLE: u128 = 1 << 95;

/// What share of the subjects has come to which fate in both plans.
pub(super) struct Fates {
    draws: [Draws; 2],
    shares: BTreeMap<(Fate, Fate), u128>,
}

impl Fates {
    pub(super) fn new(draws: [Draws; 2]) -> Self {
        let [before, after] = draws.each_ref().map(|d| d.fate.clone().unwrap_or(Fate::Alive));
        Self { draws, shares: BTreeMap::from([((before, after), WHOLE)]) }
    }

    /// What share has come to which fate when all draws are made.
    pub(super) fn shares(mut self) -> BTreeMap<(Fate, Fate), u128> {
        self.draw(|draws| &draws.holdouts);
        self.draw(|draws| &draws.layer);
        self.draw(|draws| &draws.traffic);
        self.draw(|draws| &draws.variation);
        self.shares
    }

    /// Makes the draws of one kind. Those with the same key are one draw, in which a subject has
    /// one point; all others are independent.
    fn draw(&mut self, of: impl Fn(&Draws) -> &Vec<Draw>) {
        let [before, after] = self.draws.each_ref().map(of);
        let mut keys: Vec<&Key> = before.iter().chain(after).map(|draw| &draw.key).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let [ours, theirs] = [before, after]
                .map(|draws| draws.iter().filter(|draw| draw.key == *key).collect::<Vec<_>>());
            let classes = classes(&ours, &theirs);
            let mut shares = BTreeMap::new();
            for ((one, other), share) in &self.shares {
                for ((then_one, then_other), points) in &classes {
                    let next = |fate: &Fate, then: &Fate| match fate {
                        Fate::Alive => then.clone(),
                        Fate::Done(_) => fate.clone(),
                    };
                    let fates = (next(one, then_one), next(other, then_other));
                    *shares.entry(fates).or_insert(0) += part(*share, *points, key.bits());
                }
            }
            self.shares = shares;
        }
    }
}

/// The part of a share that so many points of 2^bits have, rounded down. In two steps, since the
/// product can have more than 128 bits.
fn part(share: u128, points: u64, bits: u32) -> u128 {
    let half = bits / 2;
    let (high, low) = (points >> half, points & ((1 << half) - 1));
    (share * u128::from(high) + ((share * u128::from(low)) >> half)) >> (bits - half)
}

/// How many points have which fates in the draws of one key. Of several in one plan, the first that
/// ends a subject's way decides.
fn classes(ours: &[&Draw], theirs: &[&Draw]) -> BTreeMap<(Fate, Fate), u64> {
    let all = ours.iter().chain(theirs);
    let mut ends: Vec<u64> = all.flat_map(|draw| draw.slices.iter().map(|(end, _)| *end)).collect();
    ends.sort_unstable();
    ends.dedup();
    let fate = |draws: &[&Draw], point: u64| {
        let mut fates = draws.iter().map(|draw| draw.fate(point));
        fates.find(|fate| **fate != Fate::Alive).cloned().unwrap_or(Fate::Alive)
    };
    let mut classes = BTreeMap::new();
    let mut start = 0;
    for end in ends {
        *classes.entry((fate(ours, start), fate(theirs, start))).or_insert(0) += end - start;
        start = end;
    }
    classes
}
