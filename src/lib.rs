#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub)]

#[cfg(any(feature = "auth0", feature = "launchdarkly", feature = "qonversion"))]
pub mod api;
mod assign;
mod change;
mod engine;
mod error;
mod id;
mod json;
mod keeper;
mod lint;
mod map;
mod model;
mod number;
mod partition;
mod preview;
mod snapshot;
mod sql;
mod time;

pub use assign::{
    Asked, Assignment, Attribute, Attributes, Batch, Column, Decision, Explanation, Outcome, Plan,
    Reason, RuleVerdict, Scratch, Step, Subject, ToAttribute, hash,
};
pub use change::{
    AnalysisPatch, Change, Commit, DraftPatch, Effect, EffectKind, EntityKind, Event,
    ExperimentPatch, Field, FlagPatch, HoldoutPatch, LayerPatch, NewExperiment, NewFlag,
    NewHoldout, NewLayer, NewMetric, NewSegment, NewVariation, Patch, SegmentPatch, SettingsPatch,
    Transaction, VariationPatch,
};
pub use engine::{Engine, Reader};
pub use error::{Code, Error, Violation, ViolationCode};
pub use id::{
    Entropy, ExperimentId, FlagId, HoldoutId, LayerId, MetricId, SegmentId, SystemEntropy,
    VariationId,
};
pub use json::Limits;
pub use keeper::{AssignmentStore, Keeper, MemoryStore};
pub use lint::{Finding, FindingCode};
pub use map::Map;
#[cfg(feature = "regex")]
pub use model::Regex;
pub use model::{
    ActiveLimit, Allocation, Analysis, AnalysisKind, AnalysisType, AnnotationKey, Bounds,
    Carryover, ChainName, Condition, Config, Correction, CorrectionMethod, CorrectionScope,
    Description, Draft, EventDefault, Experiment, Expression, Flag, FlagStatus, Flow, Goal,
    HashVersion, Holdout, Iteration, Keep, KeptAssignment, Key, Layer, Maintainer, Methodology,
    Metric, MetricDefinition, MetricKind, MetricMember, MetricUse, Name, Number, OneOf, Parameter,
    ParameterType, PastIteration, Reservation, RolloutSlice, Rule, Salt, Segment, SegmentStatus,
    Semver, Settings, Stage, Status, Strategy, SubjectKind, SuccessCriteria, Tag, TestDirection,
    Text, UnitAggregation, UrlMatch, UrlTarget, Variation, Weights, Winner,
};
pub use number::{Percentage, Probability, Weight};
pub use partition::Partition;
pub use preview::{Counter, Move, Moves, Place, Preview};
pub use snapshot::{Chain, Readiness, Snapshot};
pub use sql::{Dialect, SqlColumns};
pub use time::{Clock, Timestamp};
