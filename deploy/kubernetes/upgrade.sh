#!/usr/bin/env bash
# Brings a cluster to what an overlay says, or back to it: nodes first, one after the other, each
# while the other two are ready; then the routers.
#
#   deploy/kubernetes/upgrade.sh OVERLAY [NAMESPACE]
#
# It stops with a sentence when something does not come up within QUORATE_SECONDS_MAX (900). Then the other
# nodes and the routers run what they ran before: run it again, or, with the former overlay, go back.
# A node that has what the overlay says is left alone, and one that is not ready comes first.
set -euo pipefail

overlay=${1:?usage: upgrade.sh OVERLAY [NAMESPACE]}
namespace=${2:-quorate}
seconds_max=${QUORATE_SECONDS_MAX:-900}
nodes=(node-a node-b node-c)

ask() { kubectl -n "$namespace" "$@"; }

fail() {
    echo "upgrade: $*" >&2
    exit 1
}

# Revision and readiness of a node's pod: "node-a-6d4cf56db6 True".
pod_of() {
    ask get pod "$1-0" --ignore-not-found -o \
        'jsonpath={.metadata.labels.controller-revision-hash} {.status.conditions[?(@.type=="Ready")].status}'
}

is_ready() { [[ $(pod_of "$1") == *" True" ]]; }

all_is_well() {
    ask exec deploy/router -c router -- quorate status --exit-when-healthy --timeout 60 >/dev/null
}

# The revision that a node's pod is to have, once the controller has seen what was applied.
revision_of() {
    local generation observed revision
    while true; do
        read -r generation observed revision < <(ask get statefulset "$1" -o \
            'jsonpath={.metadata.generation} {.status.observedGeneration} {.status.updateRevision}{"\n"}')
        [ "$generation" = "$observed" ] && break
        ((SECONDS < deadline)) || fail "the StatefulSet $1 is not looked at by its controller"
        sleep 1
    done
    echo "$revision"
}

set_paused() { ask patch deployment router --type=merge -p "{\"spec\":{\"paused\":$1}}" >/dev/null; }

# Before anything is changed.
unready=() ready=()
for node in "${nodes[@]}"; do
    if is_ready "$node"; then ready+=("$node"); else unready+=("$node"); fi
done
((${#unready[@]} < 2)) || fail "${unready[*]} are not ready, and nothing was changed: docs/INCIDENTS.md"
((${#unready[@]} == 1)) || all_is_well || fail "all is not well (quorate status), and nothing was changed"

set_paused true # else apply would begin with the routers
kubectl apply -k "$overlay"

for node in ${unready[@]+"${unready[@]}"} "${ready[@]}"; do # bash 3 minds empty arrays
    deadline=$((SECONDS + seconds_max))
    revision=$(revision_of "$node")
    if [[ $(pod_of "$node") != "$revision "* ]]; then
        for other in "${nodes[@]}"; do
            [ "$other" = "$node" ] || is_ready "$other" ||
                fail "$other is not ready, so $node is left alone; the routers are paused"
        done
        echo "$node: restarting"
        ask delete pod "$node-0" --ignore-not-found --timeout="${seconds_max}s"
    fi
    until [ "$(pod_of "$node")" = "$revision True" ]; do
        ((SECONDS < deadline)) || fail "$node-0 is not ready after $seconds_max s (kubectl -n $namespace" \
            "describe pod $node-0; logs $node-0); the rest runs what it ran, and the routers are paused." \
            "To go back: upgrade.sh with the former overlay"
        sleep 1
    done
    all_is_well || fail "$node-0 is ready, and all is not well (quorate status); the routers are paused"
    echo "$node: ready"
done

set_paused false
ask rollout status deployment/router --timeout="${seconds_max}s" ||
    fail "the routers do not come up; those of before serve on. To go back: upgrade.sh with the former overlay"
