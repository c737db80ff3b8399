//! Segments turned into code.

use super::texts::Texts;
use super::versions::Versions;
use super::{
    Code, Group, HIT, MAX_CONDITIONS, MISS, NO_SLOT, Place, SLOTS, Step, Target, Test, Turn,
};
use crate::model::{Bounds, Condition, Expression, Rule, Segment, Semver};

/// The longest list whose items are looked up together with those of others: they are copied.
const MAX_ITEMS: usize = 64;

/// The segments of a block while more can come.
#[derive(Default)]
pub(super) struct Draft<'a> {
    segments: Vec<&'a Segment>,
    /// Each once: its place in this list is its bit.
    conditions: Vec<(&'a Condition, Place)>,
    /// The bits of all that is asked, in the order in which it is written.
    bits: Vec<u8>,
}

impl<'a> Draft<'a> {
    /// Adds a segment, unless that makes too many conditions.
    pub(super) fn add(&mut self, segment: &'a Segment) -> bool {
        let (conditions, bits) = (self.conditions.len(), self.bits.len());
        let added = self.number(segment).is_some();
        if added {
            self.segments.push(segment);
        } else {
            self.conditions.truncate(conditions);
            self.bits.truncate(bits);
        }
        added
    }

    fn number(&mut self, segment: &'a Segment) -> Option<()> {
        let number = u16::try_from(self.segments.len()).ok().filter(|number| *number < HIT)?;
        for (rule, own) in segment.rules().iter().enumerate() {
            let place = Place {
                segment: number,
                rule: u16::try_from(rule).ok()?,
                turns: Box::default(),
                negated: false,
                condition: 0,
            };
            self.number_rule(own, &place)?;
        }
        Some(())
    }

    /// Gives bits to the conditions of a rule and of those within it.
    fn number_rule(&mut self, rule: &'a Rule, place: &Place) -> Option<()> {
        for (negated, list) in [(false, rule.matches()), (true, rule.not_matches())] {
            for (condition, own) in list.iter().enumerate() {
                let condition = u16::try_from(condition).ok()?;
                self.number_condition(own, || Place { negated, condition, ..place.clone() })?;
            }
        }
        let lists: [fn(&Rule) -> &[Rule]; 3] = [Rule::all, Rule::any, Rule::not];
        for list in lists {
            for (number, own) in list(rule).iter().enumerate() {
                let turn = Turn { list, rule: u16::try_from(number).ok()? };
                let turns = place.turns.iter().copied().chain([turn]).collect();
                self.number_rule(own, &Place { turns, ..place.clone() })?;
            }
        }
        Some(())
    }

    fn number_condition(
        &mut self,
        own: &'a Condition,
        place: impl FnOnce() -> Place,
    ) -> Option<()> {
        let known = self.conditions.iter().position(|(known, _)| *known == own);
        let bit = known.unwrap_or(self.conditions.len());
        if bit >= MAX_CONDITIONS {
            return None;
        }
        if known.is_none() {
            self.conditions.push((own, place()));
        }
        self.bits.push(u8::try_from(bit).ok()?);
        Some(())
    }

    /// The code of the segments; nothing if there is too much of it.
    pub(super) fn finish(self) -> Option<Code> {
        let conditions = self.conditions.len();
        let groups = group(self.conditions)?;
        let group_of = |bit: usize| {
            let group = groups.iter().position(|group| group.mask >> bit & 1 == 1);
            group.and_then(|group| u8::try_from(group).ok())
        };
        let group_of = (0..conditions).map(group_of).collect::<Option<_>>()?;
        let mut emitter = Emitter { bits: self.bits, steps: Vec::new() };
        let mut start = MISS;
        for (number, segment) in self.segments.iter().enumerate().rev() {
            let hit = HIT.checked_add(Target::try_from(number).ok()?)?;
            for rule in segment.rules().iter().rev() {
                start = emitter.emit(rule, hit, start)?;
            }
        }
        let count = Target::try_from(emitter.steps.len()).ok()?;
        let turned = |target| if target < count { count - 1 - target } else { target };
        let steps = emitter.steps.into_iter().rev();
        let steps = steps.map(|step| Step { yes: turned(step.yes), no: turned(step.no), ..step });
        Some(Code { start: turned(start), steps: steps.collect(), group_of, groups })
    }
}

/// Writes steps from the last to the first, so that it is known where each leads.
struct Emitter {
    /// The bits of the conditions that are still to be written.
    bits: Vec<u8>,
    steps: Vec<Step>,
}

impl Emitter {
    /// Writes a rule and gives where it begins. Takes conditions in the opposite of the order in
    /// which they were numbered.
    fn emit(&mut self, rule: &Rule, yes: Target, no: Target) -> Option<Target> {
        let mut next = yes;
        if let Some(nested) = rule.nested() {
            for rule in nested.not.iter().flatten().rev() {
                next = self.emit(rule, no, next)?;
            }
            if let Some(rules) = &nested.any {
                let found = next;
                next = no;
                for rule in rules.iter().rev() {
                    next = self.emit(rule, found, next)?;
                }
            }
            for rule in nested.all.iter().flatten().rev() {
                next = self.emit(rule, next, no)?;
            }
        }
        let avoided = self.take(rule.not_matches().len())?;
        let wanted = self.take(rule.matches().len())?;
        match (wanted | avoided, wanted & avoided) {
            (0, _) => Some(next),
            (asked, 0) => self.push(Step { asked, wanted, yes: next, no }),
            // What must both hold and not hold.
            _ => Some(no),
        }
    }

    /// The bits of the last conditions.
    fn take(&mut self, count: usize) -> Option<u64> {
        let bits = self.bits.split_off(self.bits.len().checked_sub(count)?);
        Some(bits.into_iter().fold(0, |mask, bit| mask | 1 << bit))
    }

    fn push(&mut self, step: Step) -> Option<Target> {
        let number = Target::try_from(self.steps.len()).ok().filter(|number| *number < MISS)?;
        self.steps.push(step);
        Some(number)
    }
}

/// A group while more conditions can join it.
struct Gathered<'a> {
    attribute: &'a str,
    mask: u64,
    asked: Asked<'a>,
}

/// What is asked, with the bits of the conditions.
enum Asked<'a> {
    Texts(Vec<(&'a str, u64)>),
    Versions(Vec<(&'a Bounds<Semver>, u64)>),
    Other(Place),
}

impl<'a> Gathered<'a> {
    fn new(condition: &'a Condition, place: Place) -> Self {
        let asked = match &condition.expression {
            Expression::OneOf(list) if list.values().count() <= MAX_ITEMS => {
                Asked::Texts(Vec::new())
            }
            Expression::Semver(_) => Asked::Versions(Vec::new()),
            _ => Asked::Other(place),
        };
        Self { attribute: &condition.attribute, mask: 0, asked }
    }

    /// Adds a condition, if it can be settled with those that are there.
    fn join(&mut self, condition: &'a Condition, bit: u64) -> bool {
        if self.attribute != condition.attribute {
            return false;
        }
        match (&mut self.asked, &condition.expression) {
            (Asked::Texts(texts), Expression::OneOf(list)) => {
                let count = list.values().count();
                if count > MAX_ITEMS || texts.len() + count > Texts::MAX {
                    return false;
                }
                for value in list.values() {
                    match texts.iter_mut().find(|(text, _)| *text == value) {
                        Some((_, held)) => *held |= bit,
                        None => texts.push((value, bit)),
                    }
                }
            }
            (Asked::Versions(versions), Expression::Semver(bounds)) => versions.push((bounds, bit)),
            (Asked::Other(_), _) if self.mask == 0 => {}
            _ => return false,
        }
        self.mask |= bit;
        true
    }

    fn finish(self, slot: u8) -> Option<Group> {
        let test = match self.asked {
            Asked::Texts(texts) => Test::Texts(Box::new(Texts::new(&texts)?)),
            Asked::Versions(own) => Test::Versions(Box::new(Versions::new(&own))),
            Asked::Other(place) => Test::Other(Box::new(place)),
        };
        Some(Group { mask: self.mask, attribute: self.attribute.into(), slot, test })
    }
}

/// The groups of these conditions.
fn group(conditions: Vec<(&Condition, Place)>) -> Option<Box<[Group]>> {
    let mut groups: Vec<Gathered<'_>> = Vec::new();
    for (number, (condition, place)) in conditions.into_iter().enumerate() {
        let bit = 1 << number;
        if !groups.iter_mut().any(|group| group.join(condition, bit)) {
            let mut own = Gathered::new(condition, place);
            own.join(condition, bit);
            groups.push(own);
        }
    }
    let slots = slots(&groups);
    groups.into_iter().zip(slots).map(|(group, slot)| group.finish(slot)).collect()
}

/// The slots of the groups' attributes: only those need one that several groups ask for.
fn slots(groups: &[Gathered<'_>]) -> Vec<u8> {
    let mut kept: Vec<&str> = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        let later = groups.iter().skip(number + 1);
        if !kept.contains(&group.attribute)
            && later.into_iter().any(|other| other.attribute == group.attribute)
        {
            kept.push(group.attribute);
        }
    }
    kept.truncate(SLOTS);
    let slot = |group: &Gathered<'_>| {
        let own = (0..).zip(&kept).find(|(_, attribute)| **attribute == group.attribute);
        own.map_or(NO_SLOT, |(slot, _)| slot)
    };
    groups.iter().map(slot).collect()
}
