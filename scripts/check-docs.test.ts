import { expect, test } from 'vitest'
import { findMistakes, type Project } from './check-docs/find-mistakes.ts'
import { readDocument } from './check-docs/read-document.ts'
import { readProject } from './check-docs.ts'

test('every command, path, variable, code, route and link of the documents exists', () => {
  const { documents, project } = readProject()
  expect(documents.map(({ path }) => path)).toEqual(expect.arrayContaining(['README.md', 'docs/OPERATION.md']))
  expect(findMistakes(documents, project)).toEqual([])
}, 60_000)

const project: Project = {
  paths: new Set([
    'docs',
    'docs/A.md',
    'docs/B.md',
    'scripts',
    'scripts/deploy.sh',
    'scripts/keys.ts',
    'agent/test/x-a.test.ts',
  ]),
  scripts: { agent: 'node agent/src/main.ts', keys: 'node scripts/keys.ts', test: 'vitest run' },
  read: (path) => ({ 'scripts/deploy.sh': 'case --check)', 'scripts/keys.ts': "dir: { type: 'string' }" })[path],
  hasWord: (word) => ['S3_BUCKET', 'disk-full', 'swap.done'].includes(word),
  hasText: (text) => 'The disk of ${x} is full.'.includes(text),
  routes: ['GET /v1/jobs/{id}', 'POST /v1/jobs'],
}
const mistakesOf = (text: string): string[] =>
  findMistakes([readDocument('docs/A.md', text), readDocument('docs/B.md', '# Two words, here\n')], project).map(
    (mistake) => mistake.replace(/^docs\/A\.md:\d+: /, ''),
  )

test('what exists is no mistake', () => {
  const text = `# A
[b](B.md#two-words-here) [self](#a) [away](https://example.com/x#y)
\`pnpm agent doctor --json\`, \`npx --yes pnpm@12.21.0 keys --dir x\`, \`pnpm agent archives keys\`, \`scripts/deploy.sh root@vps --check\`
\`agent/test/x-*.test.ts\`, \`disk-full\`, \`swap.done\`, S3_BUCKET, S3_BUCKET_FILE, STAGING_DATABASE_URL, \`GET /v1/jobs/<job>\`
\`\`\`sh
pnpm agent sync --from a --to b \\
  --dry-run       # a comment --with a flag
curl -X POST "$PUBLIC_URL/v1/jobs"
\`\`\`
`
  expect(mistakesOf(text)).toEqual([])
})

test('a message that the program does not say is a mistake where messages are quoted', () => {
  const mistakesIn = (text: string): number =>
    findMistakes([readDocument('docs/TROUBLESHOOTING.md', text)], project).length
  expect(mistakesIn('| `The disk of <place> is full.` |')).toBe(0)
  expect(mistakesIn('| `The disk of <place> is empty.` |')).toBe(1)
})

test.each([
  ['`pnpm nothing`', 'there is no `pnpm nothing`'],
  ['`pnpm agent fly`', 'the agent has no command "fly"'],
  ['`pnpm agent doctor --dry-run`', "the agent's command doctor has no option --dry-run"],
  ['`pnpm keys --folder x`', 'pnpm keys has no option --folder'],
  ['`scripts/deploy.sh --backwards`', 'scripts/deploy.sh has no option --backwards'],
  ['`scripts/gone.sh`', 'there is no scripts/gone.sh'],
  ['`agent/test/y-*.test.ts`', 'there is no agent/test/y-*.test.ts'],
  ['S3_BUKCET', 'nothing reads a variable S3_BUKCET'],
  ['`disk-empty`', 'nothing is called `disk-empty`'],
  ['`swap.undone`', 'nothing is called `swap.undone`'],
  ['`GET /v1/nothing`', 'the API has no GET /v1/nothing'],
  ['`DELETE /v1/jobs/:id`', 'the API has no DELETE /v1/jobs/:id'],
  ['[b](C.md)', 'the link leads to docs/C.md, which is not there'],
  ['[b](B.md#two)', 'docs/B.md has no heading #two'],
])('%s, which is not there, is one', (text, mistake) => {
  expect(mistakesOf(text)).toEqual([mistake])
})
