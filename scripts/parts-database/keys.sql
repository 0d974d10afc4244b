alter table "Category" add constraint "Category_pkey" primary key (id);
alter table "User" add constraint "User_pkey" primary key (id);
alter table "Tag" add constraint "Tag_pkey" primary key (id);
alter table "Component" add constraint "Component_pkey" primary key (id);
alter table "Component" add constraint "Component_id_revision_key" unique (id, revision);
alter table "Component" add constraint "Component_price_check" check (price is null or price >= 0);
alter table "File" add constraint "File_pkey" primary key (id);
alter table "Remix" add constraint "Remix_pkey" primary key (id);
alter table "Session" add constraint "Session_pkey" primary key (id);

create unique index "Category_slug_key" on "Category" (slug);
create unique index "User_email_key" on "User" (lower(email));
create unique index "Tag_name_key" on "Tag" (name);
create unique index "Component_slug_key" on "Component" (slug);
create index "Component_specs_idx" on "Component" using gin (specs jsonb_path_ops);
create index "Component_categoryId_status_idx" on "Component" ("categoryId", status);
create index "Component_published_updatedAt_idx" on "Component" ("updatedAt" desc) where status = 'PUBLISHED';
create index "File_componentId_idx" on "File" ("componentId");
create index "Remix_source_idx" on "Remix" ("sourceId", "sourceRevision");
create index "Remix_remix_idx" on "Remix" ("remixId", "remixRevision");
create unique index "_ComponentToTag_AB_unique" on "_ComponentToTag" ("A", "B");
create index "_ComponentToTag_B_index" on "_ComponentToTag" ("B");
create index "Session_userId_idx" on "Session" ("userId");

alter table "Category" add constraint "Category_parentId_fkey"
  foreign key ("parentId") references "Category" (id) on update cascade on delete set null;
alter table "Component" add constraint "Component_categoryId_fkey"
  foreign key ("categoryId") references "Category" (id) on update cascade on delete restrict;
alter table "Component" add constraint "Component_authorId_fkey"
  foreign key ("authorId") references "User" (id) on update cascade on delete set null;
alter table "File" add constraint "File_componentId_fkey"
  foreign key ("componentId") references "Component" (id) on update cascade on delete cascade;
alter table "Remix" add constraint "Remix_source_fkey"
  foreign key ("sourceId", "sourceRevision") references "Component" (id, revision) on update cascade on delete cascade;
alter table "Remix" add constraint "Remix_remix_fkey"
  foreign key ("remixId", "remixRevision") references "Component" (id, revision) on update cascade on delete cascade;
alter table "_ComponentToTag" add constraint "_ComponentToTag_A_fkey"
  foreign key ("A") references "Component" (id) on update cascade on delete cascade;
alter table "_ComponentToTag" add constraint "_ComponentToTag_B_fkey"
  foreign key ("B") references "Tag" (id) on update cascade on delete cascade;
alter table "Session" add constraint "Session_userId_fkey"
  foreign key ("userId") references "User" (id) on update cascade on delete cascade;

create function "setUpdatedAt"() returns trigger language plpgsql as $$
begin
  -- An explicit value stands, so that copies and corrections can keep theirs.
  if new."updatedAt" is not distinct from old."updatedAt" then
    new."updatedAt" := current_timestamp;
  end if;
  return new;
end
$$;
create trigger "Component_setUpdatedAt" before update on "Component"
  for each row execute function "setUpdatedAt"();

create view "PublishedComponent" as
  select c.id, c.name, c.slug, c.price, c.rating, g.name as "categoryName", u.name as "authorName"
  from "Component" as c
  join "Category" as g on g.id = c."categoryId"
  left join "User" as u on u.id = c."authorId"
  where c.status = 'PUBLISHED';

create materialized view "CategoryStats" as
  select "categoryId", count(*) as components, avg(price) as "averagePrice", max("updatedAt") as "lastUpdate"
  from "Component"
  group by "categoryId";
create unique index "CategoryStats_categoryId_key" on "CategoryStats" ("categoryId");

comment on table "Component" is 'A part that can be printed; it''s "live" once PUBLISHED';
comment on column "Component".specs is E'Dimensions in mm, keys as in the editor\n(see "File" for the models)';
comment on view "PublishedComponent" is 'What the search shows';
comment on function "setUpdatedAt"() is 'Prisma''s @updatedAt, kept by the database';
