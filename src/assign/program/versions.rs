//! Versions that an attribute is compared with.

use std::ops::Bound;

use crate::model::{Bounds, Semver, SemverReading};

/// The bounds that conditions on an attribute name, and the conditions that hold between them.
#[derive(Debug, Clone)]
pub(super) struct Versions {
    /// By precedence, each once.
    bounds: Box<[Semver]>,
    /// The bits of the conditions that hold below the first bound, at it, between it and the
    /// second, and so on.
    held: Box<[u64]>,
}

impl Versions {
    /// From the bounds of each condition, with its bit.
    pub(super) fn new(conditions: &[(&Bounds<Semver>, u64)]) -> Self {
        let mut bounds: Vec<&Semver> = Vec::new();
        for (condition, _) in conditions {
            match condition {
                Bounds::Equal(version) => bounds.push(version),
                Bounds::Between(lower, upper) => {
                    bounds.extend([lower, upper].into_iter().filter_map(inner));
                }
            }
        }
        bounds.sort_by(|a, b| a.order(b));
        bounds.dedup_by(|a, b| a.order(b).is_eq());
        let rank = |version: &Semver| rank(bounds.binary_search_by(|bound| bound.order(version)));
        let at = |place: usize| {
            let hold =
                conditions.iter().filter(|(own, _)| own.admit(|bound| place.cmp(&rank(bound))));
            hold.fold(0, |held, (_, bit)| held | bit)
        };
        let held = (0..=2 * bounds.len()).map(at).collect();
        Self { bounds: bounds.into_iter().cloned().collect(), held }
    }

    /// The bits of the conditions that hold of a text.
    pub(super) fn held(&self, text: &str) -> u64 {
        let Some(version) = SemverReading::new(text) else { return 0 };
        let place = self.bounds.binary_search_by(|bound| version.order(bound).reverse());
        self.held.get(rank(place)).copied().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        size_of_val(&*self.bounds) + size_of_val(&*self.held)
    }
}

fn inner(bound: &Bound<Semver>) -> Option<&Semver> {
    match bound {
        Bound::Included(version) | Bound::Excluded(version) => Some(version),
        Bound::Unbounded => None,
    }
}

/// A place among bounds: even between two, odd at one.
fn rank(place: Result<usize, usize>) -> usize {
    match place {
        Ok(at) => 2 * at + 1,
        Err(before) => 2 * before,
    }
}
