-- as the source
truncate app.a, app.b;
insert into app.a (id, big, small, note) values (90, 91, 1, 'old'), (92, 93, 2, 'old');
insert into app.b (note) values ('old');
insert into outside.borrower (note) values ('outside');
select setval('app.a_id_seq', 92), setval('app.a_small_seq', 3), setval('app."a big; one"', 93, false);
