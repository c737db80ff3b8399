#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub)]

#[cfg(feature = "auth0")]
pub mod api;
mod assign;
mod change;
mod engine;
mod error;
mod id;
mod json;
mod model;
mod number;
mod partition;
mod snapshot;
mod time;

pub use assign::{
    Assignment, Attribute, Attributes, Decision, Plan, Reason, Scratch, Subject, ToAttribute, hash,
};
pub use change::{
    Change, Commit, Effect, EffectKind, EntityKind, Event, ExperimentPatch, Field, FlagPatch,
    NewExperiment, NewFlag, NewSegment, NewVariation, Patch, SegmentPatch, SettingsPatch,
    Transaction, VariationPatch,
};
pub use engine::{Engine, Reader};
pub use error::{Code, Error, Violation, ViolationCode};
pub use id::{Entropy, ExperimentId, FlagId, SegmentId, SystemEntropy, VariationId};
pub use json::Limits;
pub use model::{
    ActiveLimit, Allocation, Condition, Config, Description, Experiment, Expression, Flag,
    FlagStatus, Flow, HashVersion, Iteration, Name, OneOf, Parameter, ParameterType, Rule, Salt,
    Segment, SegmentStatus, Settings, Status, Strategy, SubjectKind, Tag, Variation,
};
pub use number::{Percentage, Weight};
pub use partition::Partition;
pub use snapshot::{Readiness, Snapshot};
pub use time::{Clock, Timestamp};
