//! Putting entities in and taking them out, with all that is looked up kept true.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::design::segments_of;
use super::table::Table;
use super::{Held, Membership, Snapshot};
use crate::assign::{Plan, Surroundings};
use crate::id::{ExperimentId, FlagId, HoldoutId, LayerId, MetricId, SegmentId, VariationId};
use crate::model::{
    ChainName, Draft, Experiment, Flag, Holdout, Key, Layer, Metric, Name, PastIteration, Rollout,
    Segment, Status,
};

impl Snapshot {
    /// Puts a flag in place of the one with its id, if there is one.
    pub(crate) fn put_flag(&mut self, flag: Flag) {
        let flag = Arc::new(flag);
        let before = self.flags.insert(flag.id.clone(), Arc::clone(&flag));
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
                self.variations.insert(id.clone(), flag.id.clone());
            }
        }
    }

    /// Gives the experiments on a flag that never ran its present configs, which nothing froze for
    /// them, and all of them its switch if that has become different.
    fn recompile_users(&mut self, flag: &FlagId, switched: bool) {
        let users = self.users.get(flag.as_str()).into_iter().flat_map(Table::iter);
        let stale: Vec<ExperimentId> = users
            .filter_map(|(id, ())| self.experiment(id))
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
        let before = self.segments.insert(segment.id.clone(), Arc::clone(&segment));
        let named = before.as_ref().map(|before| &before.name);
        rename(&mut self.names.segments, named, Some((&segment.name, segment.id.shared())));
    }

    pub(crate) fn remove_segment(&mut self, id: &SegmentId) {
        let Some(before) = self.segments.remove(id.as_str()) else {
            return;
        };
        rename(&mut self.names.segments, Some(&before.name), None);
    }

    /// Compiles an experiment and puts it in place of the one with its id, if there is one.
    pub(crate) fn put_experiment(&mut self, experiment: Experiment) {
        let chains = self.put_unlinked(experiment);
        self.link(chains);
    }

    /// The same but for the places in chains: returns the names of those that are to be linked.
    pub(super) fn put_unlinked(&mut self, experiment: Experiment) -> BTreeSet<ChainName> {
        let plan = Plan::compile(&experiment, &self.around(&experiment));
        let link = experiment.linked().filter(|_| plan.is_link());
        let alone = link.map(|_| Arc::new(plan.clone()));
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
    pub(super) fn hold(&mut self, held: Held) -> (Option<Arc<Held>>, Arc<Held>) {
        let held = Arc::new(held);
        let id = &held.experiment.id;
        let before = self.experiments.insert(id.clone(), Arc::clone(&held));
        if held.experiment.status == Status::Active {
            self.active.insert(id.clone(), Arc::clone(&held));
        } else {
            self.active.remove(id.as_str());
        }
        (before, held)
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
        let layer = membership.and_then(|membership| membership.layer.as_ref());
        let holdouts = membership.into_iter().flat_map(|membership| &membership.holdouts);
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
        let before = self.layers.insert(layer.id.clone(), Arc::clone(&layer));
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
        let before = self.holdouts.insert(holdout.id.clone(), Arc::clone(&holdout));
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
            let mut groups = self.groups.remove(id.as_str()).unwrap_or_default();
            groups.insert(metric.id.clone());
            self.groups.insert(id.clone(), groups);
        }
        if let Some(key) = &metric.key {
            self.keys.metrics.insert(key.clone(), metric.id.shared());
        }
        self.metrics.insert(metric.id.clone(), Arc::new(metric));
    }

    pub(crate) fn remove_metric(&mut self, id: &MetricId) {
        let Some(before) = self.metrics.remove(id.as_str()) else { return };
        if let Some(key) = &before.key {
            self.keys.metrics.remove(key.as_str());
        }
        for member in &before.definition.members {
            let id = &member.metric_id;
            let mut groups = self.groups.remove(id.as_str()).unwrap_or_default();
            groups.remove(&before.id);
            if !groups.is_empty() {
                self.groups.insert(id.clone(), groups);
            }
        }
    }

    /// Edits what an experiment is a member of.
    fn join(&mut self, experiment: &ExperimentId, edit: impl FnOnce(&mut Membership)) {
        let mut membership = self.memberships.remove(experiment.as_str()).unwrap_or_default();
        edit(&mut membership);
        if membership.layer.is_some() || !membership.holdouts.is_empty() {
            self.memberships.insert(experiment.clone(), membership);
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

    /// Notes who uses what when one experiment becomes another.
    fn reuse(&mut self, before: Option<&Experiment>, after: Option<&Experiment>) {
        let Some(id) = before.or(after).map(Experiment::id) else { return };
        let of = |ids: fn(&Experiment) -> BTreeSet<Arc<str>>| {
            [before, after].map(|experiment| experiment.map(ids).unwrap_or_default())
        };
        for (users, [old, new]) in [
            (&mut self.users, of(used)),
            (&mut self.runs, of(rested_on)),
            (&mut self.flows, of(occupied)),
            (&mut self.chained, of(chained)),
        ] {
            for key in old.difference(&new) {
                let Some(mut list) = users.remove(key) else { continue };
                list.remove(id.as_str());
                if list.len() > 0 {
                    users.insert(Arc::clone(key), list);
                }
            }
            for key in new.difference(&old) {
                let mut list = users.remove(key).unwrap_or_default();
                list.insert(id.clone(), ());
                users.insert(Arc::clone(key), list);
            }
        }
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

/// The flag, variations, segments and metrics that an experiment's design or draft names.
fn used(experiment: &Experiment) -> BTreeSet<Arc<str>> {
    let own =
        (&experiment.allocations, experiment.audience_id(), experiment.outside_variation_id());
    let draft = experiment.draft();
    let draft = draft.map(|own| (&own.allocations, own.audience_id(), own.outside_variation_id()));
    let mut ids = BTreeSet::from([experiment.flag_id.shared()]);
    for (allocations, audience_id, outside_variation_id) in [own].into_iter().chain(draft) {
        ids.extend(allocations.iter().map(|arm| arm.variation_id.shared()));
        ids.extend(segments_of(allocations, audience_id).map(SegmentId::shared));
        ids.extend(outside_variation_id.map(VariationId::shared));
    }
    let past = experiment.previous_iterations().iter().map(PastIteration::analysis);
    let drafted = experiment.draft().map(Draft::analysis);
    let analyses = past.chain(drafted).chain([experiment.analysis()]);
    let metrics = analyses.flat_map(|analysis| &analysis.metrics);
    ids.extend(metrics.map(|own| own.metric_id.shared()));
    // Slices outlive the arms that they were of, and are served from the flag as it is next.
    let run = experiment.iteration.design.as_ref().and_then(|design| design.rollout.as_ref());
    let slices = experiment.rollout.iter().chain(run).flat_map(Rollout::variations);
    ids.extend(slices.map(VariationId::shared));
    ids
}

/// The flag and segments that an experiment's runs froze.
fn rested_on(experiment: &Experiment) -> BTreeSet<Arc<str>> {
    let designs = experiment.designs();
    let ids = designs.flat_map(|design| {
        let segments = design.segments.iter().map(|segment| segment.id.shared());
        [design.flag.id.shared()].into_iter().chain(segments)
    });
    ids.collect()
}

/// The flow on which an experiment is active.
fn occupied(experiment: &Experiment) -> BTreeSet<Arc<str>> {
    let flow = experiment.flow().filter(|_| experiment.status == Status::Active);
    flow.map(|flow| flow.as_str().into()).into_iter().collect()
}

/// The chain in which an experiment stands by its status.
fn chained(experiment: &Experiment) -> BTreeSet<Arc<str>> {
    experiment.linked().map(|chain| chain.as_str().into()).into_iter().collect()
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
    keys: &mut Table<Key, Arc<str>>,
    names: &mut Table<Name, Arc<str>>,
    before: Option<(&Option<Key>, &Name)>,
    after: Option<(&Option<Key>, &Name, Arc<str>)>,
) {
    let key = after.as_ref().and_then(|(key, _, id)| Some((key.as_ref()?, Arc::clone(id))));
    rename(keys, before.and_then(|(key, _)| key.as_ref()), key);
    let name = after.filter(|(key, ..)| key.is_none()).map(|(_, name, id)| (name, id));
    rename(names, before.filter(|(key, _)| key.is_none()).map(|(_, name)| name), name);
}

fn rename<K: AsRef<str> + Ord + Clone>(
    names: &mut Table<K, Arc<str>>,
    before: Option<&K>,
    after: Option<(&K, Arc<str>)>,
) {
    if before == after.as_ref().map(|(name, _)| *name) {
        return;
    }
    if let Some(before) = before {
        names.remove(before.as_ref());
    }
    if let Some((after, id)) = after {
        names.insert(after.clone(), id);
    }
}
