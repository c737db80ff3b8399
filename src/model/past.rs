//! What a run leaves behind: its winner, its place in a layer, and itself as one that is over.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::analysis::{Analysis, check_analysis};
use super::iteration::DesignRef;
use super::{Experiment, Iteration, Name, SubjectKind, checked};
use crate::error::{Code, Error};
use crate::id::{LayerId, VariationId};
use crate::json::{Cursor, FromJson};
use crate::number::Percentage;

/// The most previous iterations of an experiment.
const MAX_PREVIOUS: usize = 1_000;

/// The longest reason for a winner, in characters.
const MAX_REASON: usize = 2_048;

/// The arm that came out best, as whoever stopped the run said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Winner {
    variation_id: VariationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_shipped: bool,
}

impl Winner {
    pub(crate) fn new(
        variation_id: VariationId,
        reason: Option<&str>,
        is_shipped: bool,
    ) -> Result<Self, Error> {
        match reason {
            Some(text) if text.chars().count() > MAX_REASON => {
                let rule = format!("must have at most {MAX_REASON} characters");
                Err(Error::invalid(rule).with_value(text).at("reason"))
            }
            _ => Ok(Self { variation_id, reason: reason.map(Box::from), is_shipped }),
        }
    }

    /// The arm's variation.
    pub fn variation_id(&self) -> &VariationId {
        &self.variation_id
    }

    /// Why, in at most 2048 characters of free text.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Whether everyone eligible is served it while the experiment is completed; see
    /// [`Change::StopIteration`](crate::Change::StopIteration).
    pub fn is_shipped(&self) -> bool {
        self.is_shipped
    }
}

impl FromJson for Winner {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["variation_id", "reason", "is_shipped"])?;
        let reason: Option<String> = object.optional("reason")?;
        let variation_id = object.read("variation_id")?;
        Self::new(variation_id, reason.as_deref(), object.or_default("is_shipped")?)
            .map_err(|error| object.locate(error))
    }
}

/// The place of an experiment in its layer, as it was when a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reservation {
    pub(crate) layer_id: LayerId,
    pub(crate) name: Name,
    pub(crate) share: Percentage,
    pub(crate) others: Percentage,
}

impl Reservation {
    /// The layer, which may have been deleted since.
    pub fn layer_id(&self) -> &LayerId {
        &self.layer_id
    }

    /// The layer's name then.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The experiment's share, in percent.
    pub fn share(&self) -> Percentage {
        self.share
    }

    /// The sum of the other members' shares, in percent.
    pub fn others(&self) -> Percentage {
        self.others
    }
}

impl FromJson for Reservation {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["layer_id", "name", "share", "others"])?;
        let place = Self {
            layer_id: object.read("layer_id")?,
            name: object.read("name")?,
            share: object.read("share")?,
            others: object.read("others")?,
        };
        if place.share.millionths() + place.others.millionths() > Percentage::MAX.millionths() {
            let error = Error::invalid("must be at most 100 together with share");
            return Err(object.locate(error.with_value(&place.others).at("others")));
        }
        Ok(place)
    }
}

/// A run that is over and was followed by another. It never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct PastIteration {
    pub(crate) iteration: Iteration,
    pub(crate) subject_kind: SubjectKind,
    pub(crate) traffic: Percentage,
    pub(crate) can_reshuffle: bool,
    pub(crate) analysis: Option<Arc<Analysis>>,
}

impl PastIteration {
    /// The run, with what it froze and what came of it.
    pub fn iteration(&self) -> &Iteration {
        &self.iteration
    }

    /// What was assigned.
    pub fn subject_kind(&self) -> &SubjectKind {
        &self.subject_kind
    }

    /// The share of subjects that entered when the run ended, without what a schedule added.
    pub fn traffic(&self) -> Percentage {
        self.traffic
    }

    /// Whether the run was one that may draw everybody anew; see
    /// [`Experiment::can_reshuffle`].
    pub fn can_reshuffle(&self) -> bool {
        self.can_reshuffle
    }

    /// How its results were to be read when the run ended.
    pub fn analysis(&self) -> &Analysis {
        self.analysis.as_deref().unwrap_or(Analysis::NONE)
    }

    /// The experiment's place in its layer when the run ended, if it was in one; the same as
    /// [`Iteration::layer`].
    pub fn layer(&self) -> Option<&Reservation> {
        self.iteration.layer()
    }

    /// The present run of an experiment, as one that is over.
    pub(crate) fn of(experiment: &Experiment) -> Self {
        let design = experiment.iteration.design.as_ref();
        let cut = design.and_then(|design| design.rollout());
        Self {
            iteration: experiment.iteration.clone(),
            subject_kind: experiment.subject_kind.clone(),
            // A paused run's slices do not follow its traffic.
            traffic: cut.map_or(experiment.traffic, |rollout| rollout.traffic),
            can_reshuffle: experiment.can_reshuffle,
            analysis: experiment.analysis.clone(),
        }
    }

    /// Reads a past run of this experiment, and what it refers to.
    pub(crate) fn from_json(
        cursor: Cursor<'_>,
        experiment: &Experiment,
    ) -> Result<(Self, Option<DesignRef>), Error> {
        let object = cursor.object(&[
            "iteration",
            "subject_kind",
            "traffic",
            "can_reshuffle",
            "analysis",
        ])?;
        let run = object.required("iteration")?;
        let (iteration, design) = Iteration::from_json(run, experiment.created_at())?;
        for (key, time) in [("started_at", iteration.started_at), ("ended_at", iteration.ended_at)]
        {
            if time.is_none() {
                let error = Error::new(Code::MissingKey, "is required, since the run is over");
                return Err(run.locate(error.at(key)));
            }
        }
        let kind = object.optional("subject_kind")?;
        let past = Self {
            iteration,
            subject_kind: kind.unwrap_or_else(|| experiment.subject_kind.clone()),
            traffic: object.optional("traffic")?.unwrap_or(experiment.traffic),
            can_reshuffle: object.optional("can_reshuffle")?.unwrap_or(experiment.can_reshuffle),
            analysis: match object.get("analysis") {
                Some(_) => checked(&object, "analysis", check_analysis)?.shared(),
                None => experiment.analysis.clone(),
            },
        };
        Ok((past, design))
    }

    /// The run as JSON: what it shares with the experiment is left out.
    pub(crate) fn within<'a>(&'a self, experiment: &'a Experiment) -> impl Serialize {
        Within { past: self, experiment }
    }
}

/// Checks that an experiment can have one more previous iteration than this many.
pub(crate) fn check_previous(count: usize) -> Result<(), Error> {
    if count < MAX_PREVIOUS {
        return Ok(());
    }
    let rule = format!("must have at most {MAX_PREVIOUS} entries; a new experiment can go on");
    Err(Error::new(Code::LimitExceeded, rule).with_value(&(count + 1)).at("previous_iterations"))
}

struct Within<'a> {
    past: &'a PastIteration,
    experiment: &'a Experiment,
}

impl Serialize for Within<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { past, experiment } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iteration", &past.iteration.within(experiment, past.traffic))?;
        if past.subject_kind != experiment.subject_kind {
            map.serialize_entry("subject_kind", &past.subject_kind)?;
        }
        if past.traffic != experiment.traffic {
            map.serialize_entry("traffic", &past.traffic)?;
        }
        if past.can_reshuffle != experiment.can_reshuffle {
            map.serialize_entry("can_reshuffle", &past.can_reshuffle)?;
        }
        if past.analysis != experiment.analysis {
            map.serialize_entry("analysis", past.analysis())?;
        }
        map.end()
    }
}
