//! A snapshot as one JSON document.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::design::check_winner;
use super::kept::Kept;
use super::revisions::{Earlier, Past};
use super::{Readiness, Snapshot};
use crate::error::{Code, Error};
use crate::json::{Cursor, FromJson, Limits, Object, deserialize, read};
use crate::model::{
    DesignRefs, Experiment, Flag, Holdout, Iteration, Layer, Metric, Segment, Settings, Status,
    check_id_free, check_name_free, count,
};
use crate::time::Timestamp;

/// What `format` says in documents that this version reads and writes.
const FORMAT: &str = "variate/1";

const KEYS: &[&str] = &[
    "format",
    "sequence",
    "updated_at",
    "settings",
    "flags",
    "segments",
    "experiments",
    "layers",
    "holdouts",
    "revisions",
    "metrics",
    "kept_assignments",
];

impl Snapshot {
    /// Reads a document, as a person writes it or as [`to_json`](Self::to_json) prints it.
    ///
    /// # The document
    /// An object. In bold stand the keys that are required; in parentheses what is meant when
    /// another is left out, and nothing is when nothing stands there.
    ///
    /// | key | what it is |
    /// |---|---|
    /// | **`format`** | `"variate/1"` |
    /// | `sequence` | how many transactions have led here (0) |
    /// | `updated_at` | when the last was committed (the Unix epoch, which stands for unknown) |
    /// | `settings` | an object with `active_limit`: `"unlimited"`, `"per_flow"` or `"one"` (`"unlimited"`); `subject_kinds`, a list (any), `default_subject_kind` (`device`) for creations |
    /// | `flags` | a list of [`Flag`]s |
    /// | `segments` | a list of [`Segment`]s |
    /// | `experiments` | a list of [`Experiment`]s |
    /// | `layers` | a list of [`Layer`]s |
    /// | `holdouts` | a list of [`Holdout`]s |
    /// | `metrics` | a list of [`Metric`]s |
    /// | `revisions` | the earlier `flags` and `segments` that runs still rest on |
    /// | `kept_assignments` | who got what, a list, as a [`Keeper`](crate::Keeper) prints it; checked, and otherwise left aside: [`Keeper::from_json`](crate::Keeper::from_json) reads it, and [`to_json`](Self::to_json) does not print it |
    ///
    /// | of | keys |
    /// |---|---|
    /// | a flag | **`id`**, **`name`**, `description`, `status` (`draft`), **`parameters`** by name, `variations`, a list, `key`, `on` (`true`), `off_variation_id` |
    /// | a parameter | **`type`**: `string`, `boolean`, `number`, `array` or `object`; **`value`**, the default; `description` |
    /// | a variation | **`id`**, **`name`**, `description`, `overrides`: values by parameter |
    /// | a segment | **`id`**, **`name`**, `description`, `status` (`active`), **`rules`**, a list |
    /// | a rule | at least one of `match` and `not_match`: conditions by attribute; and of `all`, `any` and `not`, each a list of rules |
    /// | a condition | a list of values, of which the attribute must be one; or an object with one of `contains`, `starts_with`, `ends_with` and `listed`, each a list; `exists` and `boolean`, each `true` or `false`; `number`, `semver` and `date`, each bounds; `regex`, a pattern (feature `regex`); or with **`path`**, a list of members, and **`is`**, a condition on what they lead to |
    /// | bounds | `eq`; or at most one of `gt` and `gte`, and of `lt` and `lte`: a number, a version or a date-time |
    /// | an experiment | **`id`**, **`name`**, `description`, `tags`, a list, **`flag_id`**, `flow`, `subject_kind` (`device`), **`strategy`**: `percentage` or `segment`; **`allocations`**, a list, `traffic` in percent (100; 0 beside `stages`; in a ramp that has started the first level), `levels`, a list in percent, `audience_id`, a segment, `outside_variation_id`, `keep` (`while_paused`): `always` or `never`; `starts_at`, `ends_at`, `stages`, a list, `hash` (`xxh64-v1`), `salt` (the id), `status` (`draft`), `iteration`, `can_reshuffle` (`true`), `shelved_at`, `draft`, `previous_iterations`, a list, `analysis`, `rollout`, a list of slices, `weights` (`percent`): `relative`, by percentage alone; `annotations`, texts by name, `key`, `maintainer`, `chain` |
    /// | an analysis | `hypothesis`, `kind` (`experiment`): `mab` or `holdout`; `methodology`: `bayesian`, `frequentist` or `export_only`; `data_source`, `metrics`, a list of objects with **`metric_id`**, `is_primary` (`false`) and `unit`, a kind of subject; `attributes`, a list, `covariate_id`, `bayesian_threshold` in percent, `significance_threshold` from 0 to 1, `test_direction`: `one_sided` or `two_sided`; `correction`, an object with `method`: `bonferroni` or `benjamini_hochberg`, and `scope`: `variations`, `metrics` or `variations_and_metrics`; `sequential`, `true` or `false`; `reallocation_interval` in milliseconds; `goal`, an object with `metric`, a text, `value`, a number, and `direction`, a text |
    /// | an allocation | **`variation_id`**, `is_control` (`false`); by percentage `weight`, in percent unless the experiment's `weights` are `relative`; by segment `segment_id` and `priority`, or `is_fallback` (`false`), and where several divide one segment or the fallback `weight`; `name` |
    /// | a draft | what differs from the experiment: `subject_kind`, `allocations`, `traffic`, `audience_id`, `outside_variation_id`, `can_reshuffle`, `created_at`, `analysis` |
    /// | a previous iteration | **`iteration`**, with **`started_at`** and **`ended_at`**; what differed from the experiment: `subject_kind`, `traffic`, `can_reshuffle`, `analysis` |
    /// | a winner | **`variation_id`**, `reason`, `is_shipped` (`false`) |
    /// | the layer of an iteration | **`layer_id`**, **`name`**, **`share`** and **`others`**, the sum of the other shares, in percent |
    /// | a stage | **`at`**, **`traffic`** in percent |
    /// | a slice | **`weight`** in hundred-thousandths, `variation_id`, required unless untracked, `untracked` (`false`) |
    /// | a layer | **`id`**, **`name`**, `description`, `salt` (the id), `subject_kind` (`device`), `members`: shares in percent by experiment; `partition`, the slices by `start` and `experiment_id`, which a free one does not have, unless they lie as at first; `key` |
    /// | a holdout | **`id`**, **`name`**, `description`, `salt` (the id), `subject_kind` (`device`), **`share`** in percent, `experiments`, a list of ids, `maintainer`, `analysis`, `key`, `ended_at`, with which it holds nobody out |
    /// | a single metric | **`id`**, **`name`**, `description`, `tags`, a list, `maintainer`, **`kind`**: `pageview`, `click`, `custom` or `trace`; `is_numeric` (`false`), `event_key`, `selector`, `urls`, a list, `unit`, `success_criteria`: `higher_than_baseline` or `lower_than_baseline`; `analysis_units`, a list of kinds of subjects, `unit_aggregation`: `average`, `sum` or `count_distinct`; `analysis_type`: `mean` or `percentile`; `percentile`, `event_default`, an object with `disabled` (`false`) and `value`, which is 0; `data_source`, `winsor_lower_percentile`, `winsor_upper_percentile`, `winsor_include_imputed` (`false`), `trace_query`, `trace_value_location`, `unit_aggregation_field`, `value_column`, `denominator`, `filters`, any JSON; `window_start_offset` and `window_end_offset` in milliseconds; `key` |
    /// | a URL of it | **`kind`**, and one of `url`, `substring` and `pattern` |
    /// | a kept assignment | **`experiment_id`**, **`subject_id`**, which is not empty, **`variation_id`**, `attached` (`false`) |
    /// | a group of metrics | **`id`**, **`name`**, `description`, `tags`, a list, `maintainer`, **`kind`**: `funnel` or `standard`; **`members`**, a list of objects with **`metric_id`** and `name_in_group`, which is required in a funnel; `key` |
    ///
    /// Every flag, variation, segment, experiment, layer, holdout and metric also takes `version` (1),
    /// `created_at` (the Unix epoch) and `updated_at` (its `created_at`). Percentages are out of 100: 25 is a quarter, 0.25
    /// a quarter of one percent.
    ///
    /// `iteration` holds `number` (1), `created_at` (the experiment's), `started_at`, `turn` (0), `ended_at`,
    /// `winner`, `layer`, and for an experiment that has been activated what it froze: `flag_version` and `segment_versions` (by id), each of an
    /// entity or a revision; and where the experiment has been edited since, `allocations`,
    /// `audience_id`, `outside_variation_id` and `salt`; and `partition`, the slices by `start` and
    /// `variation_id`, unless they lie as at first, or by segment `splits`, a list of such a
    /// `partition` with its `segment_id`, which the fallback does not have; and under a hash that
    /// has slices, `rollout`, unless they lie as at first, and `traffic`, if a paused experiment has
    /// been given another since.
    ///
    /// A person leaves `iteration` out: an experiment written as `active` or `paused` is frozen as
    /// it stands in the document, and must be ready.
    ///
    /// ```
    /// # use variate::Snapshot;
    /// let snapshot = Snapshot::from_json(r#"{
    ///     "format": "variate/1",
    ///     "flags": [{
    ///         "id": "flg_checkout", "name": "Checkout", "status": "active",
    ///         "parameters": {
    ///             "button": {"type": "string", "value": "Buy"},
    ///             "express": {"type": "boolean", "value": false}
    ///         },
    ///         "variations": [
    ///             {"id": "var_today", "name": "as it is today"},
    ///             {"id": "var_express", "name": "express", "overrides": {"express": true}}
    ///         ]
    ///     }],
    ///     "segments": [{
    ///         "id": "seg_dach", "name": "German app users",
    ///         "rules": [{
    ///             "match": {"country": ["DE", "AT"], "app": {"starts_with": ["4."]}},
    ///             "not_match": {"partner": {"exists": true}}
    ///         }]
    ///     }],
    ///     "experiments": [
    ///         {
    ///             "id": "exp_weights", "name": "Express by weight", "status": "active",
    ///             "flag_id": "flg_checkout", "subject_kind": "user",
    ///             "strategy": "percentage", "traffic": 25,
    ///             "allocations": [
    ///                 {"variation_id": "var_today", "weight": 66.6, "is_control": true},
    ///                 {"variation_id": "var_express", "weight": 33.4}
    ///             ]
    ///         },
    ///         {
    ///             "id": "exp_segments", "name": "Express by segment", "status": "draft",
    ///             "flag_id": "flg_checkout", "subject_kind": "user", "strategy": "segment",
    ///             "allocations": [
    ///                 {"variation_id": "var_express", "segment_id": "seg_dach", "priority": 1},
    ///                 {"variation_id": "var_today", "is_fallback": true, "is_control": true}
    ///             ]
    ///         }
    ///     ]
    /// }"#)?;
    /// # assert!(snapshot.readiness("exp_segments").unwrap().is_ready());
    /// # Ok::<(), variate::Error>(())
    /// ```
    ///
    /// # Errors
    /// Everything that is not exactly this is refused, with its JSON path: other keys, keys that
    /// stand twice, `null`, an array for an object, references to what is not there, ids or keys that
    /// stand twice, names of what has no key that do, numbers that 64 bits cannot hold, and text beyond
    /// [`Limits::DEFAULT`].
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::from_json_within(json, &Limits::DEFAULT)
    }

    /// Reads a document within other limits.
    pub fn from_json_within(json: impl AsRef<[u8]>, limits: &Limits) -> Result<Self, Error> {
        read(json.as_ref(), limits)
    }

    /// Prints the document: readable, complete, and the same bytes for equal snapshots. Entities
    /// come in the order of their ids.
    pub fn to_json(&self) -> String {
        // All keys are strings and no number is infinite, so there is no error to pass on.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            format: &'a str,
            sequence: u64,
            updated_at: Timestamp,
            #[serde(skip_serializing_if = "Option::is_none")]
            settings: Option<&'a Settings>,
            flags: Vec<&'a Flag>,
            segments: Vec<&'a Segment>,
            experiments: Vec<&'a Experiment>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            layers: Vec<&'a Layer>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            holdouts: Vec<&'a Holdout>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            metrics: Vec<&'a Metric>,
            #[serde(skip_serializing_if = "Earlier::is_empty")]
            revisions: Earlier<'a>,
        }
        let mut flags: Vec<_> = self.flags().collect();
        let mut segments: Vec<_> = self.segments().collect();
        let mut experiments: Vec<_> = self.experiments().collect();
        flags.sort_unstable_by_key(|flag| flag.id());
        segments.sort_unstable_by_key(|segment| segment.id());
        experiments.sort_unstable_by_key(|experiment| experiment.id());
        let mut layers: Vec<_> = self.layers().collect();
        let mut holdouts: Vec<_> = self.holdouts().collect();
        layers.sort_unstable_by_key(|layer| layer.id());
        holdouts.sort_unstable_by_key(|holdout| holdout.id());
        let mut metrics: Vec<_> = self.metrics().collect();
        metrics.sort_unstable_by_key(|metric| metric.id());
        let document = Document {
            format: FORMAT,
            sequence: self.sequence,
            updated_at: self.updated_at,
            settings: Some(&self.settings).filter(|own| **own != Settings::default()),
            flags,
            segments,
            experiments,
            layers,
            holdouts,
            metrics,
            revisions: Earlier::of(self),
        };
        document.serialize(serializer)
    }
}

impl FromJson for Snapshot {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Self::read_with_kept(cursor).map(|(snapshot, _)| snapshot)
    }
}

impl Snapshot {
    /// Reads a document with what it says of who got what.
    pub(crate) fn read_with_kept(cursor: Cursor<'_>) -> Result<(Self, Kept), Error> {
        let object = cursor.object(KEYS)?;
        let format = object.required("format")?;
        if format.str()? != FORMAT {
            let rule = format!("must be \"{FORMAT}\", the format that this version reads");
            let error = Error::new(Code::UnsupportedFormat, rule).with_value(&format.preview());
            return Err(format.locate(error));
        }
        let mut snapshot = Self {
            sequence: object.get("sequence").map_or(Ok(0), |cursor| count(cursor, 0))?,
            updated_at: object.or_default("updated_at")?,
            settings: object.or_default("settings")?,
            ..Self::default()
        };
        each(&object, "flags", |cursor| {
            let flag: Flag = cursor.read()?;
            snapshot.check_new_flag(&flag).map_err(|error| cursor.locate(error))?;
            snapshot.put_flag(flag);
            Ok(())
        })?;
        each(&object, "segments", |cursor| {
            let segment: Segment = cursor.read()?;
            let taken = snapshot.segment_named(segment.name());
            let known = snapshot.segment(segment.id()).is_some();
            check_id_free(known, segment.id().as_str())
                .and_then(|()| check_name_free(taken, "", segment.name().as_str()))
                .map_err(|error| cursor.locate(error))?;
            snapshot.put_segment(segment);
            Ok(())
        })?;
        snapshot.read_metrics(&object)?;
        let past = Past::from_json(&object, &snapshot)?;
        let mut chains = BTreeSet::new();
        // Their texts, which looking an experiment up compares, lie side by side.
        let mut ids = Vec::new();
        each(&object, "experiments", |cursor| {
            ids.push(cursor.tag("id").and_then(|id| id.read()).ok());
            Ok(())
        })?;
        let mut ids = ids.into_iter();
        each(&object, "experiments", |cursor| {
            let (mut experiment, designs) = Experiment::from_json(cursor)?;
            if let Some(id) = ids.next().flatten() {
                experiment.hold_id(id);
            }
            snapshot
                .restore(&mut experiment, designs, &past)
                .map_err(|error| cursor.locate(error))?;
            chains.extend(snapshot.put_unlinked(experiment));
            Ok(())
        })?;
        snapshot.link(chains);
        each(&object, "layers", |cursor| {
            let layer: Layer = cursor.read()?;
            snapshot.check_new_layer(&layer).map_err(|error| cursor.locate(error))?;
            snapshot.put_layer(layer);
            Ok(())
        })?;
        each(&object, "holdouts", |cursor| {
            let holdout: Holdout = cursor.read()?;
            snapshot.check_new_holdout(&holdout).map_err(|error| cursor.locate(error))?;
            snapshot.put_holdout(holdout);
            Ok(())
        })?;
        snapshot.gather();
        past.check_used().map_err(|error| object.locate(error))?;
        let kept = snapshot.read_kept(&object)?;
        Ok((snapshot, kept))
    }
}

pub(super) fn each(
    object: &Object<'_>,
    key: &'static str,
    read: impl FnMut(Cursor<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    match object.get(key) {
        Some(cursor) => cursor.array(read).map(drop),
        None => Ok(()),
    }
}

impl Snapshot {
    /// Reads the metrics, of which a group may stand before its members.
    fn read_metrics(&mut self, object: &Object<'_>) -> Result<(), Error> {
        each(object, "metrics", |cursor| {
            let metric: Metric = cursor.read()?;
            let known = self.metric(metric.id()).is_some();
            check_id_free(known, metric.id().as_str()).map_err(|error| cursor.locate(error))?;
            self.check_metric_free(&metric).map_err(|error| cursor.locate(error))?;
            self.put_metric(metric);
            Ok(())
        })?;
        each(object, "metrics", |cursor| {
            let id: String = cursor.tag("id")?.read()?;
            let group = self.metric(&id).map_or(Ok(()), |metric| self.check_group(metric));
            group.map_err(|error| cursor.locate(error))
        })
    }

    fn check_new_flag(&self, flag: &Flag) -> Result<(), Error> {
        check_id_free(self.flag(flag.id()).is_some(), flag.id().as_str())?;
        self.check_flag_free(flag)?;
        for id in flag.variations().keys() {
            if let Some(other) = self.flag_of_variation(id) {
                let rule = format!("must not have a variation of {other}");
                let error = Error::new(Code::AlreadyExists, rule).with_value(id);
                return Err(error.at("variations"));
            }
        }
        Ok(())
    }

    fn check_new_layer(&self, layer: &Layer) -> Result<(), Error> {
        check_id_free(self.layer(layer.id()).is_some(), layer.id().as_str())?;
        self.check_layer_free(layer)?;
        self.check_members(layer)
    }

    fn check_new_holdout(&self, holdout: &Holdout) -> Result<(), Error> {
        check_id_free(self.holdout(holdout.id()).is_some(), holdout.id().as_str())?;
        self.check_holdout_free(holdout)?;
        self.check_metrics(holdout.analysis()).map_err(|error| error.at("analysis"))?;
        self.check_held(holdout).map_err(|error| error.at("experiments"))
    }

    /// Checks an experiment against the rest of the document and gives it what its run froze.
    fn restore(
        &self,
        experiment: &mut Experiment,
        designs: DesignRefs,
        past: &Past,
    ) -> Result<(), Error> {
        let known = self.experiment(experiment.id()).is_some();
        check_id_free(known, experiment.id().as_str())?;
        self.check_experiment_free(experiment)?;
        self.share_ids(experiment);
        // What only an archived experiment names may have been deleted.
        if experiment.status != Status::Archived {
            self.check_references(experiment)?;
            self.check_draft(experiment).map_err(|error| error.at("draft"))?;
        }
        check_life(experiment)?;
        let in_iteration = |error: Error| error.at("iteration");
        check_times(&experiment.iteration, experiment.status).map_err(in_iteration)?;
        let runs = matches!(experiment.status, Status::Active | Status::Paused);
        match designs.present {
            Some(_) if experiment.status == Status::Draft => {
                let rule = "must not be frozen, since the experiment is a draft";
                return Err(in_iteration(Error::invalid(rule).at("flag_version")));
            }
            Some(design) => {
                let design = self
                    .restore_design(experiment, experiment.traffic, design, past)
                    .map_err(in_iteration)?;
                let cut_for = design.rollout().map(|rollout| rollout.traffic);
                let behind = cut_for.filter(|cut_for| *cut_for != experiment.traffic);
                if let Some(traffic) = behind.filter(|_| experiment.status == Status::Active) {
                    let rule = "must be the experiment's own, since it is active";
                    return Err(in_iteration(
                        Error::invalid(rule).with_value(&traffic).at("traffic"),
                    ));
                }
                let difference = design.difference(experiment);
                if let Some(field) = difference.filter(|_| experiment.status == Status::Active) {
                    let rule = "must be the experiment's own, since it is active";
                    return Err(in_iteration(Error::invalid(rule).at(field)));
                }
                experiment.iteration.design = Some(Arc::new(design));
            }
            None if runs => {
                let readiness = self.readiness_of(experiment);
                if !readiness.is_ready() {
                    return Err(not_ready(readiness).at("status"));
                }
                experiment.iteration.design = Some(Arc::new(self.freeze(experiment)?));
                experiment.extra.rollout = None;
            }
            None => {}
        }
        if runs || experiment.status == Status::Completed {
            let created_at = experiment.created_at();
            experiment.iteration.started_at.get_or_insert(created_at);
        }
        if experiment.status == Status::Completed {
            let updated_at = experiment.updated_at();
            experiment.iteration.ended_at.get_or_insert(updated_at);
        }
        check_winner(&experiment.iteration).map_err(in_iteration)?;
        self.restore_previous(experiment, designs.previous, past)?;
        match experiment.current_level() {
            Some(level) if !experiment.extra.levels.contains(&level) => {
                let rule = "must be one of the levels, since the experiment has started";
                return Err(Error::invalid(rule).with_value(&level).at("traffic"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Checks that an experiment has only what its status lets it have.
fn check_life(experiment: &Experiment) -> Result<(), Error> {
    let status = experiment.status;
    let runs = matches!(status, Status::Active | Status::Paused);
    let is_draft = status == Status::Draft;
    for (key, misplaced) in [
        ("shelved_at", runs && experiment.extra.shelved_at.is_some()),
        ("draft", is_draft && experiment.draft.is_some()),
        ("previous_iterations", is_draft && experiment.extra.previous.is_some()),
    ] {
        if misplaced {
            let rule = format!("must not stand here, since the experiment is {status}");
            return Err(Error::invalid(rule).at(key));
        }
    }
    Ok(())
}

/// Checks that a run has begun and ended only if its experiment has.
fn check_times(iteration: &Iteration, status: Status) -> Result<(), Error> {
    let (begun, ended) = match status {
        Status::Draft => (false, false),
        Status::Active | Status::Paused => (true, false),
        Status::Completed | Status::Archived => (true, true),
    };
    let too_early = |key| {
        let rule = format!("must not stand here, since the experiment is {status}");
        Err(Error::invalid(rule).at(key))
    };
    match iteration {
        Iteration { started_at: Some(_), .. } if !begun => too_early("started_at"),
        Iteration { turn: 1.., .. } if !begun => too_early("turn"),
        Iteration { ended_at: Some(_), .. } if !ended => too_early("ended_at"),
        Iteration { winner: Some(_), .. } if !ended => too_early("winner"),
        Iteration { layer: Some(_), .. } if !ended => too_early("layer"),
        _ => Ok(()),
    }
}

/// What stands in the way of an experiment that should start.
pub(crate) fn not_ready(readiness: Readiness) -> Error {
    Error::new(Code::NotReady, "the experiment is not ready to be active")
        .with_violations(readiness.into_violations())
}

deserialize!(Snapshot);
