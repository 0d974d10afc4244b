-- as the source
alter table app.a alter column note set storage external, alter column doc set storage main, alter column n set statistics 500, alter column n set (n_distinct = -0.5, n_distinct_inherited = 9);
alter table app.a set (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 77, parallel_workers = 2);
alter index app.a_pkey set (fillfactor = 60);
create index on app.a ((n * 2)) with (fillfactor = 50, deduplicate_items = off);
alter index app.a_expr_idx alter column 1 set statistics 321;
update app.a set note = 'old';
