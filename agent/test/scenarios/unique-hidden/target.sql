-- as the source
delete from public.member where id = 2;
create unique index member_email on public.member (email) where deleted_at is null;
