#!/bin/sh
# epoch.sh: prints the time of all files in a release: SOURCE_DATE_EPOCH, or the time of the checkout's commit, or, in
# an archive, that of Cargo.toml.
set -eu

cd "$(dirname "$0")/../.."
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
    echo "$SOURCE_DATE_EPOCH"
elif [ -e .git ] && time=$(git log -1 --format=%ct 2>/dev/null); then
    echo "$time"
else
    stat -c %Y Cargo.toml
fi
