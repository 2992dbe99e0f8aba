#!/bin/sh
# epoch.sh: prints the time that everything in a release has: SOURCE_DATE_EPOCH, or that of the checkout's commit, or
# that of Cargo.toml in an archive.
set -eu

cd "$(dirname "$0")/../.."
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
    echo "$SOURCE_DATE_EPOCH"
elif [ -e .git ] && time=$(git log -1 --format=%ct 2>/dev/null); then
    echo "$time"
else
    stat -c %Y Cargo.toml
fi
