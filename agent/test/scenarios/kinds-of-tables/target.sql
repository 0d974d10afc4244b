-- as the source
update app.typed set name = 'old';
delete from app.fast;
insert into app.no_columns default values;
insert into app.no_rows values (1, 'old'), (2, 'old');
delete from app.whole;
delete from app.clustered_2;
refresh materialized view app.of_heap2;
