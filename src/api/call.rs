//! A request, as far as it is the same for all operations of all surfaces.

use std::borrow::Cow;

#[cfg(any(feature = "launchdarkly", feature = "qonversion"))]
use http::Method;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use percent_encoding::percent_decode_str;

use crate::error::{Code, Error};
#[cfg(feature = "auth0")]
use crate::json::Object;
use crate::json::{Cursor, Limits, read_with};

/// Far more than the largest entity takes.
const LIMITS: Limits = Limits { bytes: 1 << 20, depth: 64, values: 1 << 16, patterns: 0 };

/// What a request brings beside its method and path.
#[derive(Clone, Copy)]
pub(super) struct Call<'r> {
    pub(super) query: Option<&'r str>,
    pub(super) headers: &'r HeaderMap,
    pub(super) body: &'r [u8],
}

/// Why a body cannot be read.
#[derive(Debug)]
pub(super) enum BodyFault {
    /// It is said to be something else than JSON.
    MediaType(&'static str),
    Unreadable(Error),
}

impl From<Error> for BodyFault {
    fn from(error: Error) -> Self {
        Self::Unreadable(error)
    }
}

/// The parts of a path between slashes, decoded.
pub(super) fn parts(path: &str) -> Vec<Cow<'_, str>> {
    path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy()).collect()
}

/// Why nothing answers a request.
#[cfg(any(feature = "launchdarkly", feature = "qonversion"))]
pub(super) enum Stray {
    NoSuchPath,
    /// The path has these methods only.
    NotAllowed(&'static str),
}

/// The methods of a path, if there is such a path and it has this one.
#[cfg(any(feature = "launchdarkly", feature = "qonversion"))]
pub(super) fn check_route(
    segments: &[&str],
    method: &Method,
    methods: fn(&[&str]) -> Option<&'static str>,
) -> Result<&'static str, Stray> {
    let allow = methods(segments).filter(|_| !segments.contains(&""));
    let allow = allow.ok_or(Stray::NoSuchPath)?;
    match allow.split(", ").any(|known| known == method.as_str()) {
        true => Ok(allow),
        false => Err(Stray::NotAllowed(allow)),
    }
}

impl<'r> Call<'r> {
    pub(super) fn of<B: AsRef<[u8]>>(request: &'r Request<B>) -> Self {
        Self {
            query: request.uri().query(),
            headers: request.headers(),
            body: request.body().as_ref(),
        }
    }

    /// Reads the body.
    pub(super) fn read<T>(
        &self,
        rule: impl FnOnce(Cursor<'_>) -> Result<T, Error>,
    ) -> Result<T, BodyFault> {
        if self.body.is_empty() {
            return Err(Error::new(Code::InvalidJson, "the request must have a body").into());
        }
        if !self.is_json() {
            let rule = "the content type of the body must be application/json";
            return Err(BodyFault::MediaType(rule));
        }
        Ok(read_with(self.body, &LIMITS, rule)?)
    }

    /// Reads the body of a PATCH, which has something to say.
    #[cfg(feature = "auth0")]
    pub(super) fn read_patch<T>(
        &self,
        keys: &[&str],
        rule: impl FnOnce(&Object<'_>) -> Result<T, Error>,
    ) -> Result<T, BodyFault> {
        self.read(|cursor| {
            let object = cursor.object(keys)?;
            if object.len() == 0 {
                return Err(Error::invalid("must have at least one member"));
            }
            rule(&object)
        })
    }

    /// Whether the body is said to be JSON, or nothing is said of it.
    fn is_json(&self) -> bool {
        let Some(value) = self.headers.get(CONTENT_TYPE) else { return true };
        let essence = value.to_str().unwrap_or("unreadable").split(';').next().unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        essence.is_empty() || essence == "application/json" || essence.ends_with("+json")
    }
}
