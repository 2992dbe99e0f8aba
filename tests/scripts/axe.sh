#!/bin/sh
# axe.sh: prints the path of axe-core's axe.min.js, which checks pages for accessibility. It is downloaded from PyPI
# (package axe-playwright-python) into a folder under target/; a second call finds it there. Exits 1, with one line that
# states the reason, when it is not available.
set -eu
cd "$(dirname "$0")/../.."
exec sh tests/scripts/from-pypi.sh axe-playwright-python==0.1.8 axe_playwright_python/axe.min.js 60
