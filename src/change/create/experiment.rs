//! Experiments.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Error;
use crate::id::{ExperimentId, FlagId, SegmentId, VariationId};
use crate::json::{Cursor, FromJson, deserialize};
use crate::model::{
    Allocation, Analysis, HashVersion, Keep, RolloutSlice, Salt, Stage, Strategy, Weights,
};
use crate::number::Percentage;
use crate::time::Timestamp;

/// An experiment to be created, with a name, a flag and a strategy. It begins as a draft.
///
/// Plain data: its rules, which are those of an [`Experiment`](crate::Experiment), are checked when
/// it is applied.
///
/// ```
/// use variate::{Allocation, NewExperiment};
///
/// let experiment = NewExperiment::by_percentage("Sign-in headline", "flg_signinScreen".parse()?)
///     .flow("authentication")
///     .allocation(Allocation::share("var_today".parse()?, "90".parse()?).control())
///     .allocation(Allocation::share("var_short".parse()?, "10".parse()?));
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NewExperiment {
    /// The id; a random one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<ExperimentId>,
    /// The name.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The flag that it varies.
    pub flag_id: FlagId,
    /// The surface that it applies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// What is assigned; the settings' default unless given, which is `device` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_kind: Option<String>,
    /// How subjects are mapped to variations.
    pub strategy: Strategy,
    /// The arms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allocations: Vec<Allocation>,
    /// The share of subjects that enters; 100 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Percentage>,
    /// The steps by which the traffic is raised, which then cannot be given; none unless the
    /// experiment is a ramp.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Percentage>,
    /// The segment of those who can be in the experiment; everyone unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience_id: Option<SegmentId>,
    /// What subjects outside the experiment are served; nothing unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside_variation_id: Option<VariationId>,
    /// When an assignment that a subject brings is kept.
    pub keep: Keep,
    /// The moment before which it assigns nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// The moment from which on it assigns nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// The steps of a ramp by time, not beside levels; the traffic is then 0 unless given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// The formula that maps subjects to points.
    pub hash: HashVersion,
    /// What it mixes into its hash; its id unless given, or under `sha1-v1` and `sha1-f32-v1` a
    /// random whole number from 1 to 2^31 − 1 in decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
    /// What programs call it by; nothing unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who looks after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintainer: Option<String>,
    /// Whether a new iteration may draw everybody anew; `true` unless given.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub can_reshuffle: bool,
    /// How its results are to be read; nothing is said of it unless given.
    #[serde(skip_serializing_if = "Analysis::is_default")]
    pub analysis: Analysis,
    /// How the slices of its first run lie, for an experiment that is brought over, under `sha1-v1`
    /// or `sha1-f32-v1` alone: the arms as they are listed, then the outside, unless given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollout: Vec<RolloutSlice>,
    /// The chain that it is a member of while it runs; none unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// How the weights of the arms are read; as percentages unless given.
    #[serde(skip_serializing_if = "Weights::is_default")]
    pub weights: Weights,
    /// What other systems want to find again on it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl NewExperiment {
    /// An experiment that assigns by weight.
    pub fn by_percentage(name: impl Into<String>, flag_id: FlagId) -> Self {
        Self::new(name, flag_id, Strategy::Percentage)
    }

    /// An experiment that assigns by segment.
    pub fn by_segment(name: impl Into<String>, flag_id: FlagId) -> Self {
        Self::new(name, flag_id, Strategy::Segment)
    }

    /// An experiment that assigns by this strategy.
    pub fn new(name: impl Into<String>, flag_id: FlagId, strategy: Strategy) -> Self {
        Self {
            id: None,
            name: name.into(),
            description: None,
            tags: Vec::new(),
            flag_id,
            flow: None,
            subject_kind: None,
            strategy,
            allocations: Vec::new(),
            traffic: None,
            levels: Vec::new(),
            audience_id: None,
            outside_variation_id: None,
            keep: Keep::default(),
            starts_at: None,
            ends_at: None,
            stages: Vec::new(),
            hash: HashVersion::default(),
            salt: None,
            key: None,
            maintainer: None,
            can_reshuffle: true,
            analysis: Analysis::new(),
            rollout: Vec::new(),
            chain: None,
            weights: Weights::default(),
            annotations: BTreeMap::new(),
        }
    }

    /// The same experiment with an id of the caller's.
    pub fn id(self, id: ExperimentId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same experiment with a description.
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// The same experiment with one more tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// The same experiment on this surface.
    pub fn flow(self, flow: impl Into<String>) -> Self {
        Self { flow: Some(flow.into()), ..self }
    }

    /// The same experiment on subjects of this kind.
    pub fn subject_kind(self, kind: impl Into<String>) -> Self {
        Self { subject_kind: Some(kind.into()), ..self }
    }

    /// The same experiment with one more arm.
    pub fn allocation(mut self, allocation: Allocation) -> Self {
        self.allocations.push(allocation);
        self
    }

    /// The same experiment with this share of subjects.
    pub fn traffic(self, traffic: Percentage) -> Self {
        Self { traffic: Some(traffic), ..self }
    }

    /// The same experiment as a ramp with these levels.
    pub fn levels(self, levels: impl Into<Vec<Percentage>>) -> Self {
        Self { levels: levels.into(), ..self }
    }

    /// The same experiment for the subjects in this segment alone.
    pub fn audience(self, segment_id: SegmentId) -> Self {
        Self { audience_id: Some(segment_id), ..self }
    }

    /// The same experiment, which keeps what subjects bring as this says.
    pub fn keep(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// The same experiment, which assigns nobody before this moment.
    pub fn starts_at(self, at: Timestamp) -> Self {
        Self { starts_at: Some(at), ..self }
    }

    /// The same experiment, which assigns nobody from this moment on.
    pub fn ends_at(self, at: Timestamp) -> Self {
        Self { ends_at: Some(at), ..self }
    }

    /// The same experiment as a ramp with one more stage.
    pub fn stage(mut self, at: Timestamp, traffic: Percentage) -> Self {
        self.stages.push(Stage { at, traffic });
        self
    }

    /// The same experiment with this variation for subjects outside it.
    pub fn outside_variation_id(self, id: VariationId) -> Self {
        Self { outside_variation_id: Some(id), ..self }
    }

    /// The same experiment with a salt of the caller's.
    pub fn salt(self, salt: Salt) -> Self {
        Self { salt: Some(salt), ..self }
    }

    /// The same experiment with a key.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same experiment with somebody who looks after it.
    pub fn maintainer(self, maintainer: impl Into<String>) -> Self {
        Self { maintainer: Some(maintainer.into()), ..self }
    }

    /// The same experiment, of which a new iteration may or may not draw everybody anew.
    pub fn can_reshuffle(self, can_reshuffle: bool) -> Self {
        Self { can_reshuffle, ..self }
    }

    /// The same experiment, whose results are to be read in this way.
    pub fn analysis(self, analysis: Analysis) -> Self {
        Self { analysis, ..self }
    }

    /// The same experiment under another formula.
    pub fn hash(self, hash: HashVersion) -> Self {
        Self { hash, ..self }
    }

    /// The same experiment with slices that lie like this; see [`RolloutSlice`].
    pub fn rollout(self, slices: impl Into<Vec<RolloutSlice>>) -> Self {
        Self { rollout: slices.into(), ..self }
    }

    /// The same experiment in this chain.
    pub fn chain(self, name: impl Into<String>) -> Self {
        Self { chain: Some(name.into()), ..self }
    }

    /// The same experiment, whose weights are read like this.
    ///
    /// ```
    /// use variate::{Allocation, NewExperiment, Weights};
    ///
    /// // A third and two thirds.
    /// let experiment = NewExperiment::by_percentage("Price", "flg_price".parse()?)
    ///     .weights(Weights::Relative)
    ///     .allocation(Allocation::share("var_today".parse()?, 1.try_into()?).control())
    ///     .allocation(Allocation::share("var_higher".parse()?, 2.try_into()?));
    /// # Ok::<(), variate::Error>(())
    /// ```
    pub fn weights(self, weights: Weights) -> Self {
        Self { weights, ..self }
    }

    /// The same experiment with one more annotation.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }
}

impl NewExperiment {
    /// Reads the rest of an object whose `tag`, if any, has been read.
    pub(in crate::change) fn tagged(cursor: Cursor<'_>, tag: Option<&str>) -> Result<Self, Error> {
        let object = cursor.tagged_object(
            tag,
            &[
                "id",
                "name",
                "description",
                "tags",
                "flag_id",
                "flow",
                "subject_kind",
                "strategy",
                "allocations",
                "traffic",
                "levels",
                "audience_id",
                "outside_variation_id",
                "keep",
                "starts_at",
                "ends_at",
                "stages",
                "hash",
                "salt",
                "key",
                "maintainer",
                "can_reshuffle",
                "analysis",
                "rollout",
                "chain",
                "weights",
                "annotations",
            ],
        )?;
        Ok(Self {
            id: object.optional("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            tags: object.or_default("tags")?,
            flag_id: object.read("flag_id")?,
            flow: object.optional("flow")?,
            subject_kind: object.optional("subject_kind")?,
            strategy: object.read("strategy")?,
            allocations: object.or_default("allocations")?,
            traffic: object.optional("traffic")?,
            levels: object.or_default("levels")?,
            audience_id: object.optional("audience_id")?,
            outside_variation_id: object.optional("outside_variation_id")?,
            keep: object.or_default("keep")?,
            starts_at: object.optional("starts_at")?,
            ends_at: object.optional("ends_at")?,
            stages: object.or_default("stages")?,
            hash: object.or_default("hash")?,
            salt: object.optional("salt")?,
            key: object.optional("key")?,
            maintainer: object.optional("maintainer")?,
            can_reshuffle: object.optional("can_reshuffle")?.unwrap_or(true),
            analysis: object.or_default("analysis")?,
            rollout: object.or_default("rollout")?,
            chain: object.optional("chain")?,
            weights: object.or_default("weights")?,
            annotations: object.or_default("annotations")?,
        })
    }
}

impl FromJson for NewExperiment {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Self::tagged(cursor, None)
    }
}

deserialize!(NewExperiment);
