//! What is answered: entities as JSON, or a refusal in Qonversion's envelope.

use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::input::status_name;
use crate::api::answer::{Answer, to_json};
use crate::api::call::BodyFault;
use crate::change::Field;
use crate::error::{Code, Error, Violation, ViolationCode};

/// Tells that a list began anew, since there is no entity to go on from.
const RESTARTED: HeaderName = HeaderName::from_static("x-qon-pagination-restarted");

/// The field names that differ between Qonversion and this crate: ours and theirs.
const FIELDS: [(&str, &str); 5] = [
    ("annotations", "is_context_specific"),
    ("chain", "context_key"),
    ("key", "alias_id"),
    ("subject_id", "user_id"),
    ("traffic", "segment_percent"),
];

/// A successful answer with what its headers say.
pub(super) struct Reply {
    answer: Answer,
    location: Option<String>,
    restarted: bool,
}

impl Reply {
    pub(super) fn ok(body: &impl Serialize) -> Self {
        Answer::ok(body).into()
    }

    /// Something has come to be, and is found here.
    pub(super) fn created(body: &impl Serialize, location: String) -> Self {
        Self { location: Some(location), ..Answer::created(body).into() }
    }

    pub(super) fn deleted() -> Self {
        Answer::deleted().into()
    }

    /// The same answer, saying whether it is the top of a list in place of what was asked for.
    pub(super) fn restarted(self, restarted: bool) -> Self {
        Self { restarted, ..self }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, location: None, restarted: false }
    }
}

/// What kind of trouble a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ErrorType {
    /// The request is at fault: it is malformed, says too little, or may not be made.
    Request,
    /// The request is in order, and the state of what it is about forbids it.
    Resource,
    /// The request is in order, and what it says does not fit together.
    Logical,
    /// The server is at fault.
    Internal,
}

/// Why a request was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    r#type: ErrorType,
    code: &'static str,
    message: String,
    details: Vec<Detail>,
    allow: Option<&'static str>,
}

/// What is wrong with one field.
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    pub(super) field: String,
    pub(super) message: String,
}

#[derive(Serialize)]
struct Envelope<'r> {
    error: Body<'r>,
}

#[derive(Serialize)]
struct Body<'r> {
    r#type: ErrorType,
    code: &'r str,
    message: &'r str,
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    details: &'r [Detail],
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        r#type: ErrorType,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, r#type, code, message: message.into(), details: Vec::new(), allow: None }
    }

    /// There is no such thing as the path names.
    pub(super) fn not_found(what: &str, id: &str) -> Self {
        let message = format!("there is no {what} {id:?}");
        Self::new(StatusCode::NOT_FOUND, ErrorType::Resource, "not_found", message)
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let message = format!("there is no such path: {path:?}");
        Self::new(StatusCode::NOT_FOUND, ErrorType::Request, "invalid_request", message)
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path has the methods {allow}");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let refusal = Self::new(status, ErrorType::Request, "not_implemented", message);
        Self { allow: Some(allow), ..refusal }
    }

    /// The present state forbids it.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorType::Resource, "conflict", message)
    }

    /// There is already what this field names.
    pub(super) fn exists(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorType::Resource, "already_exists", message)
    }

    /// What the request says does not fit together.
    pub(super) fn senseless(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorType::Logical, code, message)
    }

    /// A field breaks a rule.
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::malformed("").of(field, message)
    }

    /// These fields break a rule each.
    pub(super) fn faults(errors: &[Error]) -> Self {
        let details = errors.iter().map(Detail::of).collect();
        Self { details, ..Self::malformed("") }.told()
    }

    fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorType::Request, "invalid_data", message)
    }

    /// The same refusal, on account of this field.
    pub(super) fn of(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.details.push(Detail { field: field.into(), message: message.into() });
        self.told()
    }

    /// The same refusal, naming this field where it names that one.
    pub(super) fn renamed(mut self, from: &str, to: &str) -> Self {
        for detail in self.details.iter_mut().filter(|detail| detail.field == from) {
            to.clone_into(&mut detail.field);
        }
        self.told()
    }

    /// The same refusal, whose message tells of all fields that are at fault.
    fn told(self) -> Self {
        if self.details.is_empty() {
            return self;
        }
        let told = self.details.iter().map(|own| format!("{}: {}", own.field, own.message));
        Self { message: told.collect::<Vec<_>>().join("; "), ..self }
    }
}

impl Detail {
    /// What an error says of the field that it names.
    fn of(error: &Error) -> Self {
        Self { field: wire_path(error.path()), message: worded(error) }
    }
}

/// The rule that was broken, and by what.
fn worded(error: &Error) -> String {
    if let Some(rule) = frozen(error) {
        return rule;
    }
    match error.value() {
        Some(value) => format!("{}; got {value}", error.rule()),
        None => error.rule().to_owned(),
    }
}

/// Why a field does not change in the experiment's status, in Qonversion's words.
fn frozen(error: &Error) -> Option<String> {
    let name = error.path().rsplit('.').next()?;
    let field = Field::ALL.iter().find(|field| field.as_str() == name)?;
    if error.code() != Code::NotMutable || !error.rule().starts_with("changes only while") {
        return None;
    }
    let states: Vec<_> = field.changes_in().iter().map(|own| status_name(*own)).collect();
    Some(format!("changes only while the experiment is {}", states.join(" or ")))
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Unreadable(error) => error.into(),
            BodyFault::MediaType(rule) => Self::malformed(rule),
        }
    }
}

/// The engine's refusal, which names the fields as this crate does.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = worded(&error);
        let refusal = match error.code() {
            // Why is for the host's log, not for whoever calls.
            Code::NotRecorded | Code::StoreUnavailable => return Self::internal("storage_error"),
            Code::EntropyUnavailable | Code::ReentrantCommit | Code::ReplayMismatch => {
                return Self::internal("unknown_error");
            }
            Code::NotReady => {
                let reasons: Vec<_> = error.violations().iter().map(reason).collect();
                let message = format!("the experiment cannot start: {}", reasons.join("; "));
                return Self::senseless("not_ready", message);
            }
            Code::NotFound => {
                Self::new(StatusCode::NOT_FOUND, ErrorType::Resource, "not_found", message)
            }
            Code::UnknownReference => Self::senseless("relation_not_found", message),
            Code::AlreadyExists if error.path() == "key" => {
                let message = format!(
                    "is taken by another experiment; got {}",
                    error.value().unwrap_or_default()
                );
                return Self::exists("").of("alias_id", message);
            }
            Code::AlreadyAttached | Code::AlreadyExists | Code::NameTaken => Self::exists(message),
            Code::DuplicateKey => {
                let field = error.value().unwrap_or_default().trim_matches('"');
                return Self::invalid(field, error.rule());
            }
            _ if error.is_conflict() || error.is_refused() => Self::conflict(message),
            Code::LimitExceeded if wire_path(error.path()) == "allocations" => {
                return Self::senseless("limit_exceeded", format!("the groups {message}"));
            }
            _ => Self::malformed(message),
        };
        match error.path() {
            "" => refusal,
            path => refusal.of(wire_path(path), worded(&error)),
        }
    }
}

impl Refusal {
    fn internal(code: &'static str) -> Self {
        let message = "the server is at fault, and nothing has changed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorType::Internal, code, message)
    }
}

/// Why an experiment cannot start, in Qonversion's words as far as it has any.
fn reason(violation: &Violation) -> &str {
    match violation.code() {
        ViolationCode::ExperimentMissingAllocations => "it must have groups",
        ViolationCode::ExperimentMissingControl => "exactly one group must be the control",
        _ => violation.message(),
    }
}

/// The path of a fault as the client wrote it.
fn wire_path(path: &str) -> String {
    let path = path.strip_prefix("patch.").unwrap_or(path);
    if let Some((_, field)) = path.split_once("].").filter(|_| path.starts_with("allocations[")) {
        return field.to_owned();
    }
    let path = path.strip_prefix("analysis.").unwrap_or(path);
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (field, rest) = path.split_at_checked(end).unwrap_or((path, ""));
    match FIELDS.iter().find(|(ours, _)| *ours == field) {
        Some((_, theirs)) => (*theirs).to_owned(),
        None => format!("{field}{rest}"),
    }
}

/// A refusal of the host's own in Qonversion's envelope, for what is decided before a request
/// reaches the surface: who calls, and how often.
///
/// ```
/// use http::StatusCode;
/// use variate::api::qonversion::{ErrorType, refusal};
///
/// let status = StatusCode::UNAUTHORIZED;
/// let message = "the key has been revoked";
/// let response = refusal(status, ErrorType::Request, "control_unauthorized", message);
/// assert_eq!(
///     String::from_utf8_lossy(response.body()),
///     r#"{"error":{"type":"request","code":"control_unauthorized","message":"the key has been revoked"}}"#,
/// );
/// ```
pub fn refusal(
    status: StatusCode,
    r#type: ErrorType,
    code: &'static str,
    message: &str,
) -> Response<Vec<u8>> {
    respond(Err(Refusal::new(status, r#type, code, message)))
}

pub(super) fn respond(outcome: Result<Reply, Refusal>) -> Response<Vec<u8>> {
    let (status, body, headers) = match outcome {
        Ok(Reply { answer: Answer { status, body }, location, restarted }) => {
            let location = location.and_then(|path| HeaderValue::try_from(path).ok());
            let restarted = restarted.then(|| HeaderValue::from_static("true"));
            (status, body, [(LOCATION, location), (RESTARTED, restarted)])
        }
        Err(refusal) => {
            let Refusal { status, r#type, code, message, details, allow } = refusal;
            let error = Body { r#type, code, message: &message, details: &details };
            let allow = allow.map(HeaderValue::from_static);
            (status, to_json(&Envelope { error }), [(ALLOW, allow), (RESTARTED, None)])
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
    }
    for (name, value) in headers {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
