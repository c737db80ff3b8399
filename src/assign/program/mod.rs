//! Segments that are asked in order, compiled to a flat form.
//!
//! Equal conditions are one, and each has a bit. What is looked up or read is so for all conditions
//! of its kind on an attribute at once, so that a rule is mostly a comparison of two masks.

mod draft;
#[cfg(test)]
mod tests;
mod texts;
mod versions;

use std::sync::Arc;

use draft::Draft;
use texts::Texts;
use versions::Versions;

use super::{Attribute, Attributes};
use crate::model::{Condition, Rule, Segment};

/// Segments in the order in which they are asked, compiled to a flat form.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    segments: Box<[Arc<Segment>]>,
    blocks: Box<[Block]>,
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.segments == other.segments
    }
}

impl Program {
    /// Compiles segments in this order.
    pub(crate) fn new(segments: impl Into<Box<[Arc<Segment>]>>) -> Self {
        let segments = segments.into();
        let blocks = Block::cut(&segments);
        Self { segments, blocks }
    }

    /// The segments in this order.
    #[inline]
    pub(crate) fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// The place of the first segment that contains a subject with these attributes. Never allocates
    /// or takes a lock.
    #[inline]
    pub(crate) fn first(&self, attributes: &dyn Attributes) -> Option<usize> {
        match &*self.blocks {
            // As nearly always.
            [Block { code: Some(code), .. }] => code.first(&self.segments, attributes),
            blocks => self.first_among(blocks, attributes),
        }
    }

    #[inline(never)]
    fn first_among(&self, blocks: &[Block], attributes: &dyn Attributes) -> Option<usize> {
        let mut before = 0;
        for block in blocks {
            let segments = self.segments.get(before..before + block.segments)?;
            let place = match &block.code {
                Some(code) => code.first(segments, attributes),
                None => segments.iter().position(|segment| segment.contains(attributes)),
            };
            if let Some(place) = place {
                return Some(before + place);
            }
            before += block.segments;
        }
        None
    }
}

/// Segments that follow each other and have few enough conditions between them.
#[derive(Debug, Clone)]
struct Block {
    /// How many.
    segments: usize,
    /// Nothing for one that does not fit: it is asked as it is.
    code: Option<Code>,
}

impl Block {
    fn cut(segments: &[Arc<Segment>]) -> Box<[Self]> {
        let mut blocks = Vec::new();
        let mut rest = segments;
        while !rest.is_empty() {
            let mut draft = Draft::default();
            let fits = rest.iter().take_while(|segment| draft.add(segment)).count();
            let code = if fits > 0 { draft.finish() } else { None };
            let block = Self { segments: fits.max(1), code };
            rest = rest.get(block.segments..).unwrap_or_default();
            blocks.push(block);
        }
        blocks.into()
    }
}

/// The most conditions of a block: each has a bit of a mask.
const MAX_CONDITIONS: usize = 64;

/// What a block asks.
#[derive(Debug, Clone)]
struct Code {
    start: Target,
    /// Each leads on to later ones only.
    steps: Box<[Step]>,
    /// The group of each condition.
    group_of: Box<[u8]>,
    groups: Box<[Group]>,
}

/// Where it goes on: at a step, or with the outcome.
type Target = u16;

/// No segment contains the subject.
const MISS: Target = 0x7fff;

/// The first segment contains the subject; the others follow.
const HIT: Target = 0x8000;

/// Some conditions of a rule, and where it goes on.
#[derive(Debug, Clone)]
struct Step {
    /// The bits of the conditions.
    asked: u64,
    /// Those that must hold; the others must not.
    wanted: u64,
    /// If all is as it must be.
    yes: Target,
    no: Target,
}

/// Conditions on one attribute that are settled together.
#[derive(Debug, Clone)]
struct Group {
    /// The bits of the conditions.
    mask: u64,
    attribute: Box<str>,
    /// Where the attribute is kept, if another group asks for it too.
    slot: u8,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Texts(Box<Texts>),
    Versions(Box<Versions>),
    /// A condition that is asked as it is.
    Other(Box<Place>),
}

/// Where a condition stands in the segments of a block.
#[derive(Debug, Clone)]
struct Place {
    segment: u16,
    rule: u16,
    /// The way down to a rule within the rule.
    turns: Box<[Turn]>,
    /// Whether it must not hold.
    negated: bool,
    condition: u16,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    list: fn(&Rule) -> &[Rule],
    rule: u16,
}

impl Place {
    /// Whether the condition that stands there is true of this value.
    #[inline(never)]
    fn admits(&self, segments: &[Arc<Segment>], value: Option<Attribute<'_>>) -> bool {
        self.find(segments).is_some_and(|condition| condition.expression.admits(value))
    }

    fn find<'s>(&self, segments: &'s [Arc<Segment>]) -> Option<&'s Condition> {
        let segment = segments.get(usize::from(self.segment))?;
        let mut rule = segment.rules().get(usize::from(self.rule))?;
        for turn in &self.turns {
            rule = (turn.list)(rule).get(usize::from(turn.rule))?;
        }
        let list = if self.negated { rule.not_matches() } else { rule.matches() };
        list.get(usize::from(self.condition))
    }
}

impl Code {
    // A call of its own has the registers for itself.
    #[inline(never)]
    fn first(&self, segments: &[Arc<Segment>], attributes: &dyn Attributes) -> Option<usize> {
        let mut subject = Subject { segments, attributes, slots: [None; SLOTS] };
        // The conditions that are settled, and those of them that hold.
        let (mut known, mut held) = (0, 0);
        let mut target = self.start;
        while let Some(step) = self.steps.get(usize::from(target)) {
            target = loop {
                if (held ^ step.wanted) & step.asked & known != 0 {
                    break step.no;
                }
                let open = step.asked & !known;
                if open == 0 {
                    break step.yes;
                }
                // The trailing zeros of what is not zero are fewer than its bits.
                let group = self.group_of.get(open.trailing_zeros() as usize);
                let Some(group) = group.and_then(|group| self.groups.get(usize::from(*group)))
                else {
                    break step.no;
                };
                known |= group.mask;
                held |= group.held(&mut subject);
            };
        }
        target.checked_sub(HIT).map(usize::from)
    }
}

impl Group {
    /// The bits of the conditions that hold.
    #[inline]
    fn held(&self, subject: &mut Subject<'_>) -> u64 {
        let kept = subject.slots.get_mut(usize::from(self.slot));
        let ask = || subject.attributes.attribute(&self.attribute);
        let value = match kept {
            Some(kept) => *kept.get_or_insert_with(ask),
            None => ask(),
        };
        match (&self.test, value) {
            (Test::Texts(texts), Some(Attribute::String(text))) => texts.held(text),
            (Test::Versions(versions), Some(Attribute::String(text))) => versions.held(text),
            (Test::Other(place), value) if place.admits(subject.segments, value) => self.mask,
            _ => 0,
        }
    }
}

/// How many attributes are kept.
const SLOTS: usize = 6;

/// The slot of an attribute that is not kept.
const NO_SLOT: u8 = u8::MAX;

/// What a block is asked about.
struct Subject<'a> {
    segments: &'a [Arc<Segment>],
    attributes: &'a dyn Attributes,
    /// The attributes that several groups ask for, once they have been.
    slots: [Option<Option<Attribute<'a>>>; SLOTS],
}
