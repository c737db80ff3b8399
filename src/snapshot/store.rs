//! Putting entities in and taking them out, with all that is looked up kept true.

use std::collections::BTreeSet;
use std::sync::Arc;

use arcstr::ArcStr;

use super::table::Table;
use super::{Held, Membership, Snapshot};
use crate::assign::{Plan, Surroundings};
use crate::id::{ExperimentId, FlagId, HoldoutId, LayerId, MetricId, SegmentId, Shared};
use crate::model::{
    ChainName, Experiment, Flag, Holdout, Key, Layer, Metric, Name, Segment, Status,
};

impl Snapshot {
    /// Puts a flag in place of the one with its id, if there is one.
    pub(crate) fn put_flag(&mut self, flag: Flag) {
        let flag = Arc::new(flag);
        let before = self.flags.insert(Arc::clone(&flag));
        self.recompile_users(
            &flag.id,
            before.as_deref().is_none_or(|before| switched(before, &flag)),
        );
        let old = before.as_ref().map(|before| (&before.key, &before.name));
        let new = Some((&flag.key, &flag.name, flag.id.shared()));
        recall(&mut self.keys.flags, &mut self.names.flags, old, new);
        for gone in before.iter().flat_map(|before| before.variations.keys()) {
            if !flag.variations.contains_key(gone) {
                self.variations.remove(gone.as_str());
            }
        }
        for id in flag.variations.keys() {
            if self.variations.get(id.as_str()).is_none() {
                self.variations.insert((id.clone(), flag.id.clone()));
            }
        }
    }

    /// Gives the experiments on a flag that never ran its present configs, which nothing froze for
    /// them, and all of them its switch if that has become different.
    fn recompile_users(&mut self, flag: &FlagId, switched: bool) {
        let stale: Vec<ExperimentId> = self
            .ever_used_by(flag.as_str())
            .filter_map(|id| self.experiment(id))
            .filter(|experiment| switched || experiment.iteration.design.is_none())
            .map(|experiment| experiment.id.clone())
            .collect();
        self.recompile(stale);
    }

    pub(crate) fn remove_flag(&mut self, id: &FlagId) {
        let Some(before) = self.flags.remove(id.as_str()) else {
            return;
        };
        let old = Some((&before.key, &before.name));
        recall(&mut self.keys.flags, &mut self.names.flags, old, None);
        for id in before.variations.keys() {
            self.variations.remove(id.as_str());
        }
        self.recompile_users(id, true);
    }

    /// Puts a segment in place of the one with its id, if there is one.
    pub(crate) fn put_segment(&mut self, segment: Segment) {
        let segment = Arc::new(segment);
        let before = self.segments.insert(Arc::clone(&segment));
        let named = before.as_ref().map(|before| &before.name);
        rename(&mut self.names.segments, named, Some((&segment.name, segment.id.shared())));
    }

    pub(crate) fn remove_segment(&mut self, id: &SegmentId) {
        let Some(before) = self.segments.remove(id.as_str()) else {
            return;
        };
        rename(&mut self.names.segments, Some(&before.name), None);
    }

    /// Lays the plans of the experiments that assign side by side, and what they are found by: those
    /// of a document lie scattered among all else that was read with them.
    pub(super) fn gather(&mut self) {
        let plans: Vec<_> = self.active.iter().map(|plan| Arc::new(Plan::clone(plan))).collect();
        for plan in &plans {
            let held = self.experiments.get_mut(plan.experiment_id().as_str());
            if let Some(held) = held.and_then(Arc::get_mut) {
                held.plan = Arc::clone(plan);
            }
        }
        self.active = plans.into_iter().collect();
    }

    /// Has an experiment that is new here hold the ids of its flag and variations as the flag does, so
    /// that their texts are held once.
    pub(crate) fn share_ids(&self, experiment: &mut Experiment) {
        if let Some(flag) = self.flags.get(experiment.flag_id.as_str()) {
            experiment.flag_id = flag.id.clone();
        }
        for arm in Arc::get_mut(&mut experiment.allocations).into_iter().flatten() {
            if let Some((id, _)) = self.variations.get(arm.variation_id.as_str()) {
                arm.variation_id = id.clone();
            }
        }
    }

    /// Compiles an experiment and puts it in place of the one with its id, if there is one.
    pub(crate) fn put_experiment(&mut self, experiment: Experiment) {
        let chains = self.put_unlinked(experiment);
        self.link(chains);
    }

    /// The same but for the places in chains: returns the names of those that are to be linked.
    pub(super) fn put_unlinked(&mut self, mut experiment: Experiment) -> BTreeSet<ChainName> {
        experiment.extra.tidy();
        let plan = Plan::compile(&experiment, &self.around(&experiment));
        let link = experiment.linked().filter(|_| plan.is_link());
        let plan = Arc::new(plan);
        let alone = link.map(|_| Arc::clone(&plan));
        let (before, held) = self.hold(Held { experiment, plan, alone });
        let old = before.as_ref().map(|before| (&before.experiment.key, &before.experiment.name));
        let id = held.experiment.id.shared();
        let new = Some((&held.experiment.key, &held.experiment.name, id));
        recall(&mut self.keys.experiments, &mut self.names.experiments, old, new);
        let before = before.as_deref().map(|before| &before.experiment);
        self.reuse(before, Some(&held.experiment));
        before
            .into_iter()
            .chain([&held.experiment])
            .filter_map(Experiment::linked)
            .cloned()
            .collect()
    }

    /// Puts an experiment in place of the one with its id, and returns both.
    pub(super) fn hold(&mut self, mut held: Held) -> (Option<Arc<Held>>, Arc<Held>) {
        let id = held.experiment.id.clone();
        let before = self.experiments.get(id.as_str()).map(|before| &before.plan);
        if let Some(before) = before.filter(|before| before.stands_for(&held.plan)) {
            held.plan = Arc::clone(before);
        }
        let held = Arc::new(held);
        if held.experiment.status == Status::Active {
            let known = self.active.get(id.as_str());
            if known.is_none_or(|known| !Arc::ptr_eq(known, &held.plan)) {
                self.active.insert(Arc::clone(&held.plan));
            }
        } else {
            self.active.remove(id.as_str());
        }
        (self.experiments.insert(Arc::clone(&held)), held)
    }

    pub(crate) fn remove_experiment(&mut self, id: &ExperimentId) {
        let Some(before) = self.experiments.remove(id.as_str()) else {
            return;
        };
        let old = Some((&before.experiment.key, &before.experiment.name));
        recall(&mut self.keys.experiments, &mut self.names.experiments, old, None);
        self.active.remove(id.as_str());
        self.reuse(Some(&before.experiment), None);
        self.link(before.experiment.linked().cloned());
    }

    /// What the plan of an experiment depends on besides itself.
    pub(super) fn around(&self, experiment: &Experiment) -> Surroundings<'_> {
        let membership = self.memberships.get(experiment.id.as_str());
        let layer = membership.and_then(|(_, membership)| membership.layer.as_ref());
        let holdouts = membership.into_iter().flat_map(|(_, membership)| &membership.holdouts);
        let holdouts = holdouts.filter_map(|id| self.holdouts.get(id.as_str()));
        let flag = self.flag(&experiment.flag_id);
        Surroundings {
            flag,
            layer: layer.and_then(|id| self.layers.get(id.as_str())),
            holdouts: holdouts.filter(|holdout| holdout.ended_at.is_none()).collect(),
            is_on: flag.is_none_or(Flag::is_on),
        }
    }

    /// Puts a layer in place of the one with its id, if there is one, and compiles its members.
    pub(crate) fn put_layer(&mut self, layer: Layer) {
        let layer = Arc::new(layer);
        let before = self.layers.insert(Arc::clone(&layer));
        let old = before.as_ref().map(|before| (&before.key, &before.name));
        let new = Some((&layer.key, &layer.name, layer.id.shared()));
        recall(&mut self.keys.layers, &mut self.names.layers, old, new);
        self.rejoin_layer(before.as_deref(), Some(&layer));
    }

    pub(crate) fn remove_layer(&mut self, id: &LayerId) {
        let Some(before) = self.layers.remove(id.as_str()) else { return };
        let old = Some((&before.key, &before.name));
        recall(&mut self.keys.layers, &mut self.names.layers, old, None);
        self.rejoin_layer(Some(&before), None);
    }

    fn rejoin_layer(&mut self, before: Option<&Layer>, after: Option<&Layer>) {
        let left = before.into_iter().flat_map(|layer| layer.members().keys());
        let joined = after.into_iter().flat_map(|layer| layer.members().keys());
        for (member, layer) in left.map(|id| (id, None)).chain(joined.map(|id| (id, after))) {
            self.join(member, |membership| membership.layer = layer.map(|own| own.id.clone()));
        }
        self.recompile(members(before, after, |layer| layer.members().keys()));
    }

    /// Puts a holdout in place of the one with its id, if there is one, and compiles its
    /// experiments.
    pub(crate) fn put_holdout(&mut self, holdout: Holdout) {
        let holdout = Arc::new(holdout);
        let before = self.holdouts.insert(Arc::clone(&holdout));
        let old = before.as_ref().map(|before| (&before.key, &before.name));
        let new = Some((&holdout.key, &holdout.name, holdout.id.shared()));
        recall(&mut self.keys.holdouts, &mut self.names.holdouts, old, new);
        self.rejoin_holdout(before.as_deref(), Some(&holdout));
    }

    pub(crate) fn remove_holdout(&mut self, id: &HoldoutId) {
        let Some(before) = self.holdouts.remove(id.as_str()) else { return };
        let old = Some((&before.key, &before.name));
        recall(&mut self.keys.holdouts, &mut self.names.holdouts, old, None);
        self.rejoin_holdout(Some(&before), None);
    }

    fn rejoin_holdout(&mut self, before: Option<&Holdout>, after: Option<&Holdout>) {
        for (holdout, joins) in [(before, false), (after, true)] {
            let Some(holdout) = holdout else { continue };
            for member in &holdout.experiments {
                self.join(member, |membership| match joins {
                    true => drop(membership.holdouts.insert(holdout.id.clone())),
                    false => drop(membership.holdouts.remove(&holdout.id)),
                });
            }
        }
        self.recompile(members(before, after, |holdout| holdout.experiments.iter()));
    }

    /// Puts a metric, which never takes the place of another.
    pub(crate) fn put_metric(&mut self, metric: Metric) {
        for member in &metric.definition.members {
            let id = &member.metric_id;
            let mut groups =
                self.groups.remove(id.as_str()).map(|(_, own)| own).unwrap_or_default();
            groups.insert(metric.id.clone());
            self.groups.insert((id.clone(), groups));
        }
        if let Some(key) = &metric.key {
            self.keys.metrics.insert((key.clone(), metric.id.shared()));
        }
        self.metrics.insert(Arc::new(metric));
    }

    pub(crate) fn remove_metric(&mut self, id: &MetricId) {
        let Some(before) = self.metrics.remove(id.as_str()) else { return };
        if let Some(key) = &before.key {
            self.keys.metrics.remove(key.as_str());
        }
        for member in &before.definition.members {
            let id = &member.metric_id;
            let Some((id, mut groups)) = self.groups.remove(id.as_str()) else { continue };
            groups.remove(&before.id);
            if !groups.is_empty() {
                self.groups.insert((id, groups));
            }
        }
    }

    /// Edits what an experiment is a member of.
    fn join(&mut self, experiment: &ExperimentId, edit: impl FnOnce(&mut Membership)) {
        let before = self.memberships.remove(experiment.as_str());
        let mut membership = before.map(|(_, own)| own).unwrap_or_default();
        edit(&mut membership);
        if membership.layer.is_some() || !membership.holdouts.is_empty() {
            self.memberships.insert((experiment.clone(), membership));
        }
    }

    /// Compiles experiments anew, after something that their plans depend on has changed.
    fn recompile(&mut self, ids: impl IntoIterator<Item = ExperimentId>) {
        let mut chains = BTreeSet::new();
        for id in ids {
            if let Some(experiment) = self.experiment(&id).cloned() {
                chains.extend(self.put_unlinked(experiment));
            }
        }
        self.link(chains);
    }
}

/// Whether what a flag serves while it is off, or that it is off, has become different.
fn switched(before: &Flag, after: &Flag) -> bool {
    let switch = |flag: &Flag| {
        let off = flag.off_variation_id.as_ref().and_then(|id| flag.variations.get(id));
        (flag.on, off.map(|off| (off.id.clone(), Arc::clone(&off.config))))
    };
    switch(before) != switch(after)
}

/// The experiments that one of two versions of an entity has.
fn members<'e, E, I: Iterator<Item = &'e ExperimentId>>(
    before: Option<&'e E>,
    after: Option<&'e E>,
    of: impl Fn(&'e E) -> I,
) -> BTreeSet<ExperimentId> {
    before.into_iter().chain(after).flat_map(of).cloned().collect()
}

/// Notes what an entity is told by: its key or, if it has none, its name.
fn recall(
    keys: &mut Table<(Key, ArcStr)>,
    names: &mut Table<(Name, ArcStr)>,
    before: Option<(&Option<Key>, &Name)>,
    after: Option<(&Option<Key>, &Name, ArcStr)>,
) {
    let key = after.as_ref().and_then(|(key, _, id)| Some((key.as_ref()?, ArcStr::clone(id))));
    rename(keys, before.and_then(|(key, _)| key.as_ref()), key);
    let name = after.filter(|(key, ..)| key.is_none()).map(|(_, name, id)| (name, id));
    rename(names, before.filter(|(key, _)| key.is_none()).map(|(_, name)| name), name);
}

fn rename<K: AsRef<str> + Eq + Clone>(
    names: &mut Table<(K, ArcStr)>,
    before: Option<&K>,
    after: Option<(&K, ArcStr)>,
) {
    if before == after.as_ref().map(|(name, _)| *name) {
        return;
    }
    if let Some(before) = before {
        names.remove(before.as_ref());
    }
    if let Some((after, id)) = after {
        names.insert((after.clone(), id));
    }
}
