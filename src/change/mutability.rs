//! What can be edited when: the one table.

use crate::error::{Code, Error, codes};
use crate::model::Status;

codes! {
    /// A field of an experiment's design.
    #[non_exhaustive]
    pub enum Field {
        /// The arms.
        Allocations = "allocations",
        /// The segment of those who can be in the experiment.
        AudienceId = "audience_id",
        /// What it is about.
        Description = "description",
        /// The moment from which on it assigns nobody.
        EndsAt = "ends_at",
        /// The flag; fixed when the experiment is created.
        FlagId = "flag_id",
        /// The surface.
        Flow = "flow",
        /// When an assignment that a subject brings is kept.
        Keep = "keep",
        /// The steps of a ramp by hand.
        Levels = "levels",
        /// The name.
        Name = "name",
        /// What subjects outside the experiment are served.
        OutsideVariationId = "outside_variation_id",
        /// What is mixed into the hash; changes by [`Change::Reshuffle`](crate::Change::Reshuffle),
        /// and by a new iteration.
        Salt = "salt",
        /// The steps of a ramp by time.
        Stages = "stages",
        /// The moment before which it assigns nobody.
        StartsAt = "starts_at",
        /// How subjects are mapped; fixed when the experiment is created.
        Strategy = "strategy",
        /// What is assigned.
        SubjectKind = "subject_kind",
        /// Words to find it by.
        Tags = "tags",
        /// The share of subjects that enters; in a ramp it changes by
        /// [`Change::AdvanceRamp`](crate::Change::AdvanceRamp).
        Traffic = "traffic",
        /// What programs call it by; fixed when the experiment is created.
        Key = "key",
        /// Who looks after it.
        Maintainer = "maintainer",
        /// Whether a new iteration may draw everybody anew.
        CanReshuffle = "can_reshuffle",
        /// What is expected, of the [`Analysis`](crate::Analysis).
        Hypothesis = "hypothesis",
        /// The metrics that are read, of the [`Analysis`](crate::Analysis).
        Metrics = "metrics",
        /// The attributes that results are sliced by, of the [`Analysis`](crate::Analysis).
        Attributes = "attributes",
        /// All else of the [`Analysis`](crate::Analysis).
        Analysis = "analysis",
        /// The chain that it is a member of while it runs.
        Chain = "chain",
        /// What the experiment is to reach, of the [`Analysis`](crate::Analysis).
        Goal = "goal",
        /// What other systems want to find again on it.
        Annotations = "annotations",
    }
}

impl Field {
    /// The states in which an experiment's field can change. A new iteration, which brings its
    /// [`Draft`](crate::Draft) along, is another matter.
    ///
    /// | field | in |
    /// |---|---|
    /// | `name`, `description`, `tags`, `maintainer`, `annotations` | `draft`, `active`, `paused`, `completed` |
    /// | `traffic`, `keep`, `starts_at`, `ends_at`, `stages`, `goal` | `draft`, `active`, `paused` |
    /// | `allocations`, `audience_id`, `outside_variation_id`, `salt`, `chain` | `draft`, `paused` |
    /// | `flow`, `levels`, `subject_kind`, `can_reshuffle`, `hypothesis`, `analysis` | `draft` |
    /// | `metrics`, `attributes` | `draft`; they [grow](Self::grows_in) while `active` and `paused` |
    /// | `flag_id`, `strategy`, `key` | never |
    pub const fn changes_in(self) -> &'static [Status] {
        use Status::{Active, Completed, Draft, Paused};
        match self {
            Self::Name | Self::Description | Self::Tags | Self::Maintainer | Self::Annotations => {
                &[Draft, Active, Paused, Completed]
            }
            Self::Traffic
            | Self::Keep
            | Self::StartsAt
            | Self::EndsAt
            | Self::Stages
            | Self::Goal => &[Draft, Active, Paused],
            Self::Allocations
            | Self::AudienceId
            | Self::OutsideVariationId
            | Self::Salt
            | Self::Chain => &[Draft, Paused],
            Self::Flow
            | Self::Levels
            | Self::SubjectKind
            | Self::CanReshuffle
            | Self::Hypothesis
            | Self::Metrics
            | Self::Attributes
            | Self::Analysis => &[Draft],
            Self::FlagId | Self::Strategy | Self::Key => &[],
        }
    }

    /// The states in which an experiment's field can grow and not else change: of a list every entry
    /// stays as it is and in its order, others are added, and none of these is primary.
    ///
    /// | field | in |
    /// |---|---|
    /// | `metrics`, `attributes` | `active`, `paused` |
    /// | all others | never |
    pub const fn grows_in(self) -> &'static [Status] {
        match self {
            Self::Metrics | Self::Attributes => &[Status::Active, Status::Paused],
            _ => &[],
        }
    }
}

impl Status {
    /// Whether an experiment's field can change in this state. Giving a field the value that it has
    /// is no change.
    pub fn can_change(self, field: Field) -> bool {
        field.changes_in().contains(&self)
    }

    /// Whether an experiment's field can grow in this state, and not else change; see
    /// [`Field::grows_in`].
    pub fn can_grow(self, field: Field) -> bool {
        field.grows_in().contains(&self)
    }
}

/// The refusal of an edit.
pub(crate) fn not_mutable(field: Field, status: Status) -> Error {
    refusal(field, status).at(field.as_str())
}

/// The same without where it stands.
pub(crate) fn refusal(field: Field, status: Status) -> Error {
    let states: Vec<_> = field.changes_in().iter().map(|status| status.as_str()).collect();
    let rule = match states.as_slice() {
        [] => "never changes".to_owned(),
        _ if status.can_grow(field) => {
            let primary =
                if field == Field::Metrics { ", and none that is added is primary" } else { "" };
            format!(
                "only grows while the experiment is {status}: every entry stays as it is and in its \
                 order{primary}"
            )
        }
        _ if status == Status::Active && field.changes_in().contains(&Status::Paused) => format!(
            "changes only while the experiment is {}, not {status}; one transaction can pause, \
             patch and activate it",
            states.join(" or ")
        ),
        _ => format!("changes only while the experiment is {}, not {status}", states.join(" or ")),
    };
    Error::new(Code::NotMutable, rule)
}
