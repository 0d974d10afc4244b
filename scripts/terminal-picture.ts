import { readFile, writeFile } from 'node:fs/promises'

/*
 * Draws what a terminal showed as an SVG, from a recording made with script(1):
 *
 *     node scripts/terminal-picture.ts <recording> <picture.svg> <title>
 *
 * Lines that were written over appear as they were left.
 */

const fontSize = 13
/** Of the monospace fonts that browsers fall back to; textLength pins each line to it. */
const characterWidth = 7.8
const lineHeight = 18
const padding = 16
const titleHeight = 30
const [background, bar, text, faint] = ['#1b1f27', '#262b36', '#d5dae3', '#8a93a5']

const escapeCode = '\u001b'
/** OSC … BEL or ST. */
const titles = new RegExp(`${escapeCode}\\][^\u0007${escapeCode}]*(?:\u0007|${escapeCode}\\\\)`, 'g')
/** Every CSI sequence but EL, and escapes of two characters. */
const colours = new RegExp(`${escapeCode}(?:\\[[0-9;?]*[A-JL-Za-z]|[^[])`, 'g')
const tokens = new RegExp(`${escapeCode}\\[[0-9]*K|\r|\n|[^${escapeCode}\r\n]+`, 'g')

/** The lines a terminal shows after this output: CR, backspace and EL (ECMA-48) are obeyed, colours and titles left out. */
export function screenLines(recording: string): string[] {
  const plain = recording.replaceAll(titles, '').replaceAll(colours, '')
  const lines: string[] = []
  let line = ''
  let column = 0
  for (const [token] of plain.matchAll(tokens)) {
    if (token === '\n') {
      lines.push(line.trimEnd())
      line = ''
      column = 0
    } else if (token === '\r') {
      column = 0
    } else if (token.startsWith('\u001b')) {
      line = line.slice(0, column)
    } else {
      line = `${line.slice(0, column).padEnd(column)}${token}${line.slice(column + token.length)}`
      column += token.length
    }
  }
  return line === '' ? lines : [...lines, line.trimEnd()]
}

export function terminalSvg(lines: readonly string[], title: string): string {
  const width = Math.ceil(2 * padding + characterWidth * Math.max(...lines.map((line) => line.length)))
  const height = titleHeight + 2 * padding + lines.length * lineHeight
  const rows = lines.flatMap((line, index) => {
    if (line.trim() === '') return []
    const y = titleHeight + padding + lineHeight * (index + 0.75)
    const colour = line.startsWith('$ ') ? ` fill="#ffffff" font-weight="bold"` : ''
    const length = (line.length * characterWidth).toFixed(1)
    return `  <text x="${padding}" y="${y}" textLength="${length}" lengthAdjust="spacingAndGlyphs"${colour}>${escape(line)}</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escape(title)}</title>
<rect width="${width}" height="${height}" rx="8" fill="${background}"/>
<path d="M0 ${titleHeight}V8a8 8 0 0 1 8-8H${width - 8}a8 8 0 0 1 8 8V${titleHeight}Z" fill="${bar}"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${fontSize}" fill="${text}">
  <text x="${width / 2}" y="20" text-anchor="middle" fill="${faint}">${escape(title)}</text>
${rows.join('\n')}
</g>
</svg>
`
}

/** Spaces in a row would become one: they are made not to. */
function escape(value: string): string {
  return value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(' ', '\u00a0')
}

if (import.meta.main) {
  const [recording, picture, title] = process.argv.slice(2)
  if (recording === undefined || picture === undefined || title === undefined) {
    console.error('usage: node scripts/terminal-picture.ts <recording> <picture.svg> <title>')
    process.exitCode = 2
  } else {
    await writeFile(picture, terminalSvg(screenLines(await readFile(recording, 'utf8')), title))
  }
}
