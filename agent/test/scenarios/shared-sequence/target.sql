-- as the source
update app.order_line set note = 'old';
delete from app.refund;
alter sequence app.ticket restart 1003;
