//! What is answered: entities as JSON, or a refusal in Qonversion's envelope.

use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::api::answer::{Answer, to_json};
use crate::api::call::BodyFault;
use crate::error::{Code, Error, Violation, ViolationCode};

/// Tells that a list began anew, since there is no entity to go on from.
const RESTARTED: HeaderName = HeaderName::from_static("x-qon-pagination-restarted");

/// The fields that the engine can find at fault: ours and theirs.
const FIELDS: [(&str, &str); 9] = [
    ("chain", "context_key"),
    ("description", "description"),
    ("key", "alias_id"),
    ("name", "name"),
    ("status", "status"),
    ("subject_id", "user_id"),
    ("traffic", "segment_percent"),
    ("variation_id", "group_id"),
    ("weight", "weight"),
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
        let details = errors
            .iter()
            .map(|error| Detail { field: error.path().to_owned(), message: worded(error) });
        Self { details: details.collect(), ..Self::malformed("") }.told()
    }

    fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorType::Request, "invalid_data", message)
    }

    /// The same refusal, on account of this field.
    pub(super) fn of(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.details.push(Detail { field: field.into(), message: message.into() });
        self.told()
    }

    /// Whether it names a field.
    pub(super) fn is_detailed(&self) -> bool {
        !self.details.is_empty()
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

/// The rule that was broken, and by what.
fn worded(error: &Error) -> String {
    match error.value() {
        Some(value) => format!("{}; got {value}", error.rule()),
        None => error.rule().to_owned(),
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Unreadable(error) if error.code() == Code::DuplicateKey => {
                let field = error.value().unwrap_or_default().trim_matches('"');
                Self::invalid(field, error.rule())
            }
            BodyFault::Unreadable(error) if error.path().is_empty() => {
                Self::malformed(worded(&error))
            }
            BodyFault::Unreadable(error) => Self::faults(&[error]),
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
            Code::InUse => {
                let message = "something else in the engine still names it, such as a draft of the next \
                               iteration, a layer or a holdout";
                return Self::conflict(message);
            }
            _ if error.is_conflict() || error.is_refused() => Self::conflict(message),
            Code::LimitExceeded => {
                let what = match error.path().rsplit('.').next() {
                    Some("allocations") => "groups",
                    Some("variations") => "variations of the experiment's flag",
                    other => other.unwrap_or_default(),
                };
                return Self::senseless("limit_exceeded", format!("the {what} {message}"));
            }
            _ => Self::malformed(message),
        };
        match wire_field(error.path()) {
            None => refusal,
            Some(field) => refusal.of(field, worded(&error)),
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

/// The field that a client has for what is at fault, if it has one.
fn wire_field(path: &str) -> Option<&'static str> {
    let name = path.rsplit('.').next().unwrap_or(path);
    FIELDS.iter().find(|(ours, _)| *ours == name).map(|(_, theirs)| *theirs)
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
