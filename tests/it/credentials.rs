//! iperf3's authentication: a real server with users, right and wrong passwords, a password that changes while the
//! exporter runs, and the places where the password must not appear.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use crate::harness::{self, Exporter, Fake, Reply, Server, TempDir, good_report};

/// Only the child's environment may contain it.
const PASSWORD: &str = "s3cret-Parola";
/// The user that the server knows.
const USER: &str = "robert";

/// Keys, users and passwords.
struct Secrets(TempDir);

impl Secrets {
    /// `None` where iperf3 or openssl lacks support; prints that `test` is skipped.
    fn new(test: &str) -> Option<Self> {
        // Making a key takes long; one pair is enough for all tests.
        static KEYS: OnceLock<(String, String)> = OnceLock::new();
        let (_, version) = harness::run("iperf3", &["--version"], "");
        if !version.contains("authentication") {
            harness::skipped(test, "this iperf3 has no authentication");
            return None;
        }
        if !harness::has("openssl", test) {
            return None;
        }
        let secrets = Self(TempDir::new());
        let (private, public) = KEYS.get_or_init(|| {
            let (private, public) = (secrets.path("private.pem"), secrets.path("public.pem"));
            for words in [
                &["genrsa", "-out", &private, "2048"][..],
                &["rsa", "-in", &private, "-pubout", "-out", &public],
            ] {
                let (made, said) = harness::run("openssl", words, "");
                assert!(made, "{said}");
            }
            let read = |path| fs::read_to_string(path).unwrap();
            (read(private), read(public))
        });
        secrets.0.write("private.pem", private);
        secrets.0.write("public.pem", public);
        secrets.set_password(PASSWORD);
        // iperf3(1): the SHA-256 of {user}password.
        let hashed = format!("{{{USER}}}{PASSWORD}");
        let (_, said) = harness::run("openssl", &["dgst", "-sha256", "-r"], &hashed);
        let hash = said.split(' ').next().unwrap();
        secrets.0.write("users.csv", &format!("{USER},{hash}\n"));
        Some(secrets)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn set_password(&self, text: &str) {
        self.0
            .write("password", &format!("{text}\nnot this line\n"));
    }

    fn server(&self) -> Server {
        Server::with(&[
            "--rsa-private-key-path",
            &self.path("private.pem"),
            "--authorized-users-path",
            &self.path("users.csv"),
        ])
    }

    fn flags(&self) -> Vec<String> {
        vec![
            format!("--iperf3.username={USER}"),
            format!("--iperf3.rsa-public-key-path={}", self.path("public.pem")),
            format!("--iperf3.password-file={}", self.path("password")),
        ]
    }
}

/// A short probe of a server.
fn probe(exporter: &Exporter, server: &Server, more: &str) -> Reply {
    let reply = exporter.get(&format!(
        "/probe?target={}&period=1&bitrate=1M{more}",
        server.target()
    ));
    assert_eq!(reply.code, 200, "{}", reply.body);
    reply
}

#[test]
fn the_password_is_read_again_for_each_test() {
    let Some(secrets) = Secrets::new("the_password_is_read_again_for_each_test") else {
        return;
    };
    let (server, exporter) = (secrets.server(), Exporter::start(&secrets.flags()));
    let up = |reply: &Reply| reply.family("iperf3_up") == Some(1.0);
    let reply = probe(&exporter, &server, "");
    assert!(up(&reply), "{}", exporter.log());
    secrets.set_password("another one");
    let reply = probe(&exporter, &server, "");
    // Whatever this version's server does about a wrong password.
    assert_eq!(reply.reason(), Some("auth"), "{}", exporter.log());
    secrets.set_password(&format!("{PASSWORD}\r"));
    assert!(up(&probe(&exporter, &server, "")), "{}", exporter.log());
    // Missing, empty, too long, a pipe, with a zero byte: a local failure that names the flag.
    let path = secrets.path("password");
    for (make, cause) in [
        ("rm", "No such file or directory"),
        ("printf '\\n'", "its first line is empty"),
        ("head -c 3000 /dev/zero", "it is longer than 2048 bytes"),
        ("printf 'a\\000b'", "its first line contains a NUL byte"),
        ("mkfifo", "it is a pipe, want a file"),
        ("mkdir", "Is a directory"),
    ] {
        let command = match make {
            "rm" => format!("rm '{path}'"),
            "mkfifo" | "mkdir" => format!("rm -f '{path}'; {make} '{path}' || rmdir '{path}'"),
            print => format!("{print} > '{path}'"),
        };
        if make == "mkdir" {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
        } else {
            harness::run("sh", &["-c", &command], "");
        }
        let reply = probe(&exporter, &server, "");
        assert_eq!(reply.reason(), Some("local"), "{make}");
        let line = exporter.log_line(cause);
        assert!(line.contains("--iperf3.password-file"), "{line}");
    }
    fs::remove_dir(&path).unwrap();
    secrets.set_password(PASSWORD);
    fs::write(secrets.path("public.pem"), "no key").unwrap();
    assert_eq!(probe(&exporter, &server, "").reason(), Some("local"));
    let line = exporter.log_line("it contains no public key in PEM form");
    assert!(line.contains("--iperf3.rsa-public-key-path"), "{line}");
}

#[test]
fn the_password_may_come_from_systemd() {
    let Some(secrets) = Secrets::new("the_password_may_come_from_systemd") else {
        return;
    };
    let folder = TempDir::new();
    folder.write("iperf3-password", PASSWORD);
    let server = secrets.server();
    let mut command = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"));
    command.arg("--web.listen-address=127.0.0.1:0");
    command.args(&secrets.flags()[..2]);
    command.env("CREDENTIALS_DIRECTORY", folder.path());
    let exporter = Exporter::spawn(command);
    let reply = probe(&exporter, &server, "");
    assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", exporter.log());
    fs::remove_file(folder.path().join("iperf3-password")).unwrap();
    assert_eq!(probe(&exporter, &server, "").reason(), Some("local"));
    exporter.log_line("cannot use the systemd credential iperf3-password");
}

#[test]
fn the_password_does_not_leak() {
    let Some(secrets) = Secrets::new("the_password_does_not_leak") else {
        return;
    };
    let server = secrets.server();
    // The iperf3 on PATH, which waits until the test has inspected it.
    let fake = Fake::with_help(
        "while [ -d \"$DIR\" ] && [ ! -e \"$DIR/go\" ]; do sleep 0.02; done; exec iperf3 \"$@\"",
        "exec iperf3 --help",
    );
    let mut flags = secrets.flags();
    flags.extend(["--log.level=debug".to_owned(), fake.flag()]);
    let exporter = Exporter::start(&flags);
    let mut seen = String::new();
    thread::scope(|scope| {
        let running = scope.spawn(|| probe(&exporter, &server, ""));
        let mut client = 0;
        harness::wait_for("the client", || {
            let children = harness::children(exporter.pid()).into_iter();
            let words = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_client = |pid: &u32| words(*pid).split(|b| *b == 0).any(|word| word == b"-c");
            let found = children.map(|(pid, _)| pid).find(is_client);
            client = found.unwrap_or_default();
            found.is_some()
        });
        let file = |name: &str| {
            let bytes = fs::read(format!("/proc/{client}/{name}")).unwrap();
            String::from_utf8_lossy(&bytes).replace('\0', "\n")
        };
        // The only place: only the same user can read it.
        assert!(file("environ").contains(&format!("IPERF3_PASSWORD={PASSWORD}")));
        seen += &file("cmdline");
        assert!(
            seen.contains("--username\nrobert\n--rsa-public-key-path\n"),
            "{seen}"
        );
        let own = fs::read(format!("/proc/{}/environ", exporter.pid())).unwrap();
        seen += &String::from_utf8_lossy(&own);
        seen += &harness::run("ps", &["axww", "-o", "args"], "").1;
        fake.go();
        let reply = running.join().unwrap();
        assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", exporter.log());
        seen += &reply.body;
    });
    let told = probe(&exporter, &server, "&debug=true");
    for shown in [USER, &secrets.path("public.pem"), &secrets.path("password")] {
        assert!(!told.body.contains(shown), "{}", told.body);
    }
    seen += &told.body;
    secrets.set_password("wrong-Parola");
    seen += &probe(&exporter, &server, "").body;
    for page in ["/", "/metrics", "/lock-status", "/health"] {
        seen += &exporter.get(page).body;
    }
    for number in 1..=3 {
        let page = exporter.get(&format!("/probes/{number}")).body;
        assert!(
            page.contains("--username &#39;&lt;hidden&gt;&#39;"),
            "{page}"
        );
        for shown in [USER, &secrets.path("public.pem"), &secrets.path("password")] {
            assert!(!page.contains(shown), "{page}");
        }
        seen += &page;
    }
    seen += &exporter.log();
    for secret in [PASSWORD, "Parola"] {
        assert!(!seen.contains(secret), "{seen}");
    }
}

#[test]
fn incomplete_credentials_end_the_start_with_one_line() {
    let Some(secrets) = Secrets::new("incomplete_credentials_end_the_start_with_one_line") else {
        return;
    };
    let flags = secrets.flags();
    let run = |flags: &[String], folder: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iperf3-exporter"));
        command
            .args(["--config.check", "--web.listen-address=127.0.0.1:0"])
            .args(flags);
        command.env_remove("CREDENTIALS_DIRECTORY");
        command.envs(folder.map(|folder| ("CREDENTIALS_DIRECTORY", folder)));
        let output = command.process_group(0).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let folder = TempDir::new();
    let empty = folder.path().to_str().unwrap();
    assert_eq!(run(&flags, None), (Some(0), String::new()));
    for (flags, folder, piece) in [
        (
            &flags[..1],
            None,
            "--iperf3.username needs --iperf3.rsa-public-key-path",
        ),
        (
            &flags[1..2],
            None,
            "--iperf3.rsa-public-key-path needs --iperf3.username",
        ),
        (
            &flags[2..],
            None,
            "--iperf3.password-file needs --iperf3.username",
        ),
        (
            &flags[..2],
            None,
            "or the systemd credential iperf3-password",
        ),
        (
            &flags[..2],
            Some(empty),
            "or the systemd credential iperf3-password",
        ),
    ] {
        let (status, said) = run(flags, folder);
        assert_eq!(status, Some(2), "{said}");
        assert!(
            said.starts_with("iperf3-exporter: error: ") && said.contains(piece),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    folder.write("iperf3-password", PASSWORD);
    assert_eq!(run(&flags[..2], Some(empty)).0, Some(0));
    // --config.check reads the files.
    fs::remove_file(secrets.path("password")).unwrap();
    let (status, said) = run(&flags, None);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("--iperf3.password-file") && said.lines().count() == 1,
        "{said}"
    );
    // A start does not, as the file may come later. It logs a warning.
    let exporter = Exporter::start(&flags);
    let line = exporter.log_line("credentials for iperf3 cannot be read");
    assert!(
        line.contains(" level=warn ") && line.contains("--iperf3.password-file"),
        "{line}"
    );
}

/// A fake's usage text with these options in addition to those of every test.
fn usage(options: &str) -> String {
    format!("printf 'Usage: iperf3\\n -J\\n -c\\n -p\\n -t\\n -u\\n{options}'")
}

#[test]
fn an_iperf3_without_authentication_is_named() {
    let Some(secrets) = Secrets::new("an_iperf3_without_authentication_is_named") else {
        return;
    };
    let all = " --username\\n --rsa-public-key-path\\n";
    for (options, padding, lacks) in [
        (
            "",
            false,
            Some("--username, which the flag --iperf3.username needs"),
        ),
        // An iperf3 that only knows the older padding uses it without the option.
        (all, true, None),
        (all, false, None),
    ] {
        let script = format!(
            "echo \"$IPERF3_PASSWORD\" > \"$DIR/password\"; exec cat '{}'",
            good_report().display()
        );
        let fake = Fake::with_help(&script, &usage(options));
        let mut flags = secrets.flags();
        flags.push(fake.flag());
        if padding {
            flags.push("--iperf3.use-pkcs1-padding".to_owned());
        }
        let exporter = Exporter::start(&flags);
        let reply = exporter.get("/probe?target=192.0.2.1");
        let password = fs::read_to_string(fake.dir().join("password")).unwrap_or_default();
        if let Some(words) = lacks {
            assert_eq!(reply.reason(), Some("unsupported"));
            exporter.log_line(words);
            assert_eq!(password, "", "nothing was run");
        } else {
            assert_eq!(reply.family("iperf3_up"), Some(1.0), "{}", exporter.log());
            assert_eq!(password, format!("{PASSWORD}\n"));
        }
    }
}

#[test]
fn a_server_that_closes_without_a_message_has_refused_the_password() {
    let Some(secrets) =
        Secrets::new("a_server_that_closes_without_a_message_has_refused_the_password")
    else {
        return;
    };
    // The message of 3.21 as recorded, and the same message once the test has begun.
    let words = "\"error\":\"control socket has closed unexpectedly\"";
    for (connected, with, without) in [
        ("", "auth", "interrupted"),
        ("{\"socket\":5}", "interrupted", "interrupted"),
    ] {
        let fake = Fake::new(&format!(
            "echo '{{\"start\":{{\"connected\":[{connected}]}},\"intervals\":[],\"end\":{{}},{words}}}'; exit 1"
        ));
        let mut flags = secrets.flags();
        flags.push(fake.flag());
        for (flags, reason) in [(&flags[..], with), (&flags[3..], without)] {
            let reply = Exporter::start(flags).get("/probe?target=192.0.2.1");
            assert_eq!(reply.reason(), Some(reason), "{connected}");
        }
    }
}
