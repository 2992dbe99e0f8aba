//! The pages for people: HTML by hand, with no script and nothing from elsewhere.
//!
//! Must not know how a value was measured. `home` and `details` are the pages, `frame` has what all of them
//! share, `form` has what comes from the tables of the rooms that own them, `list` has the table of probes, `live` is
//! what changes while a test runs, `cut_off` what a test without a result had measured, `plot` draws intervals, `units`
//! writes numbers. All links are relative: a proxy may put a path in front of them.

mod cut_off;
mod details;
mod form;
mod frame;
mod home;
mod list;
mod live;
mod plot;
mod units;

pub(super) use self::details::ended;
pub(super) use self::frame::{icon, message, style};
pub(super) use self::home::home;
pub(super) use self::live::{in_progress, nothing_now, now};
