#!/usr/bin/env bash
# Checks every query of the services against freshly migrated databases of a private PostgreSQL.
#
#   deploy/local/sqlx.sh prepare [service...]   writes services/<service>/.sqlx, which builds without a database use
#   deploy/local/sqlx.sh check   [service...]   fails when a query does not fit the schema or .sqlx is stale
set -euo pipefail
cd "$(dirname "$0")/../.."
mode=${1:?prepare or check}; shift
[ $# -gt 0 ] && services=("$@") || services=(identity team conversation mailbox billing)

if [ -z "${DIWAN_SQLX_INSIDE:-}" ]; then
    binaries=$(deploy/local/postgres.sh | tail -n 1)/bin
    databases=$(IFS=,; echo "${services[*]}")
    mkdir -p target
    # A cluster of its own for each call: several people may prepare at the same time.
    cluster=$(mktemp -d target/sqlx-postgres.XXXXXX)
    chmod 755 "$cluster" # the server runs as another user than root
    trap 'rm -rf "$cluster"' EXIT
    cargo build --quiet -p diwan-pglocal
    DIWAN_SQLX_INSIDE=1 DIWAN_POSTGRES_BIN=$binaries target/debug/diwan-pglocal run --throwaway --data "$cluster/data" --databases "$databases" -- \
        "$0" "$mode" "${services[@]}"
    exit
fi

# One at a time: whoever compiles second would find the crate compiled, and nothing written down.
exec 9>target/sqlx.lock
flock 9
for service in "${services[@]}"; do
    variable=DIWAN_${service^^}_DATABASE_URL
    folder=services/$service
    for migration in "$folder"/migrations/*.sql; do
        "${DIWAN_POSTGRES_BIN}/psql" "${!variable}" --quiet --no-psqlrc --set ON_ERROR_STOP=1 --output /dev/null --file "$migration"
    done
    fresh=$(mktemp -d)
    # The macros write down what the database says of each query while the crate is compiled, so it has to be compiled.
    touch "$folder/src/lib.rs"
    SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$fresh cargo check --quiet -p "diwan-$service"
    # Every service has queries: without any, the crate was not compiled here, and what is there must stay.
    if [ -z "$(find "$fresh" -name 'query-*.json' -print -quit)" ]; then
        echo "$service: no query was written down; somebody else may have compiled it at the same time. Run this again." >&2
        exit 1
    fi
    if [ "$mode" = prepare ]; then
        rm -rf "$folder/.sqlx"
        mkdir -p "$folder/.sqlx"
        cp "$fresh"/query-*.json "$folder/.sqlx/"
        echo "$service: $(ls "$folder/.sqlx" | wc -l) queries written"
    elif ! diff -rq "$fresh" "$folder/.sqlx"; then
        echo "$service: .sqlx is stale; run deploy/local/sqlx.sh prepare $service" >&2
        exit 1
    else
        echo "$service: $(ls "$fresh" | wc -l) queries fit the schema"
    fi
    rm -rf "$fresh"
    # What was compiled against that database must not be taken for a build without one.
    touch "$folder/src/lib.rs"
done
