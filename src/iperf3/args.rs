//! iperf3's command line, built from typed values.
//!
//! Owns the arguments, and which of the options the installed iperf3 lacks; must not know which parameters exist. Every
//! value is an argument of its own and does not begin with a dash, which its parser ensures. No shell ever sees it.

use std::fmt;

use super::features::Features;

/// The arguments after the program's name, checked against the installed iperf3.
#[derive(Debug)]
pub(crate) struct Args<'a> {
    /// `None` if there is no usage text: then iperf3 itself decides.
    features: Option<&'a Features>,
    list: Vec<String>,
    needed_by: Need,
    missing: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    Exporter,
    /// The parameter with this name.
    Parameter(&'static str),
    /// The flag that is named after iperf3's option.
    Flag,
}

impl<'a> Args<'a> {
    pub(crate) fn new(features: Option<&'a Features>) -> Self {
        Self {
            features,
            list: Vec::with_capacity(32),
            needed_by: Need::Exporter,
            missing: None,
        }
    }

    /// Sets what needs the options that follow.
    pub(crate) fn needed_by(&mut self, need: Need) {
        self.needed_by = need;
    }

    /// Whether the installed iperf3 is known to have an option.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.features.is_some_and(|features| features.has(option))
    }

    /// Whether the installed iperf3 is known to lack an option.
    pub(super) fn lacks(&self, option: &str) -> bool {
        self.features.is_some_and(|features| !features.has(option))
    }

    pub(crate) fn option(&mut self, option: &str) {
        if self.missing.is_none() && self.lacks(option) {
            let who = match self.needed_by {
                Need::Exporter => "the exporter".to_owned(),
                Need::Parameter(name) => format!("the parameter {name}"),
                Need::Flag => format!("the flag --iperf3.{}", option.trim_start_matches('-')),
            };
            self.missing = Some(format!("{option}, which {who} needs"));
        }
        self.list.push(option.to_owned());
    }

    pub(crate) fn value(&mut self, option: &str, value: impl fmt::Display) {
        self.option(option);
        self.list.push(value.to_string());
    }

    /// Whether iperf3 reports each interval as it ends.
    pub(crate) fn streams(&self) -> bool {
        self.list.iter().any(|arg| arg == "--json-stream")
    }

    /// The first option that the installed iperf3 lacks, and what needs it: `--dont-fragment, which the parameter
    /// dont_fragment needs`.
    pub(crate) fn missing_option(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, Need};
    use crate::iperf3::features::Features;

    #[test]
    fn the_first_missing_option_is_named_with_what_needs_it() {
        let features = Features::read(b"Usage: iperf3\n -J\n --username\n").unwrap();
        let mut args = Args::new(Some(&features));
        args.option("-J");
        args.needed_by(Need::Flag);
        args.value("--username", "bob");
        assert_eq!(args.missing_option(), None);
        args.value("--rsa-public-key-path", "/key");
        args.needed_by(Need::Parameter("mptcp"));
        args.option("--mptcp");
        let needed = "--rsa-public-key-path, which the flag --iperf3.rsa-public-key-path needs";
        assert_eq!(args.missing_option(), Some(needed));
        let expected = "-J --username bob --rsa-public-key-path /key --mptcp";
        assert_eq!(args.into_vec().join(" "), expected);
    }

    #[test]
    fn without_a_usage_text_no_option_is_known_to_exist_or_to_be_missing() {
        let mut args = Args::new(None);
        args.value("--cport", 5300);
        assert!(!args.has("--cport") && !args.lacks("--cport"));
        assert_eq!(args.missing_option(), None);
    }
}
