//! What chain an experiment is in.

use super::{ChainName, Experiment, Status};

impl Experiment {
    /// The chain that it is a member of while it is active or paused, if any.
    ///
    /// A subject is in at most one experiment of a chain. It goes through them in the order in which
    /// their present iterations started: who misses one, by its audience, its traffic or any other
    /// gate, falls through to the next. So the draws are independent: behind one with 70 % traffic,
    /// one with 30 % has 9 % of all. [`Chain`](crate::Chain) says it in full.
    ///
    /// Nothing freezes it: it changes while the experiment is a draft or paused, and takes effect at
    /// once.
    pub fn chain(&self) -> Option<&ChainName> {
        self.extra.chain.as_ref()
    }

    /// The chain that it stands in by its status.
    pub(crate) fn linked(&self) -> Option<&ChainName> {
        let runs = matches!(self.status, Status::Active | Status::Paused);
        self.chain().filter(|_| runs)
    }
}
