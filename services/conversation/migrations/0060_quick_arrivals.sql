-- Which accounts have teams that reply by themselves is asked for each message that comes in.
create index teams_with_replies on teams (account_id) where automatic_reply is not null and working_hours is not null;
-- A transition is written in the transaction that has just written its conversation, by the one statement that writes any; looking the
-- conversation up once more took a twentieth of an assignment's time.
alter table transitions drop constraint transitions_account_id_conversation_id_fkey;
