create schema app;
create table app."Component" (id int primary key, name text);
insert into app."Component" select n, 'new ' || n from generate_series(1, 5) n;
