//! An experiment, compiled for assigning.

use std::sync::Arc;

use super::hash::{Draw, draw_seed, point};
use super::{Attributes, Decision, Reason, Scratch, Subject};
use crate::id::{ExperimentId, VariationId};
use crate::model::{
    Allocation, Config, Design, Experiment, Flag, Segment, Status, SubjectKind, is_weightless,
};
use crate::partition::Partition;

/// An experiment, compiled for assigning: what is left when everything that does not depend on the
/// subject is worked out.
///
/// Hold on to one, as [`Snapshot::plan`](crate::Snapshot::plan) lends it, to assign many subjects
/// to one experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    experiment_id: ExperimentId,
    subject_kind: SubjectKind,
    gate: Gate,
    /// As the run froze them, whatever the status; those of the present design if it never ran.
    arms: Box<[Arm]>,
    outside: Option<Box<Arm>>,
}

/// What a subject can be served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arm {
    pub(crate) variation_id: VariationId,
    pub(crate) config: Arc<Config>,
    pub(crate) is_control: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Gate {
    Closed(Reason<'static>),
    /// Closed but to those who were in.
    Paused(Open),
    Open(Open),
}

#[derive(Debug, Clone, PartialEq)]
struct Open {
    traffic_seed: u64,
    /// The first point that is not in; 2^32 when all are.
    traffic_end: u64,
    /// The arm of those who are not in: the control of a ramp without weights.
    rest: Option<u8>,
    route: Route,
}

#[derive(Debug, Clone, PartialEq)]
enum Route {
    Split { seed: u64, partition: Partition },
    Segments { targets: Box<[(Arc<Segment>, u8)]>, fallback: u8 },
}

impl Plan {
    /// The experiment.
    pub fn experiment_id(&self) -> &ExperimentId {
        &self.experiment_id
    }

    /// What a subject gets, and why. Never fails, allocates or takes a lock.
    #[inline]
    pub fn assign<'s>(&'s self, subject: &Subject<'_>) -> Decision<'s> {
        self.decide(subject, |segment, attributes| segment.contains(attributes))
    }

    #[inline]
    pub(crate) fn assign_with<'s>(
        &'s self,
        subject: &Subject<'_>,
        scratch: &mut Scratch,
    ) -> Decision<'s> {
        self.decide(subject, |segment, attributes| scratch.contains(segment, attributes))
    }

    #[inline]
    fn decide<'s>(
        &'s self,
        subject: &Subject<'_>,
        contains: impl FnMut(&Arc<Segment>, &dyn Attributes) -> bool,
    ) -> Decision<'s> {
        if subject.brings_assignments()
            && let Some(decision) = self.honour(subject)
        {
            return decision;
        }
        match &self.gate {
            Gate::Open(open) => self.draw(open, subject, contains),
            Gate::Paused(_) => self.serve(None, Reason::Paused),
            Gate::Closed(reason) => self.serve(None, *reason),
        }
    }

    #[inline]
    fn draw<'s>(
        &'s self,
        open: &'s Open,
        subject: &Subject<'_>,
        mut contains: impl FnMut(&Arc<Segment>, &dyn Attributes) -> bool,
    ) -> Decision<'s> {
        let Some(hash) = subject.hash(self.subject_kind.as_str()) else {
            return self.serve(None, Reason::MissingSubjectId);
        };
        if open.traffic_end < Partition::POINTS
            && u64::from(point(hash, open.traffic_seed)) >= open.traffic_end
        {
            return match open.rest {
                Some(control) => self.serve(self.arms.get(usize::from(control)), Reason::Split),
                None => self.serve(self.outside.as_deref(), Reason::NotSampled),
            };
        }
        match &open.route {
            Route::Split { seed, partition } => {
                let arm = partition.owner(point(hash, *seed));
                self.serve(self.arms.get(arm), Reason::Split)
            }
            Route::Segments { targets, fallback } => {
                let attributes = subject.attributes();
                let hit = targets.iter().find(|(segment, _)| contains(segment, attributes));
                let (arm, reason) = match hit {
                    Some((segment, arm)) => (arm, Reason::Segment(segment.id())),
                    None => (fallback, Reason::Fallback),
                };
                self.serve(self.arms.get(usize::from(*arm)), reason)
            }
        }
    }

    /// The assignment that a subject brings, as far as it goes before what the plan would decide.
    #[cold]
    fn honour<'s>(&'s self, subject: &Subject<'_>) -> Option<Decision<'s>> {
        let id = self.experiment_id.as_str();
        let arm = |variation| self.arm(variation, subject);
        if let Some(forced) = subject.brought(id, true).find_map(arm) {
            return Some(self.serve(Some(forced), Reason::Forced));
        }
        if !matches!(self.gate, Gate::Paused(_)) {
            return None;
        }
        let kept = subject.brought(id, false).find_map(arm)?;
        Some(self.serve(Some(kept), Reason::Kept))
    }

    /// The arm with this variation; if there are several, that by which the subject would get it.
    fn arm(&self, variation: &str, subject: &Subject<'_>) -> Option<&Arm> {
        let same = |arm: &&Arm| arm.variation_id == *variation;
        let first = self.arms.iter().find(same)?;
        let (Gate::Open(open) | Gate::Paused(open)) = &self.gate else { return Some(first) };
        let drawn = self.draw(open, subject, |segment, attributes| segment.contains(attributes));
        let drawn = drawn.served.filter(|_| drawn.in_experiment()).filter(same);
        Some(drawn.unwrap_or(first))
    }

    #[inline]
    fn serve<'s>(&'s self, served: Option<&'s Arm>, reason: Reason<'s>) -> Decision<'s> {
        Decision { experiment_id: Some(&self.experiment_id), served, reason }
    }

    /// Compiles an experiment as its iteration froze it, or with its present flag if it never ran.
    pub(crate) fn compile(experiment: &Experiment, flag: Option<&Flag>) -> Self {
        let design = experiment.iteration.design.as_deref();
        let gate = match (experiment.status, design) {
            (Status::Active, Some(design)) => Gate::Open(Open::new(experiment, design)),
            (Status::Paused, Some(design)) => Gate::Paused(Open::new(experiment, design)),
            // One that has started always has a design.
            (Status::Draft | Status::Active | Status::Paused, _) => Gate::Closed(Reason::Draft),
            (Status::Completed, _) => Gate::Closed(Reason::Completed),
            (Status::Archived, _) => Gate::Closed(Reason::Archived),
        };
        let (flag, allocations, outside) = match design {
            Some(design) => {
                (Some(&*design.flag), &design.allocations, &design.outside_variation_id)
            }
            None => (flag, &experiment.allocations, &experiment.outside_variation_id),
        };
        let arm = |id: &VariationId, is_control| Arm::new(flag?, id, is_control);
        let arms = allocations.iter();
        let arms =
            arms.filter_map(|allocation| arm(&allocation.variation_id, allocation.is_control));
        Self {
            experiment_id: experiment.id.clone(),
            subject_kind: experiment.subject_kind.clone(),
            gate,
            arms: arms.collect(),
            outside: outside.as_ref().and_then(|id| arm(id, false)).map(Box::new),
        }
    }
}

impl Open {
    fn new(experiment: &Experiment, design: &Design) -> Self {
        let salt = design.salt.as_str();
        let route = match &design.partition {
            Some(partition) => Route::Split {
                seed: draw_seed(salt, Draw::Variation),
                partition: partition.clone(),
            },
            None => segments(design),
        };
        let ramps = !experiment.levels.is_empty() && is_weightless(&design.allocations);
        let mut arms = (0u8..).zip(design.allocations.iter()).filter(|_| ramps);
        Self {
            traffic_seed: draw_seed(salt, Draw::Traffic),
            traffic_end: experiment.traffic.points(),
            rest: arms.find(|(_, arm)| arm.is_control).map(|(number, _)| number),
            route,
        }
    }
}

fn segments(design: &Design) -> Route {
    let arms = || (0u8..).zip(design.allocations.iter());
    let mut targets: Vec<(u8, &Allocation)> = arms().filter(|(_, arm)| !arm.is_fallback).collect();
    targets.sort_by_key(|(_, arm)| arm.priority);
    let targets = targets.into_iter().filter_map(|(index, arm)| {
        let id = arm.segment_id.as_ref()?;
        let segment = design.segments.iter().find(|segment| segment.id() == id)?;
        Some((Arc::clone(segment), index))
    });
    let fallback = arms().find(|(_, arm)| arm.is_fallback);
    Route::Segments { targets: targets.collect(), fallback: fallback.map_or(0, |(index, _)| index) }
}

impl Arm {
    fn new(flag: &Flag, id: &VariationId, is_control: bool) -> Option<Self> {
        let config = Arc::clone(&flag.variations().get(id)?.config);
        Some(Self { variation_id: id.clone(), config, is_control })
    }
}
