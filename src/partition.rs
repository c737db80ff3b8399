//! The cut of all points among arms.

use std::cmp::Reverse;
use std::num::NonZeroU32;
use std::ops::Range;

use crate::error::{Code, Error};
use crate::number::Weight;

/// A cut of the points `0..2^32` into slices, each owned by one arm.
///
/// Arms are numbered from 0 as in the list of weights. Every point has exactly one owner, there are
/// no floats, and an arm of weight 0 owns nothing.
///
/// # Shares
/// With W the sum of all weights and Wᵢ the sum of the first i, arm i owns as many points as lie
/// from `floor(2^32·Wᵢ/W)` to `floor(2^32·Wᵢ₊₁/W)`: within one point of its weight. Multiplying all
/// weights by the same number changes nothing.
///
/// # Edits
/// [`new`](Self::new) lays the arms out in order, one slice each. [`rebalance`](Self::rebalance)
/// starts from the present slices instead and moves as few points as arithmetic allows: the sum of
/// what the shrinking arms lose. A point moves only from an arm that shrinks to an arm that grows.
/// The shares afterwards are those that `new` gives, so they do not depend on the history; where
/// the slices lie does, which makes a partition part of its experiment's state.
///
/// ```
/// use variate::{Partition, Weight};
///
/// let weights = |list: [u32; 2]| list.map(|w| Weight::try_from(w).unwrap());
/// let half = Partition::new(&weights([50, 50]))?;
/// assert_eq!(half.owner(0), 0);
/// assert_eq!(half.owner(u32::MAX), 1);
///
/// let more = half.rebalance(&weights([60, 40]))?;
/// assert_eq!(half.moved(&more), Partition::POINTS / 10);
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    slices: Slices,
}

/// Ascending by start; the first starts at 0, and neighbours have different owners.
#[derive(Debug, Clone)]
enum Slices {
    /// What most partitions are is at hand without another look into memory.
    Two([Slice; 2]),
    Many(Box<[Slice]>),
}

impl Slices {
    #[inline]
    fn as_slice(&self) -> &[Slice] {
        match self {
            Self::Two(slices) => slices,
            Self::Many(slices) => slices,
        }
    }
}

impl From<Vec<Slice>> for Slices {
    fn from(slices: Vec<Slice>) -> Self {
        match <[Slice; 2]>::try_from(slices) {
            Ok(two) => Self::Two(two),
            Err(slices) => Self::Many(slices.into()),
        }
    }
}

impl PartialEq for Slices {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Slices {}

/// A run of points with one owner; it ends where the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) start: u32,
    pub(crate) arm: u8,
}

impl Partition {
    /// How many points there are: 2^32.
    pub const POINTS: u64 = 1 << 32;

    /// The most arms there can be.
    pub const MAX_ARMS: usize = 255;

    /// Up to so many slices, counting those that start early enough is quicker than halving.
    const FEW: usize = 16;

    /// Lays the arms out in order.
    ///
    /// # Errors
    /// [`Code::InvalidValue`] when all weights are 0 or there are none, [`Code::LimitExceeded`]
    /// with more than [`MAX_ARMS`](Self::MAX_ARMS).
    pub fn new(weights: &[Weight]) -> Result<Self, Error> {
        let pieces = widths(weights)?
            .into_iter()
            .zip(0..)
            .map(|(points, arm)| Piece { points, arm })
            .collect();
        Ok(Self::from_pieces(pieces))
    }

    /// Reads slices from a document: their starts and arms, of which there are `arms`.
    pub(crate) fn from_slices(slices: Vec<Slice>, arms: usize) -> Result<Self, Error> {
        if slices.first().is_none_or(|slice| slice.start != 0) {
            return Err(Error::invalid("must begin at point 0"));
        }
        for (index, pair) in slices.windows(2).enumerate() {
            let [one, next] = pair else { continue };
            if one.start >= next.start {
                return Err(Error::invalid("must begin after the one before").at_index(index + 1));
            }
            if one.arm == next.arm {
                let rule = "must have another owner than the one before";
                return Err(Error::invalid(rule).at_index(index + 1));
            }
        }
        if let Some(index) = slices.iter().position(|slice| usize::from(slice.arm) >= arms) {
            return Err(Error::invalid("must be owned by an arm").at_index(index));
        }
        Ok(Self { slices: slices.into() })
    }

    /// The partition for these weights that differs from this one in as few points as can be.
    ///
    /// Arms keep their numbers: one that leaves has weight 0, new ones come last.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn rebalance(&self, weights: &[Weight]) -> Result<Self, Error> {
        widths(weights).map(|due| self.rebalance_to(due))
    }

    /// The partition that gives each arm the points that it is due, all in all 2^32, and differs
    /// from this one in as few points as can be.
    fn rebalance_to(&self, due: Vec<u64>) -> Self {
        Self::from_pieces(rebalance(self.pieces(), due))
    }

    /// One arm that owns everything.
    pub(crate) fn whole() -> Self {
        Self { slices: vec![Slice { start: 0, arm: 0 }].into() }
    }

    /// The partition among `heirs`, each with the points that it is due, all in all 2^32, that
    /// differs from this one, which is among `owners`, in as few points as can be.
    ///
    /// Arms are told by what they are called and not by their numbers, and handled in the order of
    /// what they are called, so that the order of either list does not matter.
    pub(crate) fn pass_on<K: Ord + Copy>(&self, owners: &[K], heirs: &[(K, u64)]) -> Self {
        let mut all: Vec<K> = owners.iter().copied().chain(heirs.iter().map(|(k, _)| *k)).collect();
        all.sort_unstable();
        all.dedup();
        let place = |key: Option<&K>| {
            let place = key.and_then(|key| all.binary_search(key).ok());
            place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
        };
        let due = |key: &K| heirs.iter().find(|(heir, _)| heir == key).map_or(0, |(_, due)| *due);
        let ordered = self.renumber(|arm| place(owners.get(usize::from(arm))));
        ordered.rebalance_to(all.iter().map(due).collect()).renumber(|place| {
            let key = all.get(usize::from(place));
            let heir = heirs.iter().position(|(heir, _)| Some(heir) == key);
            heir.and_then(|heir| u8::try_from(heir).ok()).unwrap_or(u8::MAX)
        })
    }

    /// The arm that owns a point.
    #[inline]
    pub fn owner(&self, point: u32) -> usize {
        let slice = match &self.slices {
            // Half of all points lie on either side, so that no branch could foresee which: the
            // comparison is made an index.
            Slices::Two(slices @ [_, second]) => slices.get(usize::from(second.start <= point)),
            Slices::Many(slices) => slices.get(Self::starts(slices, point).wrapping_sub(1)),
        };
        // The first slice starts at 0, so one is always found.
        slice.map_or(0, |slice| usize::from(slice.arm))
    }

    /// How many slices start at a point or before it.
    #[inline]
    fn starts(slices: &[Slice], point: u32) -> usize {
        if slices.len() > Self::FEW {
            return slices.partition_point(|slice| slice.start <= point);
        }
        // Without a branch that depends on the point, which none could foresee; four by four, since a
        // loop that is made for long lists costs more than so short a one.
        let (fours, rest) = slices.as_chunks::<4>();
        let fours = fours.iter().map(|[a, b, c, d]| {
            usize::from(a.start <= point)
                + usize::from(b.start <= point)
                + usize::from(c.start <= point)
                + usize::from(d.start <= point)
        });
        fours.sum::<usize>() + rest.iter().filter(|slice| slice.start <= point).count()
    }

    /// The first point of the second slice and the owners of both, if there are two.
    pub(crate) fn pair(&self) -> Option<(NonZeroU32, [u8; 2])> {
        match &self.slices {
            Slices::Two([first, second]) => {
                Some((NonZeroU32::new(second.start)?, [first.arm, second.arm]))
            }
            Slices::Many(_) => None,
        }
    }

    /// The slice in which a point lies: its first point, and the one after its last.
    pub(crate) fn slice(&self, point: u32) -> Range<u64> {
        let slices = self.slices.as_slice();
        let after = Self::starts(slices, point);
        let start = slices.get(after.wrapping_sub(1)).map_or(0, |slice| slice.start.into());
        let end = slices.get(after).map_or(Self::POINTS, |slice| slice.start.into());
        start..end
    }

    /// How many of the 2^32 points an arm owns.
    pub fn points(&self, arm: usize) -> u64 {
        self.slices().filter(|(_, _, owner)| *owner == arm).map(|(start, end, _)| end - start).sum()
    }

    /// How many points have another owner in `other`.
    ///
    /// Arms are told by their numbers, so both must mean the same arms by them. For two states of
    /// an experiment see [`Iteration::moved`](crate::Iteration::moved), which goes by variation.
    pub fn moved(&self, other: &Self) -> u64 {
        let (mut ours, mut theirs) = (self.slices().peekable(), other.slices().peekable());
        let (mut at, mut moved) = (0, 0);
        while let (Some((_, our_end, our_arm)), Some((_, their_end, their_arm))) =
            (ours.peek().copied(), theirs.peek().copied())
        {
            let end = our_end.min(their_end);
            moved += if our_arm == their_arm { 0 } else { end - at };
            at = end;
            ours.next_if(|(_, slice_end, _)| *slice_end == end);
            theirs.next_if(|(_, slice_end, _)| *slice_end == end);
        }
        moved
    }

    /// The slices in order: the first point, the point after the last, and the arm.
    pub fn slices(&self) -> impl Iterator<Item = (u64, u64, usize)> {
        let slices = self.slices.as_slice();
        let ends = slices.iter().skip(1).map(|slice| u64::from(slice.start)).chain([Self::POINTS]);
        slices
            .iter()
            .zip(ends)
            .map(|(slice, end)| (u64::from(slice.start), end, usize::from(slice.arm)))
    }

    /// The same slices with other numbers for the arms.
    pub(crate) fn renumber(&self, mut number: impl FnMut(u8) -> u8) -> Self {
        let slices = self.slices.as_slice().iter();
        let slices: Vec<_> =
            slices.map(|slice| Slice { start: slice.start, arm: number(slice.arm) }).collect();
        Self { slices: slices.into() }
    }

    fn pieces(&self) -> Vec<Piece> {
        let ends = self.slices();
        ends.zip(self.slices.as_slice())
            .map(|((start, end, _), slice)| Piece { points: end - start, arm: slice.arm })
            .collect()
    }

    fn from_pieces(mut pieces: Vec<Piece>) -> Self {
        join(&mut pieces);
        let mut next = 0;
        let slices = pieces.iter().filter_map(|piece| {
            let start = u32::try_from(next).ok()?;
            next += piece.points;
            Some(Slice { start, arm: piece.arm })
        });
        Self { slices: slices.collect::<Vec<_>>().into() }
    }
}

/// How many points each arm is due.
pub(crate) fn widths(weights: &[Weight]) -> Result<Vec<u64>, Error> {
    if weights.len() > Partition::MAX_ARMS {
        let rule = format!("must have at most {} arms", Partition::MAX_ARMS);
        return Err(Error::new(Code::LimitExceeded, rule).with_value(&weights.len()));
    }
    let total: u128 = weights.iter().map(|weight| u128::from(weight.millionths())).sum();
    let (mut sum, mut start) = (0, 0);
    weights
        .iter()
        .map(|weight| {
            sum += u128::from(weight.millionths());
            let end = (sum << 32)
                .checked_div(total)
                .and_then(|end| u64::try_from(end).ok())
                .ok_or_else(|| Error::invalid("must not all be 0"))?;
            let points = end - start;
            start = end;
            Ok(points)
        })
        .collect::<Result<Vec<_>, Error>>()
        .and_then(|widths| match widths.is_empty() {
            true => Err(Error::invalid("must have an arm")),
            false => Ok(widths),
        })
}

/// A run of points in a partition that is being edited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) points: u64,
    pub(crate) arm: u8,
}

/// The pieces that give each arm the points that it is due, all in all as many as there are, and
/// differ from these in as few points as can be.
pub(crate) fn rebalance(pieces: Vec<Piece>, mut due: Vec<u64>) -> Vec<Piece> {
    // An arm beyond the list has left.
    let arms = pieces.iter().map(|piece| usize::from(piece.arm) + 1).max();
    due.resize(due.len().max(arms.unwrap_or(0)), 0);
    let arms = due.into_iter().enumerate().map(|(arm, due)| {
        let own = pieces.iter().filter(|piece| usize::from(piece.arm) == arm);
        let points: u64 = own.map(|piece| piece.points).sum();
        Arm { excess: points.saturating_sub(due), deficit: due.saturating_sub(points) }
    });
    let mut edit = Edit { arms: arms.collect(), pieces };
    join(&mut edit.pieces);
    while edit.absorb() || edit.shift() || edit.hand_over() || edit.split() {
        join(&mut edit.pieces);
    }
    edit.pieces
}

/// Drops empty pieces and makes one of neighbours with the same owner.
fn join(pieces: &mut Vec<Piece>) {
    pieces.retain(|piece| piece.points > 0);
    pieces.dedup_by(|piece, before| {
        let same = piece.arm == before.arm;
        if same {
            before.points += piece.points;
        }
        same
    });
}

/// What an arm has to lose or to gain.
#[derive(Clone, Copy, Default)]
struct Arm {
    excess: u64,
    deficit: u64,
}

/// A rebalance under way. Each step takes points from an arm that has too many and gives them to
/// one that has too few, so that any order of steps moves the least; the order here keeps slices
/// few.
struct Edit {
    pieces: Vec<Piece>,
    arms: Vec<Arm>,
}

impl Edit {
    fn arm(&self, piece: Piece) -> Arm {
        self.arms.get(usize::from(piece.arm)).copied().unwrap_or_default()
    }

    /// The pieces that lie beside one.
    fn beside(&self, index: usize) -> [Option<(usize, Piece)>; 2] {
        let at = |index: usize| Some((index, *self.pieces.get(index)?));
        [index.checked_sub(1).and_then(at), at(index + 1)]
    }

    fn shrinking(&self) -> impl Iterator<Item = (usize, Piece)> {
        let pieces = self.pieces.iter().copied().enumerate();
        pieces.filter(|(_, piece)| self.arm(*piece).excess > 0)
    }

    /// Moves the border between two neighbours.
    fn pass(&mut self, from: usize, to: usize, points: u64) {
        for (index, gives) in [(from, true), (to, false)] {
            let Some(piece) = self.pieces.get_mut(index) else { return };
            let Some(arm) = self.arms.get_mut(usize::from(piece.arm)) else { return };
            if gives {
                piece.points -= points;
                arm.excess -= points;
            } else {
                piece.points += points;
                arm.deficit -= points;
            }
        }
    }

    /// Dissolves a whole slice into its neighbours, best between two of one arm: the smallest
    /// first, so that fragments vanish.
    fn absorb(&mut self) -> bool {
        let whole = self.shrinking().filter(|(_, piece)| piece.points <= self.arm(*piece).excess);
        let absorbable = whole.filter_map(|(index, piece)| {
            let sides = self.beside(index);
            let [left, right] =
                sides.map(|side| side.map_or(0, |(_, other)| self.arm(other).deficit));
            let [left_arm, right_arm] = sides.map(|side| side.map(|(_, other)| other.arm));
            let alike = left_arm == right_arm;
            let room = if alike { left } else { left + right };
            (room >= piece.points).then_some((index, piece.points, left.min(piece.points), alike))
        });
        let best = absorbable.max_by_key(|(_, points, _, alike)| (*alike, Reverse(*points)));
        let Some((index, points, to_left, _)) = best else { return false };
        for (side, points) in self.beside(index).into_iter().zip([to_left, points - to_left]) {
            if let Some((side, _)) = side.filter(|_| points > 0) {
                self.pass(index, side, points);
            }
        }
        true
    }

    /// Shifts the border to a neighbour that grows, of the smallest slice that has one.
    fn shift(&mut self) -> bool {
        let borders = self.shrinking().flat_map(|(index, piece)| {
            let sides = self.beside(index).into_iter().flatten();
            sides.map(move |(side, other)| (index, piece, side, other))
        });
        let shifts = borders.filter_map(|(index, piece, side, other)| {
            let points = piece.points.min(self.arm(piece).excess).min(self.arm(other).deficit);
            (points > 0).then_some((index, piece, side, points))
        });
        let best = shifts
            .max_by_key(|(_, piece, _, points)| (*points == piece.points, Reverse(piece.points)));
        let Some((from, _, to, points)) = best else { return false };
        self.pass(from, to, points);
        true
    }

    /// Gives a whole slice to an arm that has none beside it: the largest that it can take.
    fn hand_over(&mut self) -> bool {
        let Some((to, deficit)) = self.neediest() else { return false };
        let fitting = self.shrinking().filter(|(_, piece)| {
            piece.points <= self.arm(*piece).excess && piece.points <= deficit
        });
        let Some((index, piece)) = fitting.max_by_key(|(_, piece)| piece.points) else {
            return false;
        };
        self.give(index, to, piece.points);
        true
    }

    /// Cuts a slice off the largest of the arm that has most to lose.
    fn split(&mut self) -> bool {
        let Some((to, deficit)) = self.neediest() else { return false };
        let largest =
            self.shrinking().max_by_key(|(_, piece)| (self.arm(*piece).excess, piece.points));
        let Some((index, piece)) = largest else { return false };
        self.give(index, to, self.arm(piece).excess.min(deficit).min(piece.points));
        true
    }

    /// Makes the end of a piece one of its own, of another arm.
    fn give(&mut self, index: usize, to: u8, points: u64) {
        self.pieces.insert(index + 1, Piece { points: 0, arm: to });
        self.pass(index, index + 1, points);
    }

    /// The arm that has most to gain.
    fn neediest(&self) -> Option<(u8, u64)> {
        let needy = (0..).zip(&self.arms).map(|(arm, own)| (arm, own.deficit));
        needy.max_by_key(|(_, deficit)| *deficit).filter(|(_, deficit)| *deficit > 0)
    }
}
