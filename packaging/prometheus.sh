#!/usr/bin/env bash
# Unpacks Debian's package `prometheus`, which has promtool, into a folder: prometheus.sh FOLDER
# Nothing is installed, and no root is needed. A machine without apt, or without a network, is no
# trouble here: the tests take the programs of the PATH then, or fail with a sentence. FOLDER/.stamp
# says that nothing is left to do.
set -u -o pipefail

folder=$1
mkdir -p "$folder" && cd "$folder" || exit 1

if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
    touch .stamp
    exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "set-up: there is no apt here: have promtool and prometheus in the PATH" >&2
    exit 0
fi

# The machine's lists of packages may be absent or old, and only root may renew them.
get() {
    apt-get -qq -o APT::Sandbox::User=root "$@" download prometheus
}
own_lists() {
    mkdir -p state/lists/partial cache/archives/partial
    local -a here=(-o "Dir::State::Lists=$PWD/state/lists" -o "Dir::Cache=$PWD/cache")
    apt-get -qq -o APT::Sandbox::User=root "${here[@]}" update && get "${here[@]}"
}

if { get || own_lists; } >apt.log 2>&1 && dpkg -x prometheus_*.deb .; then
    rm -rf prometheus_*.deb state cache
    touch .stamp
else
    echo "set-up: Debian's package prometheus could not be had (apt's words: $PWD/apt.log)" >&2
fi
