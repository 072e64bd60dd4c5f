-- How colleagues reach a person. The number for codes and alerts is another one, in whatsapp_numbers, and is confirmed.

alter table users
    -- In E.164 form; null without one.
    add column phone text,
    add constraint users_phone check (phone ~ '^[+][1-9][0-9]{7,14}$');
