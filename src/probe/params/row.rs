//! What a row of the table of parameters is.
//!
//! Must not know which parameters there are.

use std::fmt;

use super::options::{Builder, Params};

/// How a parameter is asked for in the page's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line of text.
    Text,
    /// A whole number in a range.
    Number(u32, u32),
    /// A box to tick.
    Tick,
    /// Not at all: it is about the answer of the probe path, which the form does not ask.
    None,
}

/// One parameter.
pub(crate) struct Parameter {
    /// Its name and its other name.
    pub(crate) names: &'static [&'static str],
    /// iperf3's option.
    pub(crate) option: &'static str,
    /// What is allowed, as the end of "want …".
    pub(crate) allowed: &'static str,
    /// What holds without it.
    pub(crate) default: &'static str,
    /// What a person calls it.
    pub(crate) label: &'static str,
    /// What it does.
    pub(crate) help: &'static str,
    /// Its field in the form.
    pub(crate) input: Input,
    /// Used so rarely that the form keeps it folded away.
    pub(crate) is_rare: bool,
    /// Puts a value into the builder; `None` when it is not allowed.
    pub(super) set: fn(&mut Builder, &str) -> Option<()>,
    /// Its value for the log when it differs from the default.
    pub(super) shown: fn(&Params) -> Option<String>,
}

impl Parameter {
    /// The first of its names.
    pub(crate) fn id(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}

// A row has no identity beyond its name; the derived comparison of function pointers would mean nothing.
impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Eq for Parameter {}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
