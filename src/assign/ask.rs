//! Ways to ask segments.

use std::sync::Arc;

use super::plan::Targets;
use super::{Attributes, Scratch};
use crate::model::Segment;

/// How the segments of a plan are asked. All ways come to the same, which is what
/// [`Segment::contains`] says.
pub(crate) trait Ask {
    /// Whether a segment matches.
    fn contains(&mut self, segment: &Arc<Segment>, attributes: &dyn Attributes) -> bool;

    /// The place of the first target that matches.
    fn first(&mut self, targets: &Targets, attributes: &dyn Attributes) -> Option<usize>;
}

/// Asks for one decision.
pub(super) struct Once;

impl Ask for Once {
    fn contains(&mut self, segment: &Arc<Segment>, attributes: &dyn Attributes) -> bool {
        segment.contains(attributes)
    }

    #[inline]
    fn first(&mut self, targets: &Targets, attributes: &dyn Attributes) -> Option<usize> {
        targets.program.first(attributes)
    }
}

/// Asks for many decisions about one subject: each segment once.
impl Ask for Scratch {
    fn contains(&mut self, segment: &Arc<Segment>, attributes: &dyn Attributes) -> bool {
        self.recall(segment, attributes)
    }

    fn first(&mut self, targets: &Targets, attributes: &dyn Attributes) -> Option<usize> {
        targets.iter().position(|(segment, _)| self.recall(segment, attributes))
    }
}
