import pg from 'pg'

/** Rows of each table: what is measured is what a table costs, not a row. */
const ROWS_A_TABLE = 20
/** Statements of one message: a lock for everything made is held until it is over. */
const TABLES_A_MESSAGE = 50

/**
 * Makes a schema `many` of small tables: each with a primary key, every second one serial; an index on each, a foreign key
 * from two of three to the table before, a view over every tenth, a comment, a grant or a trigger here and there.
 */
export async function makeSmallTables(url: string, count: number): Promise<void> {
  const client = new pg.Client({ connectionString: url, application_name: 'make-small-tables' })
  await client.connect()
  try {
    await client.query(`create schema many;
      create function many.touch() returns trigger language plpgsql as 'begin return new; end'`)
    for (let from = 1; from <= count; from += TABLES_A_MESSAGE) {
      const numbers = Array.from({ length: Math.min(TABLES_A_MESSAGE, count - from + 1) }, (_, index) => from + index)
      await client.query(numbers.flatMap(tableSql).join(';\n'))
    }
    await client.query('analyze')
  } finally {
    await client.end()
  }
}

function tableSql(n: number): string[] {
  const on = (name: string): string => `many."${name}"`
  const table = on(`T${n}`)
  return [
    `create table ${table} (
       id ${n % 2 === 0 ? 'bigserial' : 'bigint'} primary key, before bigint, note text not null,
       price numeric(12, 4) default 1 check (price > 0), "createdAt" timestamptz default now() not null)`,
    `insert into ${table} (id, before, note) select n, n, 'note ' || n from generate_series(1, ${ROWS_A_TABLE}) n`,
    ...(n % 2 === 0 ? [`select setval(pg_get_serial_sequence('${table}', 'id'), ${ROWS_A_TABLE})`] : []),
    `create index "T${n}_note_idx" on ${table} (note)`,
    ...(n > 1 && n % 3 > 0 ? [`alter table ${table} add foreign key (before) references ${on(`T${n - 1}`)}`] : []),
    ...(n % 10 === 0 ? [`create view ${on(`V${n}`)} as select id, note from ${table} where price > 0`] : []),
    ...(n % 50 === 0 ? [`comment on table ${table} is 'table ${n}'`] : []),
    ...(n % 100 === 0
      ? [
          `grant select on ${table} to public`,
          `create trigger touch before update on ${table} for each row execute function many.touch()`,
        ]
      : []),
  ]
}
