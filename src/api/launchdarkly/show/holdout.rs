//! Holdouts, by way of an experiment: it compares those who are held out with the others.

use std::collections::BTreeMap;

use super::{Expand, Part, Run, ShownExperiment, ShownIteration, ShownTreatment};
use crate::api::launchdarkly::answer::Refusal;
use crate::api::launchdarkly::list::{Links, Query};
use crate::api::launchdarkly::{Experimentation, holdouts};
use crate::model::{AnalysisKind, Experiment, Holdout};
use crate::number::Percentage;
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

/// What the answer to a request for one holdout shows beside the rest.
#[derive(Clone, Copy, Default)]
pub(in crate::api::launchdarkly) struct HoldoutExpand {
    /// Of the holdout itself.
    pub(in crate::api::launchdarkly) own: Expand,
    /// Of its experiments.
    pub(in crate::api::launchdarkly) related: Expand,
}

impl HoldoutExpand {
    pub(in crate::api::launchdarkly) fn read(query: &Query) -> Result<Self, Refusal> {
        let mut expand = Self::default();
        for name in query.list("expand") {
            let (of, plain) = match name.strip_prefix("rel-") {
                Some(plain) => (&mut expand.related, plain),
                None => (&mut expand.own, name),
            };
            let part = match plain {
                "previousIterations" => Part::Previous,
                "draftIteration" => Part::Draft,
                "metrics" | "secondaryMetrics" => Part::Secondary,
                "treatments" => Part::Treatments,
                _ => {
                    let reason = format!(
                        "must be some of previousIterations, draftIteration, secondaryMetrics, \
                         treatments, metrics, each also with rel- before it; got {name:?}"
                    );
                    return Err(Refusal::invalid("expand", reason));
                }
            };
            *of = of.and(part);
        }
        Ok(expand)
    }
}

impl Experimentation {
    /// The experiment that a holdout is; its metrics and treatments are always there.
    pub(in crate::api::launchdarkly) fn shown_base<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        holdout: &'s Holdout,
        expand: Expand,
    ) -> ShownExperiment<'s> {
        let analysis = holdout.analysis();
        let path = self.in_environment("");
        let own = format!("{path}/holdouts/{}", holdouts::key_of(holdout));
        let current = self.shown_hold(snapshot, holdout);
        let is_shown_as_draft = expand.has(Part::Draft) && current.status == "not_started";
        ShownExperiment {
            id: holdout.id().as_str(),
            key: holdouts::key_of(holdout),
            name: holdout.name().as_str(),
            description: holdout.description().map(|text| text.as_str()),
            maintainer_id: holdout.maintainer().map_or(&self.member, |own| own.as_str()),
            creation_date: holdout.created_at().unix_millis(),
            environment_key: &self.environment,
            methodology: analysis.methodology.map(|own| own.as_str()),
            data_source: analysis.data_source.as_ref().map_or("launchdarkly", |own| own.as_str()),
            archived_date: None,
            tags: Vec::new(),
            holdout_id: None,
            links: Links::new().and("parent", path).and("self", own),
            r#type: AnalysisKind::Holdout.as_str(),
            current_iteration: current,
            draft_iteration: is_shown_as_draft.then(|| self.shown_hold(snapshot, holdout)),
            previous_iterations: None,
            analysis_config: None,
            mutable_fields_by_status: None,
        }
    }

    /// The one iteration of a holdout.
    fn shown_hold<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        holdout: &'s Holdout,
    ) -> ShownIteration<'s> {
        let run = Run {
            id: holdout.id().as_str(),
            number: 1,
            status: match holdouts::status(snapshot, holdout) {
                "ended" => "stopped",
                "running" => "running",
                _ => "not_started",
            },
            created_at: holdout.created_at(),
            record: None,
            flag: None,
            subject_kind: holdout.subject_kind(),
            allocations: &[],
            traffic: Percentage::MAX,
            audience_id: None,
            outside_variation_id: None,
            can_reshuffle: false,
            analysis: holdout.analysis(),
        };
        let starts = holdouts::members(snapshot, holdout).filter_map(first_start);
        let started = starts.min().map(|at| at.max(holdout.created_at()));
        ShownIteration {
            started_at: started.map(Timestamp::unix_millis),
            ended_at: holdout.ended_at().map(Timestamp::unix_millis),
            flags: BTreeMap::new(),
            treatments: Some(shown_sides(holdout).into()),
            ..self.shown_iteration(snapshot, &run, Expand::default().and(Part::Secondary))
        }
    }
}

fn first_start(experiment: &Experiment) -> Option<Timestamp> {
    let first = experiment.previous_iterations().first();
    let first = first.map_or(experiment.iteration(), |past| past.iteration());
    first.started_at()
}

/// Those who are held out, and the others.
fn shown_sides(holdout: &Holdout) -> [ShownTreatment<'_>; 2] {
    let rest = Percentage::MAX.millionths().saturating_sub(holdout.share().millionths());
    let rest = Percentage::from_millionths(rest).unwrap_or_default();
    let side = |id, name, share: Percentage, baseline| ShownTreatment {
        id,
        name,
        allocation_percent: share.to_string(),
        baseline,
        parameters: Vec::new(),
    };
    [side("in", "In holdout", holdout.share(), true), side("out", "Not in holdout", rest, false)]
}
