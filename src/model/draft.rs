//! What the next run of an experiment is to be like.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::allocation::check_allocations;
use super::analysis::{Analysis, check_analysis};
use super::iteration::nullable;
use super::{Allocation, Experiment, SubjectKind, checked};
use crate::error::Error;
use crate::id::{SegmentId, VariationId};
use crate::json::Cursor;
use crate::number::Percentage;
use crate::time::Timestamp;

/// What the next iteration of an experiment is to be like: a design beside the one that runs, which
/// nobody is assigned by.
///
/// Opened and edited by [`Change::DraftIteration`](crate::Change::DraftIteration), it becomes the
/// experiment's own design when [`Change::StartIteration`](crate::Change::StartIteration) starts it.
/// What it names is in use, as what the experiment names is.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub(crate) subject_kind: SubjectKind,
    pub(crate) allocations: Arc<[Allocation]>,
    pub(crate) traffic: Percentage,
    pub(crate) audience_id: Option<SegmentId>,
    pub(crate) outside_variation_id: Option<VariationId>,
    pub(crate) can_reshuffle: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) analysis: Option<Arc<Analysis>>,
}

impl Draft {
    /// What is to be assigned.
    pub fn subject_kind(&self) -> &SubjectKind {
        &self.subject_kind
    }

    /// The arms, in the order in which they were written.
    pub fn allocations(&self) -> &[Allocation] {
        &self.allocations
    }

    /// The share of subjects that is to enter; in a ramp by hand the first of the
    /// [`levels`](Experiment::levels).
    pub fn traffic(&self) -> Percentage {
        self.traffic
    }

    /// The segment of those who can be in the experiment; everyone unless there is one.
    pub fn audience_id(&self) -> Option<&SegmentId> {
        self.audience_id.as_ref()
    }

    /// What subjects outside the experiment are to be served.
    pub fn outside_variation_id(&self) -> Option<&VariationId> {
        self.outside_variation_id.as_ref()
    }

    /// Whether its start may draw everybody anew; see [`Experiment::can_reshuffle`].
    pub fn can_reshuffle(&self) -> bool {
        self.can_reshuffle
    }

    /// How its results are to be read.
    pub fn analysis(&self) -> &Analysis {
        self.analysis.as_deref().unwrap_or(Analysis::NONE)
    }

    pub(crate) fn set_analysis(&mut self, analysis: Analysis) {
        self.analysis = analysis.shared();
    }

    /// When it was opened.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// A copy of an experiment's present design.
    pub(crate) fn of(experiment: &Experiment, created_at: Timestamp) -> Self {
        Self {
            subject_kind: experiment.subject_kind.clone(),
            allocations: Arc::clone(&experiment.allocations),
            traffic: experiment.extra.levels.first().copied().unwrap_or(experiment.traffic),
            audience_id: experiment.audience_id.clone(),
            outside_variation_id: experiment.outside_variation_id.clone(),
            can_reshuffle: experiment.can_reshuffle,
            created_at,
            analysis: experiment.analysis.clone(),
        }
    }

    /// The experiment with this design for its own, and nothing drafted.
    pub(crate) fn put_into(&self, experiment: &Experiment) -> Experiment {
        let Self {
            subject_kind,
            allocations,
            traffic,
            audience_id,
            outside_variation_id,
            can_reshuffle,
            created_at: _,
            analysis,
        } = self.clone();
        Experiment {
            subject_kind,
            allocations,
            traffic,
            audience_id,
            outside_variation_id,
            can_reshuffle,
            analysis,
            draft: None,
            ..experiment.clone()
        }
    }

    /// Reads the draft of this experiment.
    pub(crate) fn from_json(cursor: Cursor<'_>, experiment: &Experiment) -> Result<Self, Error> {
        let object = cursor.object(&[
            "subject_kind",
            "allocations",
            "traffic",
            "audience_id",
            "outside_variation_id",
            "can_reshuffle",
            "created_at",
            "analysis",
        ])?;
        let mut draft = Self::of(experiment, experiment.created_at());
        if let Some(kind) = object.optional("subject_kind")? {
            draft.subject_kind = kind;
        }
        if object.get("allocations").is_some() {
            let check =
                |list: &Vec<_>| check_allocations(list, experiment.strategy, experiment.weights);
            draft.allocations = checked(&object, "allocations", check)?.into();
        }
        if let Some(traffic) = object.optional("traffic")? {
            if !experiment.extra.levels.is_empty() {
                let rule = "must not be given beside levels, which set it";
                let error = Error::invalid(rule).with_value(&traffic).at("traffic");
                return Err(object.locate(error));
            }
            draft.traffic = traffic;
        }
        if let Some(audience_id) = nullable(&object, "audience_id")? {
            draft.audience_id = audience_id;
        }
        if let Some(outside_variation_id) = nullable(&object, "outside_variation_id")? {
            draft.outside_variation_id = outside_variation_id;
        }
        if let Some(can_reshuffle) = object.optional("can_reshuffle")? {
            draft.can_reshuffle = can_reshuffle;
        }
        if let Some(created_at) = object.optional("created_at")? {
            draft.created_at = created_at;
        }
        if object.get("analysis").is_some() {
            draft.set_analysis(checked(&object, "analysis", check_analysis)?);
        }
        Ok(draft)
    }

    /// The draft as JSON: what it shares with the experiment is left out.
    pub(crate) fn within<'a>(&'a self, experiment: &'a Experiment) -> impl Serialize {
        Within { draft: self, copy: Self::of(experiment, experiment.created_at()) }
    }
}

struct Within<'a> {
    draft: &'a Draft,
    /// What the draft is unless it says otherwise.
    copy: Draft,
}

impl Serialize for Within<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { draft, copy } = self;
        let mut map = serializer.serialize_map(None)?;
        if draft.subject_kind != copy.subject_kind {
            map.serialize_entry("subject_kind", &draft.subject_kind)?;
        }
        if draft.allocations != copy.allocations {
            map.serialize_entry("allocations", &*draft.allocations)?;
        }
        if draft.traffic != copy.traffic {
            map.serialize_entry("traffic", &draft.traffic)?;
        }
        if draft.audience_id != copy.audience_id {
            map.serialize_entry("audience_id", &draft.audience_id)?;
        }
        if draft.outside_variation_id != copy.outside_variation_id {
            map.serialize_entry("outside_variation_id", &draft.outside_variation_id)?;
        }
        if draft.can_reshuffle != copy.can_reshuffle {
            map.serialize_entry("can_reshuffle", &draft.can_reshuffle)?;
        }
        if draft.created_at != copy.created_at {
            map.serialize_entry("created_at", &draft.created_at)?;
        }
        if draft.analysis != copy.analysis {
            map.serialize_entry("analysis", draft.analysis())?;
        }
        map.end()
    }
}
