#!/usr/bin/env bash
# Prints where Python VERSION is: find_python.sh VERSION. One that is missing is fetched by uv.
set -u -o pipefail

version=$1

is_right() {
    "$1" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null
}

# A launcher of that name may be there and have no such Python.
if command -v "python$version" >/dev/null && is_right "python$version"; then
    command -v "python$version"
elif ! command -v uv >/dev/null; then
    echo "set-up: Python $version is not here: install it, or uv, which brings it" >&2
    exit 1
elif python=$(uv python find --no-project "$version" 2>/dev/null) && is_right "$python"; then
    echo "$python"
elif uv python install "$version" >&2; then
    uv python find --no-project "$version"
else
    echo "set-up: uv could not bring Python $version (see above)" >&2
    exit 1
fi
