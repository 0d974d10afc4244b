-- as the source
create index partial on app.a (n desc nulls last) where n > 10 and name <> '';
create unique index expression on app.a (lower(name), (id + 1)) include (n, at);
create index brin on app.a using brin (at, id) with (pages_per_range = 4, autosummarize = on);
create index gin on app.a using gin (doc jsonb_path_ops) with (fastupdate = off);
create index arrays on app.a using gin (tags);
create index trigrams on app.a using gin (name ext.gin_trgm_ops);
create index gist on app.a using gist (during, p);
create index spgist on app.a using spgist (p);
create index hash on app.a using hash (name);
create index pattern on app.a (name text_pattern_ops, name collate "C");
create index "it's; quoted" on app.a (name);
comment on index app."it's; quoted" is 'a comment';
update app.a set name = 'old ' || id;
delete from app.a where id > 20;
