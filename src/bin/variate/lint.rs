//! `lint`: what is odd in a document.

use std::io::Write;

use clap::Args;
use variate::Finding;

use crate::shared::{Document, Fault, Output};

/// Say what in a document is legal and surely not meant.
///
/// Prints for each finding its code, the id of what it is about, and a message. The exit code is 1
/// when there are any and 0 when there are none.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub struct Lint {
    #[command(flatten)]
    document: Document,
    /// Print an object a line
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  variate lint --config experiments.json";

impl Lint {
    /// Whether nothing was found.
    pub fn run(&self) -> Result<bool, Fault> {
        let findings = self.document.read()?.lint(self.document.moment());
        match self.print(&findings) {
            // The exit code says it all the same.
            Ok(()) | Err(Fault::Closed) => Ok(findings.is_empty()),
            Err(fault) => Err(fault),
        }
    }

    fn print(&self, findings: &[Finding]) -> Result<(), Fault> {
        let width = |text: fn(&Finding) -> &str| {
            findings.iter().map(|finding| text(finding).len()).max().unwrap_or(0)
        };
        let code = width(|finding| finding.code().as_str());
        let id = width(|finding| finding.id());
        let mut output = Output::new();
        for finding in findings {
            if self.json {
                output.json(finding)?;
            } else {
                let message = finding.message();
                writeln!(output, "{:code$}  {:id$}  {message}", finding.code(), finding.id())?;
            }
        }
        Ok(output.flush()?)
    }
}
