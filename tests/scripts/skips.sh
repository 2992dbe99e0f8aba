#!/bin/sh
# skips.sh FILE ...: prints one line with the number of SKIPPED: lines in these logs and their reasons, or that nothing
# was skipped. The logs are those of `make lint`, `make test` and the like; a test's own line may follow its name.
set -eu

[ $# -gt 0 ] || { echo "usage: skips.sh FILE ..." >&2; exit 2; }
# Each line counts. Its own count is removed: it belongs to one of several runs.
cat "$@" | sed -n '/SKIPPED: /{ s/^.*SKIPPED: //; s/ (skip [0-9]* of this run)$//; p; }' | awk '
    { all = all (NR > 1 ? "; " : "") $0 }
    END { print NR == 0 ? "nothing was skipped" : NR " skipped: " all }'
