#!/usr/bin/env bash
# Checks the protos: format, lints, and that nothing breaks what was released (proto/released.binpb). Then it breaks a copy on
# purpose and insists that the check notices: a check that cannot fail proves nothing.
set -euo pipefail
cd "$(dirname "$0")/../../proto"
buf=$PWD/../.diwan/bin/buf

"$buf" format --diff --exit-code
"$buf" lint
"$buf" breaking --against released.binpb

broken=$(mktemp -d)
trap 'rm -rf "$broken"' EXIT
cp -r . "$broken"
sed -i 's/string company = 2;/string company = 12;/' "$broken/diwan/identity/v1/account.proto"
if (cd "$broken" && "$buf" breaking --against released.binpb >/dev/null 2>&1); then
    echo "protos.sh: a renumbered field went unnoticed" >&2
    exit 1
fi
echo "protos: format, lint and compatibility are good; a deliberate break was noticed"
