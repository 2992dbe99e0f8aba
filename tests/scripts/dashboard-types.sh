#!/bin/sh
# dashboard-types.sh: reads contrib/grafana-dashboard.json with the types that Grafana publishes for its dashboards in
# PyPI's grafana-foundation-sdk: for the oldest Grafana that the dashboard supports, and for the newest. Prints each
# mismatch, and exits 1 if there is any. Where the types are not available it prints one line `SKIPPED: …` and exits 0.
set -eu

# Each version is a build date followed by the version of Grafana for which the package was made.
readonly oldest='grafana-foundation-sdk==1769699998!10.1.0' newest='grafana-foundation-sdk==1769699241'
readonly limit_s=60 # a registry that hangs must not hang the tests

main() {
    cd "$(dirname "$0")/../.."
    command -v python3 >/dev/null 2>&1 || skip "no python3 here"
    failed=0
    for package in "$oldest" "$newest"; do
        folder=$(sh tests/scripts/from-pypi.sh "$package" . "$limit_s" 2>&1) || skip "$folder"
        said=$(python3 -B tests/scripts/dashboard-types.py "$folder" contrib/grafana-dashboard.json) || failed=1
        [ -z "$said" ] || { printf '%s:\n%s\n' "$package" "$said"; failed=1; }
    done
    return "$failed"
}

skip() {
    echo "SKIPPED: the dashboard was not read with Grafana's types, because $1"
    exit 0
}

main "$@"
