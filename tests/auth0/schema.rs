//! The strict schema of every response: for each operation and generation its status codes, its
//! required members and no others, types, enums, patterns, date-times, and what members say of each
//! other; and the one envelope of errors.
//!
//! Written from the reference pages. What the schema there leaves optional and an engine always
//! knows is required here.

mod shapes;

use http::{Method, Response};
use serde_json::Value;
use variate::api::auth0::Generation;

pub use shapes::EDITABLE;
use shapes::{
    Check, early_experiment, early_segment, early_variation, envelope, flag, list, map, page,
    ramp_step, seeds_experiment, seeds_segment, seeds_variation, validity, whole,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    ListExperiments,
    CreateExperiment,
    GetExperiment,
    UpdateExperiment,
    DeleteExperiment,
    TransitionExperiment,
    ValidateExperiment,
    AdvanceRamp,
    ListFlags,
    CreateFlag,
    GetFlag,
    UpdateFlag,
    DeleteFlag,
    TransitionFlag,
    ListVariations,
    CreateVariation,
    GetVariation,
    UpdateVariation,
    DeleteVariation,
    ListSegments,
    CreateSegment,
    GetSegment,
    UpdateSegment,
    DeleteSegment,
    /// A path that there is, with a method that it has not.
    OtherMethod,
    /// No such path.
    NoPath,
    /// A path that may be taken for one of the others: with an escape, a dot or an empty segment.
    Unclear,
}

impl Operation {
    pub fn of(method: &Method, path: &str) -> Self {
        if path.contains(['%', '.']) || path.split('/').skip(1).any(str::is_empty) {
            return Self::Unclear;
        }
        let path = path.strip_prefix("/api/v2").unwrap_or(path);
        let Some(path) = path.strip_prefix("/experimentation/") else { return Self::NoPath };
        let path: Vec<&str> = path.split('/').collect();
        let all = ["GET", "POST", "PATCH", "DELETE"];
        let operations: [Option<Self>; 4] = match *path {
            ["experiments"] => {
                [Some(Self::ListExperiments), Some(Self::CreateExperiment), None, None]
            }
            ["experiments", _] => [
                Some(Self::GetExperiment),
                None,
                Some(Self::UpdateExperiment),
                Some(Self::DeleteExperiment),
            ],
            ["experiments", _, "status"] => [None, Some(Self::TransitionExperiment), None, None],
            ["experiments", _, "validate"] => [None, Some(Self::ValidateExperiment), None, None],
            ["experiments", _, "advance-ramp"] => [None, Some(Self::AdvanceRamp), None, None],
            ["feature-flags"] => [Some(Self::ListFlags), Some(Self::CreateFlag), None, None],
            ["feature-flags", _] => {
                [Some(Self::GetFlag), None, Some(Self::UpdateFlag), Some(Self::DeleteFlag)]
            }
            ["feature-flags", _, "status"] => [None, Some(Self::TransitionFlag), None, None],
            ["feature-flags", _, "variations"] => {
                [Some(Self::ListVariations), Some(Self::CreateVariation), None, None]
            }
            ["feature-flags", _, "variations", _] => [
                Some(Self::GetVariation),
                None,
                Some(Self::UpdateVariation),
                Some(Self::DeleteVariation),
            ],
            ["segments"] => [Some(Self::ListSegments), Some(Self::CreateSegment), None, None],
            ["segments", _] => {
                [Some(Self::GetSegment), None, Some(Self::UpdateSegment), Some(Self::DeleteSegment)]
            }
            _ => return Self::NoPath,
        };
        let known = all.iter().position(|known| *known == method.as_str());
        known.and_then(|index| operations[index]).unwrap_or(Self::OtherMethod)
    }

    /// The status codes that it can answer with; of the refusals only those that do not come from
    /// checking who asks.
    fn statuses(self, early_access: bool) -> Vec<u16> {
        let (both, early): (&[u16], &[u16]) = match self {
            Self::ListExperiments | Self::ListFlags | Self::ListSegments => (&[200, 400], &[]),
            Self::ListVariations => (&[200, 400, 404], &[]),
            Self::GetExperiment
            | Self::GetFlag
            | Self::GetVariation
            | Self::GetSegment
            | Self::ValidateExperiment => (&[200, 404], &[]),
            Self::CreateExperiment => (&[201, 400, 404, 409, 415], &[422]),
            Self::CreateSegment => (&[201, 400, 409, 415], &[422]),
            Self::CreateFlag => (&[201, 400, 409, 415], &[]),
            Self::CreateVariation => (&[201, 400, 404, 409, 415], &[]),
            Self::UpdateExperiment | Self::UpdateSegment => (&[200, 400, 404, 409, 415], &[422]),
            Self::UpdateFlag | Self::UpdateVariation | Self::AdvanceRamp => {
                (&[200, 400, 404, 409, 415], &[])
            }
            Self::TransitionExperiment => (&[200, 400, 404, 415], &[409, 422]),
            Self::TransitionFlag => (&[200, 400, 404, 415], &[]),
            Self::DeleteExperiment => (&[204, 400], &[]),
            Self::DeleteFlag | Self::DeleteSegment => (&[204, 409], &[]),
            Self::DeleteVariation if early_access => (&[204, 404, 409], &[]),
            Self::DeleteVariation => (&[204, 400, 404, 409], &[]),
            Self::OtherMethod => (&[405], &[]),
            Self::NoPath => (&[404], &[]),
            Self::Unclear => (&[200, 201, 204, 400, 404, 405, 409, 415], &[422]),
        };
        let early = if early_access { early } else { &[] };
        [both, early].concat()
    }

    fn body(self, early_access: bool) -> Check {
        let either = |seeds: Check, early: Check| if early_access { early } else { seeds };
        match self {
            Self::ListExperiments => either(
                |at, v| page(at, v, "experiments", seeds_experiment),
                |at, v| page(at, v, "experiments", early_experiment),
            ),
            Self::CreateExperiment
            | Self::GetExperiment
            | Self::UpdateExperiment
            | Self::TransitionExperiment => either(seeds_experiment, early_experiment),
            Self::ValidateExperiment => validity,
            Self::AdvanceRamp => ramp_step,
            Self::ListFlags => |at, v| page(at, v, "feature_flags", flag),
            Self::CreateFlag | Self::GetFlag | Self::UpdateFlag | Self::TransitionFlag => flag,
            Self::ListVariations => either(
                |at, v| whole(at, v, "variations", |at, v| list(at, v, 0..=100, seeds_variation)),
                |at, v| whole(at, v, "variations", |at, v| list(at, v, 0..=100, early_variation)),
            ),
            Self::CreateVariation | Self::GetVariation | Self::UpdateVariation => {
                either(seeds_variation, early_variation)
            }
            Self::ListSegments => either(
                |at, v| page(at, v, "segments", seeds_segment),
                |at, v| page(at, v, "segments", early_segment),
            ),
            Self::CreateSegment | Self::GetSegment | Self::UpdateSegment => {
                either(seeds_segment, early_segment)
            }
            Self::Unclear => map,
            Self::DeleteExperiment
            | Self::DeleteFlag
            | Self::DeleteVariation
            | Self::DeleteSegment
            | Self::OtherMethod
            | Self::NoPath => |at, _| panic!("{at}: no body is foreseen"),
        }
    }
}

/// Panics, with what was asked, when a response is not what its operation answers.
#[track_caller]
pub fn check(
    operation: Operation,
    generation: Generation,
    response: &Response<Vec<u8>>,
    asked: &str,
) {
    let early_access = generation == Generation::EarlyAccess;
    let text = String::from_utf8_lossy(response.body());
    let at = format!("{operation:?} ({generation}): {asked}\n{} {text}\n", response.status());
    let status = response.status().as_u16();
    assert!(operation.statuses(early_access).contains(&status), "{at}status {status}");
    let allow = response.headers().get("allow").map(|allow| allow.to_str().unwrap());
    assert_eq!(allow.is_some(), status == 405, "{at}allow: {allow:?}");
    for method in allow.unwrap_or("GET").split(", ") {
        assert!(["GET", "POST", "PATCH", "DELETE"].contains(&method), "{at}allow: {method}");
    }
    if status == 204 {
        assert!(response.body().is_empty(), "{at}no content has content");
        return;
    }
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap());
    assert!(kind.is_some_and(|kind| kind.starts_with("application/json")), "{at}type {kind:?}");
    let body: Value =
        serde_json::from_slice(response.body()).unwrap_or_else(|e| panic!("{at}not JSON: {e}"));
    if status < 400 {
        operation.body(early_access)(&at, &body);
    } else {
        envelope(&at, &body, response.status());
    }
}
