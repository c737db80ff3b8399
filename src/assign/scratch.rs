//! What one subject's segments came to, while many experiments ask.

use std::sync::Arc;

use super::Attributes;
use crate::model::Segment;

/// Room to remember which segments matched a subject, so that each is evaluated at most once.
///
/// Made once and passed to every [`Snapshot::assign_all`](crate::Snapshot::assign_all); it grows to
/// what the snapshot needs and then allocates no more.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// Open addressing by the segment's address, which is its own while the snapshot is borrowed.
    slots: Vec<Slot>,
    used: usize,
    /// Tells this subject's entries from those of earlier ones.
    round: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    address: usize,
    round: u64,
    matched: bool,
}

impl Scratch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the subject before.
    pub(crate) fn begin(&mut self) {
        self.round += 1;
        self.used = 0;
    }

    /// Whether a segment matches this subject.
    pub(super) fn recall(&mut self, segment: &Arc<Segment>, attributes: &dyn Attributes) -> bool {
        let address = Arc::as_ptr(segment).addr();
        let round = self.round;
        if let Some(known) = self.slot(address).filter(|slot| slot.round == round) {
            return known.matched;
        }
        let matched = segment.contains(attributes);
        self.remember(Slot { address, round: self.round, matched });
        matched
    }

    fn remember(&mut self, entry: Slot) {
        if (self.used + 1) * 2 > self.slots.len() {
            let room = (self.slots.len() * 2).max(64);
            let old = std::mem::replace(&mut self.slots, vec![Slot::default(); room]);
            let round = self.round;
            for kept in old.into_iter().filter(|slot| slot.round == round) {
                if let Some(slot) = self.slot(kept.address) {
                    *slot = kept;
                }
            }
        }
        if let Some(slot) = self.slot(entry.address) {
            *slot = entry;
            self.used += 1;
        }
    }

    /// The slot of this address: its own of this round, or the first that is free.
    fn slot(&mut self, address: usize) -> Option<&mut Slot> {
        let mask = self.slots.len().checked_sub(1)?;
        let round = self.round;
        // Fibonacci hashing: neighbouring addresses spread over the upper half, which any `usize`
        // holds.
        let spread = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let start = usize::try_from(spread).unwrap_or_default() & mask;
        let at = (0..=mask).map(|step| (start + step) & mask).find(|at| {
            self.slots.get(*at).is_some_and(|slot| slot.round != round || slot.address == address)
        });
        self.slots.get_mut(at?)
    }
}
