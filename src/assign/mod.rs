//! How subjects are mapped: hash, rule, plan, decision.

mod ask;
mod attributes;
mod batch;
mod brought;
mod chain;
mod compile;
mod decide;
mod decision;
mod explain;
mod gate;
mod guards;
mod plan;
mod program;
#[cfg(feature = "launchdarkly")]
mod rollout;
mod rule;
mod scratch;
mod shipped;
mod subject;

pub mod hash;

pub use attributes::{Attribute, Attributes, ToAttribute};
pub use batch::{Batch, Column, Outcome};
pub use decision::{Assignment, Decision, Reason};
pub use explain::{Asked, Explanation, RuleVerdict, Step};
pub use plan::Plan;
pub use scratch::Scratch;
pub use subject::Subject;

pub(crate) use chain::{Link, Members};
pub(crate) use gate::Gate;
pub(crate) use guards::{Guards, Surroundings};
pub(crate) use plan::{Arm, Open, Route, Share};
#[cfg(feature = "launchdarkly")]
pub(crate) use rollout::Buckets;
pub(crate) use shipped::Shipped;
