-- Whether a member is one of his team's leads, as the team service says.
alter table slots add column lead boolean not null default false;
alter table slots add constraint slots_lead_is_member check (not lead or member);
