//! One draw that decides traffic and arm: slices over 100,000 buckets.

mod carry;

use std::sync::Arc;

use serde::Serialize;

use super::iteration::Design;
use super::{Allocation, Experiment, HashVersion, Stage, Status, Strategy};
use crate::error::{Code, Error, codes};
use crate::id::VariationId;
use crate::json::{Cursor, FromJson, deserialize};
use crate::number::Percentage;

/// The most slices of a rollout: far more than any history of edits leaves.
const MAX_SLICES: usize = 4096;

/// A run of buckets with one fate, in an experiment that assigns by [`HashVersion::Sha1V1`] or
/// [`HashVersion::Sha1F32V1`].
///
/// There are 100,000 buckets, which the slices of such an experiment share out in order. The first
/// slice begins at bucket 0, and each where the one before ends. A slice of weight 0 owns nothing;
/// it counts only where it is the last, since whoever lies past the end has the last slice.
///
/// | | in the experiment | reason |
/// |---|---|---|
/// | tracked | yes, in the arm of its variation | [`Reason::Split`](crate::Reason::Split) |
/// | untracked | no, but served its variation | [`Reason::NotSampled`](crate::Reason::NotSampled) |
///
/// The untracked slices of the experiment's
/// [outside variation](crate::Experiment::outside_variation_id), or of nothing if it has none, are
/// the outside: what arms that grow are given first, and what arms that shrink leave behind. The
/// other untracked slices hold subjects who are served what they had in an earlier run, and are no
/// longer counted.
///
/// A subject without an id is served the first slice that has a weight, as no part of the
/// experiment: [`Reason::MissingSubjectId`](crate::Reason::MissingSubjectId).
///
/// # First layout
/// An experiment lies at first in the order in which its allocations are listed, then the outside.
/// The traffic, rounded to whole buckets, is given to the arms one bucket after the other, each to the
/// arm whose (2n − 1) / weight is the smallest, if that bucket is its n-th; of equals to the one whose
/// variation's id comes first. So an arm never loses a bucket when the traffic grows, and one with a
/// whole number of thousandths of a percent of all subjects has exactly that many buckets. The
/// weights need not sum to 100: with their sum for the traffic, each is the arm's share of all
/// subjects, as LaunchDarkly writes them.
///
/// An experiment that is brought over says how its slices lie instead
/// ([`NewExperiment::rollout`](crate::NewExperiment::rollout)). Its arms must have as many tracked
/// buckets as they are due. As LaunchDarkly's SDKs read such a list, the last slice has what is
/// missing to 100,000, and what is beyond is cut off.
///
/// # Edits
/// An edit of the traffic, or of the weights, moves as few buckets as
/// arithmetic allows: only from what shrinks to what grows, the outside being one of them. So
/// whoever is in stays where they are as long as no arm shrinks. An active run is cut at once, a
/// paused one when it is resumed. Only when the outside is used up,
/// subjects are taken who were served as no part of the experiment, those of the same variation
/// first. An edit joins slices of the same fate and drops those of weight 0.
///
/// With `sha1-f32-v1` the borders are then added up anew, so that an edit can also move a subject
/// next to a border, by one rounding: about 4 in 10^8. With `sha1-v1` it does not.
///
/// ```
/// use variate::{Allocation, HashVersion, NewExperiment, RolloutSlice};
///
/// let slice = |id: &str, weight| Ok::<_, variate::Error>(RolloutSlice::tracked(id.parse()?, weight));
/// let experiment = NewExperiment::by_percentage("Sign-in", "flg_signinScreen".parse()?)
///     .hash(HashVersion::Sha1F32V1)
///     .salt("61".parse()?)
///     .subject_kind("user")
///     .traffic(30.try_into()?)
///     .allocation(Allocation::share("var_today".parse()?, "50".parse()?).control())
///     .allocation(Allocation::share("var_short".parse()?, "50".parse()?))
///     .outside_variation_id("var_today".parse()?)
///     .rollout([
///         slice("var_short", 10_000)?,
///         RolloutSlice::outside(70_000),
///         slice("var_today", 15_000)?,
///         slice("var_short", 5_000)?,
///     ]);
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "plain data, made by literal")]
pub struct RolloutSlice {
    /// What is served; of an untracked slice without one, what is served outside the experiment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variation_id: Option<VariationId>,
    /// How many buckets it has: hundred-thousandths of the subjects.
    pub weight: u32,
    /// Whether its subjects are no part of the experiment.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untracked: bool,
}

codes! {
    /// What becomes of those who are in when a new iteration takes in more, under a hash that has a
    /// [rollout](RolloutSlice). LaunchDarkly's pages say one and the other.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum Carryover {
        /// They stay in the experiment, in their arms; those who enter come from outside.
        #[default]
        Analysed = "analysed",
        /// They are served what they had, but leave the experiment; all who are in afterwards come
        /// from outside. When there are not as many outside, everybody is drawn anew, or if
        /// [`can_reshuffle`](crate::Experiment::can_reshuffle) forbids it, they stay.
        ServedOnly = "served_only",
    }
}

impl Carryover {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromJson for Carryover {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.one_of(Self::ALL, Self::as_str)
    }
}

impl RolloutSlice {
    /// How many buckets there are: 100,000.
    pub const BUCKETS: u32 = 100_000;

    /// A slice of an arm.
    pub fn tracked(variation_id: VariationId, weight: u32) -> Self {
        Self { variation_id: Some(variation_id), weight, untracked: false }
    }

    /// A slice of those who are served a variation as no part of the experiment.
    pub fn untracked(variation_id: VariationId, weight: u32) -> Self {
        Self { variation_id: Some(variation_id), weight, untracked: true }
    }

    /// A slice of those who are served what the experiment has for those outside.
    pub fn outside(weight: u32) -> Self {
        Self { variation_id: None, weight, untracked: true }
    }
}

/// How many buckets an arm is due.
pub(crate) type Due<'a> = (&'a VariationId, u64);

/// The slices of an experiment, all in all 100,000 buckets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rollout {
    slices: Box<[RolloutSlice]>,
    /// The variation of the outside.
    outside: Option<VariationId>,
    /// The traffic that the slices are cut for.
    pub(crate) traffic: Percentage,
}

impl Rollout {
    /// The arms in this order, and then the outside.
    pub(crate) fn lay_out(
        due: &[Due<'_>],
        outside: Option<&VariationId>,
        traffic: Percentage,
    ) -> Self {
        let arms = due.iter().map(|(id, points)| (Some(*id), *points, false));
        let taken: u64 = due.iter().map(|(_, points)| points).sum();
        let rest = (outside, all().saturating_sub(taken), true);
        Self { traffic, ..Self::labelled(arms.chain([rest]), outside) }
    }

    /// Reads slices whose tracked buckets must be what the arms are due.
    pub(crate) fn read(
        list: &[RolloutSlice],
        due: &[Due<'_>],
        outside: Option<&VariationId>,
        traffic: Percentage,
    ) -> Result<Self, Error> {
        if list.len() > MAX_SLICES {
            let rule = format!("must have at most {MAX_SLICES} slices");
            return Err(Error::new(Code::LimitExceeded, rule).with_value(&list.len()));
        }
        let mut slices = Vec::with_capacity(list.len());
        let mut left = RolloutSlice::BUCKETS;
        for (index, slice) in list.iter().enumerate() {
            let here = |error: Error| error.at("variation_id").at_index(index);
            let id = slice.variation_id.as_ref();
            if !slice.untracked && due.iter().all(|(arm, _)| Some(*arm) != id) {
                let rule = "must be the variation of an allocation, since the slice is tracked";
                return Err(here(Error::invalid(rule).with_value(&id)));
            }
            let variation_id = id.or(outside).cloned();
            let weight = slice.weight.min(left);
            slices.push(RolloutSlice { variation_id, weight, untracked: slice.untracked });
            left -= weight;
            // The first that reaches beyond the end is the last that anybody has.
            if weight < slice.weight {
                break;
            }
        }
        match slices.last_mut() {
            Some(last) => last.weight += left,
            None => return Err(Error::invalid("must have a slice")),
        }
        let read = Self { slices: slices.into(), outside: outside.cloned(), traffic };
        for (id, due) in due {
            let points = read.tracked(id);
            if points != *due {
                let rule = format!(
                    "must give {id} {due} tracked buckets, which is its weight of the traffic, \
                     {traffic} %, not {points}"
                );
                return Err(Error::invalid(rule).with_value(&points));
            }
        }
        Ok(read)
    }

    /// The slices in order.
    pub(crate) fn slices(&self) -> &[RolloutSlice] {
        &self.slices
    }

    /// The variations that are served.
    pub(crate) fn variations(&self) -> impl Iterator<Item = &VariationId> {
        self.slices.iter().filter_map(|slice| slice.variation_id.as_ref())
    }

    /// The same slices, with another variation for the outside.
    pub(crate) fn with_outside(mut self, outside: Option<&VariationId>) -> Self {
        for slice in &mut self.slices {
            if slice.untracked && slice.variation_id == self.outside {
                slice.variation_id = outside.cloned();
            }
        }
        Self { outside: outside.cloned(), ..self }
    }

    /// How many buckets an arm has.
    fn tracked(&self, id: &VariationId) -> u64 {
        let slices = self.slices.iter();
        let own = slices.filter(|own| !own.untracked && own.variation_id.as_ref() == Some(id));
        own.map(|slice| u64::from(slice.weight)).sum()
    }

    /// Slices of these variations, buckets, and whether they are untracked; neighbours that are
    /// alike are one.
    fn labelled<'a>(
        parts: impl Iterator<Item = (Option<&'a VariationId>, u64, bool)>,
        outside: Option<&VariationId>,
    ) -> Self {
        let mut slices: Vec<RolloutSlice> = Vec::new();
        for (id, points, untracked) in parts.filter(|(_, points, _)| *points > 0) {
            let weight = u32::try_from(points).unwrap_or(RolloutSlice::BUCKETS);
            match slices.last_mut() {
                Some(last) if last.untracked == untracked && last.variation_id.as_ref() == id => {
                    last.weight += weight;
                }
                _ => slices.push(RolloutSlice { variation_id: id.cloned(), weight, untracked }),
            }
        }
        Self { slices: slices.into(), outside: outside.cloned(), traffic: Percentage::ZERO }
    }
}

/// How many buckets there are.
fn all() -> u64 {
    RolloutSlice::BUCKETS.into()
}

/// How many buckets each arm is due, in the order in which they are listed.
pub(crate) fn due(allocations: &[Allocation], traffic: Percentage) -> Result<Vec<Due<'_>>, Error> {
    let weight = |arm: &Allocation| arm.weight.map_or(0, |weight| u128::from(weight.millionths()));
    let sum: u128 = allocations.iter().map(weight).sum();
    if sum == 0 || allocations.iter().any(|arm| arm.weight.is_none()) {
        let rule = "must all have weights, one of them above 0, of which a rollout is made";
        return Err(Error::invalid(rule).at("allocations"));
    }
    let buckets = u128::from((traffic.millionths() + 500) / 1_000);
    // The nearest whole number each, which is at most half a bucket an arm too many or too few.
    let nearest = |own: u128| (2 * buckets * own + sum) / (2 * sum);
    let mut seats: Vec<(u128, u128, &VariationId)> = allocations
        .iter()
        .map(|arm| (nearest(weight(arm)), weight(arm), &arm.variation_id))
        .collect();
    // An arm's n-th bucket is the earlier, the smaller (2n - 1) / weight is.
    let before = |(n, own, id): (u128, u128, &VariationId),
                  (m, other, than): (u128, u128, &VariationId)| {
        ((2 * n - 1) * other).cmp(&((2 * m - 1) * own)).then(id.cmp(than))
    };
    let mut taken: u128 = seats.iter().map(|(n, ..)| n).sum();
    while taken != buckets {
        let drawn = seats.iter_mut().filter(|(n, own, _)| *own > 0 && (taken < buckets || *n > 0));
        let changed = if taken < buckets {
            drawn.min_by(|a, b| before((a.0 + 1, a.1, a.2), (b.0 + 1, b.1, b.2)))
        } else {
            drawn.max_by(|a, b| before(**a, **b))
        };
        let Some((n, ..)) = changed else { break };
        if taken < buckets {
            (*n, taken) = (*n + 1, taken + 1);
        } else {
            (*n, taken) = (*n - 1, taken - 1);
        }
    }
    let due = seats.into_iter().map(|(n, _, id)| (id, u64::try_from(n).unwrap_or(all())));
    Ok(due.collect())
}

/// Checks that an experiment with this hash can be what else it is.
pub(crate) fn check_hash(
    hash: HashVersion,
    strategy: Strategy,
    levels: &[Percentage],
    stages: &[Stage],
) -> Result<(), Error> {
    hash.check_feature().map_err(|error| error.at("hash"))?;
    if !hash.has_rollout() {
        return Ok(());
    }
    if strategy != Strategy::Percentage {
        let rule = format!("must be percentage under hash {hash}, which has one draw for all");
        return Err(Error::invalid(rule).with_value(&strategy).at("strategy"));
    }
    let given = [("levels", !levels.is_empty()), ("stages", !stages.is_empty())];
    match given.into_iter().find(|(_, given)| *given) {
        Some((key, _)) => {
            let rule = format!("is only for experiments that hash by {}", HashVersion::Xxh64V1);
            Err(Error::invalid(rule).at(key))
        }
        None => Ok(()),
    }
}

impl Experiment {
    /// Says how the slices of the first run will lie, if anything is said.
    pub(crate) fn bring_rollout(&mut self, list: &[RolloutSlice]) -> Result<(), Error> {
        if list.is_empty() {
            return Ok(());
        }
        if !self.hash.has_rollout() {
            let rule = format!("is only for experiments that hash by {}", HashVersion::ROLLOUTS);
            return Err(Error::invalid(rule).at("rollout"));
        }
        let due = due(&self.allocations, self.traffic)?;
        let outside = self.outside_variation_id.as_ref();
        let rollout = Rollout::read(list, &due, outside, self.traffic)
            .map_err(|error| error.at("rollout"))?;
        self.extra.rollout = Some(rollout);
        Ok(())
    }

    /// The rollout of the next run, or of this one when it is resumed: the next after `before`.
    pub(crate) fn next_rollout(&self, before: Option<&Rollout>) -> Result<Option<Rollout>, Error> {
        if !self.hash.has_rollout() {
            return Ok(None);
        }
        let due = due(&self.allocations, self.traffic)?;
        let outside = self.outside_variation_id.as_ref();
        match before.or(self.extra.rollout.as_ref()) {
            Some(before) => {
                let before = before.clone().with_outside(outside);
                carried(&before, &due, self.traffic).map(Some)
            }
            None => Ok(Some(Rollout::lay_out(&due, outside, self.traffic))),
        }
    }

    /// The slices of the next run if whoever is in this one leaves it and is served what they had;
    /// `None` when there are not enough subjects outside. Only when the traffic grows.
    pub(crate) fn served_only(&self, next: &Self) -> Result<Option<Option<Rollout>>, Error> {
        let run = self.iteration.design.as_ref().and_then(|design| design.rollout());
        let same = next.subject_kind == self.subject_kind;
        let Some(run) = run.filter(|run| same && next.traffic > run.traffic) else {
            return Ok(None);
        };
        let run = run.clone().with_outside(next.outside_variation_id.as_ref());
        let carried = run.carry(&due(&next.allocations, next.traffic)?, true);
        Ok(Some(carried.map(|own| Rollout { traffic: next.traffic, ..own })))
    }

    /// Cuts the slices anew after an edit: those to come for whatever has become different, those
    /// of an active run for another traffic.
    ///
    /// A paused run is cut when it is resumed, once for all that was edited: traffic and weights one
    /// after the other could move those who are in, though neither arm shrinks.
    pub(crate) fn recut(&mut self) -> Result<(), Error> {
        if self.extra.rollout.is_some() {
            self.extra.rollout = self.next_rollout(None)?;
        }
        match self.status {
            Status::Active => self.recut_run(),
            _ => Ok(()),
        }
    }

    /// Cuts the slices of the run for the present traffic.
    pub(crate) fn recut_run(&mut self) -> Result<(), Error> {
        if let Some(design) = &self.iteration.design
            && let Some(rollout) = design.rollout()
        {
            let due = due(&design.allocations, self.traffic)?;
            let next = carried(rollout, &due, self.traffic)?;
            if next != *rollout {
                let design = Design { rollout: Some(Box::new(next)), ..Design::clone(design) };
                self.iteration.design = Some(Arc::new(design));
            }
        }
        Ok(())
    }
}

fn carried(rollout: &Rollout, due: &[Due<'_>], traffic: Percentage) -> Result<Rollout, Error> {
    let too_many = || Error::new(Code::LimitExceeded, "must serve at most 255 variations");
    let next = rollout.carry(due, false).ok_or_else(|| too_many().at("rollout"))?;
    Ok(Rollout { traffic, ..next })
}

impl FromJson for RolloutSlice {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["variation_id", "weight", "untracked"])?;
        let untracked = object.or_default("untracked")?;
        Ok(Self {
            variation_id: match untracked {
                true => object.optional("variation_id")?,
                false => Some(object.read("variation_id")?),
            },
            weight: object.read("weight")?,
            untracked,
        })
    }
}

deserialize!(RolloutSlice);
