//! The arms of an experiment.

use std::num::NonZeroU32;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Name, Strategy, Weights, check_count};
use crate::error::Error;
use crate::id::{SegmentId, VariationId};
use crate::json::{Cursor, FromJson, deserialize};
#[cfg(any(feature = "auth0", feature = "qonversion"))]
use crate::number::Percentage;
use crate::number::Weight;

/// The most allocations of an experiment.
pub(crate) const MAX_ALLOCATIONS: usize = 20;

/// The largest weight that is a percentage.
const MAX_PERCENT: u64 = 100_000_000;

/// One arm of an experiment: a variation with its share, or with its segment.
///
/// Which fields belong to it depends on the [`Strategy`]; one that belongs to the other strategy is
/// refused. What is left out is asked for by readiness, not when it is written.
///
/// ```
/// use variate::Allocation;
///
/// let control = Allocation::share("var_today".parse()?, 90.try_into()?).control();
/// assert!(control.is_control);
///
/// let german = Allocation::segment("var_b".parse()?, "seg_germany".parse()?, 1)?;
/// let everyone_else = Allocation::fallback("var_a".parse()?).control();
///
/// // Two arms that divide one segment.
/// let austrian = "seg_austria".parse()?;
/// let first = Allocation::segment("var_a".parse()?, austrian, 2)?.weighing(50.try_into()?);
/// let austrian = "seg_austria".parse()?;
/// let second = Allocation::segment("var_b".parse()?, austrian, 2)?.weighing(50.try_into()?);
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "plain data, made by literal")]
pub struct Allocation {
    /// What is served; one of the flag's variations.
    pub variation_id: VariationId,
    /// Whether this is the arm that the others are compared with. Exactly one is, also where arms
    /// divide a segment: its variation is the control wherever it stands.
    pub is_control: bool,
    /// The share in percent, from 0 to 100, unless the experiment's weights are
    /// [relative](crate::Weights::Relative). Strategy `percentage`: all sum to exactly 100, but under
    /// a hash that has [slices](crate::RolloutSlice), and where weights are relative, to anything
    /// above 0; 0 serves nobody. A ramp may do without; see [`Experiment::levels`](crate::Experiment::levels). Strategy `segment`:
    /// several allocations can have one segment and priority, or be the fallback, and divide those
    /// subjects; then each has a weight, and they sum to exactly 100.
    pub weight: Option<Weight>,
    /// Strategy `segment`: who gets it.
    pub segment_id: Option<SegmentId>,
    /// Strategy `segment`: when the segment is asked; 1 comes first.
    pub priority: Option<NonZeroU32>,
    /// Strategy `segment`: whether this is what subjects get whom no segment matches. Exactly one
    /// is, or several that divide them by weight.
    pub is_fallback: bool,
    /// What the arm is called. For people alone: it decides nothing, and two designs do not differ by
    /// it.
    pub name: Option<Name>,
}

impl Allocation {
    const KEYS: &[&str] =
        &["variation_id", "weight", "segment_id", "priority", "is_control", "is_fallback", "name"];

    /// An arm by weight.
    pub fn share(variation_id: VariationId, weight: Weight) -> Self {
        Self { weight: Some(weight), ..Self::bare(variation_id) }
    }

    /// An arm by segment.
    ///
    /// # Errors
    /// [`Code::InvalidValue`](crate::Code::InvalidValue) for priority 0.
    pub fn segment(
        variation_id: VariationId,
        segment_id: SegmentId,
        priority: u32,
    ) -> Result<Self, Error> {
        let priority = NonZeroU32::new(priority).ok_or_else(invalid_priority)?;
        Ok(Self {
            segment_id: Some(segment_id),
            priority: Some(priority),
            ..Self::bare(variation_id)
        })
    }

    /// An arm of a ramp that does without weights.
    pub fn ramped(variation_id: VariationId) -> Self {
        Self::bare(variation_id)
    }

    /// The arm of those whom no segment matches.
    pub fn fallback(variation_id: VariationId) -> Self {
        Self { is_fallback: true, ..Self::bare(variation_id) }
    }

    /// The same arm as the control.
    pub fn control(self) -> Self {
        Self { is_control: true, ..self }
    }

    /// The same arm with a share of those whom its segment, or the fallback, gets.
    pub fn weighing(self, weight: Weight) -> Self {
        Self { weight: Some(weight), ..self }
    }

    /// The same arm with a name.
    pub fn named(self, name: Name) -> Self {
        Self { name: Some(name), ..self }
    }

    fn bare(variation_id: VariationId) -> Self {
        Self {
            variation_id,
            is_control: false,
            weight: None,
            segment_id: None,
            priority: None,
            is_fallback: false,
            name: None,
        }
    }

    fn check_weight(&self, weights: Weights) -> Result<(), Error> {
        match self.weight {
            Some(weight) if weights == Weights::Percent && weight.millionths() > MAX_PERCENT => {
                let rule = "must be a number from 0 to 100 with at most 6 decimals";
                Err(Error::invalid(rule).with_value(&weight).at("weight"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that no field belongs to the other strategy than it is written for.
    fn check_strategy(&self, strategy: Strategy) -> Result<(), Error> {
        let fields = [
            ("segment_id", Strategy::Segment, self.segment_id.is_some()),
            ("priority", Strategy::Segment, self.priority.is_some()),
            ("is_fallback", Strategy::Segment, self.is_fallback),
        ];
        match fields.into_iter().find(|(_, owner, given)| *given && *owner != strategy) {
            Some((key, owner, _)) => {
                Err(Error::invalid(format!("is only for experiments that assign by {owner}"))
                    .at(key))
            }
            None => Ok(()),
        }
    }
}

fn invalid_priority() -> Error {
    Error::invalid("must be a whole number from 1 to 4294967295").with_value(&0).at("priority")
}

/// Checks the allocations of an experiment as far as no other entity is concerned.
pub(crate) fn check_allocations(
    list: &[Allocation],
    strategy: Strategy,
    weights: Weights,
) -> Result<(), Error> {
    check_count(list.len(), 0, MAX_ALLOCATIONS)?;
    for (index, allocation) in list.iter().enumerate() {
        allocation.check_weight(weights).map_err(|error| error.at_index(index))?;
    }
    check_strategy(list, strategy)
}

/// Checks that the allocations have no fields that belong to the other strategy.
pub(crate) fn check_strategy(list: &[Allocation], strategy: Strategy) -> Result<(), Error> {
    for (index, allocation) in list.iter().enumerate() {
        allocation.check_strategy(strategy).map_err(|error| error.at_index(index))?;
    }
    Ok(())
}

/// The arms among which one draw decides: all of an experiment by weight; of one by segment those of
/// a segment, or those of the fallback.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The segment; `None` where no segment decides.
    pub(crate) segment_id: Option<&'a SegmentId>,
    priority: Option<NonZeroU32>,
    /// Each with its number in the whole list.
    pub(crate) arms: Vec<(u8, &'a Allocation)>,
}

/// The targets of an experiment: segments in the order in which they are asked, and last what is left
/// when none matches.
pub(crate) fn targets(list: &[Allocation]) -> Vec<Target<'_>> {
    let mut targets: Vec<Target<'_>> = Vec::new();
    for (number, arm) in (0..).zip(list) {
        let segment_id = arm.segment_id.as_ref();
        match targets.iter_mut().find(|target| target.segment_id == segment_id) {
            Some(target) => target.arms.push((number, arm)),
            None => {
                let priority = arm.priority;
                targets.push(Target { segment_id, priority, arms: vec![(number, arm)] });
            }
        }
    }
    targets.sort_by_key(|target| (target.segment_id.is_none(), target.priority));
    targets
}

impl Target<'_> {
    /// Whether weights decide among the arms.
    pub(crate) fn is_split(&self) -> bool {
        self.segment_id.is_none() && !self.arms.iter().all(|(_, arm)| arm.is_fallback)
            || self.arms.len() > 1
    }

    /// The weights by which the arms divide those who get here: those that they have, or if none
    /// has one, as in a ramp, the same for each but the control.
    pub(crate) fn weights(&self) -> impl Iterator<Item = Weight> {
        let weightless = self.arms.iter().all(|(_, arm)| arm.weight.is_none());
        self.arms.iter().map(move |(_, arm)| match (weightless, arm.is_control) {
            (false, _) => arm.weight.unwrap_or(Weight::ZERO),
            (true, false) => Weight::ONE,
            (true, true) => Weight::ZERO,
        })
    }
}

/// What each arm has of the weights of all in percent, in steps of so many millionths, cut so that they
/// sum to exactly 100; nothing for one without a weight.
#[cfg(any(feature = "auth0", feature = "qonversion"))]
pub(crate) fn percentages(
    arms: &[Allocation],
    step: u64,
) -> impl Iterator<Item = Option<Percentage>> {
    let millionths = |weight: Weight| u128::from(weight.millionths());
    let total: u128 = arms.iter().filter_map(|arm| arm.weight).map(millionths).sum();
    let steps = u128::from(Percentage::MAX.millionths() / step);
    let (mut sum, mut start) = (0, 0);
    arms.iter().map(move |arm| {
        sum += millionths(arm.weight?);
        let end = (sum * steps).checked_div(total).and_then(|end| u64::try_from(end).ok());
        let end = end.unwrap_or_default();
        let share = (end - start) * step;
        start = end;
        Percentage::from_millionths(share).ok()
    })
}

/// Whether no arm has a weight.
pub(crate) fn is_weightless(arms: &[Allocation]) -> bool {
    arms.iter().all(|arm| arm.weight.is_none())
}

impl Serialize for Allocation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("variation_id", &self.variation_id)?;
        if let Some(weight) = &self.weight {
            map.serialize_entry("weight", weight)?;
        }
        if let Some(segment) = &self.segment_id {
            map.serialize_entry("segment_id", segment)?;
        }
        if let Some(priority) = &self.priority {
            map.serialize_entry("priority", priority)?;
        }
        map.serialize_entry("is_control", &self.is_control)?;
        if self.is_fallback {
            map.serialize_entry("is_fallback", &true)?;
        }
        if let Some(name) = &self.name {
            map.serialize_entry("name", name)?;
        }
        map.end()
    }
}

impl FromJson for Allocation {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(Self::KEYS)?;
        let priority = match object.optional::<u32>("priority")? {
            Some(priority) => {
                Some(NonZeroU32::new(priority).ok_or_else(|| object.locate(invalid_priority()))?)
            }
            None => None,
        };
        Ok(Self {
            variation_id: object.read("variation_id")?,
            is_control: object.or_default("is_control")?,
            weight: object.get("weight").map(read_weight).transpose()?,
            segment_id: object.optional("segment_id")?,
            priority,
            is_fallback: object.or_default("is_fallback")?,
            name: object.optional("name")?,
        })
    }
}

/// Reads a weight of whatever kind; whether it is the experiment's is checked with the experiment.
fn read_weight(cursor: Cursor<'_>) -> Result<Weight, Error> {
    let number = cursor.number()?;
    cursor.read().map_err(|_| {
        let rule = "must be a number from 0 to 100 with at most 6 decimals, or to 1000000000 where \
                    weights are relative";
        cursor.locate(Error::invalid(rule).with_value(number))
    })
}

deserialize!(Allocation);
