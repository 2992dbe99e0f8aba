#!/bin/sh
# skips.sh FILE ...: one line that says how many lines of these logs begin a skip with SKIPPED: and why, or that nothing
# was skipped. The logs are of `make lint`, `make test` and the like; a test's own line may stand behind its name.
set -eu

[ $# -gt 0 ] || { echo "usage: skips.sh FILE ..." >&2; exit 2; }
# Each line counts, and its own count goes: it is of one of several runs.
cat "$@" | sed -n '/SKIPPED: /{ s/^.*SKIPPED: //; s/ (skip [0-9]* of this run)$//; p; }' | awk '
    { all = all (NR > 1 ? "; " : "") $0 }
    END { print NR == 0 ? "nothing was skipped" : NR " skipped: " all }'
