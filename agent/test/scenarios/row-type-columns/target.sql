-- as the source
create schema outside;
create table outside.kept (id int, one app.a, many app.a[]);
insert into outside.kept values (1, '(1,kept)', '{"(2,kept)"}');
create type outside.wrapped as (a app.a, at date);
update app.a set note = 'old';
