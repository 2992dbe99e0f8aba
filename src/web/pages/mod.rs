//! The pages for people: handwritten HTML without scripts or external resources.
//!
//! Must not know how a value was measured. `home` and `details` are the pages, and `frame` has what they share.
//! `targets` is the table of tests, `list` the table of probes. `form` makes fields and rows from the table of
//! parameters. `live` and `status` show what changes during a test. `outcome`, `progress` and `names` write texts,
//! `units` numbers, and `plot` draws. `cut_off` shows what a test measured before it was cut off. All links are
//! relative, because a proxy may add a path in front.

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
