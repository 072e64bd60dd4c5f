#!/usr/bin/env bash
# Takes each predicate of the claim and each lock of the services conversation and team away, one after the other: some test has to
# notice. Prints which.
#
# Nothing is built for it and the code has no switch: the tests of the services run as they are, and their statements are changed on the
# way to the test database (shared/testkit/src/mutation.rs). A change that no statement undergoes counts as not noticed, and so do tests
# that do not end in time. Before that, each statement that locks rows has to be in the list, and the tests that are likely to notice have to
# pass with nothing changed.
# With a word as its argument: only the mutations with it in their names.
set -euo pipefail
cd "$(dirname "$0")/../.."

only=${1:-}
marks=$(mktemp -d)
trap 'rm -rf "$marks"' EXIT
limit=240 # seconds for one run of tests

# service: name ; tests that are likely to notice ; statement | find | replacement. Where none of them does, all the others run.
mutations() {
    local slots='from decided d, teams t' conversations='last_holder_id = d.user_id, assigned_at = d.at'
    local by_id='order by id for no key update' nothing='do update set account_id = known.account_id|do nothing'
    cat <<END
conversation: claim, account of the slot ; claim ; $slots|s.account_id = \$1 and s.team_id|s.team_id
conversation: claim, team of the slot ; claim ; $slots|s.team_id = \$2 and |
conversation: claim, user of the slot ; claim ; $slots|and s.user_id = d.user_id|
conversation: claim, membership ; claim ; $slots|and s.member|
conversation: claim, account of the team ; claim ; $slots|t.account_id = \$1 and t.id|t.id
conversation: claim, team ; claim ; $slots|and t.id = \$2|
conversation: claim, limit ; claim ; $slots|s.open_count + d.count <= t.assignment_limit|true
conversation: claim, all agents had room ; claim ; $slots|(select count(*) from decided) = (select count(*) from taken)|true
conversation: claim, account of the conversation ; claim ; $conversations|account_id = \$1 and id = d.id|\$1::uuid is not null and id = d.id|c.account_id = \$1 and |\$1::uuid is not null and |account_id = c.account_id and id = c.contact_id|id = c.contact_id
conversation: claim, conversation ; claim ; $conversations| and id = d.id limit 1| limit 1
conversation: claim, status ; claim ; $conversations|and c.state = d.state|
conversation: claim, team of the conversation ; claim ; $conversations|and c.team_id = d.team_id|
conversation: claim, holder ; claim ; $conversations|and c.holder_id is not distinct from d.nobody|
conversation: claim, version ; claim ; $conversations|and c.version = d.version|
conversation: the team, by which deciders take turns ; fairness ; receiving_id is not null as| for no key update|
conversation: the candidates' slots ; overtaken:: ; order by user_id for no key update| for no key update|
conversation: one slot ; lock_tests ; do update set open_count = known.open_count|insert into slots as known|with made as (insert into slots as known|do update set open_count = known.open_count|do nothing)|returning open_count|select coalesce((select open_count from slots where account_id = \$1 and team_id = \$2 and user_id = \$3), 0) as open_count
conversation: the teams of who comes ; fairness ; and id in (select team_id from slots| for no key update|
conversation: the slots of who goes ; lock_tests ; where account_id = \$1 and user_id = \$2 order by team_id| for no key update|
conversation: the user who takes or comes ; overtaken:: ; select active from users| for share|
conversation: the settings, for a slot that is new ; overtaken_tests ; from teams where account_id = \$1 and id = \$2 for share| for share|
conversation: the presence, for a slot that is new ; overtaken_tests ; select from presence where account_id| for share|
conversation: the presence of who comes and goes ; lock_tests::people ; version from presence| for update|
conversation: sessions that are forgotten ; lock_tests::people ; delete from live_sessions s using over|order by id for update|
conversation: sessions that are extended ; lock_tests::order ; update live_sessions s set lease_until|$by_id|
conversation: events, users ; lock_tests::events ; select id from users where account_id|$by_id|
conversation: events, teams ; lock_tests::events ; select id from teams where account_id = \$1 and id = any|$by_id|
conversation: events, menus ; lock_tests::events ; from bots where account_id|order by id for update|
conversation: events, slots ; lock_tests::events ; order by user_id, team_id for no key update|order by user_id, team_id for no key update|
conversation: events, presences ; lock_tests::events ; select user_id from presence|order by user_id for update|
conversation: events, conversations ; lock_tests::events ; holder_id = any(\$2) order by id|$by_id|
conversation: a membership that is told of ; lock_tests::events ; select member from slots| for no key update|
conversation: a team that is told of ; lock_tests::events ; select assignment_limit, visibility| for no key update|
conversation: what is taken away ; lock_tests::events ; with held as|$by_id|
conversation: the team that something comes to ; lock_tests ; receiving_id is null for key share| for key share|
conversation: the team that is emptied ; lock_tests ; not archived for update| for update|
conversation: the team whose conversations move ; lock_tests::work ; not archived|for no key update skip locked|
conversation: conversations that move ; lock_tests::work ; select id from conversations where account_id = \$1 and id = any|$by_id|
conversation: a reassignment ; lock_tests::work ; from reassignments where| for no key update skip locked|
conversation: the hours of a shift that begins ; lock_tests::work ; changes_at <= \$3|for no key update|
conversation: the unanswered ; lock_tests::work ; unanswered_since as| for no key update|
conversation: what waits long ; lock_tests::work ; set wait_alerted = true|for no key update of c skip locked|
conversation: turns of bots ; lock_tests::work ; from bot_turns t where account_id|for update of t skip locked|
conversation: a claim of a turn ; lock_tests::lists ; from bot_turns t where account_id|conversation_id = \$2 for update|conversation_id = \$2
conversation: a bot that changes ; lock_tests::lists ; from bots where account_id|id = \$2 for update|id = \$2
conversation: a bot that something starts with ; lock_tests::lists ; from bots where account_id|id = \$2 for share|id = \$2
conversation: the list of rules ; lock_tests::lists ; insert into routing_lists|$nothing
conversation: the team of a rule ; lock_tests::lists ; select from teams|receiving_id is null for share|receiving_id is null
conversation: the tree of topics ; lock_tests::lists ; insert into topic_trees|$nothing
conversation: topics that are named ; lock_tests::lists ; from topics|order by id for share|
conversation: topics that are archived ; lock_tests::order ; update topics t set archived_at|order by t.id for no key update|
conversation: a group that changes ; lock_tests::lists ; from contact_groups|id = \$2 for update|id = \$2
conversation: a group that somebody comes into ; lock_tests::lists ; from contact_groups|order by id for share|
conversation: the contact who comes into a group ; lock_tests::lists ; select group_ids from contacts| for no key update|
conversation: the members of a group that goes ; lock_tests::order ; with members as|$by_id|
conversation: what is sent ; lock_tests::work ; update sends set attempts|for update skip locked|
conversation: decisions that are forgotten ; lock_tests::work ; delete from decisions|for update skip locked|
conversation: histories of agents that are forgotten ; lock_tests::work ; delete from agent_history|for update skip locked|
conversation: histories of teams that are forgotten ; lock_tests::work ; delete from team_history|for update skip locked|
conversation: priorities that are forgotten ; lock_tests::work ; delete from priority_history|for update skip locked|
team: a team that changes ; locks:: ; select from teams where account_id = \$1 and id = \$2|for no key update|
team: a team that is held ; locks:: ; archived_at is null order by id for key share|for key share|
team: teams of which one is archived ; locks:: ; select from teams where account_id = \$1 and id = any|for update|
team: the members of a team that is archived ; locks:: ; select members.user_id from members|for no key update|
team: who leaves a team ; locks:: ; select from members where account_id|for no key update|
team: who is deactivated or not ; locks:: ; select deactivated from user_states|for share|
team: the time zone, for hours that count by it ; hours:: ; select from accounts|for share|
team: the tree of departments ; locks:: ; select from department_trees|for update|
END
}

# Statements that lock rows, in the files that sqlx checks queries by, and that no mutation changes.
unlisted() {
    local changed statement find
    while IFS= read -r line; do
        changed=${line##* ; } statement=${changed%%|*} find=${changed#*|}
        grep -lF -- "${find%%|*}" services/"${line%%: *}"/.sqlx/*.json | xargs -r grep -lF -- "$statement" || true
    done < <(mutations) | sort -u >"$marks/listed"
    grep -lE ' for (no key update|update|key share|share)|do update set (\w+) = known\.\2' services/{conversation,team}/.sqlx/*.json |
        sort | comm -23 - "$marks/listed"
}

# Service and path of each binary of tests.
build() {
    local packages
    packages=$(printf -- '-p diwan-%s ' "$@")
    # shellcheck disable=SC2086 # several words, several packages
    cargo test $packages --no-run --message-format=json 2>/dev/null |
        sed -nE 's#.*/services/([a-z]+)[\#@].*"executable":"([^"]*/(diwan_[a-z]+|it)-[0-9a-f]+)".*#\1 \2#p' | grep . || {
        cargo test $packages --no-run >&2
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

# The service, and the filters of the tests.
noticed_by() {
    local binary found
    # shellcheck disable=SC2086 # several words, several filters
    for binary in $(sed -n "s/^$1 //p" <<<"$built"); do
        found=$(failing "$binary" $2)
        if [ -n "$found" ]; then echo "$found"; return; fi
    done
}

missing=$(unlisted)
if [ -n "$missing" ]; then
    printf 'locks that no mutation takes away:\n%s\n' "$missing"
    exit 1
fi
list=$(mutations | grep -F -- "$only")
mapfile -t services < <(cut -d: -f1 <<<"$list" | sort -u)
echo "building the tests of ${services[*]}"
built=$(build "${services[@]}")
for service in "${services[@]}"; do
    suspects=$(sed -n "s/^$service: [^;]* ; \([^;]*\) ; .*/\1/p" <<<"$list" | sort -u | paste -sd' ')
    found=$(noticed_by "$service" "$suspects")
    if [ -n "$found" ]; then echo "fails though nothing is changed: $found"; exit 1; fi
done
total=$(wc -l <<<"$list")
number=0 survived=0
printf '%s\n' "$total mutations; the first figure is how long each took"
while IFS= read -r line; do
    number=$((number + 1))
    service=${line%%: *} name=${line%% ; *} rest=${line#* ; }
    export DIWAN_TEST_MUTATION=${rest#* ; } DIWAN_TEST_MUTATION_APPLIED=$marks/$number
    [ -t 1 ] && printf '\r%s/%s %-70s' "$number" "$total" "$name"
    begun=$SECONDS
    found=$(noticed_by "$service" "${rest%% ; *}")
    [ -z "$found" ] && found=$(noticed_by "$service" "--skip domain::")
    [ -t 1 ] && printf '\r'
    if [ -n "$found" ] && [ -e "$marks/$number" ]; then
        printf '%4ss  %-62s %s\n' $((SECONDS - begun)) "$name" "$found"
    else
        survived=$((survived + 1))
        [ -e "$marks/$number" ] && why="NOBODY NOTICED" || why="NO SUCH STATEMENT RAN"
        printf '%4ss  %-62s %s\n' $((SECONDS - begun)) "$name" "$why"
    fi
done <<<"$list"
echo "$((total - survived)) of $total mutations were noticed"
[ "$survived" = 0 ]
