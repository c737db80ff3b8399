//! The server: takes requests, has them answered, stops when it is told to.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use variate::Keeper;
use variate::api::auth0::{self, ExperimentCenter};
use variate::api::launchdarkly::{self, Experimentation};
use variate::api::qonversion::{self, ErrorType, Experiments};

use crate::context::{self, Fault as Unanswered};

/// The largest body of a request. No document of one entity comes near it.
const BODY_LIMIT: usize = 1 << 20;

/// How much of a body that is too large is read before the answer: a client that is still sending
/// would not see it.
const READ_AT_MOST: usize = 16 * BODY_LIMIT;

/// How long the requests in flight have when the server is told to stop.
const GRACE: Duration = Duration::from_secs(4);

/// The surfaces, over one engine; what Qonversion's remembers, `/context` goes by as well.
#[derive(Clone)]
pub struct Surfaces {
    pub auth0: ExperimentCenter,
    pub launchdarkly: Experimentation,
    pub qonversion: Experiments,
}

/// Whose path it is, and so whose envelope a refusal of the server's own comes in.
#[derive(Clone, Copy)]
enum Surface {
    Auth0,
    LaunchDarkly,
    Qonversion,
}

impl Surface {
    fn of(path: &str) -> Self {
        if path.starts_with("/v4/") {
            return Self::Qonversion;
        }
        match path.strip_prefix("/api/v2/").map(|rest| rest.split('/').next()) {
            None | Some(Some("experimentation")) => Self::Auth0,
            Some(_) => Self::LaunchDarkly,
        }
    }

    fn refusal(self, fault: Fault, message: &str) -> Response<Vec<u8>> {
        match self {
            Self::Auth0 => auth0::refusal(fault.status, fault.auth0, message),
            Self::LaunchDarkly => launchdarkly::refusal(fault.status, fault.launchdarkly, message),
            Self::Qonversion => {
                let (r#type, code) = fault.qonversion;
                qonversion::refusal(fault.status, r#type, code, message)
            }
        }
    }
}

/// What the server refuses itself, with the code that each surface has for it.
#[derive(Clone, Copy)]
struct Fault {
    status: StatusCode,
    auth0: &'static str,
    launchdarkly: &'static str,
    qonversion: (ErrorType, &'static str),
}

const ORIGIN: Fault = Fault {
    status: StatusCode::FORBIDDEN,
    auth0: "origin_not_allowed",
    launchdarkly: "forbidden",
    qonversion: (ErrorType::Request, "control_unauthorized"),
};

const CUT_SHORT: Fault = Fault {
    status: StatusCode::BAD_REQUEST,
    auth0: "invalid_body",
    launchdarkly: "invalid_request",
    qonversion: (ErrorType::Request, "invalid_data"),
};

const TOO_LARGE: Fault = Fault {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    auth0: "payload_too_large",
    launchdarkly: "payload_too_large",
    qonversion: (ErrorType::Request, "invalid_data"),
};

const INTERNAL: Fault = Fault {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    auth0: "internal_error",
    launchdarkly: "internal_service_error",
    qonversion: (ErrorType::Internal, "unknown_error"),
};

/// Answers requests until the process is told to stop.
pub async fn serve(listener: TcpListener, surfaces: Surfaces) -> io::Result<()> {
    let mut signals = StopSignals::new()?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(respond).with_state(surfaces);
    let (stop, stopping) = oneshot::channel::<()>();
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stopping.await.unwrap_or_default() });
    let server = tokio::spawn(server.into_future());
    say(&format!("listening on http://{address}"))?;

    signals.received().await;
    drop(stop);
    // A client that holds a connection open half way through a request does not keep the server.
    let _ = timeout(GRACE, server).await;
    // Nobody need be there any more to read it.
    let _ = say("stopped");
    Ok(())
}

/// One line for whoever started the server, at once.
fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

async fn respond(State(surfaces): State<Surfaces>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let surface = Surface::of(head.uri.path());
    let response = match read(body, surface).await {
        Err(response) => response,
        Ok(body) => {
            let request = Request::from_parts(head, body);
            // A change waits for the file, which is nothing for the threads that serve connections.
            let answered =
                tokio::task::spawn_blocking(move || answer(&surfaces, surface, &request));
            answered.await.unwrap_or_else(|_| {
                surface.refusal(INTERNAL, "the request ended in a fault of the server")
            })
        }
    };
    response.map(Body::from)
}

fn answer(surfaces: &Surfaces, surface: Surface, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
    if request.headers().contains_key(header::ORIGIN) {
        let message = "requests of web pages, which have an Origin header, are not answered";
        return surface.refusal(ORIGIN, message);
    }
    match surface {
        Surface::LaunchDarkly => surfaces.launchdarkly.handle(request),
        Surface::Qonversion => surfaces.qonversion.handle(request),
        Surface::Auth0 if request.uri().path() == "/context" => {
            answer_context(surfaces.qonversion.keeper(), request)
        }
        Surface::Auth0 => surfaces.auth0.handle(request),
    }
}

fn answer_context(keeper: &Keeper, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
    if request.method() != Method::POST {
        let message = "the method must be POST";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let mut response = auth0::refusal(status, "method_not_allowed", message);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    match context::answer(keeper, request.body()) {
        Ok(body) => {
            let mut response = Response::new(body);
            let json = HeaderValue::from_static("application/json; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Err(Unanswered::Body(fault)) => {
            let message = format!("body: {fault}");
            auth0::refusal(StatusCode::BAD_REQUEST, "invalid_body", &message)
        }
        // Why has been said where the server runs.
        Err(Unanswered::Store) => {
            let message = "the server cannot remember what the subject gets";
            auth0::refusal(StatusCode::INTERNAL_SERVER_ERROR, "storage_error", message)
        }
    }
}

/// The whole body, or the response to one that cannot be taken.
async fn read(mut body: Body, surface: Surface) -> Result<Vec<u8>, Response<Vec<u8>>> {
    let (mut read, mut size) = (Vec::new(), 0);
    while size <= READ_AT_MOST {
        let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await else {
            break;
        };
        let frame = frame.map_err(|_| surface.refusal(CUT_SHORT, "the body did not come whole"))?;
        let Some(data) = frame.data_ref() else { continue };
        size += data.len();
        if size <= BODY_LIMIT {
            read.extend_from_slice(data);
        }
    }
    if size > BODY_LIMIT {
        let message = format!("body: must have at most {BODY_LIMIT} bytes");
        return Err(surface.refusal(TOO_LARGE, &message));
    }
    Ok(read)
}

/// The signals that tell the process to stop.
#[cfg(unix)]
struct StopSignals([tokio::signal::unix::Signal; 2]);

#[cfg(unix)]
impl StopSignals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]))
    }

    async fn received(&mut self) {
        poll_fn(|context| {
            let received = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if received { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

#[cfg(not(unix))]
struct StopSignals;

#[cfg(not(unix))]
impl StopSignals {
    #[expect(clippy::unnecessary_wraps, reason = "as on unix")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn received(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
