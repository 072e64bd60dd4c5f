-- Sign-ins that ended a short while ago: for as long as an access token may still be good, none of them makes its user present again.
create table ended_sign_ins (
    account_id uuid        not null,
    sign_in    uuid        not null,
    ended_at   timestamptz not null,
    primary key (account_id, sign_in)
);
create index ended_sign_ins_by_time on ended_sign_ins (ended_at);
