-- Notes whoever is above the limit by something that he got automatically: by a recount under the lock of his slot, not by the
-- counter that the service keeps.
create schema chaos;
create table chaos.over_limit (conversation_id uuid, cause text, held bigint, allowed bigint);

-- Limits that were, and until when. A batch decides under the team's lock, so the limit stands still; what goes back to one agent
-- does not.
create table chaos.limits (team_id uuid, assignment_limit bigint, until timestamptz);
create function chaos.note_limit() returns trigger language plpgsql as $$
begin
    insert into chaos.limits values (old.id, coalesce(nullif(old.assignment_limit, 0), 1000000), clock_timestamp());
    return null;
end $$;
create trigger note_limit after update on teams for each row
    when (old.assignment_limit <> new.assignment_limit) execute function chaos.note_limit();

create function chaos.watch_limit() returns trigger language plpgsql as $$
declare held bigint;
declare allowed bigint;
begin
    select count(*) into held from conversations c
    where c.account_id = new.account_id and c.team_id = new.team_id and c.holder_id = new.to_holder_id and c.state = 'OPEN';
    select coalesce(nullif(assignment_limit, 0), 1000000) into allowed from teams t
    where t.account_id = new.account_id and t.id = new.team_id;
    if new.cause <> 'AUTOMATIC' then
        select greatest(allowed, max(l.assignment_limit)) into allowed from chaos.limits l
        where l.team_id = new.team_id and l.until > clock_timestamp() - interval '1 minute';
    end if;
    if held > allowed then
        insert into chaos.over_limit values (new.conversation_id, new.cause, held, allowed);
    end if;
    return null;
end $$;
create trigger watch_limit after insert on transitions for each row
    when (new.decision_id is not null and new.to_state = 'OPEN') execute function chaos.watch_limit();

-- What the clients were told, for the audit.
create table chaos.mails (id uuid primary key, conversation uuid);
create table chaos.replies (id uuid primary key, conversation uuid, author uuid);
create table chaos.acts (conversation uuid, version bigint, cause text, actor uuid, state text, team uuid, holder uuid);
create table chaos.priorities (conversation uuid primary key, priority integer);
create table chaos.topics (conversation uuid primary key, topic uuid);
create table chaos.bots (id uuid primary key, external boolean);
create table chaos.reassignments (id uuid primary key);
create table chaos.shown (conversation uuid, version bigint, times bigint, primary key (conversation, version));
