//! `preview`: whom changes would move.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use variate::{Change, Counter, ExperimentId, Moves, SystemEntropy, Timestamp, Transaction};

use crate::shared::{Document, Fault, Lines, Output, read};
use crate::subjects::SubjectOptions;

/// Say whom changes would move, without making them.
///
/// Prints for each experiment whose assignment can differ a table of what subjects have before and
/// after: as shares of all subjects, which are exact, or where these depend on attributes, as counts
/// of the subjects that --ids lists.
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
    /// File of subjects to count, one a line; `-` is standard input
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
        let mut rows: Vec<Row<'_>> = preview
            .experiments()
            .into_iter()
            .filter(|id| self.asks_for(id))
            .map(|id| Row { experiment_id: id, moves: preview.shares(id, moment) })
            .collect();
        if let Some(ids) = &self.ids {
            let kind = |id| {
                let experiment = before.experiment(id).or(after.experiment(id));
                self.subjects
                    .common()
                    .kind(experiment.map_or("", |own| own.subject_kind().as_str()))
            };
            let mut open: Vec<Open<'_, '_>> = rows
                .iter_mut()
                .filter(|row| row.moves.is_none())
                .map(|row| Open {
                    kind: kind(row.experiment_id),
                    counter: preview.counter(row.experiment_id),
                    row,
                })
                .collect();
            self.count(&mut open, ids, moment)?;
        }
        self.print(&rows)
    }

    fn asks_for(&self, id: &ExperimentId) -> bool {
        self.experiments.is_empty() || self.experiments.iter().any(|asked| asked == id.as_str())
    }

    /// Counts the subjects of a file for the experiments that arithmetic leaves open.
    fn count(&self, open: &mut [Open<'_, '_>], ids: &Path, now: Timestamp) -> Result<(), Fault> {
        let mut lines = Lines::open(ids)?;
        if open.is_empty() {
            return Ok(());
        }
        while let Some(line) = lines.next(&mut io::sink())? {
            let entry = match self.subjects.understand(line) {
                Ok(entry) => entry,
                Err(fault) => return Err(lines.fault(fault)),
            };
            for Open { kind, counter, .. } in &mut *open {
                counter.add(&self.subjects.subject(kind, &entry).with_clock(&now));
            }
        }
        for Open { counter, row, .. } in open {
            row.moves = Some(counter.moves());
        }
        Ok(())
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
struct Open<'r, 's> {
    kind: &'r str,
    counter: Counter<'s>,
    row: &'r mut Row<'s>,
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
