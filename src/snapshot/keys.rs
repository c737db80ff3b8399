//! Who is called what: keys, and the names of what has none.

use arcstr::ArcStr;

use super::Snapshot;
use super::table::Table;
use crate::error::Error;
use crate::model::{
    Experiment, Flag, Holdout, Key, Layer, Metric, Name, check_key_free, check_name_free,
};

/// Who has which key.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    pub(super) flags: Table<(Key, ArcStr)>,
    pub(super) experiments: Table<(Key, ArcStr)>,
    pub(super) layers: Table<(Key, ArcStr)>,
    pub(super) holdouts: Table<(Key, ArcStr)>,
    pub(super) metrics: Table<(Key, ArcStr)>,
}

impl Snapshot {
    /// An experiment by key.
    pub fn experiment_by_key(&self, key: &str) -> Option<&Experiment> {
        self.experiment(&*self.keys.experiments.get(key)?.1)
    }

    /// A flag by key.
    pub fn flag_by_key(&self, key: &str) -> Option<&Flag> {
        self.flag(&*self.keys.flags.get(key)?.1)
    }

    /// A layer by key.
    pub fn layer_by_key(&self, key: &str) -> Option<&Layer> {
        self.layer(&*self.keys.layers.get(key)?.1)
    }

    /// A holdout by key.
    pub fn holdout_by_key(&self, key: &str) -> Option<&Holdout> {
        self.holdout(&*self.keys.holdouts.get(key)?.1)
    }

    /// A metric by key.
    pub fn metric_by_key(&self, key: &str) -> Option<&Metric> {
        self.metric(&*self.keys.metrics.get(key)?.1)
    }

    /// Checks that a metric's key, if it has one, is its own.
    pub(crate) fn check_metric_free(&self, own: &Metric) -> Result<(), Error> {
        match &own.key {
            Some(key) if self.metric(key).is_some_and(|other| other.id != own.id) => {
                check_key_free(Some(key.as_str()), own.id.as_str(), key)
            }
            Some(key) => {
                let taken = self.keys.metrics.get(key.as_str()).map(|(_, id)| id.as_str());
                check_key_free(taken, own.id.as_str(), key)
            }
            None => Ok(()),
        }
    }

    /// Checks that what an experiment is told by is its own.
    pub(crate) fn check_experiment_free(&self, own: &Experiment) -> Result<(), Error> {
        let named = |name: &Name| self.experiment_named(name);
        let is_id = |key: &Key| self.experiment(key).is_some_and(|other| other.id != own.id);
        check_free(own.id.as_str(), (&own.key, &own.name), &self.keys.experiments, named, is_id)
    }

    /// Checks that what a flag is told by is its own.
    pub(crate) fn check_flag_free(&self, own: &Flag) -> Result<(), Error> {
        let named = |name: &Name| self.flag_named(name);
        let is_id = |key: &Key| self.flag(key).is_some_and(|other| other.id != own.id);
        check_free(own.id.as_str(), (&own.key, &own.name), &self.keys.flags, named, is_id)
    }

    /// Checks that what a layer is told by is its own.
    pub(crate) fn check_layer_free(&self, own: &Layer) -> Result<(), Error> {
        let named = |name: &Name| self.layer_named(name);
        let is_id = |key: &Key| self.layer(key).is_some_and(|other| other.id != own.id);
        check_free(own.id.as_str(), (&own.key, &own.name), &self.keys.layers, named, is_id)
    }

    /// Checks that what a holdout is told by is its own.
    pub(crate) fn check_holdout_free(&self, own: &Holdout) -> Result<(), Error> {
        let named = |name: &Name| self.holdout_named(name);
        let is_id = |key: &Key| self.holdout(key).is_some_and(|other| other.id != own.id);
        check_free(own.id.as_str(), (&own.key, &own.name), &self.keys.holdouts, named, is_id)
    }
}

/// Checks that a key is the entity's own or, if it has none, its name.
fn check_free<'s>(
    id: &str,
    (key, name): (&Option<Key>, &Name),
    keys: &'s Table<(Key, ArcStr)>,
    named: impl Fn(&Name) -> Option<&'s str>,
    is_id: impl Fn(&Key) -> bool,
) -> Result<(), Error> {
    match key {
        Some(key) if is_id(key) => check_key_free(Some(key.as_str()), id, key),
        Some(key) => check_key_free(keys.get(key.as_str()).map(|(_, id)| id.as_str()), id, key),
        None => check_name_free(named(name), id, name.as_str()),
    }
}
