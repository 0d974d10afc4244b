/*
 * The statements that fill the parts database, each inside PostgreSQL. All take $1 first number, $2 last number,
 * $3 components in all, $4 seed (text), and depend on nothing else: the same numbers give the same rows on any server.
 */

export interface Filling {
  table: string
  /** How many numbers to run through for so many components; rows per number is up to the statement. */
  numbers: (components: number) => number
  sql: string
}

/**
 * Session-local, gone with the connection: the database keeps no trace of them. PostgreSQL inlines them only while all
 * they call is immutable, hence n::text.
 */
export const temporaryFunctions = `
  create function pg_temp.digest(kind text, n bigint, seed text) returns text language sql immutable
    as $$ select md5(seed || ':' || kind || ':' || n::text) $$;
  create function pg_temp.key(kind text, n bigint, seed text) returns text language sql immutable
    as $$ select 'c' || substr(md5(seed || ':' || kind || ':' || n::text), 1, 24) $$;
  /* A number from 0 to 65535 out of a digest, at one of its eight places. */
  create function pg_temp.pick(digest text, place int) returns int language sql immutable
    as $$ select ('x' || substr(digest, place * 4 + 1, 4))::bit(16)::int $$;`

const perHundred = (components: number) => Math.ceil(components / 100)
const authors = `(1 + $3::bigint / 20)`

export const fillings: readonly Filling[] = [
  {
    table: 'Category',
    numbers: () => 40,
    sql: `
      insert into "Category" (id, name, slug, "parentId", position)
      select pg_temp.key('category', n, $4), (array['Grid', 'Snap', 'Bin', 'Hook', 'Shelf', 'Tür & Griff', '棚', 'Bracket'])[1 + n % 8] || ' ' || n,
             'category-' || n, case when n > 8 then pg_temp.key('category', 1 + n % 8, $4) end, n
      from generate_series($1::bigint, $2::bigint) as n
      where $3::bigint >= 0`,
  },
  {
    table: 'Tag',
    numbers: () => 200,
    sql: `
      insert into "Tag" (name)
      select (array['printable', 'magnetic', 'heavy-duty', 'größe-m', '25mm', 'no supports'])[1 + n % 6] || ' #' || n
      from generate_series($1::bigint, $2::bigint) as n
      where $3::bigint >= 0 and $4::text is not null
      order by n`,
  },
  {
    table: 'User',
    numbers: (components) => 1 + Math.floor(components / 20),
    sql: `
      insert into "User" (id, email, name, role, preferences, "createdAt")
      select pg_temp.key('user', n, $4), 'Maker.' || n || '@example.com',
             case when n % 11 > 0 then (array['Zoë', 'Jürgen', '美咲', 'O''Neil', 'Łukasz', 'Ana "Nita"', 'Ömer'])[1 + n % 7] || ' ' || substr(d, 1, 6) end,
             case when n % 50 = 0 then 'ADMIN' when n % 9 = 0 then 'EDITOR' else 'MAKER' end::"UserRole",
             jsonb_build_object('theme', case when n % 3 = 0 then 'dark' else 'light' end, 'units', 'mm', 'beta', n % 5 = 0),
             timestamptz '2022-01-01 08:00:00+00' + n * interval '7 minutes'
      from generate_series($1::bigint, $2::bigint) as n, pg_temp.digest('user', n, $4) as d
      where $3::bigint >= 0`,
  },
  {
    table: 'Component',
    numbers: (components) => components,
    sql: `
      insert into "Component" (id, revision, name, slug, description, specs, tags, status, price, rating, thumbnail,
                               "categoryId", "authorId", "createdAt", "updatedAt")
      select pg_temp.key('component', n, $4), 1 + n % 4,
             (array['Multibin', 'Wall tile', 'Peg clip', 'Schraubenhalter', 'Étagère', '工具掛け', 'Drawer "XL"', 'Cable guide'])[1 + n % 8]
               || ' ' || (1 + pick.a % 12) || '×' || (1 + pick.b % 12) || ' v' || n % 4,
             'part-' || n || '-' || substr(d, 1, 8),
             case when n % 23 > 0 then
               (array['Fits the 25 mm grid. ', E'Print flat side down;\\tno supports needed. ', E'Saved from C:\\\\parts\\\\new\\\\tile.f3d\\n',
                      'Für Schrauben bis M4 – größere brauchen den Adapter. ', E'Line one\\n\\\\.\\nline three ', '適合するネジはM3です。🔩 ', ''])[1 + n % 7]
               || repeat('Holds up to ' || pick.a % 900 || ' g with two snaps, tested at ' || 15 + pick.b % 30 || ' °C. ', 1 + pick.c % 2)
               || d || ' ' || md5(d) end,
             jsonb_build_object('width', 25 * (1 + pick.a % 12), 'height', 25 * (1 + pick.b % 12), 'depth', round((pick.c % 4000) / 40.0, 2),
               'material', (array['PLA', 'PETG', 'ABS', null])[1 + n % 4], 
               'printer', jsonb_build_object('nozzle', 0.4, 'minutes', pick.c % 900, 'profile', substr(d, 9, 8)),
               'magnets', n % 5 = 0, 'holes', jsonb_build_array(n % 3, n % 7, pick.a % 10), 'note', (array['\\ "quoted"', 'naïve', ''])[1 + n % 3]),
             case when n % 13 = 0 then '{}' else array['tag ' || pick.a % 50, (array['wall', 'desk', 'a,b', '{"x"}', 'null'])[1 + n % 5], substr(d, 20, 6)] end,
             (array['PUBLISHED', 'PUBLISHED', 'DRAFT', 'IN_REVIEW', 'PUBLISHED', 'ARCHIVED'])[1 + n % 6]::"ComponentStatus",
             case when n % 17 > 0 then (pick.a + pick.b % 100)::numeric / 100 end,
             case when n % 97 = 0 then 'NaN' when n % 10 = 0 then null else pick.c / 13107.0 end,
             case when n % 3 > 0 then decode(repeat(md5(d || 'thumbnail'), 1 + n::int % 3), 'hex') end,
             pg_temp.key('category', 1 + n % 40, $4),
             case when n % 29 > 0 then pg_temp.key('user', 1 + pick.b % ${authors}, $4) end,
             timestamptz '2023-01-01 00:00:00.123+00' + n * interval '37 seconds',
             timestamptz '2024-01-01 00:00:00.456+00' + n * interval '31 seconds'
      from generate_series($1::bigint, $2::bigint) as n, pg_temp.digest('component', n, $4) as d,
           lateral (select pg_temp.pick(d, 1) as a, pg_temp.pick(d, 2) as b, pg_temp.pick(d, 3) as c) as pick`,
  },
  {
    table: 'File',
    numbers: (components) => components * 2,
    sql: `
      insert into "File" ("componentId", path, "mimeType", bytes, sha256, "createdAt")
      select pg_temp.key('component', 1 + (n - 1) / 2 % $3::bigint, $4), '/models/' || substr(d, 1, 2) || '/' || d || '/part-' || n || '.' || kind,
             case kind when 'png' then 'image/png' else 'model/' || kind end, 1024 + pg_temp.pick(d, 1)::bigint * 97, d || md5(d),
             timestamptz '2023-02-01 00:00:00+00' + n * interval '19 seconds'
      from generate_series($1::bigint, $2::bigint) as n, pg_temp.digest('file', n, $4) as d,
           lateral (select (array['stl', 'step', '3mf', 'png'])[1 + n % 4] as kind) as k
      order by n`,
  },
  {
    table: 'Remix',
    numbers: (components) => components,
    sql: `
      insert into "Remix" (id, "sourceId", "sourceRevision", "remixId", "remixRevision", note, scale)
      select pg_temp.digest('remix', n, $4)::uuid, pg_temp.key('component', n, $4), 1 + n % 4, pg_temp.key('component', m, $4), 1 + m % 4,
             case when n % 4 > 0 then 'Remix of ' || n || E'\\t→ ' || m || case when n % 5 = 0 then E' \\\\N' else '' end end, (1 + n % 16) / 8.0
      from generate_series($1::bigint, $2::bigint) as n, lateral (select 1 + n * 7919 % $3::bigint as m) as other`,
  },
  {
    table: '_ComponentToTag',
    numbers: (components) => components,
    sql: `
      insert into "_ComponentToTag" ("A", "B")
      select pg_temp.key('component', n, $4), 1 + (n * 31 + i * 67) % 200
      from generate_series($1::bigint, $2::bigint) as n, generate_series(1, n % 3) as i
      where $3::bigint >= 0`,
  },
  {
    table: 'Session',
    numbers: (components) => 10 + perHundred(components) * 3,
    sql: `
      insert into "Session" (id, "userId", token, data, "expiresAt")
      select pg_temp.key('session', n, $4), pg_temp.key('user', 1 + n % ${authors}, $4), decode(d, 'hex'),
             case when n % 3 > 0 then jsonb_build_object('agent', 'Mozilla/5.0', 'n', n) end, timestamp '2030-01-01 00:00:00' + n * interval '1 hour'
      from generate_series($1::bigint, $2::bigint) as n, pg_temp.digest('session', n, $4) as d`,
  },
]
