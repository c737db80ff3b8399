//! What is answered: entities as JSON, or a refusal in LaunchDarkly's envelope.

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

pub(super) use crate::api::answer::Answer;
use crate::api::answer::to_json;
use crate::api::call::BodyFault;
use crate::error::{Code, Error, ViolationCode};

/// The field names that differ between LaunchDarkly and this crate by more than their spelling: ours
/// and theirs.
const FIELDS: [(&str, &str); 15] = [
    ("allocations", "treatments"),
    ("audience_id", "ruleId"),
    ("can_reshuffle", "canReshuffleTraffic"),
    ("join", "holdoutId"),
    ("maintainer", "maintainerId"),
    ("members", "reservationPercent"),
    ("outside_variation_id", "notInExperimentVariationId"),
    ("percentile", "percentileValue"),
    ("reallocation_interval", "reallocationFrequencyMillis"),
    ("share", "holdoutamount"),
    ("subject_kind", "randomizationUnit"),
    ("subject_kinds", "randomizationUnits"),
    ("traffic", "allocationPercent"),
    ("unit_aggregation", "unitAggregationType"),
    ("winner", "winningTreatmentId"),
];

/// Why a request was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    errors: Vec<Fault>,
    allow: Option<&'static str>,
}

/// What is wrong with one part of a request.
#[derive(Debug, Serialize)]
pub(super) struct Fault {
    pub(super) attribute: String,
    pub(super) reason: String,
}

#[derive(Serialize)]
struct Envelope<'r> {
    code: &'r str,
    message: &'r str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'r [Fault],
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), errors: Vec::new(), allow: None }
    }

    /// There is no such thing as the path or the body names.
    pub(super) fn not_found(what: &str, key: &str) -> Self {
        let message = format!("there is no {what} {key:?}");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let message = format!("there is no such path: {path:?}");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path has the methods {allow}");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self { allow: Some(allow), ..Self::new(status, "method_not_allowed", message) }
    }

    /// Something else has been written meanwhile, or stands in the way.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "optimistic_locking_error", message)
    }

    /// One part of the request is at fault.
    pub(super) fn invalid(attribute: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::faults(vec![Fault { attribute: attribute.into(), reason: reason.into() }])
    }

    /// Several parts of the request are at fault, or several things stand in its way.
    pub(super) fn faults(errors: Vec<Fault>) -> Self {
        let refusal = Self::new(StatusCode::BAD_REQUEST, "invalid_request", "");
        Self { errors, ..refusal }.told()
    }

    /// The update cannot be understood.
    pub(super) fn not_understood(attribute: impl Into<String>, reason: impl Into<String>) -> Self {
        let refusal = Self::invalid(attribute, reason);
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code: "patch_failed", ..refusal }
    }

    /// The same refusal of one part of a greater whole.
    pub(super) fn within(mut self, whole: &str) -> Self {
        if self.errors.is_empty() {
            let reason = std::mem::take(&mut self.message);
            self.errors.push(Fault { attribute: String::new(), reason });
        }
        for fault in &mut self.errors {
            let between = if fault.attribute.is_empty() { "" } else { "." };
            fault.attribute = format!("{whole}{between}{}", fault.attribute);
        }
        self.told()
    }

    /// The same refusal, whose message tells of all that is at fault.
    fn told(self) -> Self {
        let told: Vec<_> = self.errors.iter().map(Fault::told).collect();
        let told = told.join("; ");
        let message = match self.code {
            "invalid_request" | "patch_failed" => format!("validation failed: {told}"),
            _ => told,
        };
        Self { message, ..self }
    }
}

impl Fault {
    fn told(&self) -> String {
        match self.attribute.as_str() {
            "" => self.reason.clone(),
            attribute => format!("{attribute}: {}", self.reason),
        }
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Unreadable(error) => error.into(),
            BodyFault::MediaType(rule) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_request", rule)
            }
        }
    }
}

/// The engine's refusal, which names the fields as this crate does.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let mut reason = error.rule().to_owned();
        if let Some(value) = error.value() {
            reason = format!("{reason}; got {value}");
        }
        let attribute = wire_path(error.path());
        match error.code() {
            Code::EntropyUnavailable
            | Code::NotRecorded
            | Code::ReentrantCommit
            | Code::ReplayMismatch
            | Code::StoreUnavailable => {
                // Why is for the host's log, not for whoever calls.
                let message = "the server is at fault, and nothing has changed";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_service_error", message)
            }
            Code::NotFound => Self::new(StatusCode::NOT_FOUND, "not_found", reason),
            Code::VersionConflict => Self::conflict(reason),
            Code::AlreadyExists | Code::InUse | Code::NameTaken => {
                Self { status: StatusCode::CONFLICT, ..Self::invalid(attribute, reason) }
            }
            Code::NotReady => Self::faults(
                error
                    .violations()
                    .iter()
                    .map(|violation| Fault {
                        attribute: part_of(violation.code()).to_owned(),
                        reason: violation.message().to_owned(),
                    })
                    .collect(),
            ),
            _ => Self::invalid(attribute, reason),
        }
    }
}

/// The part of an iteration that keeps it from starting.
fn part_of(code: ViolationCode) -> &'static str {
    match code {
        ViolationCode::FeatureFlagNotActive
        | ViolationCode::FlagOff
        | ViolationCode::SegmentNotActive => "flags",
        ViolationCode::ExperimentActiveLimitExceeded => "kind",
        _ => "treatments",
    }
}

/// The path of a fault as the client wrote it.
fn wire_path(path: &str) -> String {
    let path = path.strip_prefix("patch.").unwrap_or(path);
    let path = path.strip_prefix("analysis.").unwrap_or(path);
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (field, rest) = path.split_at_checked(end).unwrap_or((path, ""));
    let renamed = FIELDS.iter().find(|(ours, _)| *ours == field);
    match renamed {
        Some((_, theirs)) => format!("{theirs}{rest}"),
        None => format!("{}{rest}", in_camel_case(field)),
    }
}

fn in_camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &capital.into_iter().chain(letters).collect::<String>()
    })
}

/// A refusal of the host's own in LaunchDarkly's envelope, for what is decided before a request
/// reaches the surface: who calls, and how often.
///
/// ```
/// use http::StatusCode;
/// use variate::api::launchdarkly::refusal;
///
/// let response = refusal(StatusCode::UNAUTHORIZED, "unauthorized", "the token has expired");
/// assert_eq!(
///     String::from_utf8_lossy(response.body()),
///     r#"{"code":"unauthorized","message":"the token has expired"}"#,
/// );
/// ```
pub fn refusal(status: StatusCode, code: &'static str, message: &str) -> Response<Vec<u8>> {
    respond(Err(Refusal::new(status, code, message)))
}

pub(super) fn respond(outcome: Result<Answer, Refusal>) -> Response<Vec<u8>> {
    let (status, body, allow) = match outcome {
        Ok(Answer { status, body }) => (status, body, None),
        Err(refusal) => {
            let Refusal { status, code, message, errors, allow } = refusal;
            let envelope = Envelope { code, message: &message, errors: &errors };
            (status, to_json(&envelope), allow)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(methods) = allow {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_named_as_the_client_wrote_them() {
        fn check(path: &str, expected: &str) {
            assert_eq!(wire_path(path), expected);
        }
        check("", "");
        check("key", "key");
        check("patch.name", "name");
        check("analysis.data_source", "dataSource");
        check("allocations[1].weight", "treatments[1].weight");
        check("percentile", "percentileValue");
        check("winsor_upper_percentile", "winsorUpperPercentile");
        check("event_default.value", "eventDefault.value");
    }
}
