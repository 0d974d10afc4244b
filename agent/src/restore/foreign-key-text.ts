import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { DUMPED_NAME, plainName } from '../postgres/dump-names.ts'

const NAME = DUMPED_NAME
const FOREIGN_KEY = new RegExp(
  String.raw`^ALTER TABLE (?:ONLY )?(${NAME})\.(${NAME})\s+ADD CONSTRAINT ${NAME} FOREIGN KEY \([^"()]*(?:"(?:[^"]|"")+"[^"()]*)*\) REFERENCES (${NAME})\.(${NAME})\(`,
)

/** The two tables that the text of a foreign key names, as pg_dump writes it; none when it is no foreign key. */
export function tablesOfForeignKey(sql: string): TableName[] {
  const [, ...names] = FOREIGN_KEY.exec(sql) ?? []
  const [schema = '', name = '', otherSchema = '', otherName = ''] = names.map(plainName)
  return names.length === 0
    ? []
    : [
        { schema, name },
        { schema: otherSchema, name: otherName },
      ]
}
