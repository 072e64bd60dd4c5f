-- Whether a member is one of his team's leads. The mark ends with the membership; it stays while the team is archived.
alter table memberships add column lead boolean not null default false;
alter table memberships add constraint memberships_lead_is_member check (not lead or left_at is null);
