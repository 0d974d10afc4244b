/*
 * What the search server says of a document that it refuses, without the values and ids that it quotes: fit to be counted
 * and told. Sentences about fields are known and kept; of what is not known, only the skeleton is.
 */

const MAX_CHARACTERS = 200
const OURS = '…'
/** The field and the rule: nothing of the document is in these. */
const ABOUT_FIELD =
  /^(?:Nested f|F)ield `[\w.-]{1,128}` (?:must |has been declared |has an incorrect type|exceeds |does not contain )[\w ,.:;`[\]'()-]*$/
const KNOWN: [RegExp, string][] = [
  [/^A document with id [^]* already exists\.?$/, `A document with id ${OURS} already exists.`],
  [/^Could not find a document with id:? [^]*$/, `Could not find a document with id ${OURS}.`],
  [/^(Bad JSON: \[json\.exception\.\w+\.\d+\])[^]*$/, '$1'],
  [/^Bad JSON\b[^]*$/, 'Bad JSON'],
  [/^The `id` should not be empty\.?$/, 'The `id` should not be empty.'],
  [/^Document's `id` field should be a string\.?$/, "Document's `id` field should be a string."],
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
  return shorten(maskValues(error))
}

/** Keeps words before the first colon; quoted text and numbers are values, but for a field's name right after that word. */
function maskValues(error: string): string {
  const [head = ''] = error.split(/: |\n/, 1)
  return head
    .replaceAll(/(\bfield )?(`[^`]*`|"[^"]*"|'[^']*')/gi, (_all, field: string | undefined, quoted: string) =>
      field !== undefined && /^`[\w.-]{1,128}`$/.test(quoted) ? field + quoted : `${field ?? ''}${OURS}`,
    )
    .replaceAll(/[`"'][^]*$/g, OURS)
    .replaceAll(/\bid \S+/g, `id ${OURS}`)
    .replaceAll(/(?<![\w`.])[-+]?\d[\w.:+-]*/g, OURS)
}

function shorten(text: string): string {
  const line = text.replaceAll(/[\s\p{C}]+/gu, ' ').trim()
  if (line === '') return 'no reason given'
  return line.length > MAX_CHARACTERS ? `${line.slice(0, MAX_CHARACTERS)}${OURS}` : line
}
