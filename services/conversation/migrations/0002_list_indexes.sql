-- Lists by state or holder, the one that came in first at the top, without passing over all that is closed.
create index conversations_by_state on conversations (account_id, state, created_at, id);
create index conversations_by_holder on conversations (account_id, last_holder_id, created_at, id) where last_holder_id is not null;
