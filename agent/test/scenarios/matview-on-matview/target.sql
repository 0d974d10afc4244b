-- as the source
delete from app.a where id > 9;
refresh materialized view app.sums;
refresh materialized view app.top;
