create schema app;
create schema ext;
create extension hstore schema ext;
create extension btree_gist schema ext;
create extension citext schema ext;
create table app.a (id int primary key, tags ext.hstore, name ext.citext unique, room int, during tsrange, exclude using gist (room with =, during with &&));
insert into app.a values (1, 'a=>1,b=>NULL', 'New', 1, '[2020-01-01,2020-01-02)'), (2, '', 'Other', 1, '[2020-01-02,2020-01-03)');
create index on app.a using gin (tags);
