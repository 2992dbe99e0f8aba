//! A row of the parameter table, and the defaults of most rows.
//!
//! Must not know which parameters exist.

use std::fmt;
use std::time::Duration;

use super::options::{Builder, Params, Ports, Selected};
use crate::duration;
use crate::iperf3::args::Args;
use crate::log::Value;
use crate::probe::values::BOOLEAN_ALLOWED;

/// A value as users see it. The parser accepts the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Text(String),
    Number(u64),
    /// A single port is a number, a range is text.
    Ports(Ports),
    /// A switch that is on. A switch that is off is not shown.
    True,
}

impl Shown {
    pub(super) fn time(time: Duration) -> Self {
        Self::Text(duration::format(time))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Ports(ports) => ports.fmt(f),
            Self::True => f.write_str("true"),
        }
    }
}

impl Value for Shown {
    fn is_json(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Ports(ports) => ports.is_json(),
            Self::Number(_) | Self::True => true,
        }
    }
}

/// The input of a parameter in the page's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Text,
    /// A whole number in a range.
    Number(u32, u32),
    Tick,
    /// No input: it affects only the response of the probe path, which the form does not use.
    None,
}

/// The transport protocol of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Includes MPTCP.
    Tcp,
    Udp,
    Sctp,
}

pub(crate) struct Parameter {
    /// Its name, then its alias if it has one.
    pub(crate) names: &'static [&'static str],
    pub(crate) option: &'static str,
    /// What is allowed, as the end of "want …".
    pub(crate) allowed: &'static str,
    /// What applies without it.
    pub(crate) default: &'static str,
    /// Its label in the form.
    pub(crate) label: &'static str,
    pub(crate) help: &'static str,
    pub(crate) input: Input,
    /// Rarely used: the form keeps it folded away.
    pub(crate) is_rare: bool,
    /// Puts a value into the builder; `None` when it is not allowed.
    pub(super) set: fn(&mut Builder, &str) -> Option<()>,
    /// Its value for users, in a form that the parser accepts; `None` for the default.
    pub(super) display: fn(&Params) -> Option<Shown>,
    /// Adds its arguments to iperf3's command line.
    pub(super) args: fn(&Self, &Selected<'_>, &mut Args<'_>),
    /// Protocols with which iperf3 ignores it. Such a combination is refused.
    pub(super) ignored_with: &'static [Protocol],
}

/// Defaults of most rows: text that becomes the value of an option, rarely used.
pub(super) const VALUE: Parameter = Parameter {
    names: &[],
    option: "",
    allowed: "",
    default: "chosen by the system",
    label: "",
    help: "",
    input: Input::Text,
    is_rare: true,
    set: |_, _| None,
    display: |_| None,
    args: |row, test, args| {
        if let Some(value) = (row.display)(test.params) {
            args.value(row.option, value);
        }
    },
    ignored_with: &[],
};

/// Defaults of most switches.
pub(super) const SWITCH: Parameter = Parameter {
    allowed: BOOLEAN_ALLOWED,
    default: "false",
    input: Input::Tick,
    args: |row, test, args| {
        if (row.display)(test.params).is_some() {
            args.option(row.option);
        }
    },
    ..VALUE
};

impl Parameter {
    pub(crate) fn id(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}
