//! What a subject gets. A route of this server's own: Auth0 evaluates within its login and has no
//! endpoint for it.

use variate::api::auth0::{Login, resolve};
use variate::{Snapshot, Subject};

use crate::strict::{Members, Strict, WholeObject};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    flow: String,
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

/// The serialised resolution of what a body describes.
///
/// # Errors
/// When the body does not describe a subject.
pub fn answer(snapshot: &Snapshot, body: &[u8]) -> serde_json::Result<Vec<u8>> {
    let WholeObject::<Question>(question) = serde_json::from_slice(body)?;

    let mut subject = Subject::new("").with_attributes(&question.attributes.0);
    for (kind, id) in &question.ids.0 {
        subject = subject.with_id(kind, id);
    }
    for (experiment, variation) in &question.kept.0 {
        subject = subject.kept(experiment, variation);
    }
    let mut login = Login::new(&question.flow, subject);
    if let Some(id) = &question.experiment_id {
        login = login.experiment_id(id);
    }
    if let Some(id) = &question.variation_id {
        login = login.variation_id(id);
    }
    if let Some(id) = &question.segment_id {
        login = login.segment_id(id);
    }
    serde_json::to_vec(&resolve(snapshot, &login))
}
