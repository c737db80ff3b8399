//! Auth0's Experiment Center.

mod runtime;

use http::{Request, Response};

pub use runtime::{ExperimentContext, LogRecord, Login, Resolution, Warning, resolve};

use crate::engine::Engine;
use crate::error::codes;

/// The experimentation endpoints of Auth0's Management API, over an [`Engine`].
#[derive(Debug, Clone)]
pub struct ExperimentCenter {
    engine: Engine,
    generation: Generation,
}

codes! {
    /// Which of the two published generations of the API answers.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum Generation {
        /// The reference pages of the beta: the contract of this surface.
        #[default]
        Seeds = "seeds",
        /// What the early access answers.
        EarlyAccess = "early-access",
    }
}

impl ExperimentCenter {
    /// The surface over an engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine, generation: Generation::default() }
    }

    /// The same surface, answering as this generation does.
    pub fn generation(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    /// The engine that it works on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Answers a request.
    pub fn handle<B: AsRef<[u8]>>(&self, _request: &Request<B>) -> Response<Vec<u8>> {
        let mut response = Response::new(Vec::new());
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        response
    }
}
