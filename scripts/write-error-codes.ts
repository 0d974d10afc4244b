import { readFile, writeFile } from 'node:fs/promises'
import { errorCodes, groups } from '../shared/src/error-codes.ts'
import { isRefusal } from '../shared/src/sync-error.ts'

/*
 * Writes the list of all error codes into docs/TROUBLESHOOTING.md, between two marks, from shared/src/error-codes.ts.
 *
 *     node scripts/write-error-codes.ts [--check]
 *
 * With --check it changes nothing, and exits with 1 when the list is not what it would write.
 */

const DOCUMENT = new URL('../docs/TROUBLESHOOTING.md', import.meta.url)
const [BEGIN, END] = ['<!-- error codes: begin -->', '<!-- error codes: end -->']

function table(codes: readonly (keyof typeof errorCodes)[]): string {
  const rows = codes.map((code) => {
    const { means, todo, again } = errorCodes[code]
    return `| \`${code}\` | ${means} | ${todo} | ${again} | ${isRefusal(code) ? 'refused' : ''} |`
  })
  return ['| code | means | what to do | again | |', '|---|---|---|---|---|', ...rows].join('\n')
}

/** The document with the list as it must be. Throws when its marks are not there. */
export function withErrorCodes(document: string): string {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`the document lacks the lines ${BEGIN} and ${END}`)
  const sections = Object.entries(groups).map(([title, codes]) => `### ${title}\n\n${table(codes)}`)
  return `${document.slice(0, begin + BEGIN.length)}\n\n${sections.join('\n\n')}\n\n${document.slice(end)}`
}

async function main(args: string[]): Promise<number> {
  const before = await readFile(DOCUMENT, 'utf8')
  const after = withErrorCodes(before)
  if (args.includes('--check')) {
    if (before === after) return 0
    console.error('docs/TROUBLESHOOTING.md is not up to date: run `node scripts/write-error-codes.ts`.')
    return 1
  }
  if (before !== after) await writeFile(DOCUMENT, after)
  return 0
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
