#!/usr/bin/env bash
# Archives a team with so many open conversations, while agents work and a replica is killed: says how long it took, and recounts.
#
#   deploy/local/archiving.sh 100000
set -euo pipefail
cd "$(dirname "$0")/../.."
export DIWAN_TEST_CONVERSATIONS=${1:?how many conversations}
exec cargo test -p diwan-conversation --test it archiving_is_resumed -- --nocapture
