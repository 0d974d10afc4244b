import { expect, it } from 'vitest'
import { partitionParents } from './partition-parents.ts'
import { selectArchived, selectTables } from './select-tables.ts'

const TABLES = [
  { schema: 'public', name: 'User', oid: 1, parentOid: null, isLeaf: true },
  { schema: 'public', name: 'user', oid: 2, parentOid: null, isLeaf: true },
  { schema: 'app', name: 'a.b*', oid: 3, parentOid: null, isLeaf: true },
  { schema: 'app', name: 'm', oid: 4, parentOid: null, isLeaf: false },
  { schema: 'app', name: 'm_1', oid: 5, parentOid: 4, isLeaf: false },
  { schema: 'app', name: 'm_1_x', oid: 6, parentOid: 5, isLeaf: true },
  { schema: 'app', name: 'm_2', oid: 7, parentOid: 4, isLeaf: true },
  { schema: 'app', name: 'bare', oid: 8, parentOid: null, isLeaf: false },
]
const names = (tables: { name: string }[]): string[] => tables.map(({ name }) => name)
const route = (include: string[], exclude: string[]) => ({ from: 'a', to: 'b', tables: { include, exclude } })

it.each([
  [undefined, ['User', 'user', 'a.b*', 'm_1_x', 'm_2'], []],
  [['User'], ['User'], ['user', 'a.b*', 'm', 'm_1', 'm_1_x', 'm_2', 'bare']],
  [['public.?ser'], ['User', 'user'], ['a.b*', 'm', 'm_1', 'm_1_x', 'm_2', 'bare']],
  [['app."a.b*"'], ['a.b*'], ['User', 'user', 'm', 'm_1', 'm_1_x', 'm_2', 'bare']],
  [['app.m'], ['m_1_x', 'm_2'], ['User', 'user', 'a.b*', 'bare']],
  [['app.m_1'], ['m_1_x'], ['User', 'user', 'a.b*', 'm_2', 'bare']],
  [['app.*'], ['a.b*', 'm_1_x', 'm_2'], ['User', 'user']],
])('of these tables %j means %j', (patterns, chosen, left) => {
  const selection = selectTables(TABLES, patterns, undefined)
  expect([names(selection.chosen), names(selection.left)]).toEqual([chosen, left])
})

it('A route takes its exclusions, also of a partitioned table, out of all; asked for by name they are refused', () => {
  const some = route(['app.*'], ['app.m_1', 'app.a*'])
  expect(names(selectTables(TABLES, undefined, some).chosen)).toEqual(['m_2'])
  expect(() => selectTables(TABLES, ['app.m_1_x'], some)).toThrow(expect.objectContaining({ code: 'policy-denied' }))
  expect(() => selectTables(TABLES, ['app.m'], some)).toThrow(expect.objectContaining({ code: 'policy-denied' }))
  expect(() => selectTables(TABLES, ['User'], some)).toThrow(expect.objectContaining({ code: 'policy-denied' }))
  expect(() => selectTables(TABLES, ['app.a*', 'x.*'], some)).toThrow(
    expect.objectContaining({ code: 'selection-empty' }),
  )
})

it("An archive's partitions are known by the partitioned tables that its definitions attach them to", () => {
  const header = (name: string, type: string): string =>
    `--\n-- Name: ${name}; Type: ${type}; Schema: app; Owner: -\n--\n\n`
  const preData = `${header('m_1', 'TABLE ATTACH')}ALTER TABLE ONLY app.m ATTACH PARTITION app.m_1 FOR VALUES IN ('a ATTACH');\n\n
${header('p "x"', 'TABLE ATTACH')}ALTER TABLE ONLY "S.t"."M" ATTACH PARTITION app."p ""x""" DEFAULT;\n\n\n`
  const parents = partitionParents(preData)
  expect(Object.fromEntries(parents)).toEqual({
    'app.m_1': { schema: 'app', name: 'm' },
    'app."p ""x"""': { schema: 'S.t', name: 'M' },
  })
  const tables = ['m_1', 'p "x"', 'z'].map((name) => ({
    schema: 'app',
    name,
    columns: [],
    rows: 0,
    bytes: 0,
    parts: [],
  }))
  const select = (patterns: string[] | undefined, exclude: string[]) =>
    names(selectArchived({ tables }, parents, patterns, route(['*.*'], exclude)))
  expect(select(['app.m'], [])).toEqual(['m_1'])
  expect(select(['"S.t"."M"', 'app.z'], [])).toEqual(['p "x"', 'z'])
  expect(select(undefined, ['"S.t".*'])).toEqual(['m_1', 'z'])
})
