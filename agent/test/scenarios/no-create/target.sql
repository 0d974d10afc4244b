-- as the source
alter schema app owner to scenario_owner;
alter table app.a owner to scenario_owner;
update app.a set note = 'old';
