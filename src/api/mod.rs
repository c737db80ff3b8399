//! The vendors' REST surfaces, in process.
//!
//! Each is a function from an [`http::Request`] to an [`http::Response`] over an
//! [`Engine`](crate::Engine), so that any server can mount it and any test can call it without one.
//! What it changes is what the same changes of the native API would; who may call it is the host's
//! to check.

mod answer;
mod call;
#[cfg(any(feature = "launchdarkly", feature = "qonversion"))]
mod query;

#[cfg(any(feature = "launchdarkly", feature = "qonversion"))]
use crate::model::Experiment;

#[cfg(feature = "auth0")]
pub mod auth0;
#[cfg(feature = "launchdarkly")]
pub mod launchdarkly;
#[cfg(feature = "qonversion")]
pub mod qonversion;

/// What programs call an experiment by: what has no key shows its id.
#[cfg(any(feature = "launchdarkly", feature = "qonversion"))]
fn key_of(experiment: &Experiment) -> &str {
    experiment.key().map_or(experiment.id().as_str(), |key| key.as_str())
}
