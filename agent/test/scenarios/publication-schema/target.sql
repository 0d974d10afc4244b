-- as the source
create publication wide for tables in schema app;
create publication filtered for table app.a (id) where (id > 0);
update app.a set note = 'old' where id = 1;
