#!/bin/sh
# axe.sh: prints the path of axe-core's axe.min.js, which checks pages for accessibility. It comes from PyPI (the
# package axe-playwright-python carries it) into a folder under target/; the second call finds it there.
# Exits 1, with one line that says why, when it is not to be had.
set -eu
cd "$(dirname "$0")/../.."
exec sh tests/scripts/from-pypi.sh axe-playwright-python==0.1.8 axe_playwright_python/axe.min.js 60
