//! Auth0's experimentation endpoints in a server of one's own, for those who have the token.
//!
//! ```text
//! TOKEN=secret cargo run --release --features cli --example auth0_server
//! curl -H 'authorization: Bearer secret' http://127.0.0.1:7789/api/v2/experimentation/experiments
//! ```

use std::error::Error;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{Response, StatusCode};
use axum::routing::any;
use variate::Engine;
use variate::api::auth0::{ExperimentCenter, refusal};

#[derive(Clone)]
struct Host {
    center: ExperimentCenter,
    authorization: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let token = std::env::var("TOKEN").map_err(|_| "set TOKEN to what callers have to send")?;
    let host = Host {
        center: ExperimentCenter::new(Engine::new()),
        authorization: format!("Bearer {token}"),
    };
    let router =
        Router::new().route("/api/v2/experimentation/{*path}", any(serve)).with_state(host);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:7789").await?;
        println!("listening on http://{}", listener.local_addr()?);
        Ok(axum::serve(listener, router).await?)
    })
}

async fn serve(State(host): State<Host>, request: Request) -> Response<Body> {
    let given = request.headers().get(AUTHORIZATION);
    if given.is_none_or(|given| given.as_bytes() != host.authorization.as_bytes()) {
        let message = "the request must have the token of this server";
        return refusal(StatusCode::UNAUTHORIZED, "invalid_token", message).map(Body::from);
    }
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, 1 << 20).await else {
        let message = "the body must come whole and have at most 1 MiB";
        return refusal(StatusCode::BAD_REQUEST, "invalid_body", message).map(Body::from);
    };
    let request = Request::from_parts(head, body);
    // A call blocks while it commits, which an engine with a journal takes its time for.
    match tokio::task::spawn_blocking(move || host.center.handle(&request)).await {
        Ok(response) => response.map(Body::from),
        Err(_) => {
            let message = "the request ended in a fault of the server";
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message).map(Body::from)
        }
    }
}
