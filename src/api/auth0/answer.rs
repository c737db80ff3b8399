//! What is answered: entities as JSON, or a refusal in Auth0's envelope.

use std::borrow::Cow;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::Generation;
pub(super) use crate::api::answer::Answer;
use crate::api::answer::to_json;
use crate::api::call::BodyFault;
use crate::error::{Code, Error, ViolationCode};

/// The field names that differ between Auth0 and this crate: theirs and ours.
const FIELDS: [(&str, &str); 4] = [
    ("allocation_strategy", "strategy"),
    ("authentication_flow", "flow"),
    ("feature_flag_id", "flag_id"),
    ("target_level", "level"),
];

/// Why a request was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    allow: Option<&'static str>,
    /// Whether the request is well-formed but cannot mean anything.
    senseless: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'r> {
    status_code: u16,
    error: &'r str,
    message: &'r str,
    error_code: &'r str,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into(), allow: None, senseless: false }
    }

    /// There is no such thing as the path names.
    pub(super) fn not_found(what: &str, id: &str) -> Self {
        let rule = format!("there is no {what} of this id");
        Error::new(Code::NotFound, rule).with_value(id).into()
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        Error::new(Code::NotFound, "there is no such path").with_value(path).into()
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path has the methods {allow}");
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        Self { allow: Some(allow), ..refusal }
    }

    /// The request is well-formed but cannot mean anything.
    pub(super) fn senseless(error: Error) -> Self {
        Self { senseless: true, ..error.into() }
    }

    /// A fault of the body or the query, which names its place as the client wrote it.
    pub(super) fn unreadable(error: &Error) -> Self {
        Self::worded(error, error.path())
    }

    fn status(&self, generation: Generation) -> StatusCode {
        match generation {
            Generation::EarlyAccess if self.senseless => StatusCode::UNPROCESSABLE_ENTITY,
            _ => self.status,
        }
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Unreadable(error) => Self::unreadable(&error),
            BodyFault::MediaType(rule) => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", rule)
            }
        }
    }
}

/// The engine's refusal, which names the fields as this crate does.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::worded(&error, wire_path(error.path()))
    }
}

impl Refusal {
    fn worded(error: &Error, path: &str) -> Self {
        let status = match error.code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            // The one entity beside that of the path which a request cannot do without.
            Code::UnknownReference if path == "feature_flag_id" => StatusCode::NOT_FOUND,
            Code::EntropyUnavailable
            | Code::NotRecorded
            | Code::ReentrantCommit
            | Code::ReplayMismatch
            | Code::StoreUnavailable => StatusCode::INTERNAL_SERVER_ERROR,
            Code::NotMutable if path == "target_level" => StatusCode::CONFLICT,
            _ if error.is_conflict() => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        };
        let code = match (error.code(), error.violations()) {
            (Code::NotReady, [first, ..]) => first.code().as_str(),
            (Code::UnknownReference, _) if path.ends_with("].variation_id") => {
                ViolationCode::VariationNotFromFlag.as_str()
            }
            (Code::UnknownReference, _) if status == StatusCode::NOT_FOUND => {
                Code::NotFound.as_str()
            }
            (code, _) => code.as_str(),
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            // Why is for the host's log, not for whoever calls.
            return Self::new(status, code, "the server is at fault, and nothing has changed");
        }
        let mut message = String::new();
        if !path.is_empty() {
            message = format!("{path}: ");
        }
        message.push_str(error.rule());
        if let Some(value) = error.value() {
            message = format!("{message}; got {value}");
        }
        for violation in error.violations() {
            message = format!("{message}; {violation}");
        }
        let oversized =
            error.code() == Code::LimitExceeded && path.starts_with("rules") && !path.contains('.');
        Self { senseless: oversized, ..Self::new(status, code, message) }
    }
}

/// The path of a fault as the client wrote it.
fn wire_path(path: &str) -> &str {
    let path = path.strip_prefix("patch.").unwrap_or(path);
    let path = path.strip_prefix("variation.").unwrap_or(path);
    let renamed = FIELDS.iter().find(|(_, ours)| *ours == path);
    renamed.map_or(path, |(theirs, _)| theirs)
}

/// A refusal of the host's own in Auth0's envelope, for what is decided before a request reaches the
/// surface: who calls, and how often.
///
/// ```
/// use http::StatusCode;
/// use variate::api::auth0::refusal;
///
/// let response = refusal(StatusCode::UNAUTHORIZED, "invalid_token", "the token has expired");
/// assert_eq!(
///     String::from_utf8_lossy(response.body()),
///     r#"{"statusCode":401,"error":"Unauthorized","message":"the token has expired","errorCode":"invalid_token"}"#,
/// );
/// ```
pub fn refusal(status: StatusCode, error_code: &str, message: &str) -> Response<Vec<u8>> {
    let refusal = Refusal::new(status, error_code.to_owned(), message);
    respond(Generation::default(), Err(refusal))
}

pub(super) fn respond(
    generation: Generation,
    outcome: Result<Answer, Refusal>,
) -> Response<Vec<u8>> {
    let (status, body, allow) = match outcome {
        Ok(Answer { status, body }) => (status, body, None),
        Err(refusal) => {
            let status = refusal.status(generation);
            let envelope = Envelope {
                status_code: status.as_u16(),
                error: status.canonical_reason().unwrap_or_default(),
                message: &refusal.message,
                error_code: &refusal.code,
            };
            (status, to_json(&envelope), refusal.allow)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
    if let Some(methods) = allow {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}
