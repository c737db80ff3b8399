//! Putting entities in and taking them out, with all that is looked up kept true.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::design::segments_of;
use super::table::Table;
use super::{Held, Membership, Snapshot};
use crate::assign::{Plan, Surroundings};
use crate::id::{ExperimentId, FlagId, HoldoutId, LayerId, SegmentId, VariationId};
use crate::model::{Experiment, Flag, Holdout, Layer, Name, Segment, Status};

impl Snapshot {
    /// Puts a flag in place of the one with its id, if there is one.
    pub(crate) fn put_flag(&mut self, flag: Flag) {
        let flag = Arc::new(flag);
        let before = self.flags.insert(flag.id.clone(), Arc::clone(&flag));
        self.recompile_users(&flag.id);
        let named = before.as_ref().map(|before| &before.name);
        rename(&mut self.names.flags, named, Some((&flag.name, flag.id.shared())));
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
    /// them.
    fn recompile_users(&mut self, flag: &FlagId) {
        let users = self.users.get(flag.as_str()).into_iter().flat_map(Table::iter);
        let never_ran: Vec<ExperimentId> = users
            .filter_map(|(id, ())| self.experiment(id))
            .filter(|experiment| experiment.iteration.design.is_none())
            .map(|experiment| experiment.id.clone())
            .collect();
        self.recompile(never_ran);
    }

    pub(crate) fn remove_flag(&mut self, id: &FlagId) {
        let Some(before) = self.flags.remove(id.as_str()) else {
            return;
        };
        rename(&mut self.names.flags, Some(&before.name), None);
        for id in before.variations.keys() {
            self.variations.remove(id.as_str());
        }
        self.recompile_users(id);
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
        let plan = Plan::compile(&experiment, &self.around(&experiment));
        let held = Arc::new(Held { experiment, plan });
        let id = &held.experiment.id;
        let before = self.experiments.insert(id.clone(), Arc::clone(&held));
        let named = before.as_ref().map(|before| &before.experiment.name);
        rename(&mut self.names.experiments, named, Some((&held.experiment.name, id.shared())));
        if held.experiment.status == Status::Active {
            self.active.insert(id.clone(), Arc::clone(&held));
        } else {
            self.active.remove(id.as_str());
        }
        self.reuse(before.as_deref().map(|before| &before.experiment), Some(&held.experiment));
    }

    pub(crate) fn remove_experiment(&mut self, id: &ExperimentId) {
        let Some(before) = self.experiments.remove(id.as_str()) else {
            return;
        };
        rename(&mut self.names.experiments, Some(&before.experiment.name), None);
        self.active.remove(id.as_str());
        self.reuse(Some(&before.experiment), None);
    }

    /// What the plan of an experiment depends on besides itself.
    pub(super) fn around(&self, experiment: &Experiment) -> Surroundings<'_> {
        let membership = self.memberships.get(experiment.id.as_str());
        let layer = membership.and_then(|membership| membership.layer.as_ref());
        let holdouts = membership.into_iter().flat_map(|membership| &membership.holdouts);
        Surroundings {
            flag: self.flag(&experiment.flag_id),
            layer: layer.and_then(|id| self.layers.get(id.as_str())),
            holdouts: holdouts.filter_map(|id| self.holdouts.get(id.as_str())).collect(),
        }
    }

    /// Puts a layer in place of the one with its id, if there is one, and compiles its members.
    pub(crate) fn put_layer(&mut self, layer: Layer) {
        let layer = Arc::new(layer);
        let before = self.layers.insert(layer.id.clone(), Arc::clone(&layer));
        let named = before.as_ref().map(|before| &before.name);
        rename(&mut self.names.layers, named, Some((&layer.name, layer.id.shared())));
        self.rejoin_layer(before.as_deref(), Some(&layer));
    }

    pub(crate) fn remove_layer(&mut self, id: &LayerId) {
        let Some(before) = self.layers.remove(id.as_str()) else { return };
        rename(&mut self.names.layers, Some(&before.name), None);
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
        let named = before.as_ref().map(|before| &before.name);
        rename(&mut self.names.holdouts, named, Some((&holdout.name, holdout.id.shared())));
        self.rejoin_holdout(before.as_deref(), Some(&holdout));
    }

    pub(crate) fn remove_holdout(&mut self, id: &HoldoutId) {
        let Some(before) = self.holdouts.remove(id.as_str()) else { return };
        rename(&mut self.names.holdouts, Some(&before.name), None);
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
        for id in ids {
            if let Some(experiment) = self.experiment(&id).cloned() {
                self.put_experiment(experiment);
            }
        }
    }

    /// Notes who uses what when one experiment becomes another.
    fn reuse(&mut self, before: Option<&Experiment>, after: Option<&Experiment>) {
        let Some(id) = before.or(after).map(Experiment::id) else { return };
        let of = |ids: fn(&Experiment) -> Vec<Arc<str>>| {
            [before, after].map(|experiment| experiment.map(ids).unwrap_or_default())
        };
        for (users, [old, new]) in [
            (&mut self.users, of(used)),
            (&mut self.runs, of(rested_on)),
            (&mut self.flows, of(occupied)),
        ] {
            for key in old.iter().filter(|key| !new.contains(key)) {
                let Some(mut list) = users.remove(key) else { continue };
                list.remove(id.as_str());
                if list.len() > 0 {
                    users.insert(Arc::clone(key), list);
                }
            }
            for key in new.iter().filter(|key| !old.contains(key)) {
                let mut list = users.remove(key).unwrap_or_default();
                list.insert(id.clone(), ());
                users.insert(Arc::clone(key), list);
            }
        }
    }
}

/// The flag, variations and segments that an experiment's design names.
fn used(experiment: &Experiment) -> Vec<Arc<str>> {
    let mut ids = vec![experiment.flag_id.shared()];
    for arm in experiment.allocations() {
        ids.push(arm.variation_id.shared());
    }
    let segments = segments_of(&experiment.allocations, experiment.audience_id());
    ids.extend(segments.map(SegmentId::shared));
    ids.extend(experiment.outside_variation_id().map(VariationId::shared));
    ids
}

/// The flag and segments that an experiment's run froze.
fn rested_on(experiment: &Experiment) -> Vec<Arc<str>> {
    let Some(design) = &experiment.iteration.design else { return Vec::new() };
    let segments = design.segments.iter().map(|segment| segment.id.shared());
    [design.flag.id.shared()].into_iter().chain(segments).collect()
}

/// The flow on which an experiment is active.
fn occupied(experiment: &Experiment) -> Vec<Arc<str>> {
    let flow = experiment.flow().filter(|_| experiment.status == Status::Active);
    flow.map(|flow| flow.as_str().into()).into_iter().collect()
}

/// The experiments that one of two versions of an entity has.
fn members<'e, E, I: Iterator<Item = &'e ExperimentId>>(
    before: Option<&'e E>,
    after: Option<&'e E>,
    of: impl Fn(&'e E) -> I,
) -> BTreeSet<ExperimentId> {
    before.into_iter().chain(after).flat_map(of).cloned().collect()
}

fn rename(
    names: &mut Table<Name, Arc<str>>,
    before: Option<&Name>,
    after: Option<(&Name, Arc<str>)>,
) {
    if before == after.as_ref().map(|(name, _)| *name) {
        return;
    }
    if let Some(before) = before {
        names.remove(before.as_str());
    }
    if let Some((after, id)) = after {
        names.insert(after.clone(), id);
    }
}
