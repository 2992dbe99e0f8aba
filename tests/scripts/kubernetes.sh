#!/bin/sh
# kubernetes.sh: builds contrib/kubernetes as shipped, and again in another namespace with every optional part, and
# prints the resources of both as JSON: {"shipped": [...], "all": [...]}. Prints one line that begins with SKIPPED:
# where there is no kubectl.
#     SCHEMAS=yes  validates the second set of resources against the schemas of Kubernetes' API, in the oldest and the
#                  newest version of the PyPI package kubernetes-validate, and against the models of the Prometheus
#                  operator in the PyPI package cloudcoil-models-prometheus-operator; prints the number of valid ones
set -eu

readonly limit_s=300 # 30 MB of packages, and a registry that hangs must not hang the tests

dir=''

main() {
    cd "$(dirname "$0")/../.."
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    command -v jq >/dev/null 2>&1 || skip "no jq here"
    sh tests/scripts/kubectl.sh version --client >"$dir/said" 2>&1 || skip "$(tail -n 1 "$dir/said")"
    cp -R contrib/kubernetes "$dir/all"
    # As a user does who wants everything: removes two #, sets another namespace and the label of a Prometheus.
    edit "$dir/all/kustomization.yaml" 's/^  #- /  - /; s/^namespace: .*/namespace: elsewhere/'
    edit "$dir/all/prometheus-operator/kustomization.yaml" 's/^#\(labels:\|  - pairs:\|      release: \)/\1/'
    build contrib/kubernetes shipped
    build "$dir/all" all
    if [ -n "${SCHEMAS:-}" ]; then
        validate
    else
        jq -n --slurpfile shipped "$dir/shipped.json" --slurpfile all "$dir/all.json" '{$shipped, $all}'
    fi
}

skip() {
    echo "SKIPPED: contrib/kubernetes was not built: $1"
    exit 0
}

fail() {
    echo "kubernetes.sh: $1" >&2
    exit 1
}

# Works with any sed.
edit() {
    sed "$2" "$1" >"$dir/draft"
    ! cmp -s "$dir/draft" "$1" || fail "there is nothing to change in $1"
    cp "$dir/draft" "$1"
}

# Builds the folder $1, as YAML and as a stream of JSON documents, into the files $2.
build() {
    sh tests/scripts/kubectl.sh kustomize "$1" >"$dir/$2.yaml" || fail "kubectl kustomize $1 failed"
    # An empty patch, applied locally, makes kubectl print JSON.
    sh tests/scripts/kubectl.sh patch --local --filename "$dir/$2.yaml" --type merge --patch '{}' --output json \
        >"$dir/$2.json" || fail "kubectl cannot read what it made of $1"
}

validate() {
    folder=$(sh tests/scripts/pypi-folder.sh kubernetes "$limit_s" kubernetes-validate==1.37.0 \
        cloudcoil-models-prometheus-operator==0.80.1.0 2>&1) || skip "$folder"
    jq -s . "$dir/all.json" >"$dir/list.json"
    PYTHONPATH=$folder python3 - "$dir/list.json" <<'PYTHON'
import json, sys
import kubernetes_validate.utils
from cloudcoil.models.prometheus_operator import v1

versions = kubernetes_validate.utils.all_versions()
oldest, newest = versions[0], versions[-1]
count = 0
for resource in json.load(open(sys.argv[1])):
    name = resource["kind"] + " " + resource["metadata"]["name"]
    try:
        if resource["apiVersion"] == "monitoring.coreos.com/v1":
            model = getattr(v1, resource["kind"]).model_validate(resource)
            # The models drop unknown fields, as an API server does.
            known = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
            assert known == resource, f"has what the operator does not know: only {known} of {resource}"
        else:
            for version in (oldest, newest):
                kubernetes_validate.validate(resource, version, strict=True)
    except Exception as error:
        sys.exit(f"{name}: {error}")
    count += 1
print(f"{count} resources are valid, for Kubernetes {oldest} and {newest}")
PYTHON
}

main
