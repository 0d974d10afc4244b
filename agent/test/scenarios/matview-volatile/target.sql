-- as the source
delete from app.a where id > 3;
refresh materialized view app.m;
