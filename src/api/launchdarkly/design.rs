//! What an iteration is to be like, between what a request says and what the engine holds.

use super::analysis::{configure, covariate, data_source, hypothesis, methodology};
use super::answer::Refusal;
use super::fields::{Operation, Update, Value};
use super::input::{ConfigInput, FlagInput, IterationInput, Primary, TreatmentInput};
use super::used;
use crate::change::{AnalysisPatch, DraftPatch, ExperimentPatch, Patch};
use crate::error::Error;
use crate::id::{FlagId, SegmentId, VariationId};
use crate::model::{Allocation, Analysis, Draft, Experiment, Flag, Methodology, Name};
use crate::number::{Percentage, Weight};
use crate::snapshot::Snapshot;

/// What an iteration is to be like.
#[derive(Debug, Clone)]
pub(super) struct Design {
    pub(super) flag_id: FlagId,
    pub(super) unit: String,
    can_reshuffle: bool,
    pub(super) audience_id: Option<SegmentId>,
    /// The baseline's variation unless there is one.
    outside: Option<VariationId>,
    treatments: Vec<Treatment>,
    pub(super) analysis: Analysis,
}

/// One arm with its share of all subjects.
#[derive(Debug, Clone, PartialEq)]
struct Treatment {
    /// What it is called, if it has a name.
    name: Option<Name>,
    is_baseline: bool,
    percent: Percentage,
    variation_id: VariationId,
}

impl Design {
    /// What a request asks for, with as much of an analysis as is known.
    pub(super) fn resolve(
        snapshot: &Snapshot,
        input: &IterationInput,
        analysis: Analysis,
    ) -> Result<Self, Refusal> {
        let (flag, reference) = flag_of(snapshot, &input.flags)?;
        let default = super::settings::default_unit(snapshot);
        let mut design = Self {
            flag_id: flag.id().clone(),
            unit: input.unit.clone().unwrap_or_else(|| default.to_owned()),
            can_reshuffle: input.can_reshuffle.unwrap_or(true),
            audience_id: None,
            outside: None,
            treatments: treatments(flag, &input.treatments)?,
            analysis: Analysis {
                hypothesis: hypothesis(&input.hypothesis)?,
                reallocation_interval: input.reallocation,
                covariate_id: input.covariate.as_deref().map(covariate).transpose()?,
                attributes: input.attributes.clone(),
                ..analysis
            },
        };
        design.place(snapshot, flag, reference)?;
        used::replace(snapshot, &mut design.analysis.metrics, &input.metrics)?;
        if let Some(primary) = &input.primary {
            used::set_primary(snapshot, &mut design.analysis.metrics, primary)?;
        }
        design.check_sum()?;
        design.check_complete()?;
        Ok(design)
    }

    /// That of the present iteration.
    pub(super) fn of_present(experiment: &Experiment) -> Self {
        Self {
            flag_id: experiment.flag_id().clone(),
            unit: experiment.subject_kind().to_string(),
            can_reshuffle: experiment.can_reshuffle(),
            audience_id: experiment.audience_id().cloned(),
            outside: experiment.outside_variation_id().cloned(),
            treatments: held(experiment.allocations(), experiment.traffic()),
            analysis: experiment.analysis().clone(),
        }
    }

    /// That of the iteration to come.
    fn of_draft(experiment: &Experiment, draft: &Draft) -> Self {
        Self {
            flag_id: experiment.flag_id().clone(),
            unit: draft.subject_kind().to_string(),
            can_reshuffle: draft.can_reshuffle(),
            audience_id: draft.audience_id().cloned(),
            outside: draft.outside_variation_id().cloned(),
            treatments: held(draft.allocations(), draft.traffic()),
            analysis: draft.analysis().clone(),
        }
    }

    /// That of the iteration to start next.
    pub(super) fn of_next(experiment: &Experiment) -> Self {
        let draft = experiment.draft().map(|draft| Self::of_draft(experiment, draft));
        draft.unwrap_or_else(|| Self::of_present(experiment))
    }

    fn baseline(&self) -> Option<&VariationId> {
        self.treatments.iter().find(|own| own.is_baseline).map(|own| &own.variation_id)
    }

    pub(super) fn treatment_count(&self) -> usize {
        self.treatments.len()
    }

    pub(super) fn can_reshuffle(&self) -> bool {
        self.can_reshuffle
    }

    pub(super) fn outside_variation_id(&self) -> Option<&VariationId> {
        self.outside.as_ref().or_else(|| self.baseline())
    }

    /// The arms as the engine holds them: each weighs what it has of all subjects.
    pub(super) fn allocations(&self) -> Vec<Allocation> {
        let arms = self.treatments.iter().map(|own| {
            let arm = Allocation::share(own.variation_id.clone(), Weight::from(own.percent));
            let arm = Allocation { name: own.name.clone(), ..arm };
            if own.is_baseline { arm.control() } else { arm }
        });
        arms.collect()
    }

    /// The share of all subjects that the arms have together.
    pub(super) fn traffic(&self) -> Percentage {
        let sum = self.treatments.iter().map(|own| own.percent.millionths()).sum();
        Percentage::from_millionths(sum).unwrap_or(Percentage::MAX)
    }

    /// Makes a present iteration like this, as far as it is not.
    pub(super) fn patch(&self, present: &Self) -> ExperimentPatch {
        let DraftPatch {
            subject_kind,
            allocations,
            traffic,
            can_reshuffle,
            audience_id,
            outside_variation_id,
            analysis,
            ..
        } = self.draft_patch(present);
        ExperimentPatch {
            subject_kind,
            allocations,
            traffic,
            can_reshuffle,
            analysis,
            audience_id,
            outside_variation_id,
            ..ExperimentPatch::new()
        }
    }

    /// Makes an iteration to come like this.
    pub(super) fn draft_patch(&self, present: &Self) -> DraftPatch {
        let same_arms =
            self.allocations() == present.allocations() && self.traffic() == present.traffic();
        let outside = self.outside_variation_id();
        DraftPatch {
            subject_kind: Some(self.unit.clone()),
            allocations: (!same_arms).then(|| self.allocations()),
            traffic: (!same_arms).then(|| self.traffic()),
            can_reshuffle: Some(self.can_reshuffle),
            audience_id: cleared(self.audience_id.as_ref()),
            // Elsewhere an experiment can have none, and keeps it so.
            outside_variation_id: match outside == present.outside_variation_id() {
                true => Patch::Keep,
                false => cleared(outside),
            },
            analysis: Some(self.analysis_patch()),
            ..DraftPatch::new()
        }
    }

    fn analysis_patch(&self) -> AnalysisPatch {
        let Analysis {
            hypothesis,
            kind,
            methodology,
            data_source,
            metrics,
            attributes,
            covariate_id,
            bayesian_threshold,
            significance_threshold,
            test_direction,
            correction,
            sequential,
            reallocation_interval,
            // LaunchDarkly knows of none, so it stays as it is.
            goal: _,
        } = self.analysis.clone();
        AnalysisPatch {
            kind: Some(kind),
            metrics: Some(metrics),
            attributes: Some(attributes),
            hypothesis: cleared(hypothesis.as_ref()),
            methodology: cleared(methodology.as_ref()),
            data_source: cleared(data_source.as_ref()),
            covariate_id: cleared(covariate_id.as_ref()),
            bayesian_threshold: cleared(bayesian_threshold.as_ref()),
            significance_threshold: cleared(significance_threshold.as_ref()),
            test_direction: cleared(test_direction.as_ref()),
            correction: cleared(correction.as_ref()),
            sequential: cleared(sequential.as_ref()),
            reallocation_interval: cleared(reallocation_interval.as_ref()),
            ..AnalysisPatch::new()
        }
    }

    /// Updates a field of the iteration.
    pub(super) fn update(
        &mut self,
        snapshot: &Snapshot,
        field: &str,
        update: &Update,
    ) -> Result<(), Refusal> {
        let flag = snapshot.flag(&self.flag_id);
        let flag = flag.ok_or_else(|| Refusal::not_found("flag", self.flag_id.as_str()))?;
        match (field, update.operation, &update.value) {
            ("hypothesis", _, Value::Text(text)) => self.analysis.hypothesis = hypothesis(text)?,
            ("randomizationUnit", _, Value::Text(unit)) => self.unit.clone_from(unit),
            ("canReshuffleTraffic", _, Value::Switch(on)) => self.can_reshuffle = *on,
            ("reallocationFrequencyMillis", _, Value::Millis(millis)) => {
                self.analysis.reallocation_interval = Some(*millis);
            }
            ("reallocationFrequencyMillis", _, _) => self.analysis.reallocation_interval = None,
            ("covariateId", _, Value::Text(id)) => {
                self.analysis.covariate_id = Some(covariate(id)?);
            }
            ("covariateId", _, _) => self.analysis.covariate_id = None,
            ("methodology", _, Value::Text(text)) => {
                self.analysis.methodology = Some(methodology(text)?);
            }
            ("dataSource", _, Value::Text(text)) => {
                self.analysis.data_source = Some(data_source(text)?);
            }
            ("dataSource", _, _) => self.analysis.data_source = None,
            ("analysisConfig", _, Value::Config(input)) => configure(&mut self.analysis, input)?,
            ("analysisConfig", _, _) => configure(&mut self.analysis, &ConfigInput::default())?,
            ("primarySingleMetricKey", _, Value::Text(key)) => {
                let primary = Primary::Single(key.clone());
                used::set_primary(snapshot, &mut self.analysis.metrics, &primary)?;
            }
            ("primaryFunnelKey", _, Value::Text(key)) => {
                let primary = Primary::Funnel(key.clone());
                used::set_primary(snapshot, &mut self.analysis.metrics, &primary)?;
            }
            ("attributes", operation, value) => {
                let entries = match value {
                    Value::Texts(entries) => entries.as_slice(),
                    _ => &self.analysis.attributes.clone(),
                };
                edit_texts(&mut self.analysis.attributes, operation, entries);
            }
            ("flags", _, Value::Flags(flags)) => {
                let (given, reference) = flag_of(snapshot, flags)?;
                if given.id() != flag.id() {
                    return Err(update.refuse("must be the flag that the experiment is on"));
                }
                self.place(snapshot, flag, reference)?;
            }
            ("treatments", Operation::Update, Value::Treatments(list)) => {
                self.treatments = treatments(flag, list)?;
            }
            ("treatments", _, Value::Treatments(list)) => {
                for treatment in treatments(flag, list)? {
                    if !self.treatments.contains(&treatment) {
                        self.treatments.push(treatment);
                    }
                }
            }
            ("treatments", _, Value::Texts(gone)) => {
                self.treatments.retain(|own| !gone.iter().any(|id| own.variation_id == **id));
            }
            ("treatments", _, _) => self.treatments.clear(),
            ("metrics", Operation::Update, Value::Metrics(list)) => {
                used::replace(snapshot, &mut self.analysis.metrics, list)?;
            }
            ("metrics", _, Value::Metrics(list)) => {
                used::add(snapshot, &mut self.analysis.metrics, list)?;
            }
            ("metrics", _, value) => {
                let keys = match value {
                    Value::Texts(keys) => Some(keys),
                    _ => None,
                };
                self.analysis.metrics.retain(|used| {
                    let own = snapshot.metric(&used.metric_id);
                    let own = own.map_or(used.metric_id.as_str(), super::metrics::key_of);
                    used.is_primary || keys.is_some_and(|keys| !keys.iter().any(|key| key == own))
                });
            }
            _ => return Err(update.refuse("must be a value that the field can have")),
        }
        Ok(())
    }

    /// Checks what no field can tell alone of one that is edited. What it lacked before, as one can
    /// that was made elsewhere, it can lack still.
    pub(super) fn check_edited(&self, present: &Self) -> Result<(), Refusal> {
        self.check_sum()?;
        match present.check_complete() {
            Ok(()) => self.check_complete(),
            Err(_) => Ok(()),
        }
    }

    fn check_sum(&self) -> Result<(), Refusal> {
        let sum: u64 = self.treatments.iter().map(|own| own.percent.millionths()).sum();
        if sum <= Percentage::MAX.millionths() {
            return Ok(());
        }
        let sum = Weight::from_millionths(sum).unwrap_or(Weight::MAX);
        let reason = format!("must have shares that sum to at most 100; got {sum}");
        Err(Refusal::invalid("treatments", reason))
    }

    fn check_complete(&self) -> Result<(), Refusal> {
        let baselines = self.treatments.iter().filter(|own| own.is_baseline).count();
        if baselines != 1 {
            let reason = format!("must have exactly one baseline; got {baselines}");
            return Err(Refusal::invalid("treatments", reason));
        }
        let exports = self.analysis.methodology == Some(Methodology::ExportOnly);
        if self.analysis.primary_metric().is_none() && !exports {
            let reason = "is required, or primaryFunnelKey, unless the methodology is export_only";
            return Err(Refusal::invalid("primarySingleMetricKey", reason));
        }
        Ok(())
    }

    /// Sets where on its flag the iteration runs.
    fn place(
        &mut self,
        snapshot: &Snapshot,
        flag: &Flag,
        reference: &FlagInput,
    ) -> Result<(), Refusal> {
        let at = |member| in_flags(super::flags::key_of(flag), member);
        if reference.config_version != flag.version() {
            let reason = format!(
                "must be the present version, which is {}; got {}",
                flag.version(),
                reference.config_version
            );
            return Err(Refusal::conflict(reason).within(&at("flagConfigVersion")));
        }
        self.audience_id = match reference.rule_id.as_str() {
            "fallthrough" => None,
            rule => {
                let segment = snapshot.segment(rule);
                let missing = || Refusal::not_found("targeting rule", rule).within(&at("ruleId"));
                let segment = segment.ok_or_else(missing)?;
                Some(segment.id().clone())
            }
        };
        let outside = reference.outside.as_deref().map(|id| variation(flag, id)).transpose();
        self.outside =
            outside.map_err(|reason| Refusal::invalid(at("notInExperimentVariationId"), reason))?;
        Ok(())
    }
}

/// The one flag of an iteration.
fn flag_of<'s, 'i>(
    snapshot: &'s Snapshot,
    flags: &'i [(String, FlagInput)],
) -> Result<(&'s Flag, &'i FlagInput), Refusal> {
    let [(key, reference)] = flags else {
        let reason = format!("must have exactly one flag; got {}", flags.len());
        return Err(Refusal::invalid("flags", reason));
    };
    let flag = super::flags::find(snapshot, key);
    let missing = || Refusal::not_found("flag", key).within(&in_flags(key, ""));
    Ok((flag.ok_or_else(missing)?, reference))
}

/// The path of a flag's member in an iteration, or of the flag.
fn in_flags(key: &str, member: &str) -> String {
    Error::invalid("").at(member).at_key(key).at("flags").path().to_owned()
}

fn variation(flag: &Flag, id: &str) -> Result<VariationId, String> {
    let own = flag.variations().keys().find(|own| own.as_str() == id);
    let key = super::flags::key_of(flag);
    own.cloned().ok_or_else(|| format!("must be a variation of flag {key}; got {id:?}"))
}

fn treatments(flag: &Flag, list: &[TreatmentInput]) -> Result<Vec<Treatment>, Refusal> {
    let read = |(index, input): (usize, &TreatmentInput)| {
        let place = |what: &str, reason: String| {
            Refusal::invalid(format!("treatments[{index}].{what}"), reason)
        };
        let [(key, id)] = input.parameters.as_slice() else {
            let count = input.parameters.len();
            let reason = format!("must have exactly one, that of the flag; got {count}");
            return Err(place("parameters", reason));
        };
        if super::flags::key_of(flag) != key {
            let reason = format!("must be the flag of the iteration; got {key:?}");
            return Err(place("parameters[0].flagKey", reason));
        }
        Ok(Treatment {
            name: input.name.parse().map(Some).map_err(|error: Error| {
                Refusal::from(error).within(&format!("treatments[{index}].name"))
            })?,
            is_baseline: input.baseline,
            percent: input.percent,
            variation_id: variation(flag, id)
                .map_err(|reason| place("parameters[0].variationId", reason))?,
        })
    };
    list.iter().enumerate().map(read).collect()
}

/// Arms that the engine holds.
fn held(allocations: &[Allocation], traffic: Percentage) -> Vec<Treatment> {
    let arms = allocations.iter().map(|arm| Treatment {
        name: arm.name.clone(),
        is_baseline: arm.is_control,
        percent: share_of(arm, allocations, traffic),
        variation_id: arm.variation_id.clone(),
    });
    arms.collect()
}

/// The share of all subjects that an arm has: its weight's part of the traffic.
pub(super) fn share_of(
    arm: &Allocation,
    allocations: &[Allocation],
    traffic: Percentage,
) -> Percentage {
    let weight = |arm: &Allocation| arm.weight.map_or(0, |weight| u128::from(weight.millionths()));
    let sum: u128 = allocations.iter().map(weight).sum();
    let share = (weight(arm) * u128::from(traffic.millionths())).checked_div(sum);
    let share = share.and_then(|share| u64::try_from(share).ok()).unwrap_or_default();
    Percentage::from_millionths(share).unwrap_or_default()
}

/// A list with entries added, replaced or removed.
pub(super) fn edit_texts(list: &mut Vec<String>, operation: Operation, entries: &[String]) {
    match operation {
        Operation::Add => {
            for entry in entries {
                if !list.contains(entry) {
                    list.push(entry.clone());
                }
            }
        }
        Operation::Update => *list = entries.to_vec(),
        Operation::Remove => list.retain(|own| !entries.contains(own)),
    }
}

fn cleared<T: Clone>(value: Option<&T>) -> Patch<T> {
    value.map_or(Patch::Clear, |value| Patch::Set(value.clone()))
}
