//! iperf3: its command line, its process, its report, and the reasons for its failures.
//!
//! Must not know Prometheus, HTTP or how a test is requested.

pub(crate) mod args;
pub(crate) mod binary;
pub(crate) mod credentials;
pub(crate) mod features;
mod lookup;
mod mode;
mod outcome;
mod process;
pub(crate) mod progress;
pub(crate) mod reason;
pub(crate) mod report;
mod run;
pub(crate) mod target;
pub(crate) mod temp;

pub(crate) use self::lookup::addresses;
pub(crate) use self::mode::Mode;
pub(crate) use self::outcome::{Cost, Failure, Outcome};
pub(crate) use self::run::{Run, RunDetails, TestSpec, refine_reason, run_test};
