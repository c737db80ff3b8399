//! The command line: serves the surfaces to programs on this machine, and says what a document does.

#![forbid(unsafe_code)]

mod assign;
mod context;
mod explain;
mod kept;
mod lint;
mod owned;
mod preview;
mod progress;
mod serve;
mod server;
mod shared;
mod sql;
mod store;
mod strict;
mod subjects;
mod target;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::shared::Fault;

/// The exit codes beside 0, which [`EXIT_CODES`] explains; clap itself ends with [`USAGE`].
const NEGATIVE: u8 = 1;
const USAGE: u8 = 2;
const INPUT: u8 = 3;

/// The experimentation engine on the command line.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Scripts go by these.
const EXIT_CODES: &str = "\
Exit codes:
  0  done, also when nobody reads the output to its end
  1  lint has findings; serve cannot start or go on
  2  the command line is wrong
  3  what was given cannot be used: a file that cannot be read, an invalid document or line,
     an unknown experiment or chain, a change that is refused";

#[derive(Subcommand)]
enum Command {
    Assign(assign::Assign),
    Explain(explain::Explain),
    Lint(lint::Lint),
    Preview(preview::Preview),
    Serve(serve::Serve),
    Sql(sql::Sql),
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Assign(assign) => assign.run(),
        Command::Explain(explain) => explain.run(),
        Command::Lint(lint) => match lint.run() {
            Ok(false) => return ExitCode::from(NEGATIVE),
            ended => ended.map(drop),
        },
        Command::Preview(preview) => preview.run(),
        Command::Serve(serve) => match serve.run() {
            Ok(()) => Ok(()),
            Err(error) => return fail(NEGATIVE, error),
        },
        Command::Sql(sql) => sql.run(),
    };
    match ended {
        Ok(()) | Err(Fault::Closed) => ExitCode::SUCCESS,
        Err(Fault::Usage(message)) => fail(USAGE, message),
        Err(Fault::Input(message)) => fail(INPUT, message),
    }
}

fn fail(code: u8, message: impl Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "variate: {message}");
    ExitCode::from(code)
}
