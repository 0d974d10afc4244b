/*
 * What the search server says of a document that it refuses, without the values and ids that it quotes: fit to be counted
 * and told. Sentences about fields are known and kept; of what is not known, only the skeleton is.
 */

const MAX_CHARACTERS = 200
const OURS = '…'
/** The field and the rule: nothing of the document is in these. */
const ABOUT_FIELD =
  /^(?:Nested f|F)ield `[\w.-]{1,128}` (?:must |has been declared |has an incorrect type|exceeds |does not contain )[\w ,.:[\]-]*$/
const WORD = /^[A-Za-z]{1,24}$|^int(?:32|64)$|^…$/
const KNOWN: [RegExp, string][] = [
  [/^A document with id [^]* already exists\.?$/, `A document with id ${OURS} already exists.`],
  [/^Could not find a document with id:? [^]*$/, `Could not find a document with id ${OURS}.`],
  [/^(Bad JSON: \[json\.exception\.\w+\.\d+\])[^]*$/, '$1'],
  [/^Bad JSON\b[^]*$/, 'Bad JSON'],
  [/^The `id` should not be empty\.?$/, 'The `id` should not be empty.'],
  [/^Document's `id` field should be a string\.?$/, "Document's `id` field should be a string."],
  [
    /^Multiple documents having [^]* found in the collection `([\w.-]{1,128})`[^]*$/,
    `Multiple documents having ${OURS} found in the collection \`$1\`.`,
  ],
  [
    /^Reference document having [^]* not found in the collection `([\w.-]{1,128})`[^]*$/,
    `Reference document having ${OURS} not found in the collection \`$1\`.`,
  ],
]

export function normaliseRefusal(error: string): string {
  if (ABOUT_FIELD.test(error)) return shorten(error)
  for (const [pattern, sentence] of KNOWN) {
    if (pattern.test(error)) return shorten(error.replace(pattern, sentence))
  }
  return shorten(keepWords(error))
}

/** The words before the first colon; what is quoted is a value, but for a field's name right after that word. */
function keepWords(error: string): string {
  const [head = ''] = error.split(/:(?=\s)|\n/, 1)
  let before = ''
  return head
    .split(/(`[^`]*`|"[^"]*"|'[^']*'|[`"'].*$)/s)
    .map((part, n) => {
      const isName = /\bfield $/i.test(before) && /^`[\w.-]{1,128}`$/.test(part)
      before = part
      if (n % 2 === 1) return isName ? part : OURS
      return part
        .replaceAll(/\bid \S+/g, `id ${OURS}`)
        .replaceAll(/[^\s,;()]*[^\s.,;()]/g, (word) => (WORD.test(word) ? word : OURS))
    })
    .join('')
}

function shorten(text: string): string {
  const line = text.replaceAll(/[\s\p{C}]+/gu, ' ').trim()
  if (line === '') return 'no reason given'
  return line.length > MAX_CHARACTERS ? `${line.slice(0, MAX_CHARACTERS)}${OURS}` : line
}
