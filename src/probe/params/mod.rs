//! Probe parameters: a query string becomes typed, bounded values, or a refusal.
//!
//! Each parameter is a row of `table` and a field of `options`. `query` parses them, `conflicts` rejects combinations,
//! `error` words the refusals, `foreign` knows other exporters' names, and `secrets` hides secrets. Must not know HTTP status codes or
//! processes.

pub(crate) use self::error::QueryError;
pub(crate) use self::options::{Params, Selected};
pub(crate) use self::row::{Input, Parameter};
pub(crate) use self::secrets::{HIDDEN, carries_secret, without_secrets};
pub(crate) use self::table::PARAMETERS;
pub(crate) use crate::probe::values::decode;

mod conflicts;
mod error;
mod foreign;
mod options;
mod query;
mod row;
mod secrets;
mod table;
