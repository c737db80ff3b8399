//! The cut of all points among arms.

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
    /// Ascending by start; the first starts at 0, and neighbours have different owners.
    slices: Box<[Slice]>,
}

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

    /// Lays the arms out in order.
    ///
    /// # Errors
    /// [`Code::InvalidValue`] when all weights are 0 or there are none, [`Code::LimitExceeded`]
    /// with more than [`MAX_ARMS`](Self::MAX_ARMS).
    pub fn new(weights: &[Weight]) -> Result<Self, Error> {
        let pieces = widths(weights)?
            .into_iter()
            .zip(0..)
            .map(|(points, arm)| Piece { points, owner: Some(arm) })
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
        let mut edit = Edit { pieces: self.pieces(), arms: Vec::new() };
        for (target, arm) in widths(weights)?.into_iter().zip(0..) {
            let points = self.points(usize::from(arm));
            let (excess, deficit) = (points.saturating_sub(target), target.saturating_sub(points));
            edit.arms.push(Arm { number: arm, excess, deficit });
        }
        // An arm beyond the list has left.
        for arm in self.slices.iter().map(|slice| slice.arm) {
            if !edit.arms.iter().any(|known| known.number == arm) {
                edit.arms.push(Arm {
                    number: arm,
                    excess: self.points(usize::from(arm)),
                    deficit: 0,
                });
            }
        }
        edit.free();
        edit.give();
        Ok(Self::from_pieces(edit.pieces))
    }

    /// The arm that owns a point.
    #[inline]
    pub fn owner(&self, point: u32) -> usize {
        // The first slice starts at 0, so one is always found.
        let after = self.slices.partition_point(|slice| slice.start <= point);
        self.slices.get(after.wrapping_sub(1)).map_or(0, |slice| usize::from(slice.arm))
    }

    /// How many of the 2^32 points an arm owns.
    pub fn points(&self, arm: usize) -> u64 {
        self.slices().filter(|(_, _, owner)| *owner == arm).map(|(start, end, _)| end - start).sum()
    }

    /// How many points have another owner in `other`.
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
        let ends =
            self.slices.iter().skip(1).map(|slice| u64::from(slice.start)).chain([Self::POINTS]);
        self.slices
            .iter()
            .zip(ends)
            .map(|(slice, end)| (u64::from(slice.start), end, usize::from(slice.arm)))
    }

    /// The same slices with other numbers for the arms.
    pub(crate) fn renumber(&self, mut number: impl FnMut(u8) -> u8) -> Self {
        let slices = self.slices.iter();
        Self { slices: slices.map(|s| Slice { start: s.start, arm: number(s.arm) }).collect() }
    }

    fn pieces(&self) -> Vec<Piece> {
        let ends = self.slices();
        ends.zip(&self.slices)
            .map(|((start, end, _), slice)| Piece { points: end - start, owner: Some(slice.arm) })
            .collect()
    }

    fn from_pieces(mut pieces: Vec<Piece>) -> Self {
        join(&mut pieces);
        let mut next = 0;
        let slices = pieces.iter().filter_map(|piece| {
            let start = u32::try_from(next).ok()?;
            next += piece.points;
            Some(Slice { start, arm: piece.owner? })
        });
        Self { slices: slices.collect() }
    }
}

/// How many points each arm is due.
fn widths(weights: &[Weight]) -> Result<Vec<u64>, Error> {
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

/// A run of points in a partition that is being edited; without owner it is to be given away.
#[derive(Debug, Clone, Copy)]
struct Piece {
    points: u64,
    owner: Option<u8>,
}

/// Drops empty pieces and makes one of neighbours with the same owner.
fn join(pieces: &mut Vec<Piece>) {
    pieces.retain(|piece| piece.points > 0);
    pieces.dedup_by(|piece, before| {
        let same = piece.owner == before.owner;
        if same {
            before.points += piece.points;
        }
        same
    });
}

/// What an arm has to lose or to gain.
struct Arm {
    number: u8,
    excess: u64,
    deficit: u64,
}

struct Edit {
    pieces: Vec<Piece>,
    arms: Vec<Arm>,
}

impl Edit {
    fn deficit(&self, owner: Option<u8>) -> u64 {
        let owner = owner.and_then(|arm| self.arms.iter().find(|known| known.number == arm));
        owner.map_or(0, |arm| arm.deficit)
    }

    /// The owners to the left and right of a piece.
    fn beside(&self, index: usize) -> [Option<Piece>; 2] {
        let left = index.checked_sub(1).and_then(|left| self.pieces.get(left));
        [left.copied(), self.pieces.get(index + 1).copied()]
    }

    /// Takes its excess from every shrinking arm: its smallest slices whole, so that fragments
    /// vanish, and at last a part of one that touches an arm which grows, so that none arises.
    fn free(&mut self) {
        for at in 0..self.arms.len() {
            let Some(&Arm { number: arm, mut excess, .. }) = self.arms.get(at) else {
                continue;
            };
            while excess > 0 {
                let own = self.pieces.iter_mut().filter(|piece| piece.owner == Some(arm));
                match own.min_by_key(|piece| piece.points) {
                    Some(smallest) if smallest.points <= excess => {
                        excess -= smallest.points;
                        smallest.owner = None;
                    }
                    _ => {
                        self.cut(arm, excess);
                        excess = 0;
                    }
                }
            }
        }
    }

    /// Frees part of a slice of `arm`, all of which have more than `points`.
    fn cut(&mut self, arm: u8, points: u64) {
        let grows = |piece: Option<Piece>| {
            piece.is_some_and(|piece| piece.owner.is_none() || self.deficit(piece.owner) > 0)
        };
        let mut own = (0..self.pieces.len())
            .filter(|index| self.pieces.get(*index).is_some_and(|piece| piece.owner == Some(arm)))
            .map(|index| (index, self.beside(index).map(grows)));
        let Some(first) = own.next() else { return };
        let (index, side) =
            match [first].into_iter().chain(own).find(|(_, grow)| grow[0] || grow[1]) {
                Some((index, [true, false])) => (index, index),
                Some((index, _)) => (index, index + 1),
                None => (first.0, first.0 + 1),
            };
        if let Some(piece) = self.pieces.get_mut(index) {
            piece.points -= points;
            self.pieces.insert(side, Piece { points, owner: None });
        }
    }

    /// Gives the free pieces to the arms that grow, first of all to a neighbour.
    fn give(&mut self) {
        loop {
            join(&mut self.pieces);
            let free: Vec<(usize, u64)> = (0..)
                .zip(&self.pieces)
                .filter(|(_, piece)| piece.owner.is_none())
                .map(|(index, piece)| (index, piece.points))
                .collect();
            let beside = free.iter().flat_map(|&(index, points)| {
                let [left, right] = self.beside(index).map(|piece| piece.and_then(|p| p.owner));
                // Inserted before the piece it joins its left neighbour, after it the right.
                [(index, points, left, index), (index, points, right, index + 1)]
            });
            let growing = beside.filter(|(_, _, owner, _)| self.deficit(*owner) > 0);
            // A piece that vanishes whole leaves no new border.
            let best = growing.max_by_key(|(_, points, owner, _)| {
                let deficit = self.deficit(*owner);
                (*points <= deficit, deficit.min(*points))
            });
            let seed = || {
                let (index, points) = free.iter().max_by_key(|(_, points)| *points).copied()?;
                let neediest = self.arms.iter().max_by_key(|arm| arm.deficit)?;
                Some((index, points, Some(neediest.number), index))
            };
            let Some((index, points, owner, side)) = best.or_else(seed) else {
                return;
            };
            let given = points.min(self.deficit(owner));
            if given == 0 {
                return;
            }
            if let Some(piece) = self.pieces.get_mut(index) {
                piece.points -= given;
            }
            if let Some(arm) = self.arms.iter_mut().find(|known| Some(known.number) == owner) {
                arm.deficit -= given;
            }
            self.pieces.insert(side, Piece { points: given, owner });
        }
    }
}
