import { readFile, writeFile } from 'node:fs/promises'
import { envExampleText } from './configuration/env-example-text.ts'
import { referenceText } from './configuration/reference-text.ts'

/** `pnpm configuration`: writes docs/CONFIGURATION.md and .env.example from the schemas; with --check only tells whether they are. */
const files = { 'docs/CONFIGURATION.md': referenceText(), '.env.example': envExampleText() }
const isCheck = process.argv.includes('--check')
for (const [name, text] of Object.entries(files)) {
  const file = new URL(`../${name}`, import.meta.url)
  if (!isCheck) await writeFile(file, text)
  else if ((await readFile(file, 'utf8').catch(() => '')) !== text) {
    process.stderr.write(`${name} is not up to date: run \`pnpm configuration\` and commit it.\n`)
    process.exitCode = 1
  }
}
