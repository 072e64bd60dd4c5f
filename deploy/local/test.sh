#!/usr/bin/env bash
# Runs every test: with cargo-nextest where it is installed, else with cargo's own runner. Binaries are built already.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo test --workspace --doc --quiet
if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --workspace --no-fail-fast "$@"
fi
exec cargo test --workspace --all-targets --no-fail-fast "$@"
