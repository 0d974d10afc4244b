import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries } from '../postgres/dump-entries.ts'
import { DUMPED_NAME, plainName } from '../postgres/dump-names.ts'

const NAME = `(${DUMPED_NAME})`
const ATTACH = new RegExp(String.raw`^ALTER TABLE (?:ONLY )?${NAME}\.${NAME} ATTACH PARTITION ${NAME}\.${NAME} `)

/** Of every partition in an archive's definitions the partitioned table it belongs to, by formatTableName(). */
export function partitionParents(preData: string): Map<string, TableName> {
  const parents = new Map<string, TableName>()
  for (const entry of splitEntries(preData).entries) {
    if (entry.type !== 'TABLE ATTACH') continue
    const [, ...names] = ATTACH.exec(entry.sql) ?? []
    const [schema = '', name = '', partSchema = '', partName = ''] = names.map(plainName)
    if (names.length > 0) parents.set(formatTableName({ schema: partSchema, name: partName }), { schema, name })
  }
  return parents
}
