//! What a run rests on: checked, frozen, and put together again from a document.

use std::sync::Arc;

use super::Snapshot;
use super::readiness::check_shape;
use super::revisions::Past;
use crate::error::{Code, Error};
use crate::id::{SegmentId, VariationId};
use crate::model::{
    Allocation, Design, DesignRef, Experiment, Flag, HashVersion, Iteration, Owned, Rollout,
    RolloutSlice, Split, SplitRef, Splits, Strategy, check_allocations, due, lay_out,
    read_partition, targets,
};
use crate::number::Percentage;

impl Snapshot {
    /// Puts together what a run froze.
    pub(super) fn restore_design(
        &self,
        experiment: &Experiment,
        traffic: Percentage,
        design: DesignRef,
        past: &Past,
    ) -> Result<Design, Error> {
        let no_version = |what: &str, version: u64| {
            let rule = format!("must be a version of the {what} that the document has");
            Error::new(Code::UnknownReference, rule).with_value(&version)
        };
        let (id, version) = (experiment.flag_id(), design.flag_version);
        let present = self.shared_flag(id.as_str()).filter(|flag| flag.version() == version);
        let flag = present.or_else(|| past.flags.find(&(id.clone(), version)));
        let flag = flag.ok_or_else(|| no_version("flag", version).at("flag_version"))?;
        let mut segments = Vec::new();
        for (id, version) in design.segment_versions {
            let present = self.shared_segment(id.as_str());
            let present = present.filter(|segment| segment.version() == version);
            let segment = present.or_else(|| past.segments.find(&(id.clone(), version)));
            let unknown =
                || no_version("segment", version).at_key(id.as_str()).at("segment_versions");
            segments.push(Arc::clone(segment.ok_or_else(unknown)?));
        }
        segments.sort_unstable_by(|a, b| a.id().cmp(b.id()));
        let allocations = match design.allocations {
            Some(list) => {
                check_allocations(&list, experiment.strategy, experiment.weights)
                    .map_err(|e| e.at("allocations"))?;
                list.into()
            }
            None => Arc::clone(&experiment.allocations),
        };
        let violations = check_shape(experiment, &allocations);
        if !violations.is_empty() {
            let error = Error::new(Code::NotReady, "must have been ready when it was frozen");
            return Err(error.with_violations(violations).at("allocations"));
        }
        let audience_id = design.audience_id.unwrap_or_else(|| experiment.audience_id.clone());
        let mut named: Vec<_> = segments_of(&allocations, audience_id.as_ref()).collect();
        named.sort_unstable();
        named.dedup();
        if !named.iter().copied().eq(segments.iter().map(|segment| segment.id())) {
            let rule = "must have the audience and the segments that the allocations name, and no \
                        others";
            return Err(Error::invalid(rule).at("segment_versions"));
        }
        let outside = design.outside_variation_id;
        let outside = outside.unwrap_or_else(|| experiment.outside_variation_id.clone());
        let arms = allocations.iter().map(|arm| ("allocations", &arm.variation_id));
        let outside_too = outside.iter().map(|id| ("outside_variation_id", id));
        let mut variations = arms.chain(outside_too);
        if let Some((key, id)) = variations.find(|(_, id)| !flag.variations().contains_key(*id)) {
            let rule = format!("must have only variations of flag {} as it was frozen", flag.id());
            let error = Error::new(Code::UnknownReference, rule).with_value(id);
            return Err(error.at(key));
        }
        if design.traffic.is_some() && !experiment.hash().has_rollout() {
            let rule = format!("is only for experiments that hash by {}", HashVersion::ROLLOUTS);
            return Err(Error::invalid(rule).at("traffic"));
        }
        let own = (design.rollout, design.traffic.unwrap_or(traffic));
        let rollout = restore_rollout(experiment.hash(), &allocations, outside.as_ref(), own)?;
        if let Some(rollout) = &rollout {
            if design.partition.is_some() {
                let rule = format!("is only for experiments that hash by {}", HashVersion::Xxh64V1);
                return Err(Error::invalid(rule).at("partition"));
            }
            check_slices(rollout, flag)?;
        }
        let splits = match rollout {
            Some(_) if design.splits.is_empty() => Splits::default(),
            _ => {
                restore_splits(experiment.strategy, &allocations, design.partition, design.splits)?
            }
        };
        Ok(Design {
            flag: Arc::clone(flag),
            segments: segments.into(),
            allocations,
            audience_id,
            outside_variation_id: outside,
            salt: design.salt.unwrap_or_else(|| experiment.salt.clone()),
            splits,
            rollout: rollout.map(Box::new),
        })
    }

    /// Puts together what the previous runs of an experiment froze.
    pub(super) fn restore_previous(
        &self,
        experiment: &mut Experiment,
        designs: Vec<Option<DesignRef>>,
        past: &Past,
    ) -> Result<(), Error> {
        let mut previous = experiment.previous_iterations().to_vec();
        let mut number = 0;
        for (index, (own, design)) in previous.iter_mut().zip(designs).enumerate() {
            let here =
                |error: Error| error.at("iteration").at_index(index).at("previous_iterations");
            let run = &mut own.iteration;
            if run.number <= number || run.number >= experiment.iteration.number {
                let rule = "must be more than the one before and less than the experiment's";
                return Err(here(Error::invalid(rule).with_value(&run.number).at("number")));
            }
            number = run.number;
            if let Some(design) = design {
                let design =
                    self.restore_design(experiment, own.traffic, design, past).map_err(here)?;
                run.design = Some(Arc::new(design));
            }
            check_winner(run).map_err(here)?;
        }
        experiment.extra.previous =
            Some(Arc::new(previous)).filter(|previous| !previous.is_empty());
        Ok(())
    }

    /// Checks that everything an experiment's draft names is there.
    pub(crate) fn check_draft(&self, experiment: &Experiment) -> Result<(), Error> {
        match experiment.draft() {
            Some(draft) => self.check_references(&draft.put_into(experiment)),
            None => Ok(()),
        }
    }

    /// Checks that everything an experiment's design names is there.
    pub(crate) fn check_references(&self, experiment: &Experiment) -> Result<(), Error> {
        let unknown = |what: &str, id: &str| {
            Error::new(Code::UnknownReference, format!("must be the id of a {what} that exists"))
                .with_value(id)
        };
        let Some(flag) = self.flag(experiment.flag_id()) else {
            return Err(unknown("flag", experiment.flag_id().as_str()).at("flag_id"));
        };
        let foreign = |id: &str| {
            let rule = format!("must be a variation of flag {}", flag.id());
            Error::new(Code::UnknownReference, rule).with_value(id)
        };
        for (index, arm) in experiment.allocations().iter().enumerate() {
            let here = |error: Error| error.at_index(index).at("allocations");
            if !flag.variations().contains_key(&arm.variation_id) {
                return Err(here(foreign(arm.variation_id.as_str()).at("variation_id")));
            }
            if let Some(id) = &arm.segment_id
                && self.segment(id).is_none()
            {
                return Err(here(unknown("segment", id.as_str()).at("segment_id")));
            }
        }
        if let Some(rollout) = &experiment.extra.rollout {
            check_slices(rollout, flag)?;
        }
        if let Some(id) = experiment.audience_id()
            && self.segment(id).is_none()
        {
            return Err(unknown("segment", id.as_str()).at("audience_id"));
        }
        match experiment.outside_variation_id() {
            Some(id) if !flag.variations().contains_key(id) => {
                return Err(foreign(id.as_str()).at("outside_variation_id"));
            }
            _ => {}
        }
        self.check_metrics(experiment.analysis()).map_err(|error| error.at("analysis"))
    }

    /// Freezes the design of an experiment that is ready, with what it rests on now.
    pub(crate) fn freeze(&self, experiment: &Experiment) -> Result<Design, Error> {
        self.check_references(experiment)?;
        let unknown = || {
            Error::new(Code::UnknownReference, "must be the id of a flag that exists").at("flag_id")
        };
        let flag = self.shared_flag(experiment.flag_id().as_str()).ok_or_else(unknown)?;
        let ids = segments_of(experiment.allocations(), experiment.audience_id());
        let mut segments: Vec<_> =
            ids.filter_map(|id| self.shared_segment(id.as_str())).cloned().collect();
        segments.sort_unstable_by(|a, b| a.id().cmp(b.id()));
        segments.dedup_by(|a, b| a.id() == b.id());
        Design::freeze(experiment, Arc::clone(flag), segments.into())
    }
}

/// Checks that the winner of a run is one of its arms.
pub(super) fn check_winner(run: &Iteration) -> Result<(), Error> {
    let (Some(winner), Some(arms)) = (run.winner(), run.allocations()) else { return Ok(()) };
    check_arm(arms, winner.variation_id()).map_err(|error| error.at("variation_id").at("winner"))
}

/// Checks that a variation is one of the arms of a run.
pub(crate) fn check_arm(arms: &[Allocation], id: &VariationId) -> Result<(), Error> {
    if arms.iter().any(|arm| arm.variation_id == *id) {
        return Ok(());
    }
    let rule = "must be the variation of an arm of the iteration";
    Err(Error::new(Code::UnknownReference, rule).with_value(id))
}

/// The segments that a design names.
pub(super) fn segments_of<'a>(
    allocations: &'a [Allocation],
    audience_id: Option<&'a SegmentId>,
) -> impl Iterator<Item = &'a SegmentId> {
    audience_id.into_iter().chain(allocations.iter().filter_map(|arm| arm.segment_id.as_ref()))
}

/// Puts together the slices of a run: as a document has them, or as they lay at first.
fn restore_rollout(
    hash: HashVersion,
    allocations: &[Allocation],
    outside: Option<&VariationId>,
    (given, traffic): (Option<Vec<RolloutSlice>>, Percentage),
) -> Result<Option<Rollout>, Error> {
    if !hash.has_rollout() {
        let rule = format!("is only for experiments that hash by {}", HashVersion::ROLLOUTS);
        return match given {
            Some(_) => Err(Error::invalid(rule).at("rollout")),
            None => Ok(None),
        };
    }
    let due = due(allocations, traffic)?;
    let rollout = match given {
        Some(list) => {
            Rollout::read(&list, &due, outside, traffic).map_err(|error| error.at("rollout"))?
        }
        None => Rollout::lay_out(&due, outside, traffic),
    };
    Ok(Some(rollout))
}

/// Checks that slices serve only variations of the flag.
fn check_slices(rollout: &Rollout, flag: &Flag) -> Result<(), Error> {
    match rollout.variations().find(|id| !flag.variations().contains_key(*id)) {
        Some(id) => {
            let rule = format!("must have only variations of flag {}", flag.id());
            Err(Error::new(Code::UnknownReference, rule).with_value(id).at("rollout"))
        }
        None => Ok(()),
    }
}

/// Puts together the cuts among arms: as a document has them, or as they lay at first.
fn restore_splits(
    strategy: Strategy,
    allocations: &[Allocation],
    partition: Option<Vec<Owned>>,
    splits: Vec<SplitRef>,
) -> Result<Splits, Error> {
    let only =
        |strategy| Error::invalid(format!("is only for experiments that assign by {strategy}"));
    // Each with where it stands among the splits.
    let mut given: Vec<(usize, SplitRef)> = Vec::new();
    match strategy {
        Strategy::Percentage if !splits.is_empty() => {
            return Err(only(Strategy::Segment).at("splits"));
        }
        Strategy::Segment if partition.is_some() => {
            return Err(only(Strategy::Percentage).at("partition"));
        }
        Strategy::Percentage => {
            let split = |partition| SplitRef { segment_id: None, partition };
            given.extend(partition.map(|partition| (0, split(partition))));
        }
        Strategy::Segment => given.extend((0..).zip(splits)),
    }
    let mut restored = Vec::new();
    for target in targets(allocations).iter().filter(|target| target.is_split()) {
        let own =
            given.iter().position(|(_, split)| split.segment_id.as_ref() == target.segment_id);
        let partition = match own.map(|place| given.remove(place)) {
            None => lay_out(target)?,
            Some((index, split)) => read_partition(&split.partition, target).map_err(|error| {
                let error = error.at("partition");
                match strategy {
                    Strategy::Percentage => error,
                    Strategy::Segment => error.at_index(index).at("splits"),
                }
            })?,
        };
        restored.push(Split { segment_id: target.segment_id.cloned(), partition });
    }
    match given.first() {
        Some((index, split)) => {
            let rule = "must be of a segment, or the fallback, that several allocations divide, each \
                        once";
            let error = Error::invalid(rule).with_value(&split.segment_id);
            Err(error.at("segment_id").at_index(*index).at("splits"))
        }
        None => Ok(restored.into_iter().collect()),
    }
}
