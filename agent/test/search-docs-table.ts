import type { TypeRule, Way } from '../src/reindex/mapping/type-rules.ts'

/** The table of types as docs/TYPESENSE.md has it, written from the code's own. */
export function typesTable(rules: TypeRule[]): string {
  const rows = rules.map((rule) => [
    rule.title,
    rule.ways.length === 0 ? 'refused' : rule.ways.map(wayText).join('; '),
    rule.id ? 'yes' : 'no',
    rule.instead,
  ])
  return [['PostgreSQL', 'field', 'as `id`', 'otherwise'], ['---', '---', '---', '---'], ...rows]
    .map((cells) => `| ${cells.map(cell).join(' | ')} |`)
    .join('\n')
}

function wayText({ type, as, approximate, when }: Way): string {
  const said = [type, ...(as ? [`as: ${as}`] : []), ...(approximate ? ['approximate: true'] : [])]
  return [`\`${said.join(', ')}\``, ...(when ? [`for ${when.says}`] : [])].join(' ')
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}
