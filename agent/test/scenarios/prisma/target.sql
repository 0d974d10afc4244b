-- as the source
delete from public."Post" where id > 'p5';
update public."User" set name = 'old';
update public._prisma_migrations set id = 'other', checksum = 'other';
