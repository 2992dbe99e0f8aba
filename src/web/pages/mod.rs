//! The pages for people: HTML by hand, with no script and nothing from elsewhere.
//!
//! Must not know how a value was measured. Here is what all of them have: frame, headers, escaping, times; `home` and
//! `details` are the pages, `form` has what comes from the tables of the rooms that own them, `list` the table of
//! probes. All links are relative: a proxy may put a path in front of them.

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
