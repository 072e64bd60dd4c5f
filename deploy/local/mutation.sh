#!/usr/bin/env bash
# Takes each predicate of the claim and each lock of the routing away, one after the other: some test has to notice. Prints which.
#
# Nothing is built for it and the code has no switch: the tests of the conversation service run as they are, and their statements are
# changed on the way to the test database (shared/testkit/src/mutation.rs). A change that no statement undergoes counts as not noticed,
# and so do tests that do not end in time.
# With a word as its argument: only the mutations with it in their names.
set -euo pipefail
cd "$(dirname "$0")/../.."

only=${1:-}
marks=$(mktemp -d)
trap 'rm -rf "$marks"' EXIT
limit=240 # seconds for one run of tests

# name ; tests that are likely to notice ; statement | find | replacement. Where none of them does, all the others run.
mutations() {
    local slots='from decided d, teams t' conversations='last_holder_id = d.user_id, assigned_at = d.at'
    cat <<END
claim: account of the slot ; claim ; $slots|s.account_id = \$1 and s.team_id|s.team_id
claim: team of the slot ; claim ; $slots|s.team_id = \$2 and |
claim: user of the slot ; claim ; $slots|and s.user_id = d.user_id|
claim: membership ; claim ; $slots|and s.member|
claim: account of the team ; claim ; $slots|t.account_id = \$1 and t.id|t.id
claim: team ; claim ; $slots|and t.id = \$2|
claim: limit ; claim ; $slots|s.open_count + d.count <= t.assignment_limit|true
claim: all agents had room ; claim ; $slots|(select count(*) from decided) = (select count(*) from taken)|true
claim: account of the conversation ; claim ; $conversations|c.account_id = \$1 and c.id|\$1::uuid is not null and c.id
claim: conversation ; claim ; $conversations|and c.id = d.id|
claim: status ; claim ; $conversations|and c.state = 'QUEUED'|
claim: team of the conversation ; claim ; $conversations|c.team_id = \$2|\$2::uuid is not null
claim: holder ; claim ; $conversations|and c.holder_id is null|
claim: version ; claim ; $conversations|and c.version = d.version|
lock: the team's, by which deciders take turns ; fairness ; receiving_id is not null as| for no key update|
lock: the candidates' slots ; overtaken:: ; order by user_id for no key update| for no key update|
lock: one slot ; lock_tests ; do update set open_count = known.open_count|insert into slots as known|with made as (insert into slots as known|do update set open_count = known.open_count|do nothing)|returning open_count|select coalesce((select open_count from slots where account_id = \$1 and team_id = \$2 and user_id = \$3), 0) as open_count
lock: the teams of who comes ; fairness ; and id in (select team_id from slots| for no key update|
lock: the slots of who goes ; lock_tests ; where account_id = \$1 and user_id = \$2 order by team_id| for no key update|
lock: the user who takes or comes ; overtaken:: ; select active from users| for share|
lock: the settings, for a slot that is new ; overtaken_tests ; from teams where account_id = \$1 and id = \$2 for share| for share|
lock: the presence, for a slot that is new ; overtaken_tests ; select from presence where account_id| for share|
lock: the user who joins ; overtaken:: ; select id from users where account_id| for no key update|
lock: the team that something comes to ; lock_tests ; receiving_id is null for key share| for key share|
lock: the team that is emptied ; lock_tests ; not archived for update| for update|
END
}

build() {
    cargo test -p diwan-conversation --no-run --message-format=json 2>/dev/null |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep -E '/(diwan_conversation|it)-[0-9a-f]+$' || {
        cargo test -p diwan-conversation --no-run
        exit 1
    }
}

# Runs tests; prints those that fail, and nothing where all pass.
failing() {
    local ran=0
    timeout "$limit" "$@" >"$marks/output" 2>&1 </dev/null || ran=$?
    if [ "$ran" = 124 ]; then return; fi
    sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$marks/output" | head -3 | paste -sd' '
}

noticed_by() {
    local suspects=$1 binary found
    # shellcheck disable=SC2086 # several words, several filters
    for binary in "${binaries[@]}"; do
        found=$(failing "$binary" $suspects)
        if [ -n "$found" ]; then echo "$found"; return; fi
    done
    for binary in "${binaries[@]}"; do
        found=$(failing "$binary" --skip domain::)
        if [ -n "$found" ]; then echo "$found"; return; fi
    done
}

echo "building the tests of the conversation service"
built=$(build)
mapfile -t binaries <<<"$built"
list=$(mutations | grep -F -- "$only")
total=$(wc -l <<<"$list")
number=0 survived=0
printf '%s\n' "$total mutations; the first figure is how long each took"
while IFS= read -r line; do
    number=$((number + 1))
    name=${line%% ; *} rest=${line#* ; }
    suspects=${rest%% ; *}
    export DIWAN_TEST_MUTATION=${rest#* ; } DIWAN_TEST_MUTATION_APPLIED=$marks/$number
    [ -t 1 ] && printf '\r%s/%s %-60s' "$number" "$total" "$name"
    begun=$SECONDS
    found=$(noticed_by "$suspects")
    [ -t 1 ] && printf '\r'
    if [ -n "$found" ] && [ -e "$marks/$number" ]; then
        printf '%4ss  %-48s %s\n' $((SECONDS - begun)) "$name" "$found"
    else
        survived=$((survived + 1))
        [ -e "$marks/$number" ] && why="NOBODY NOTICED" || why="NO SUCH STATEMENT RAN"
        printf '%4ss  %-48s %s\n' $((SECONDS - begun)) "$name" "$why"
    fi
done <<<"$list"
echo "$((total - survived)) of $total mutations were noticed"
[ "$survived" = 0 ]
