-- Turns a copy into a staging that has drifted: rows missing, changed and added, sequences elsewhere; the same schema.

delete from "Component" where hashtext(id) & 31 = 0;
delete from "Session" where hashtext(id) & 1 = 0;

update "Component"
set price = round(coalesce(price, 1) * 1.07, 4), description = 'Staging: ' || coalesce(description, ''),
    status = 'DRAFT', "updatedAt" = timestamptz '2023-06-01 12:00:00+00'
where hashtext(id) & 15 = 1;

update "User" set name = 'Test of ' || coalesce(name, 'nobody'), preferences = preferences || '{"staging": true}'
where hashtext(id) & 3 = 1;

insert into "User" (id, email, name, role, "createdAt")
select 'staging-user-' || n, 'tester' || n || '@staging.example', 'Tester ' || n, 'ADMIN', timestamptz '2023-01-01 00:00:00+00'
from generate_series(1, 5) as n;

insert into "Component" (id, name, slug, description, specs, tags, "categoryId", "authorId", "createdAt", "updatedAt")
select 'staging-' || n, 'Only on staging ' || n, 'only-on-staging-' || n, E'never\tin production', jsonb_build_object('n', n), '{staging}',
       (select id from "Category" order by position, id limit 1), 'staging-user-' || (1 + n % 5),
       timestamptz '2023-01-01 00:00:00+00', timestamptz '2023-01-02 00:00:00+00'
from generate_series(1, (select 5 + count(*)::int / 100 from "Component")) as n;

insert into "File" ("componentId", path, "mimeType", bytes, sha256, "createdAt")
select id, '/staging/' || id || '.stl', 'model/stl', 1, md5(id) || md5(slug), "createdAt"
from "Component" where id like 'staging-%';

insert into "Tag" (name) values ('staging only');

select setval(pg_get_serial_sequence('"File"', 'id'), (select max(id) + 70000 from "File"));
select setval('"order_number_seq"', 5000, false);
refresh materialized view "CategoryStats";
