//! `preview`: whom changes would move.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use variate::{
    Change, Counter, Experiment, ExperimentId, Moves, SystemEntropy, Timestamp, Transaction,
};

use crate::shared::{Document, Fault, Lines, Output, experiment, read};
use crate::subjects::SubjectOptions;

/// Say whom changes would move, without making them.
///
/// Prints for each experiment whose assignment can differ a table of what subjects have before and
/// after: as shares of all subjects, which are exact, except where they depend on attributes; or, with
/// --ids, as counts of the subjects that it lists.
#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub struct Preview {
    #[command(flatten)]
    document: Document,
    /// The changes: a transaction, which is an object with `changes`; a list of changes; or one
    #[arg(long, value_name = "FILE")]
    changes: PathBuf,
    /// Only this experiment; for several, several times
    #[arg(long = "experiment", value_name = "ID")]
    experiments: Vec<String>,
    /// File of subjects to count in every experiment, one a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    #[command(flatten)]
    subjects: SubjectOptions,
    /// Print an object a line: `experiment_id`, and `moves`, which is null where it takes --ids
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  echo '{\"change\": \"patch_experiment\", \"id\": \"exp_signin\", \"patch\": {\"traffic\": 50}}' > half.json
  variate preview --config experiments.json --changes half.json";

#[derive(Serialize)]
struct Row<'a> {
    experiment_id: &'a ExperimentId,
    moves: Option<Moves>,
}

impl Preview {
    pub fn run(&self) -> Result<(), Fault> {
        self.subjects.check()?;
        let before = self.document.read()?;
        let moment = self.document.moment();
        let commit = transaction(&read(&self.changes)?)
            .and_then(|transaction| before.apply(transaction, moment, &mut SystemEntropy))
            .map_err(|error| Fault::input(self.changes.display(), error))?;
        let after = &commit.snapshot;
        for id in &self.experiments {
            if before.experiment(id).or(after.experiment(id)).is_none() {
                return Err(self.document.no_experiment(id));
            }
        }

        let preview = before.preview(after);
        let experiments = preview.experiments().into_iter().filter(|id| self.asks_for(id));
        let rows = match &self.ids {
            None => experiments
                .map(|id| Row { experiment_id: id, moves: preview.shares(id, moment) })
                .collect(),
            Some(ids) => {
                let kind = |id| {
                    let experiment = before.experiment(id).or(after.experiment(id));
                    self.subjects
                        .common()
                        .kind(experiment.map_or("", |own| own.subject_kind().as_str()))
                };
                let counted = experiments.map(|id| Counted {
                    experiment_id: id,
                    kind: kind(id),
                    counter: preview.counter(id),
                });
                let find = |id: &str| experiment(&before, id).or_else(|| experiment(after, id));
                self.count(counted.collect(), ids, find, moment)?
            }
        };
        self.print(&rows)
    }

    fn asks_for(&self, id: &ExperimentId) -> bool {
        self.experiments.is_empty() || self.experiments.iter().any(|asked| asked == id.as_str())
    }

    /// Counts the subjects of a file in these experiments.
    fn count<'s>(
        &self,
        mut counted: Vec<Counted<'_, 's>>,
        ids: &Path,
        find: impl Fn(&str) -> Option<&'s Experiment>,
        now: Timestamp,
    ) -> Result<Vec<Row<'s>>, Fault> {
        let mut lines = Lines::open(ids)?;
        if counted.is_empty() {
            return Ok(Vec::new());
        }
        while let Some(line) = lines.next(&mut io::sink())? {
            let entry = match self.subjects.understand(line, &find) {
                Ok(entry) => entry,
                Err(fault) => return Err(lines.fault(fault)),
            };
            for Counted { kind, counter, .. } in &mut counted {
                counter.add(&self.subjects.subject(kind, &entry).with_clock(&now));
            }
        }
        let row = |Counted { experiment_id, counter, .. }: Counted<'_, 's>| Row {
            experiment_id,
            moves: Some(counter.moves()),
        };
        Ok(counted.into_iter().map(row).collect())
    }

    fn print(&self, rows: &[Row<'_>]) -> Result<(), Fault> {
        let mut output = Output::new();
        if self.json {
            for row in rows {
                output.json(row)?;
            }
            return Ok(output.flush()?);
        }
        if rows.is_empty() {
            writeln!(output, "no assignment can differ")?;
        }
        for (index, Row { experiment_id, moves }) in rows.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            writeln!(output, "{gap}{experiment_id}")?;
            let Some(moves) = moves else {
                writeln!(output, "  it depends on the subjects: --ids counts them")?;
                continue;
            };
            for line in moves.to_string().lines() {
                writeln!(output, "  {line}")?;
            }
        }
        Ok(output.flush()?)
    }
}

/// An experiment whose subjects are counted.
struct Counted<'k, 's> {
    experiment_id: &'s ExperimentId,
    kind: &'k str,
    counter: Counter<'s>,
}

/// Reads a transaction, a list of changes or one change.
fn transaction(json: &[u8]) -> Result<Transaction, variate::Error> {
    match serde_json::from_slice(json) {
        // As the list of a transaction, whose place an error then says.
        Ok(Value::Array(_)) => Transaction::from_json([b"{\"changes\":", json, b"}"].concat()),
        Ok(Value::Object(members)) if members.contains_key("change") => {
            Change::from_json(json).map(Transaction::from)
        }
        _ => Transaction::from_json(json),
    }
}
