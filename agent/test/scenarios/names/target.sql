-- as the source
update "my.schema/ünï ""q""; x"."Ta""ble; Owner: --" set "a.b/c" = 9;
delete from public."tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt1";
