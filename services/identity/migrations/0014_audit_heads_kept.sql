-- Heads of the audit log are also kept in a folder, which outlives the database.
alter table audit_heads
    -- The last head that was kept there.
    add column kept          bigint      not null default 0 check (kept between 0 and number),
    -- Until when a replica has taken the head upon itself to export it.
    add column claimed_until timestamptz not null default '-infinity';
