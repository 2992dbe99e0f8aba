//! Values of log fields, and which of them are numbers or booleans in JSON.
//!
//! The Rust type decides, never the text: a target named `5` is a string.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path;
use std::time::Duration;

/// A value of a log field.
pub(crate) trait Value: Display {
    /// Whether its text is valid JSON as it is. Everything else becomes a JSON string.
    fn is_json(&self) -> bool {
        false
    }
}

impl<T: Value + ?Sized> Value for &T {
    fn is_json(&self) -> bool {
        (**self).is_json()
    }
}

impl Value for str {}
impl Value for String {}
impl Value for Cow<'_, str> {}
impl Value for fmt::Arguments<'_> {}
impl Value for io::Error {}
impl Value for IpAddr {}
impl Value for SocketAddr {}
impl Value for path::Display<'_> {}

impl Value for bool {
    fn is_json(&self) -> bool {
        true
    }
}

impl Value for u16 {
    fn is_json(&self) -> bool {
        true
    }
}

impl Value for u32 {
    fn is_json(&self) -> bool {
        true
    }
}

impl Value for u64 {
    fn is_json(&self) -> bool {
        true
    }
}

impl Value for usize {
    fn is_json(&self) -> bool {
        true
    }
}

/// A number, and its digits after the decimal point.
pub(crate) struct Decimal(pub(crate) f64, pub(crate) usize);

impl Decimal {
    /// Seconds, to the millisecond.
    pub(crate) fn seconds(time: Duration) -> Self {
        Self(time.as_secs_f64(), 3)
    }
}

impl Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.*}", self.1, self.0)
    }
}

impl Value for Decimal {
    fn is_json(&self) -> bool {
        self.0.is_finite()
    }
}
