//! The pages for people: HTML by hand, with no script and nothing from elsewhere.
//!
//! Must not know how a value was measured. `home` and `details` are the pages, `frame` has what all of them share,
//! `targets` has the table of tests and `list` that of probes, `form` what comes from the table of parameters, `live` and
//! `status` what changes while a test runs, `outcome`, `progress` and `names` words, `cut_off` what a test without a result
//! had measured; `plot` draws, `units` writes numbers. All links are relative: a proxy may put a path in front.

mod cut_off;
mod details;
mod form;
mod frame;
mod home;
mod list;
mod live;
mod names;
mod outcome;
mod plot;
mod progress;
mod status;
mod targets;
mod units;

pub(super) use self::details::ended;
pub(super) use self::frame::{icon, message, style};
pub(super) use self::home::home;
pub(super) use self::live::{in_progress, nothing_now, now};
pub(super) use self::status::{asks_again, status};
