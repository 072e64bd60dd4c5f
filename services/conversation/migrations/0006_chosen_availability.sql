-- What a person chose himself lasts until he signs out, also over times without a live session.
alter table presence
    add column chosen  text check (chosen in ('ACTIVE', 'WATCHING')),
    -- The sign-in that he chose it in. Another one begins with his role's default.
    add column sign_in uuid,
    add constraint presence_chosen_in check ((chosen is null) = (sign_in is null));
