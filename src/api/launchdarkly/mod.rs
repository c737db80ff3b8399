//! LaunchDarkly's experiments.

mod answer;
mod design;
mod experiments;
mod fields;
mod flags;
mod holdouts;
mod input;
mod instructions;
mod layers;
mod list;
mod metrics;
mod patch;
mod settings;
mod show;

use std::sync::Arc;

use http::{Method, Request, Response};
use percent_encoding::percent_decode_str;

use answer::{Answer, Refusal, respond};
use list::Query;

pub use answer::refusal;

use crate::api::call::Call;
use crate::engine::Engine;
use crate::error::codes;
use crate::model::{Carryover, HashVersion};

/// LaunchDarkly's experimentation endpoints over an [`Engine`], for one project and one environment.
#[derive(Debug, Clone)]
pub struct Experimentation {
    engine: Engine,
    project: Arc<str>,
    environment: Arc<str>,
    member: Arc<str>,
    hash: HashVersion,
    carryover: Carryover,
    reshuffling: Reshuffling,
}

codes! {
    /// When a new iteration of a running experiment draws everybody anew, if the experiment allows
    /// it (`canReshuffleTraffic`). LaunchDarkly's pages contradict each other here.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum Reshuffling {
        /// When there are not enough buckets left to keep everybody where they are.
        #[default]
        WhenNeeded = "when_needed",
        /// Whenever a new iteration begins.
        Always = "always",
    }
}

impl Experimentation {
    /// The surface over an engine: project `default`, environment `production`, hash
    /// [`Sha1V1`](HashVersion::Sha1V1).
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            project: "default".into(),
            environment: "production".into(),
            member: "000000000000000000000000".into(),
            hash: HashVersion::Sha1V1,
            carryover: Carryover::default(),
            reshuffling: Reshuffling::default(),
        }
    }

    /// The same surface for the project of this key.
    pub fn project(self, key: impl Into<Arc<str>>) -> Self {
        Self { project: key.into(), ..self }
    }

    /// The same surface for the environment of this key.
    pub fn environment(self, key: impl Into<Arc<str>>) -> Self {
        Self { environment: key.into(), ..self }
    }

    /// The same surface, on which what nobody is named to maintain is this member's.
    pub fn member(self, id: impl Into<Arc<str>>) -> Self {
        Self { member: id.into(), ..self }
    }

    /// The same surface, whose experiments go by this hash from now on.
    pub fn hash(self, hash: HashVersion) -> Self {
        Self { hash, ..self }
    }

    /// The same surface, on which a new iteration with more traffic treats who was in before like
    /// this.
    pub fn carryover(self, carryover: Carryover) -> Self {
        Self { carryover, ..self }
    }

    /// The same surface, on which a new iteration draws everybody anew when this says.
    pub fn reshuffling(self, reshuffling: Reshuffling) -> Self {
        Self { reshuffling, ..self }
    }

    /// The engine that it works on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Answers a request. Total: whatever it is, the answer says what is wrong with it.
    pub fn handle<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Response<Vec<u8>> {
        let call = Call {
            query: request.uri().query(),
            headers: request.headers(),
            body: request.body().as_ref(),
        };
        respond(self.answer(request.method(), request.uri().path(), call))
    }

    fn answer(&self, method: &Method, path: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        let Some(rest) = path.strip_prefix("/api/v2/") else {
            return Err(Refusal::no_such_path(path));
        };
        let decoded: Vec<_> =
            rest.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy()).collect();
        let segments: Vec<&str> = decoded.iter().map(|part| &**part).collect();
        let Some(allow) = methods(&segments).filter(|_| !segments.contains(&"")) else {
            return Err(Refusal::no_such_path(path));
        };
        if !allow.split(", ").any(|known| known == method.as_str()) {
            return Err(Refusal::method_not_allowed(allow));
        }
        let (scope, segments) = match segments.as_slice() {
            ["projects", project, "environments", environment, rest @ ..] => {
                self.check_environment(environment)?;
                (*project, rest)
            }
            ["projects", project, rest @ ..] => (*project, rest),
            ["flags" | "metrics", project, ..] => (*project, &segments[..]),
            _ => return Err(Refusal::no_such_path(path)),
        };
        self.check_project(scope)?;
        let query = Query::read(call.query);
        match (segments, method.as_str()) {
            (["experiments"], "GET") => self.list_experiments(&query),
            (["experiments"], "POST") => self.create_experiment(&query, call),
            (["experiments", key], "GET") => self.get_experiment(&query, key),
            (["experiments", key], "PATCH") => self.patch_experiment(&query, key, call),
            (["experiments", key, "iterations"], "POST") => self.create_iteration(key, call),
            (["experimentation-settings"], "GET") => self.get_settings(),
            (["experimentation-settings"], "PUT") => self.put_settings(call),
            (["flags", _], "GET") => self.list_flags(&query),
            (["flags", _], "POST") => self.create_flag(call),
            (["flags", _, key], "GET") => self.get_flag(key),
            (["flags", _, key], "PATCH") => self.patch_flag(key, call),
            (["holdouts"], "GET") => self.list_holdouts(&query),
            (["holdouts"], "POST") => self.create_holdout(call),
            (["holdouts", "id", id], "GET") => self.get_holdout_by_id(id),
            (["holdouts", key], "GET") => self.get_holdout(key),
            (["holdouts", key], "PATCH") => self.patch_holdout(key, call),
            (["layers"], "GET") => self.list_layers(&query),
            (["layers"], "POST") => self.create_layer(call),
            (["layers", key], "PATCH") => self.patch_layer(key, call),
            (["metric-groups"], "GET") => self.list_metric_groups(&query),
            (["metric-groups"], "POST") => self.create_metric_group(call),
            (["metric-groups", key], "GET") => self.get_metric_group(key),
            (["metrics", _], "GET") => self.list_metrics(&query),
            (["metrics", _], "POST") => self.create_metric(call),
            (["metrics", _, key], "GET") => self.get_metric(key),
            _ => Err(Refusal::method_not_allowed(allow)),
        }
    }

    fn check_project(&self, key: &str) -> Result<(), Refusal> {
        match *key == *self.project {
            true => Ok(()),
            false => Err(Refusal::not_found("project", key)),
        }
    }

    fn check_environment(&self, key: &str) -> Result<(), Refusal> {
        match *key == *self.environment {
            true => Ok(()),
            false => Err(Refusal::not_found("environment", key)),
        }
    }

    /// The path of something in the project.
    fn in_project(&self, rest: &str) -> String {
        format!("/api/v2/projects/{}{rest}", self.project)
    }

    /// The path of something in the environment.
    fn in_environment(&self, rest: &str) -> String {
        self.in_project(&format!("/environments/{}{rest}", self.environment))
    }
}

/// The methods of a path, if there is such a path.
fn methods(segments: &[&str]) -> Option<&'static str> {
    match segments {
        ["projects", _, "environments", _, "experiments" | "holdouts"]
        | ["projects", _, "layers" | "metric-groups"]
        | ["flags" | "metrics", _] => Some("GET, POST"),
        ["projects", _, "environments", _, "experiments" | "holdouts", _] | ["flags", _, _] => {
            Some("GET, PATCH")
        }
        ["projects", _, "environments", _, "experiments", _, "iterations"] => Some("POST"),
        ["projects", _, "environments", _, "holdouts", "id", _]
        | ["projects", _, "experiments"]
        | ["projects", _, "metric-groups", _]
        | ["metrics", _, _] => Some("GET"),
        ["projects", _, "experimentation-settings"] => Some("GET, PUT"),
        ["projects", _, "layers", _] => Some("PATCH"),
        _ => None,
    }
}
