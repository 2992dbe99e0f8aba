#!/bin/sh
# supply.sh: checks the dependencies: `cargo deny` with .deny.toml, if it is installed, for licences, sources,
# duplicates and known vulnerabilities (advisories). Without it, tests/it/release.rs still checks licences and sources
# in each `cargo test`.
#     ADVISORY_DB=folder   a clone of RustSec's advisory-db, for machines that can only reach a registry
#     ADVISORY_DB=fetch    lets cargo deny fetch it
# Without either the advisories are not checked: a check should not contact a host that the user did not name. Exits 1
# when a check fails; a line that begins with SKIPPED names what was not checked.
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

# With the clone in folder $1: cargo deny only accepts its own clone, which it makes with git; git takes it from here.
check_advisories() {
    clone=$(cd "$1" && git rev-parse --absolute-git-dir) || { echo "supply.sh: $1 is not a git clone" >&2; exit 1; }
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
