-- An older copy of the folder has not the heads that were kept after it was made.
alter table audit_heads
    -- When `kept` was kept there, in whole seconds, and no later than it was signed.
    add column kept_at timestamptz;
