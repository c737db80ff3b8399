//! How subjects are mapped: hash, rule, plan, decision.

mod attributes;
mod decision;
mod plan;
mod rule;
mod scratch;
mod subject;

pub mod hash;

pub use attributes::{Attribute, Attributes, ToAttribute};
pub use decision::{Assignment, Decision, Reason};
pub use plan::Plan;
pub use scratch::Scratch;
pub use subject::Subject;
