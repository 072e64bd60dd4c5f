-- Who made the change, and from where: an encoded diwan.audit.v1.Origin. Empty in events of older versions.
alter table feed_events add column origin bytea not null default '';
