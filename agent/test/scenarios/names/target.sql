-- as the source
update "my.schema/ünï ""q""; x"."Ta""ble; Owner: --" set "a.b/c" = 9;
delete from public."tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt1";
update two.a set note = 'old ' || id;
delete from two.a where id > 2;
delete from one.a where id > 2;
