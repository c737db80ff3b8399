//! How far long work has come, for somebody who waits at a terminal.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Work that is done by then shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A line on standard error that says how far it is, if that is a terminal; gone when dropped.
pub struct Progress {
    wanted: bool,
    began: Instant,
    /// How many bytes there are to read, if that is known.
    size: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn new(size: Option<u64>) -> Self {
        Self { wanted: io::stderr().is_terminal(), began: Instant::now(), size, bar: None }
    }

    pub fn hide(&mut self) {
        self.wanted = false;
    }

    pub fn show(&mut self, bytes: u64, lines: u64) {
        if !self.wanted || self.began.elapsed() < PATIENCE {
            return;
        }
        let (size, elapsed) = (self.size, self.began.elapsed());
        let bar = self.bar.get_or_insert_with(|| bar(size).with_elapsed(elapsed));
        bar.set_position(if size.is_some() { bytes } else { lines });
    }
}

fn bar(size: Option<u64>) -> ProgressBar {
    let template = match size {
        Some(_) => "{bytes} of {total_bytes} {wide_bar} {eta} left",
        None => "{human_pos} lines in {elapsed}",
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr())
        .with_style(style)
        .with_finish(ProgressFinish::AndClear)
}
