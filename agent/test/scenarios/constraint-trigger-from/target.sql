-- as the source
create schema outside;
create table outside.o (id int primary key);
create function outside.check_it() returns trigger language plpgsql as 'begin return null; end';
create constraint trigger of_o after insert on outside.o from app.a deferrable for each row execute function outside.check_it();
update app.a set note = 'old';
