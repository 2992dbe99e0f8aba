#!/bin/sh
# pypi-folder.sh NAME LIMIT_S PACKAGE==VERSION ...: prints the path of a folder, target/pypi/NAME, for PYTHONPATH: it
# contains these packages and their dependencies. pip fills it from wheels, and installs nothing else; a second call
# finds it. Exits 1, with one line that states the reason, when it is not available within LIMIT_S seconds.
set -eu

main() {
    [ $# -ge 3 ] || { echo "usage: pypi-folder.sh NAME LIMIT_S PACKAGE==VERSION ..." >&2; exit 2; }
    cd "$(dirname "$0")/../.."
    target=${CARGO_TARGET_DIR:-target}
    mkdir -p "$target/pypi"
    folder=$(cd "$target/pypi" && pwd)/$1
    limit_s=$2
    shift 2
    # Other versions are other packages.
    if [ "$(cat "$folder/packages" 2>/dev/null || true)" != "$*" ]; then
        fill "$@"
    fi
    echo "$folder"
}

give_up() {
    echo "$1" >&2
    exit 1
}

# Into a folder beside the final one, which appears only when it is complete.
fill() {
    command -v python3 >/dev/null 2>&1 || give_up "no python3 here, which brings $1"
    draft=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$draft"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # Wheels only: building a source package would run its code.
    if ! words=$(timeout "$limit_s" python3 -m pip --disable-pip-version-check install --quiet --only-binary=:all: \
        --root-user-action=ignore --target "$draft" "$@" 2>&1); then
        give_up "pip has not brought $*: $(printf '%s' "$words" | tail -n 1)"
    fi
    echo "$*" >"$draft/packages"
    rm -rf "$folder"
    # If another call was faster, its folder stays.
    mv -T "$draft" "$folder" 2>/dev/null || [ -f "$folder/packages" ] || give_up "cannot write $folder"
}

main "$@"
