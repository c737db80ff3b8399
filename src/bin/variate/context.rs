//! What a subject gets. A route of this server's own: Auth0 evaluates within its login and has no
//! endpoint for it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use variate::api::auth0::{Login, resolve};
use variate::{Snapshot, Subject};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    flow: String,
    ids: Pairs,
    #[serde(default)]
    attributes: Pairs,
    experiment_id: Option<String>,
    variation_id: Option<String>,
    segment_id: Option<String>,
    /// The variation that the subject has in each experiment.
    #[serde(default)]
    kept: Pairs,
}

/// A JSON object of strings.
#[derive(Default)]
struct Pairs(BTreeMap<String, String>);

/// The serialised resolution of what a body describes.
///
/// # Errors
/// When the body does not describe a subject.
pub fn answer(snapshot: &Snapshot, body: &[u8]) -> serde_json::Result<Vec<u8>> {
    let WholeObject(question) = serde_json::from_slice(body)?;

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

/// The question as an object: what serde derives would take an array for it.
struct WholeObject(Question);

impl<'de> Deserialize<'de> for WholeObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfQuestion;

        impl<'de> Visitor<'de> for OfQuestion {
            type Value = WholeObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WholeObject, A::Error> {
                Question::deserialize(MapAccessDeserializer::new(map)).map(WholeObject)
            }
        }
        deserializer.deserialize_map(OfQuestion)
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfStrings;

        impl<'de> Visitor<'de> for OfStrings {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if pairs.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key stands twice in one object"));
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(OfStrings)
    }
}
