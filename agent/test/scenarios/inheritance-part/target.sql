-- as the source
update outside.parent set note = 'old';
delete from app.kid where id > 4;
