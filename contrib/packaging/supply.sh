#!/bin/sh
# supply.sh: what others wrote and this program is made of: `cargo deny` with .deny.toml, where it is installed, for
# licences, sources, duplicates, and known holes (advisories). Without it, licences and sources are still held by
# tests/it/release.rs, in each `cargo test`.
#     ADVISORY_DB=folder   a clone of RustSec's advisory-db, for machines that reach no other host than a registry
#     ADVISORY_DB=fetch    lets cargo deny fetch it
# Without either the advisories are not asked: a check should not go to a host that nobody named.
# Exits 1 when a check fails; says in a line that begins with SKIPPED what was not checked.
set -eu

main() {
    cd "$(dirname "$0")/../.."
    if ! cargo deny --version >/dev/null 2>&1; then
        echo "SKIPPED: cargo deny: not installed (cargo install --locked cargo-deny); advisories were not checked," \
            "licences and sources are by cargo test release::"
        exit 0
    fi
    cargo deny --version
    cargo deny --locked check licenses bans sources
    case ${ADVISORY_DB:-} in
        '') echo "SKIPPED: advisories: ADVISORY_DB is not set (a folder with a clone of RustSec's advisory-db, or fetch)" ;;
        fetch) cargo deny --locked check advisories ;;
        *) check_advisories "$ADVISORY_DB" ;;
    esac
}

# With the clone in folder $1: cargo deny takes one of its own only, and calls git to make it; git takes it from here.
check_advisories() {
    clone=$(cd "$1" && git rev-parse --absolute-git-dir) || { echo "supply.sh: $1 is no git clone" >&2; exit 1; }
    git -C "$clone" log -1 --format='advisories as of %cs'
    url=https://advisory-db.invalid/clone # cargo deny refuses file://
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    sed "s|^\[advisories\]|[advisories]\ndb-path = \"$dir/db\"\ndb-urls = [\"$url\"]|" .deny.toml >"$dir/deny.toml"
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$clone.insteadOf" \
        GIT_CONFIG_VALUE_0="$url" cargo deny --locked --config "$dir/deny.toml" \
        check advisories
}

main
