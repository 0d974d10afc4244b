-- as the source
create function app.one(a app.a) returns int language sql as 'select (a).id';
update app.a set note = 'old';
