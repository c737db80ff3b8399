//! Partial updates: what is named changes, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::error::Error;
use crate::id::{ExperimentId, SegmentId, VariationId};
use crate::json::{Cursor, FromJson, Object, deserialize};
use crate::model::{
    ActiveLimit, Allocation, AnalysisKind, Correction, Goal, Keep, Methodology, MetricUse,
    Parameter, Rule, Stage, TestDirection, Text,
};
use crate::number::{Percentage, Probability};
use crate::time::Timestamp;

/// What happens to a field that can be empty: it is kept, cleared or set.
///
/// In JSON, an absent member keeps, `null` clears, a value sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth")]
pub enum Patch<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes empty.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Patch<T> {
    /// Whether nothing happens.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Reads a member.
    pub(crate) fn read(object: &Object<'_>, key: &'static str) -> Result<Self, Error>
    where
        T: FromJson,
    {
        match object.get(key) {
            None => Ok(Self::Keep),
            Some(cursor) if cursor.is_null() => Ok(Self::Clear),
            Some(cursor) => cursor.read().map(Self::Set),
        }
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

macro_rules! patches {
    (
        $(
            $(#[$meta:meta])*
            $name:ident {
                $(set { $($(#[$set_meta:meta])* $set:ident: $set_type:ty = $set_arg:ty,)+ })?
                $(patch { $($(#[$patch_meta:meta])* $patch:ident / $clear:ident: $patch_type:ty = $patch_arg:ty,)+ })?
            }
        )+
    ) => {$(
        $(#[$meta])*
        ///
        /// The default changes nothing. Each method adds what it says.
        #[derive(Debug, Clone, PartialEq, Default, Serialize)]
        #[non_exhaustive]
        pub struct $name {
            $($(
                $(#[$set_meta])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $set: Option<$set_type>,
            )+)?
            $($(
                $(#[$patch_meta])*
                #[serde(skip_serializing_if = "Patch::is_keep")]
                pub $patch: Patch<$patch_type>,
            )+)?
        }

        impl $name {
            /// A patch that changes nothing.
            pub fn new() -> Self {
                Self::default()
            }

            $($(
                $(#[$set_meta])*
                pub fn $set(mut self, $set: $set_arg) -> Self {
                    self.$set = Some($set.into());
                    self
                }
            )+)?

            $($(
                $(#[$patch_meta])*
                pub fn $patch(mut self, $patch: $patch_arg) -> Self {
                    self.$patch = Patch::Set($patch.into());
                    self
                }

                #[doc = concat!("Clears `", stringify!($patch), "`.")]
                pub fn $clear(mut self) -> Self {
                    self.$patch = Patch::Clear;
                    self
                }
            )+)?
        }

        impl FromJson for $name {
            fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
                let object = cursor.object(&[
                    $($(stringify!($set),)+)?
                    $($(stringify!($patch),)+)?
                ])?;
                Ok(Self {
                    $($($set: object.set(stringify!($set))?,)+)?
                    $($($patch: Patch::read(&object, stringify!($patch))?,)+)?
                })
            }
        }

        deserialize!($name);
    )+};
}

impl ExperimentPatch {
    /// The same patch, by which one more annotation is set.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.get_or_insert_default().insert(key.into(), Some(value.into()));
        self
    }

    /// The same patch, by which one more annotation is removed.
    pub fn without_annotation(mut self, key: impl Into<String>) -> Self {
        self.annotations.get_or_insert_default().insert(key.into(), None);
        self
    }
}

impl LayerPatch {
    /// The share of one more member, who joins if it is none.
    pub fn member(mut self, experiment_id: ExperimentId, share: Percentage) -> Self {
        self.members.get_or_insert_default().insert(experiment_id, share);
        self
    }

    /// The same patch, by which one more member leaves.
    pub fn without(mut self, experiment_id: ExperimentId) -> Self {
        self.leave.get_or_insert_default().insert(experiment_id);
        self
    }
}

impl HoldoutPatch {
    /// The same patch, by which one more experiment joins.
    pub fn experiment(mut self, experiment_id: ExperimentId) -> Self {
        self.join.get_or_insert_default().insert(experiment_id);
        self
    }

    /// The same patch, by which one more experiment leaves.
    pub fn without(mut self, experiment_id: ExperimentId) -> Self {
        self.leave.get_or_insert_default().insert(experiment_id);
        self
    }
}

patches! {
    /// What becomes different about a flag.
    FlagPatch {
        set {
            /// The name.
            name: String = impl Into<String>,
            /// All parameters, in place of those that there are.
            parameters: BTreeMap<String, Parameter> = BTreeMap<String, Parameter>,
            /// Whether it is switched on. Takes effect at once on every experiment on the flag.
            on: bool = bool,
        }
        patch {
            /// What it is about.
            description / clear_description: String = impl Into<String>,
            /// What subjects are served while the flag is off, and those who are held out. Takes
            /// effect at once.
            off_variation_id / clear_off_variation_id: VariationId = VariationId,
        }
    }

    /// What becomes different about a variation.
    VariationPatch {
        set {
            /// The name.
            name: String = impl Into<String>,
            /// All overrides, in place of those that there are.
            overrides: BTreeMap<String, Value> = BTreeMap<String, Value>,
        }
        patch {
            /// What it is about.
            description / clear_description: String = impl Into<String>,
        }
    }

    /// What becomes different about a segment.
    SegmentPatch {
        set {
            /// The name.
            name: String = impl Into<String>,
            /// All rules, in place of those that there are.
            rules: Vec<Rule> = impl Into<Vec<Rule>>,
        }
        patch {
            /// What it is about.
            description / clear_description: String = impl Into<String>,
        }
    }

    /// What becomes different about an experiment.
    ExperimentPatch {
        set {
            /// The name.
            name: String = impl Into<String>,
            /// All tags, in place of those that there are.
            tags: Vec<String> = impl Into<Vec<String>>,
            /// What is assigned.
            subject_kind: String = impl Into<String>,
            /// All arms, in place of those that there are.
            allocations: Vec<Allocation> = impl Into<Vec<Allocation>>,
            /// The share of subjects that enters.
            traffic: Percentage = Percentage,
            /// All levels of a ramp, in place of those that there are.
            levels: Vec<Percentage> = impl Into<Vec<Percentage>>,
            /// When an assignment that a subject brings is kept.
            keep: Keep = Keep,
            /// All stages of a ramp by time, in place of those that there are.
            stages: Vec<Stage> = impl Into<Vec<Stage>>,
            /// Whether a new iteration may draw everybody anew.
            can_reshuffle: bool = bool,
            /// What becomes different about how its results are to be read.
            analysis: AnalysisPatch = AnalysisPatch,
            /// The annotations that are set, and those that are removed, which have no value, in JSON
            /// `null`. All others stay.
            annotations: BTreeMap<String, Option<String>> = BTreeMap<String, Option<String>>,
        }
        patch {
            /// What it is about.
            description / clear_description: String = impl Into<String>,
            /// The surface.
            flow / clear_flow: String = impl Into<String>,
            /// The segment of those who can be in the experiment.
            audience_id / clear_audience_id: SegmentId = SegmentId,
            /// The moment before which it assigns nobody.
            starts_at / clear_starts_at: Timestamp = Timestamp,
            /// The moment from which on it assigns nobody.
            ends_at / clear_ends_at: Timestamp = Timestamp,
            /// What subjects outside the experiment are served.
            outside_variation_id / clear_outside_variation_id: VariationId = VariationId,
            /// Who looks after it.
            maintainer / clear_maintainer: String = impl Into<String>,
            /// The chain.
            chain / clear_chain: String = impl Into<String>,
        }
    }

    /// What becomes different about a layer.
    LayerPatch {
        set {
            /// The name.
            name: String = impl Into<String>,
            /// The shares of these members; whoever is none joins. All others stay as they are.
            members: BTreeMap<ExperimentId, Percentage> = BTreeMap<ExperimentId, Percentage>,
            /// The members that leave, and free their shares.
            leave: BTreeSet<ExperimentId> = BTreeSet<ExperimentId>,
        }
        patch {
            /// What it is about.
            description / clear_description: String = impl Into<String>,
        }
    }

    /// What becomes different about a holdout.
    HoldoutPatch {
        set {
            /// The name.
            name: String = impl Into<String>,
            /// The share of subjects that is held out.
            share: Percentage = Percentage,
            /// The experiments that join. All others stay.
            join: BTreeSet<ExperimentId> = BTreeSet<ExperimentId>,
            /// The experiments that leave.
            leave: BTreeSet<ExperimentId> = BTreeSet<ExperimentId>,
        }
        patch {
            /// What it is about.
            description / clear_description: String = impl Into<String>,
        }
    }

    /// What becomes different about the [draft](crate::Draft) of an experiment's next iteration.
    DraftPatch {
        set {
            /// What is to be assigned.
            subject_kind: String = impl Into<String>,
            /// All arms, in place of those that there are.
            allocations: Vec<Allocation> = impl Into<Vec<Allocation>>,
            /// The share of subjects that is to enter; not of a ramp with levels.
            traffic: Percentage = Percentage,
            /// Whether its start may draw everybody anew.
            can_reshuffle: bool = bool,
            /// What becomes different about how its results are to be read.
            analysis: AnalysisPatch = AnalysisPatch,
        }
        patch {
            /// The segment of those who can be in the experiment.
            audience_id / clear_audience_id: SegmentId = SegmentId,
            /// What subjects outside the experiment are to be served.
            outside_variation_id / clear_outside_variation_id: VariationId = VariationId,
        }
    }

    /// What becomes different about the settings.
    SettingsPatch {
        set {
            /// How many experiments can be active at once.
            active_limit: ActiveLimit = ActiveLimit,
            /// All kinds of subjects that experiments go by, in place of those that there are; none
            /// stand for any.
            subject_kinds: Vec<String> = impl Into<Vec<String>>,
        }
        patch {
            /// The kind that a creation gets which names none.
            default_subject_kind / clear_default_subject_kind: String = impl Into<String>,
        }
    }

    /// What becomes different about an [`Analysis`](crate::Analysis).
    AnalysisPatch {
        set {
            /// What kind of question it is.
            kind: AnalysisKind = AnalysisKind,
            /// All metrics that are read, in place of those that there are.
            metrics: Vec<MetricUse> = impl Into<Vec<MetricUse>>,
            /// All attributes that results are sliced by, in place of those that there are.
            attributes: Vec<String> = impl Into<Vec<String>>,
        }
        patch {
            /// What is expected.
            hypothesis / clear_hypothesis: Text = Text,
            /// By which school results are read.
            methodology / clear_methodology: Methodology = Methodology,
            /// Where the events come from.
            data_source / clear_data_source: Text = Text,
            /// The data that explain a part of the variance.
            covariate_id / clear_covariate_id: Text = Text,
            /// From which probability to be best, in percent, an arm counts as better.
            bayesian_threshold / clear_bayesian_threshold: Percentage = Percentage,
            /// Below which p-value a difference counts.
            significance_threshold / clear_significance_threshold: Probability = Probability,
            /// Whether a test asks for a difference in one direction or in both.
            test_direction / clear_test_direction: TestDirection = TestDirection,
            /// How it is made up for that many comparisons are made.
            correction / clear_correction: Correction = Correction,
            /// Whether results can be read at any time.
            sequential / clear_sequential: bool = bool,
            /// How often a bandit divides the subjects anew, in milliseconds.
            reallocation_interval / clear_reallocation_interval: u64 = u64,
            /// What the experiment is to reach, in place of what it was; one that says nothing is
            /// none.
            goal / clear_goal: Goal = Goal,
        }
    }
}
