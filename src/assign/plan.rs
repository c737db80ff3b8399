//! An experiment, compiled for assigning.

use std::sync::Arc;

use super::hash::{Draw, draw_seed, point};
use super::{Attributes, Decision, Reason, Scratch, Subject};
use crate::id::{ExperimentId, VariationId};
use crate::model::{Allocation, Config, Design, Experiment, Flag, Segment, Status, SubjectKind};
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
    Open(Open),
}

#[derive(Debug, Clone, PartialEq)]
struct Open {
    traffic_seed: u64,
    /// The first point that is not in; 2^32 when all are.
    traffic_end: u64,
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
        mut contains: impl FnMut(&Arc<Segment>, &dyn Attributes) -> bool,
    ) -> Decision<'s> {
        let open = match &self.gate {
            Gate::Open(open) => open,
            Gate::Closed(reason) => return self.serve(None, *reason),
        };
        let Some(hash) = subject.hash(self.subject_kind.as_str()) else {
            return self.serve(None, Reason::MissingSubjectId);
        };
        if open.traffic_end < Partition::POINTS
            && u64::from(point(hash, open.traffic_seed)) >= open.traffic_end
        {
            return self.serve(self.outside.as_deref(), Reason::NotSampled);
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

    #[inline]
    fn serve<'s>(&'s self, served: Option<&'s Arm>, reason: Reason<'s>) -> Decision<'s> {
        Decision { experiment_id: Some(&self.experiment_id), served, reason }
    }

    /// Compiles an experiment as its iteration froze it.
    pub(crate) fn compile(experiment: &Experiment) -> Self {
        let closed = |reason| (Gate::Closed(reason), Box::default(), None);
        let (gate, arms, outside) = match (experiment.status, &experiment.iteration.design) {
            (Status::Active, Some(design)) => Self::open(experiment, design),
            // An active experiment always has a design.
            (Status::Draft | Status::Active, _) => closed(Reason::Draft),
            (Status::Paused, _) => closed(Reason::Paused),
            (Status::Completed, _) => closed(Reason::Completed),
            (Status::Archived, _) => closed(Reason::Archived),
        };
        Self {
            experiment_id: experiment.id.clone(),
            subject_kind: experiment.subject_kind.clone(),
            gate,
            arms,
            outside,
        }
    }

    fn open(experiment: &Experiment, design: &Design) -> (Gate, Box<[Arm]>, Option<Box<Arm>>) {
        let salt = design.salt.as_str();
        let route = match &design.partition {
            Some(partition) => Route::Split {
                seed: draw_seed(salt, Draw::Variation),
                partition: partition.clone(),
            },
            None => segments(design),
        };
        let open = Open {
            traffic_seed: draw_seed(salt, Draw::Traffic),
            traffic_end: experiment.traffic.points(),
            route,
        };
        let arms = design.allocations.iter();
        let arms = arms.map(|arm| Arm::new(&design.flag, &arm.variation_id, arm.is_control));
        let outside = design.outside_variation_id.as_ref();
        let outside = outside.map(|id| Box::new(Arm::new(&design.flag, id, false)));
        (Gate::Open(open), arms.collect(), outside)
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
    fn new(flag: &Flag, id: &VariationId, is_control: bool) -> Self {
        let config = flag.variations().get(id).map(|variation| Arc::clone(&variation.config));
        Self { variation_id: id.clone(), config: config.unwrap_or_default(), is_control }
    }
}
