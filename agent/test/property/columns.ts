/** A kind of column: its type, and a value made from x (a number of its own for every row) as SQL. */
export interface ColumnKind {
  type: string
  value: string
  /** `generated always as (…) stored`, or virtual, over the key column. */
  generated?: 'stored' | 'virtual'
  /** A B-tree can have it. */
  ordered: boolean
  /** No two rows have the same value. */
  distinct?: boolean
}

/** `types` is the schema of the user's own types, quoted. */
export function columnKinds(types: string, major: number): ColumnKind[] {
  const kinds: ColumnKind[] = [
    { type: 'int', value: 'x * 37', ordered: true, distinct: true },
    { type: 'bigint', value: 'x::bigint * 4000000000', ordered: true, distinct: true },
    { type: 'numeric(14,4)', value: 'x / 7.0', ordered: true },
    { type: 'numeric', value: `case x % 4 when 0 then 'NaN' else x * 1.50 end`, ordered: true },
    { type: 'float8', value: `case x % 6 when 0 then float8 '-infinity' else x / 3.0 end`, ordered: true },
    { type: 'text', value: `E'it''s \\\\ \\t' || x || E'\\n'`, ordered: true, distinct: true },
    { type: 'text collate "C"', value: `case x % 3 when 0 then '' else 'ü' || x end`, ordered: true },
    { type: 'varchar(40)', value: `repeat('v', x % 20)`, ordered: true },
    { type: 'char(5)', value: `'c' || x % 100`, ordered: true },
    { type: '"char"', value: `'q'`, ordered: true },
    { type: 'boolean', value: 'x % 2 = 0', ordered: true },
    { type: 'date', value: `date '2020-01-01' + x`, ordered: true, distinct: true },
    {
      type: 'timestamptz(3)',
      value: `timestamptz '2020-01-01 00:00:00.123456+02' + x * interval '1 hour'`,
      ordered: true,
    },
    { type: 'interval', value: `x * interval '1 day 3 hours'`, ordered: true },
    { type: 'uuid', value: 'md5(x::text)::uuid', ordered: true, distinct: true },
    { type: 'jsonb', value: `jsonb_build_object('a', x, 'b', array['"', null])`, ordered: true },
    { type: 'json', value: `('{"a" :  ' || x || '}')::json`, ordered: false },
    { type: 'bytea', value: `decode(md5(x::text), 'hex')`, ordered: true },
    { type: 'inet', value: `'10.0.0.1'::inet + x % 200`, ordered: true },
    { type: 'bit(5)', value: '(x % 32)::bit(5)', ordered: true },
    { type: 'point', value: 'point(x, -x)', ordered: false },
    { type: 'tsvector', value: `to_tsvector('simple', 'word' || x)`, ordered: true },
    { type: 'int[]', value: 'array[x, null, -x]', ordered: true },
    { type: 'text[][]', value: `array[array['a"', x::text], array['{}', '']]`, ordered: true },
    { type: 'int4range', value: 'int4range(x * 10, x * 10 + 5)', ordered: true, distinct: true },
    { type: `${types}.mood`, value: `(array['sad', 'it''s ok', 'Happy'])[1 + x % 3]::${types}.mood`, ordered: true },
    { type: `${types}.mood[]`, value: `array['sad', 'Happy']::${types}.mood[]`, ordered: true },
    { type: `${types}.positive`, value: `(1 + x)::${types}.positive`, ordered: true, distinct: true },
    { type: `${types}.place`, value: `row(x, 'b "' || x, null)::${types}.place`, ordered: false },
    { type: `${types}.place[]`, value: `array[row(x, null, 'sad')]::${types}.place[]`, ordered: false },
    { type: `${types}.span`, value: `${types}.span(x, x + 2, '[]')`, ordered: true },
    { type: 'bigint', value: 'ID::bigint * 2', generated: 'stored', ordered: true, distinct: true },
    { type: 'text', value: `'no ' || ID::text || '.'`, generated: 'stored', ordered: true },
  ]
  if (major >= 18) kinds.push({ type: 'bigint', value: 'ID + 1000', generated: 'virtual', ordered: false })
  if (major >= 14) kinds.push({ type: 'int4multirange', value: `'{[1,3),[5,9)}'::int4multirange`, ordered: true })
  return kinds
}

/** The types that columns use, in the schema that is named. */
export const userTypes = (types: string): string => `
create type ${types}.mood as enum ('sad', 'it''s ok', 'Happy');
create domain ${types}.positive as bigint default 7 check (value > 0);
create type ${types}.place as (x int, "the ""name""" text, mood ${types}.mood);
create type ${types}.span as range (subtype = float8);`
