create type public."Role" as enum ('ADMIN', 'USER');
create table public."User" (
  id serial primary key, email text not null, name text, role public."Role" not null default 'USER',
  "createdAt" timestamp(3) not null default current_timestamp, "updatedAt" timestamp(3) not null
);
create table public."Post" (id text primary key, title varchar(255) not null, "authorId" int not null, published boolean not null default false, meta jsonb);
create table public."_PostToTag" ("A" text not null, "B" int not null);
create table public."Tag" (id serial primary key, name text not null);
create table public._prisma_migrations (
  id varchar(36) primary key, checksum varchar(64) not null, finished_at timestamptz, migration_name varchar(255) not null, logs text,
  rolled_back_at timestamptz, started_at timestamptz not null default now(), applied_steps_count integer not null default 0
);
create unique index "User_email_key" on public."User" (email);
create unique index "_PostToTag_AB_unique" on public."_PostToTag" ("A", "B");
create index "_PostToTag_B_index" on public."_PostToTag" ("B");
alter table public."Post" add constraint "Post_authorId_fkey" foreign key ("authorId") references public."User" (id) on delete restrict on update cascade;
alter table public."_PostToTag" add constraint "_PostToTag_A_fkey" foreign key ("A") references public."Post" (id) on delete cascade on update cascade;
alter table public."_PostToTag" add constraint "_PostToTag_B_fkey" foreign key ("B") references public."Tag" (id) on delete cascade on update cascade;
insert into public._prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count) values ('m1', 'c1', '20240101000000_init', '2024-01-01', 1);
insert into public."User" (email, "updatedAt") select 'u' || n || '@example.org', '2024-01-01' from generate_series(1, 10) n;
insert into public."Post" select 'p' || n, 'new', 1 + n % 10, n % 2 = 0, '{"a": 1}' from generate_series(1, 20) n;
insert into public."Tag" (name) values ('a'), ('b');
insert into public."_PostToTag" select 'p' || n, 1 + n % 2 from generate_series(1, 20) n;
