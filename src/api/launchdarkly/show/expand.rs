//! What an answer shows beside the rest.

use crate::api::launchdarkly::answer::Refusal;
use crate::api::launchdarkly::list::Query;

/// A part that is shown if it is asked for.
#[derive(Clone, Copy)]
pub(in crate::api::launchdarkly) enum Part {
    Previous,
    Draft,
    Secondary,
    Treatments,
    Config,
    Mutable,
}

const NAMES: [(&str, Part); 6] = [
    ("previousIterations", Part::Previous),
    ("draftIteration", Part::Draft),
    ("secondaryMetrics", Part::Secondary),
    ("treatments", Part::Treatments),
    ("analysisConfig", Part::Config),
    ("mutableFieldsByStatus", Part::Mutable),
];

/// The parts that are asked for.
#[derive(Clone, Copy, Default)]
pub(in crate::api::launchdarkly) struct Expand(u8);

impl Expand {
    /// Everything.
    pub(in crate::api::launchdarkly) const ALL: Self = Self(u8::MAX);

    pub(in crate::api::launchdarkly) fn read(query: &Query) -> Result<Self, Refusal> {
        query.list("expand").try_fold(Self::default(), |expand, name| {
            let found = NAMES.iter().find(|(known, _)| *known == name);
            let (_, part) = found.ok_or_else(|| {
                let names: Vec<_> = NAMES.iter().map(|(known, _)| *known).collect();
                let reason = format!("must be some of {}; got {name:?}", names.join(", "));
                Refusal::invalid("expand", reason)
            })?;
            Ok(expand.and(*part))
        })
    }

    pub(in crate::api::launchdarkly) const fn and(self, part: Part) -> Self {
        Self(self.0 | 1 << part as u8)
    }

    pub(in crate::api::launchdarkly) const fn has(self, part: Part) -> bool {
        self.0 & 1 << part as u8 != 0
    }
}
