-- Leaves "Component" alone, with its indexes: one big table without keys to others.

drop materialized view "CategoryStats";
drop table "Category", "User", "Tag", "File", "Remix", "_ComponentToTag", "Session" cascade;
drop type "UserRole";
drop sequence "order_number_seq";
