#!/usr/bin/env bash
# Makes or renews a virtual environment: setup.sh VENV REQUIREMENT...
# It says what it does while it does it. Every expected trouble ends in one sentence on stderr and
# exit code 1; pip's own words are in VENV/setup.log.
set -u -o pipefail

venv=$1
shift
log=$venv/setup.log

fail() {
    echo "set-up: $*" >&2
    exit 1
}

recent_python='import sys; sys.exit(sys.version_info < (3, 11))'

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$recent_python" 2>/dev/null
        then
            echo "$candidate"
            return
        fi
    done
    return 1
}

if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c "$recent_python" 2>/dev/null; then
    python=$(find_python) || fail "Python 3.11 or newer is needed, and ${PYTHON:-python3} is not:" \
        "install it, or say where it is with PYTHON=/path/to/python3.11"
    "$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python cannot make virtual" \
        "environments: install its venv module (on Debian and Ubuntu: apt install python3-venv)"
    if [ -d "$venv" ]; then
        [ -w "$venv" ] || fail "the folder $venv cannot be written"
    else
        [ -w "$(dirname "$venv")" ] || fail "the folder $(cd "$(dirname "$venv")" && pwd)" \
            "cannot be written: the virtual environment goes there"
    fi
    echo "making the virtual environment $venv"
    "$python" -m venv --clear "$venv" || fail "could not make the virtual environment $venv"
fi
( : >"$log" ) 2>/dev/null || fail "the folder $venv cannot be written"

# What takes time, of pip's many words, each as it comes.
progress() {
    local line package
    while IFS= read -r line; do
        case $line in
        'Collecting '*)
            package=${line#Collecting }
            echo "  getting ${package%%[^A-Za-z0-9._-]*}"
            ;;
        *'Installing build dependencies: started'*) echo '  getting what the build needs' ;;
        *'Building '*': started'*) echo '  building' ;;
        'Installing collected packages: '*) echo '  unpacking' ;;
        esac
    done
}

# For Quorate itself the releases that the image has, without their hashes: a folder has none.
constrained=()
if [ "$1" = -e ]; then
    pins=$(dirname "$0")/../deploy/requirements.txt
    sed -n 's/^\([A-Za-z0-9._-]*==[^ ]*\).*/\1/p' "$pins" >"$venv/constraints.txt"
    constrained=(--constraint "$venv/constraints.txt")
fi

echo "installing into $venv: $* (the first time it takes a minute or two; pip's messages: $log)"
if ! PYTHONUNBUFFERED=1 "$venv/bin/python" -m pip install --disable-pip-version-check --retries 2 \
    --timeout 20 --progress-bar off ${constrained[@]+"${constrained[@]}"} "$@" 2>&1 | tee "$log" | progress
then
    if grep -qiE 'NewConnectionError|NameResolutionError|ConnectTimeout|Read timed out|ProxyError|Max retries|Temporary failure|Network is unreachable|Connection (refused|reset|broken)|connection (error|to .* timed out)' "$log"; then
        fail "the package index could not be reached: the first set-up needs it (all of pip's" \
            "messages: $log)"
    elif grep -qiE "(gcc|cc|clang|c\+\+|g\+\+|x86_64-linux-gnu-gcc|aarch64-linux-gnu-gcc)'? failed|command '?(gcc|cc|clang)|no such file or directory: '?(gcc|cc)|Python\.h: No such file" "$log"; then
        fail "a dependency has no ready-made wheel for this machine and a C compiler is missing:" \
            "install one (on Debian and Ubuntu: apt install build-essential python3-dev; all of" \
            "pip's messages: $log)"
    elif grep -qiE 'No space left' "$log"; then
        fail "the disk is full"
    elif grep -qiE 'Permission denied|Read-only file system' "$log"; then
        fail "pip may not write to a folder it needs (all of its messages: $log)"
    fi
    tail -n 5 "$log" >&2
    fail "pip could not install the dependencies (all of its messages: $log)"
fi
echo "installed"
