//! What the commands on a document have in common: what they read, how they print, how they end.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, StdoutLock, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use variate::{Experiment, Limits, Snapshot, Timestamp};

use crate::progress::Progress;

/// However large a document has become that was saved by this program, it can be read again.
pub const SAVED: Limits =
    Limits { bytes: usize::MAX, values: usize::MAX, patterns: usize::MAX, ..Limits::DEFAULT };

/// The longest line of input. No subject comes near it.
const LINE_LIMIT: usize = 1 << 20;

/// How much is read and printed at a time.
const BLOCK: usize = 1 << 16;

/// Why a command ends early.
pub enum Fault {
    /// Nobody reads any more what it prints.
    Closed,
    /// The command line does not say what is to be done.
    Usage(String),
    /// What is to be done cannot be.
    Input(String),
}

impl Fault {
    pub fn input(place: impl Display, cause: impl Display) -> Self {
        Self::Input(format!("{place}: {cause}"))
    }
}

/// What printing comes to; what is read says itself where it failed.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::input("standard output", error),
        }
    }
}

/// The document that a command goes by, and the moment.
#[derive(Args)]
pub struct Document {
    /// Snapshot document; it is only read
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Moment in time to go by, such as 2026-11-21T12:00:00Z; if left out, now
    #[arg(long, value_name = "TIMESTAMP")]
    at: Option<Timestamp>,
}

impl Document {
    pub fn read(&self) -> Result<Snapshot, Fault> {
        Snapshot::from_json_within(read(&self.config)?, &SAVED)
            .map_err(|error| Fault::input(self.config.display(), error))
    }

    pub fn moment(&self) -> Timestamp {
        self.at.unwrap_or_else(Timestamp::now)
    }

    /// An experiment of the document, by id or key.
    pub fn experiment<'s>(
        &self,
        snapshot: &'s Snapshot,
        id: &str,
    ) -> Result<&'s Experiment, Fault> {
        experiment(snapshot, id).ok_or_else(|| self.no_experiment(id))
    }

    pub fn no_experiment(&self, id: &str) -> Fault {
        self.fault(format_args!("there is no experiment {id:?}"))
    }

    /// That something is wrong with the document, or is not in it.
    pub fn fault(&self, cause: impl Display) -> Fault {
        Fault::input(self.config.display(), cause)
    }
}

/// An experiment by id or key.
pub fn experiment<'s>(snapshot: &'s Snapshot, id: &str) -> Option<&'s Experiment> {
    snapshot.experiment(id).or_else(|| snapshot.experiment_by_key(id))
}

pub fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(file).map_err(|error| Fault::input(file.display(), error))
}

/// Standard output, a block at a time.
pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub fn new() -> Self {
        Self(BufWriter::with_capacity(BLOCK, io::stdout().lock()))
    }

    /// One line with these columns.
    pub fn row<const N: usize>(&mut self, columns: [&str; N]) -> Result<(), Fault> {
        for (index, column) in columns.into_iter().enumerate() {
            if index > 0 {
                self.0.write_all(b"\t")?;
            }
            self.0.write_all(column.as_bytes())?;
        }
        self.0.write_all(b"\n")?;
        Ok(())
    }

    /// One line with this value as JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Fault> {
        serde_json::to_writer(&mut self.0, value).map_err(io::Error::from)?;
        self.0.write_all(b"\n")?;
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The lines of a file or of standard input, in constant memory.
pub struct Lines {
    reader: BufReader<Box<dyn Read>>,
    name: String,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
    progress: Progress,
}

impl Lines {
    /// Of a file, of which `-` is standard input.
    pub fn open(file: &Path) -> Result<Self, Fault> {
        if file == Path::new("-") {
            return Ok(Self::standard_input());
        }
        let fault = |error| Fault::input(file.display(), error);
        let opened = File::open(file).map_err(fault)?;
        let metadata = opened.metadata().map_err(fault)?;
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self::new(Box::new(opened), file.display().to_string(), Progress::new(size)))
    }

    pub fn standard_input() -> Self {
        let stdin = io::stdin();
        let typed = stdin.is_terminal();
        let progress = Progress::new(None);
        let lines = Self::new(Box::new(stdin.lock()), "standard input".to_owned(), progress);
        if typed { lines.without_progress() } else { lines }
    }

    /// The same lines, for somebody who sees how far it is by other means.
    pub fn without_progress(mut self) -> Self {
        self.progress.hide();
        self
    }

    fn new(reader: Box<dyn Read>, name: String, progress: Progress) -> Self {
        let reader = BufReader::with_capacity(BLOCK, reader);
        Self { reader, name, line: Vec::new(), number: 0, bytes: 0, progress }
    }

    /// The next line without its end. Before it waits for input, `output` is flushed, so that
    /// whoever sends a line and waits gets what there is to it.
    pub fn next(&mut self, output: &mut impl Write) -> Result<Option<&str>, Fault> {
        if !self.reader.buffer().contains(&b'\n') {
            output.flush()?;
            self.progress.show(self.bytes, self.number);
        }
        self.line.clear();
        // With room for the line's end.
        let read = (&mut self.reader).take(LINE_LIMIT as u64 + 2).read_until(b'\n', &mut self.line);
        self.number += 1;
        match read {
            Err(error) => return Err(Fault::input(&self.name, error)),
            Ok(0) => return Ok(None),
            Ok(length) => self.bytes += length as u64,
        }
        let line = self
            .line
            .strip_suffix(b"\n")
            .map_or(&*self.line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        if line.len() > LINE_LIMIT {
            return Err(self.fault(format_args!("must have at most {LINE_LIMIT} bytes")));
        }
        match std::str::from_utf8(line) {
            Ok(line) => Ok(Some(line)),
            Err(error) => {
                let end = error.valid_up_to();
                Err(self.fault(format_args!("must be UTF-8, which ends at byte {end}")))
            }
        }
    }

    /// That something is wrong with the line that was read last.
    pub fn fault(&self, cause: impl Display) -> Fault {
        Fault::input(&self.name, format_args!("line {}: {cause}", self.number))
    }
}
