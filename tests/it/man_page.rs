//! The man page through the programs that render it, and the completions in their shells.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{TempDir, run, skipped, top};

/// Whether `program` is on PATH; otherwise prints that `test` is skipped. A completion is of use only where its shell
/// is installed.
fn is_here(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !is_here {
        skipped(test, &format!("{program} is not here"));
    }
    is_here
}

fn page() -> String {
    top()
        .join("contrib/iperf3-exporter.1")
        .display()
        .to_string()
}

fn completions() -> String {
    top().join("contrib/completions").display().to_string()
}

/// All long names in the program's own `--help`, also those that switch off.
fn names() -> BTreeSet<String> {
    let (_, help) = run(env!("CARGO_BIN_EXE_iperf3-exporter"), &["--help"], "");
    let mut names = BTreeSet::new();
    for line in help.lines().filter(|line| line.starts_with("  -")) {
        for name in line.trim().split(", ") {
            let name = name.split('=').next().unwrap();
            if let Some(switch) = name.strip_prefix("--[no-]") {
                names.insert(format!("--{switch}"));
                names.insert(format!("--no-{switch}"));
            } else if name.starts_with("--") {
                names.insert(name.to_owned());
            }
        }
    }
    assert!(names.len() > 20, "{help}");
    names
}

#[test]
fn the_man_page_renders_without_a_warning_and_has_each_flag() {
    let test = "the_man_page_renders_without_a_warning_and_has_each_flag";
    if !is_here("groff", test) {
        return;
    }
    let output = Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-P-c", "-rLL=80n", &page()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    // Bold and underlined letters are overstruck: written twice, with a backspace between.
    let mut shown = String::new();
    for letter in String::from_utf8(output.stdout).unwrap().chars() {
        if letter == '\u{8}' {
            shown.pop();
        } else {
            shown.push(letter);
        }
    }
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        // A hyphenated name cannot be searched for.
        assert!(!line.ends_with('\u{2010}'), "{line}");
    }
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "PROBE PARAMETERS",
        "ENDPOINTS",
        "METRICS",
        "FAILURE REASONS",
        "SIGNALS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
        "SECURITY",
        "SEE ALSO",
    ] {
        assert!(shown.lines().any(|line| line == section), "{section}");
    }
    for name in names() {
        let name = name.replacen("--no-", "--[no-]", 1);
        let switch = name.replacen("--", "--[no-]", 1);
        let has = |name: &str| {
            shown.lines().any(|line| {
                let mut tags = line.trim().split(", ");
                line.starts_with("       -") && tags.any(|tag| tag.split('=').next() == Some(name))
            })
        };
        assert!(has(&name) || has(&switch), "{name} is not in the page");
    }
}

#[test]
fn each_flag_that_replaces_a_run_is_in_the_synopsis_and_has_its_exit_status() {
    // Both chapters are written by hand, and no table marks these flags.
    let source = fs::read_to_string(page()).unwrap().replace("\\-", "-");
    for chapter in ["SYNOPSIS", "EXIT STATUS"] {
        let (_, text) = source.split_once(&format!("\n.SH {chapter}\n")).unwrap();
        let (text, _) = text.split_once("\n.SH ").unwrap();
        for flag in ["--help", "--version", "--config.check", "--health"] {
            assert!(
                names().contains(flag) && text.contains(flag),
                "{chapter}: {flag}"
            );
        }
    }
}

#[test]
fn mandoc_reports_nothing_about_the_man_page() {
    if !is_here("mandoc", "mandoc_reports_nothing_about_the_man_page") {
        return;
    }
    let (_, said) = run("mandoc", &["-Tlint", &page()], "");
    // The page has no date until a version is released.
    let changelog = fs::read_to_string(top().join("CHANGELOG.md")).unwrap();
    let is_dated = changelog
        .lines()
        .any(|line| line.starts_with("## ") && line.contains(" - "));
    let said: Vec<&str> = said
        .lines()
        .filter(|line| is_dated || !line.ends_with("WARNING: missing date, using \"\": TH"))
        .collect();
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn man_takes_the_man_page_without_a_warning() {
    if !is_here("lexgrog", "man_takes_the_man_page_without_a_warning") {
        return;
    }
    let output = Command::new("man")
        .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", &page()])
        .env("MANWIDTH", "80")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    // The line by which `apropos` finds it.
    let (found, said) = run("lexgrog", &[&page()], "");
    assert!(
        found && said.contains("iperf3-exporter - Prometheus exporter"),
        "{said}"
    );
}

/// A shell with the completion loaded.
#[derive(Clone, Copy, Debug)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Calls the function as bash does, with its arguments split at `=` as bash splits them.
const BASH: &str = r#"
source "$1/iperf3-exporter.bash"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$(complete -p iperf3-exporter | sed 's/.* -F \([^ ]*\) .*/\1/') 2>/dev/null || exit 1
"#;

/// Marks the end of the completions for one line; no flag and no file has this name.
const END: &str = "(end)";

/// The outer zsh types each line into an inner one at a terminal, waits for its reply, and deletes the line.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty inner zsh -d -i
zpty -r inner seen '*READY>*'
for line; do
    zpty -w -n inner "$line"$'\t'
    zpty -r inner seen '*DONE>*'
    print -r -- "$END" >>"$HITS"
    zpty -w -n inner $'\C-u'
done
zpty -d inner
"#;

/// The inner zsh's startup file: completions are written to a file instead of being displayed.
const ZSHRC: &str = r#"
PROMPT='READY''>' RPROMPT=
unsetopt zle_bracketed_paste auto_list auto_menu 2>/dev/null
bindkey -e
fpath=("$COMPLETIONS" $fpath)
autoload -Uz compinit
compinit -u -D
compadd() {
    local at
    # With these it answers to the functions of the completion, and offers nothing.
    for at in "${@[1,(i)(-|--)]}"; do
        [[ $at != -[OAD]* ]] || { builtin compadd "$@"; return; }
    done
    local -a hits
    builtin compadd -O hits "$@"
    (( $#hits == 0 )) || print -rl -- $hits >>"$HITS"
    builtin compadd "$@"
}
# The list is emptied before it is called.
done_completing() { print -n 'DONE>' >"$TTY"; comppostfuncs=(done_completing); }
comppostfuncs=(done_completing)
"#;

const FISH: &str = r"
source $argv[1]/iperf3-exporter.fish
for line in $argv[2..]
    complete -C $line
    echo $END
end
";

impl Shell {
    const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    fn program(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }

    /// The completions in `folder` for each line, one per line; the shell is started once, because that takes long.
    fn hits(self, folder: &Path, lines: &[String]) -> Vec<String> {
        let home = TempDir::new();
        let hits = home.write("hits", "");
        let mut command = Command::new("timeout");
        command.arg("60").arg(self.program());
        command.current_dir(folder).env("HOME", home.path());
        command.env("END", END);
        match self {
            Self::Bash => {
                // Each in its own shell, so that one line does not affect the next.
                let script = format!("{BASH}printf '%s\\n' \"${{COMPREPLY[@]}}\"\n");
                let each = lines.iter().map(|line| {
                    let words = split_by_bash(line).join("' '");
                    format!("(set -- \"$1\" '{words}'\n{script})\necho '{END}'\n")
                });
                let all: String = each.collect();
                command.args(["--norc", "-e", "-c", &all, "bash", &completions()]);
            }
            Self::Zsh => {
                home.write(".zshrc", ZSHRC);
                command.args(["-f", "-c", ZSH, "zsh"]).args(lines);
                command.env("ZDOTDIR", home.path()).env("TERM", "dumb");
                command.env("COMPLETIONS", completions()).env("HITS", &hits);
            }
            Self::Fish => {
                command.args(["-c", FISH, &completions()]).args(lines);
                command.env("XDG_CONFIG_HOME", home.path());
            }
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?}: {said}");
        let text = match self {
            Self::Zsh => fs::read_to_string(hits).unwrap(),
            _ => String::from_utf8(output.stdout).unwrap(),
        };
        let mut hits: Vec<String> = text.split(&format!("{END}\n")).map(str::to_owned).collect();
        assert_eq!(hits.pop().as_deref(), Some(""), "{self:?}: {text}");
        assert_eq!(hits.len(), lines.len(), "{self:?}: {text}");
        hits
    }

    /// The completions in `folder` for the last word of each of `lines`: flags without `=`, values without their flag.
    fn offered(self, folder: &Path, lines: &[&[&str]]) -> Vec<BTreeSet<String>> {
        let texts = lines
            .iter()
            .map(|words| format!("iperf3-exporter {}", words.join(" ")));
        let hits = self.hits(folder, &texts.collect::<Vec<_>>());
        let mut offered = Vec::new();
        for (text, words) in hits.iter().zip(lines) {
            let before = words.last().unwrap().split_once('=').map(|(flag, _)| flag);
            let found = text
                .lines()
                .map(|hit| hit.split('\t').next().unwrap())
                .map(|hit| match before {
                    Some(flag) => hit.strip_prefix(&format!("{flag}=")).unwrap_or(hit),
                    None => hit.strip_suffix('=').unwrap_or(hit),
                })
                .filter(|hit| !hit.is_empty())
                .map(str::to_owned);
            offered.push(found.collect());
        }
        offered
    }
}

/// The words of a line as bash passes them to a completion: `=` is a word of its own.
fn split_by_bash(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in line.split(' ') {
        match word.split_once('=') {
            Some((flag, "")) => words.extend([flag.to_owned(), "=".to_owned()]),
            Some((flag, value)) => {
                words.extend([flag.to_owned(), "=".to_owned(), value.to_owned()]);
            }
            None => words.push(word.to_owned()),
        }
    }
    words
}

fn set<S: AsRef<str>>(words: &[S]) -> BTreeSet<String> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}

#[test]
fn each_shell_offers_what_the_program_takes_and_nothing_twice() {
    let test = "each_shell_offers_what_the_program_takes_and_nothing_twice";
    let dir = TempDir::new();
    dir.write("web.yml", "");
    let all = names();
    let without = |gone: &[&str]| {
        let mut names = all.clone();
        for name in gone {
            assert!(names.remove(*name), "{name}");
        }
        names
    };
    let beginning = |start: &str| -> BTreeSet<String> {
        let names = all.iter().filter(|name| name.starts_with(start));
        names.cloned().collect()
    };
    assert!(beginning("--lo").contains("--log.level"));
    let levels = ["debug", "info", "warn", "error"];
    let cases: &[(&[&str], BTreeSet<String>)] = &[
        (&["--"], all.clone()),
        (&["--lo"], beginning("--lo")),
        (&["--no-"], beginning("--no-")),
        // A repeatable flag is offered again; an alias and the opposite switch count as the same flag.
        (
            &[
                "--log.level=debug",
                "--web.listen-address=:1",
                "--port",
                "1",
                "--no-web.systemd-socket",
                "--iperf3-path=x",
                "--",
            ],
            without(&[
                "--log.level",
                "--web.systemd-socket",
                "--no-web.systemd-socket",
                "--iperf3.path",
                "--iperf3-path",
            ]),
        ),
        (&["--log.level="], set(&levels)),
        (&["--log.level", ""], set(&levels)),
        (&["--log.format=j"], set(&["json"])),
        (&["--log.format", "j"], set(&["json"])),
        (&["--web.config.file="], set(&["web.yml"])),
        (&["--web.config.file", "w"], set(&["web.yml"])),
        (&["--iperf3.password-file=we"], set(&["web.yml"])),
        // Targets cannot be guessed, and a file of that name is no target.
        (&["--probe.allow-target=w"], set::<&str>(&[])),
        (&["--web.probe-path", "w"], set::<&str>(&[])),
        // The program takes no arguments other than flags.
        (&["w"], set::<&str>(&[])),
    ];
    for shell in Shell::ALL {
        if !is_here(shell.program(), test) {
            continue;
        }
        let lines: Vec<&[&str]> = cases.iter().map(|(words, _)| *words).collect();
        let offered = shell.offered(dir.path(), &lines);
        for ((words, expected), offered) in cases.iter().zip(offered) {
            assert_eq!(offered, *expected, "{shell:?} {words:?}");
        }
    }
}
