//! What subjects are asked about: an experiment, or a chain.

use std::collections::BTreeSet;

use clap::Args;
use variate::{Chain, Decision, Experiment, Explanation, Plan, Snapshot, Subject};

use crate::shared::{Document, Fault};

/// Of an unknown chain, the names of so many that there are help; more are only noise.
const FEW: usize = 8;

/// Which experiment or chain is meant.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Named {
    /// The experiment, by its id or key
    #[arg(long, value_name = "ID")]
    experiment: Option<String>,
    /// The chain, by its name: of its experiments, a subject is in at most one. Where they go by
    /// several kinds, --kind is needed. Goes without --forced, --attached and --kept, which lines of
    /// JSON can say by experiment
    #[arg(long, value_name = "NAME")]
    chain: Option<String>,
}

/// What a document has of that name.
pub struct Target<'s> {
    asked: Asked<'s>,
    /// The experiment; of a chain, the experiments that are asked one after the other.
    experiments: Vec<&'s Experiment>,
    /// The kinds that they go by, each once.
    kinds: Vec<&'s str>,
}

enum Asked<'s> {
    Experiment(&'s Plan),
    Chain(Chain<'s>),
}

impl Named {
    pub fn find<'s>(
        &self,
        document: &Document,
        snapshot: &'s Snapshot,
    ) -> Result<Target<'s>, Fault> {
        match &self.chain {
            Some(name) => chain(document, snapshot, name),
            None => experiment(document, snapshot, self.experiment.as_deref().unwrap_or_default()),
        }
    }
}

fn experiment<'s>(
    document: &Document,
    snapshot: &'s Snapshot,
    id: &str,
) -> Result<Target<'s>, Fault> {
    let experiment = document.experiment(snapshot, id)?;
    let plan = snapshot.plan(experiment.id()).ok_or_else(|| document.no_experiment(id))?;
    let kinds = vec![experiment.subject_kind().as_str()];
    Ok(Target { asked: Asked::Experiment(plan), experiments: vec![experiment], kinds })
}

fn chain<'s>(document: &Document, snapshot: &'s Snapshot, name: &str) -> Result<Target<'s>, Fault> {
    let named = |own: &&Experiment| own.chain().is_some_and(|own| own.as_str() == name);
    let all: Vec<&Experiment> = snapshot.experiments().filter(named).collect();
    if all.is_empty() {
        return Err(no_chain(document, snapshot, name));
    }
    let chain = snapshot.chain(name);
    let experiments: Vec<&Experiment> = chain.experiments().collect();
    let mut kinds = Vec::new();
    for experiment in if experiments.is_empty() { &all } else { &experiments } {
        let kind = experiment.subject_kind().as_str();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(Target { asked: Asked::Chain(chain), experiments, kinds })
}

fn no_chain(document: &Document, snapshot: &Snapshot, name: &str) -> Fault {
    let names: BTreeSet<&str> =
        snapshot.experiments().filter_map(|own| own.chain()).map(|own| own.as_str()).collect();
    let names: Vec<String> = names.into_iter().map(|own| format!("{own:?}")).collect();
    let only = match names.len() {
        1..=FEW => format!(", only {}", names.join(", ")),
        _ => String::new(),
    };
    document.fault(format_args!("there is no chain {name:?}{only}"))
}

impl<'s> Target<'s> {
    /// The experiment, unless it is a chain.
    pub fn experiment(&self) -> Option<&'s Experiment> {
        match self.asked {
            Asked::Experiment(_) => self.experiments.first().copied(),
            Asked::Chain(_) => None,
        }
    }

    /// The experiment; of a chain those of its experiments that run, in order.
    pub fn experiments(&self) -> &[&'s Experiment] {
        &self.experiments
    }

    /// The kinds of subjects that it goes by, at least one, in the order of the experiments.
    pub fn kinds(&self) -> &[&'s str] {
        &self.kinds
    }

    pub fn assign(&self, subject: &Subject<'_>) -> Decision<'s> {
        match self.asked {
            Asked::Experiment(plan) => plan.assign(subject),
            Asked::Chain(chain) => chain.assign(subject),
        }
    }

    /// One explanation for each of the experiments.
    pub fn explain(&self, subject: &Subject<'_>) -> Vec<Explanation<'s>> {
        match self.asked {
            Asked::Experiment(plan) => vec![plan.explain(subject)],
            Asked::Chain(chain) => chain.explain(subject).collect(),
        }
    }
}
