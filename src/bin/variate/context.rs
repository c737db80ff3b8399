//! What a subject gets. A route of this server's own: Auth0 evaluates within its login, Qonversion
//! when the app asks for its remote config, and neither has a REST endpoint for it.

use serde::{Deserialize, Serialize};
use variate::api::auth0::{Login, resolve};
use variate::{Config, Decision, Keeper, Subject};

use crate::strict::{Members, Strict, WholeObject};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    flow: Option<String>,
    chain: Option<String>,
    ids: Pairs,
    #[serde(default)]
    attributes: Members<Strict>,
    experiment_id: Option<String>,
    variation_id: Option<String>,
    segment_id: Option<String>,
    /// The variation that the subject has in each experiment.
    #[serde(default)]
    kept: Pairs,
}

type Pairs = Members<String>;

/// What a subject gets from a chain.
#[derive(Serialize)]
struct Answer<'s> {
    #[serde(flatten)]
    decision: Decision<'s>,
    config: Option<&'s Config>,
}

/// Why there is no answer.
pub enum Fault {
    /// The body is no question.
    Body(String),
    /// What is remembered cannot be read or written.
    Store,
}

/// The serialised answer to what a body asks: a resolution to who asks for a flow, a decision to who
/// asks for a chain.
pub fn answer(keeper: &Keeper, body: &[u8]) -> Result<Vec<u8>, Fault> {
    let WholeObject::<Question>(question) = serde_json::from_slice(body)?;

    let mut subject = Subject::new("").with_attributes(&question.attributes.0);
    for (kind, id) in &question.ids.0 {
        subject = subject.with_id(kind, id);
    }
    for (experiment, variation) in &question.kept.0 {
        subject = subject.kept(experiment, variation);
    }
    let snapshot = keeper.engine().snapshot();
    match (&question.flow, &question.chain) {
        (Some(flow), None) => {
            let mut login = Login::new(flow, subject);
            if let Some(id) = &question.experiment_id {
                login = login.experiment_id(id);
            }
            if let Some(id) = &question.variation_id {
                login = login.variation_id(id);
            }
            if let Some(id) = &question.segment_id {
                login = login.segment_id(id);
            }
            Ok(serde_json::to_vec(&resolve(&snapshot, &login))?)
        }
        (None, Some(chain)) => {
            question.check_not_overridden()?;
            let decision =
                keeper.assign_in_chain(&snapshot, chain, &subject).map_err(|_| Fault::Store)?;
            Ok(serde_json::to_vec(&Answer { decision, config: decision.config() })?)
        }
        (None, None) | (Some(_), Some(_)) => {
            Err(Fault::Body("must have one of flow and chain".to_owned()))
        }
    }
}

impl Question {
    fn check_not_overridden(&self) -> Result<(), Fault> {
        let overrides = [
            ("experiment_id", &self.experiment_id),
            ("variation_id", &self.variation_id),
            ("segment_id", &self.segment_id),
        ];
        match overrides.iter().find(|(_, given)| given.is_some()) {
            Some((name, _)) => Err(Fault::Body(format!("must not have {name} beside chain"))),
            None => Ok(()),
        }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Body(error.to_string())
    }
}
