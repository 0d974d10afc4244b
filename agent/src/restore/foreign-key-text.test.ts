import { expect, it } from 'vitest'
import { tablesOfForeignKey } from './foreign-key-text.ts'

it.each([
  [
    'ALTER TABLE ONLY app.child\n    ADD CONSTRAINT child_parent FOREIGN KEY (a, b) REFERENCES app.parent(a, b) ON DELETE CASCADE;',
    ['app.child', 'app.parent'],
  ],
  [
    'ALTER TABLE "a ""b".c\n    ADD CONSTRAINT "x REFERENCES y.z(" FOREIGN KEY ("q)(, ""r", PERIOD during) REFERENCES "Sch.ema"."line\nend"("(");',
    ['a "b.c', 'Sch.ema.line\nend'],
  ],
  ['ALTER TABLE ONLY app.child\n    ADD CONSTRAINT u UNIQUE (a);', []],
])('reads both tables out of the text of a foreign key: %s', (sql, tables) => {
  expect(tablesOfForeignKey(sql).map(({ schema, name }) => `${schema}.${name}`)).toEqual(tables)
})
