//! `serve`: the surfaces, to programs on this machine.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::runtime;
use variate::api::auth0::{ExperimentCenter, Generation};
use variate::api::launchdarkly::{Arithmetic, Experimentation};
use variate::api::qonversion::Experiments;
use variate::{ActiveLimit, Change, Engine, Keeper, Key, SettingsPatch};

use crate::kept::KeptFile;
use crate::server::{self, Surfaces};
use crate::store::{Opened, Store};

/// How long the end waits for a change that is still being saved after the requests have had their
/// time.
const LAST_WRITES: Duration = Duration::from_millis(500);

/// Serve the experimentation endpoints of Auth0's Management API, of LaunchDarkly's API and of
/// Qonversion's REST API v4 on 127.0.0.1.
///
/// Prints `listening on http://127.0.0.1:PORT` and then answers: the paths under `/v4/` are
/// Qonversion's; those under `/experimentation`, with and without `/api/v2` before them, are Auth0's;
/// all others under `/api/v2` LaunchDarkly's. All work on the same flags and experiments. SIGINT and
/// SIGTERM stop it.
///
/// POST /context answers what a subject gets. It takes `{"flow": "login", "ids": {"device": "d-42"}}`
/// and if wanted `"attributes": {"country": "DE"}`, the override parameters `experiment_id`,
/// `variation_id` and `segment_id`, and what the subject once got, `"kept": {"exp_a": "var_a"}`.
///
/// With `"chain": "paywall"` in place of the flow and the override parameters, it answers what a
/// subject gets from the experiments of that chain, which is Qonversion's context key, as a decision
/// and its `config`. Whoever is attached by hand gets that, and what the subject gets is remembered,
/// so that a paused experiment keeps its members.
///
/// There is no authentication: whoever can open a connection to the port can change everything, and
/// an `Authorization` header is passed over. So that a web page from elsewhere cannot, a request with
/// an `Origin` header is refused.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub struct Serve {
    /// Snapshot document to begin with and to save every change to; created at the first change if
    /// it is not there. No other server can use it meanwhile, and when another program has changed it,
    /// changes are refused until the server is started again. Without it, everything is gone when the
    /// server stops. One with `kept_assignments`, which say who is in which experiment, is only taken
    /// with --kept
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 7788)]
    port: u16,
    /// Which of the published generations of Auth0's API answers
    #[arg(long, value_enum, default_value_t = Auth0Generation::Seeds)]
    auth0_generation: Auth0Generation,
    /// Key of the one project that LaunchDarkly's paths have
    #[arg(long, value_name = "KEY", default_value = "default")]
    launchdarkly_project: Key,
    /// Key of the one environment that LaunchDarkly's paths have
    #[arg(long, value_name = "KEY", default_value = "production")]
    launchdarkly_environment: Key,
    /// How the buckets of experiments are computed that are created on LaunchDarkly's paths
    #[arg(long, value_enum, default_value_t = LaunchdarklyArithmetic::Exact)]
    launchdarkly_arithmetic: LaunchdarklyArithmetic,
    /// How many experiments can be active at once, from now on; if left out, what the document says
    #[arg(long, value_enum)]
    active_limit: Option<Limit>,
    /// File to keep in who is attached by hand and who is in which experiment; created if it is not
    /// there. No other server can use it meanwhile. Attaching and detaching is on the disk before it
    /// is answered; where subjects were drawn to can be lost in a power cut. At the start, all of
    /// experiments that the document does not have is dropped, and the `kept_assignments` of the
    /// document move into the file, which goes first where it has the same subject in the same
    /// experiment. What cannot be written is not remembered, and the request is refused. Without it,
    /// all this is gone when the server stops
    #[arg(long, value_name = "FILE", requires = "config")]
    kept: Option<PathBuf>,
}

const EXAMPLE: &str = "\
Example:
  variate serve --config experiments.json --port 7788";

#[derive(Clone, Copy, ValueEnum)]
enum Auth0Generation {
    /// The reference pages of the beta
    Seeds,
    /// What the early access answers
    EarlyAccess,
}

#[derive(Clone, Copy, ValueEnum)]
enum LaunchdarklyArithmetic {
    /// In whole numbers
    Exact,
    /// In the 32-bit floats of LaunchDarkly's SDKs for Go and Rust
    Float32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Limit {
    /// Any number
    Unlimited,
    /// One for each flow; one for all flows only alone
    PerFlow,
    /// One in all
    One,
}

impl Serve {
    /// Serves until the process is told to stop.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let opened = self.config.as_deref().map(|file| self.open(file)).transpose()?;
        let runtime = runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start: {error}"))?;
        let served = runtime.block_on(async {
            let address = (Ipv4Addr::LOCALHOST, self.port);
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .map_err(|error| cannot_listen(self.port, &error))?;
            // After the port is ours: a server that cannot start changes nothing.
            let keeper = self.keeper(opened)?;
            if let Some(limit) = self.active_limit {
                let patch = SettingsPatch::new().active_limit(limit.into());
                keeper.engine().commit(Change::patch_settings(patch))?;
            }
            server::serve(listener, self.surfaces(keeper)).await?;
            Ok(())
        });
        runtime.shutdown_timeout(LAST_WRITES);
        served
    }

    fn open(&self, file: &Path) -> Result<Opened, String> {
        let opened = Store::open(file).map_err(|fault| at(file, &fault))?;
        let count = opened.kept.values().map(|subjects| subjects.len()).sum::<usize>();
        if count > 0 && self.kept.is_none() {
            let assignments = if count == 1 { "assignment" } else { "assignments" };
            let fault = format!(
                "remembers {count} {assignments}: say with --kept FILE where to keep what is remembered"
            );
            return Err(at(file, &fault));
        }
        Ok(opened)
    }

    fn keeper(&self, opened: Option<Opened>) -> Result<Keeper, Box<dyn Error>> {
        let Some(Opened { engine, kept, store }) = opened else {
            return Ok(Keeper::new(Engine::new())?);
        };
        let (Some(config), Some(file)) = (&self.config, &self.kept) else {
            return Ok(Keeper::new(engine)?);
        };
        let is_moving = !kept.is_empty();
        let kept = KeptFile::open(file, &engine.snapshot(), kept);
        let kept = kept.map_err(|fault| at(file, &fault))?;
        if is_moving {
            // Only now that it stands in the other file. If it stayed here, whoever is detached would
            // be attached again at the next start.
            store.save(&engine.to_json()).map_err(|fault| at(config, &fault))?;
        }
        Ok(Keeper::with_store(engine, kept)?)
    }

    fn surfaces(&self, keeper: Keeper) -> Surfaces {
        let engine = keeper.engine().clone();
        Surfaces {
            auth0: ExperimentCenter::new(engine.clone()).generation(self.auth0_generation.into()),
            launchdarkly: Experimentation::new(engine)
                .project(self.launchdarkly_project.as_str())
                .environment(self.launchdarkly_environment.as_str())
                .arithmetic(self.launchdarkly_arithmetic.into()),
            qonversion: Experiments::with_keeper(keeper),
        }
    }
}

/// That there is something wrong with a file.
fn at(file: &Path, fault: &dyn Display) -> String {
    format!("{}: {fault}", file.display())
}

fn cannot_listen(port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} is taken by another program; --port 0 takes a free one")
        }
        _ => format!("cannot listen on port {port}: {error}"),
    }
}

impl From<Auth0Generation> for Generation {
    fn from(generation: Auth0Generation) -> Self {
        match generation {
            Auth0Generation::Seeds => Self::Seeds,
            Auth0Generation::EarlyAccess => Self::EarlyAccess,
        }
    }
}

impl From<LaunchdarklyArithmetic> for Arithmetic {
    fn from(arithmetic: LaunchdarklyArithmetic) -> Self {
        match arithmetic {
            LaunchdarklyArithmetic::Exact => Self::Exact,
            LaunchdarklyArithmetic::Float32 => Self::Float32,
        }
    }
}

impl From<Limit> for ActiveLimit {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Unlimited => Self::Unlimited,
            Limit::PerFlow => Self::PerFlow,
            Limit::One => Self::One,
        }
    }
}
