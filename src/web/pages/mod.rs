//! The pages for people: HTML by hand, with no script and nothing from elsewhere.
//!
//! Must not know how a value was measured. `home` and `details` are the pages, `frame` has what all of them
//! share, `form` has what comes from the tables of the rooms that own them, `list` has the table of probes, `plot`
//! draws intervals, `units` writes numbers, `waiting` finds the probes that wait for the lock. All links
//! are relative: a proxy may put a path in front of them.

mod details;
mod form;
mod frame;
mod home;
mod list;
mod plot;
mod units;
mod waiting;

pub(crate) use self::details::details;
pub(crate) use self::frame::{message, response};
pub(crate) use self::home::home;

/// The style of every page.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The icon of every page.
pub(crate) const ICON: &str = include_str!("icon.svg");
