-- as the source
delete from only app.parent;
update app.child set late = 9;
