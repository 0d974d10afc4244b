/** Named in one error. */
const MAX_DETAILS = 50
/** A fact's kind, schema and names stand first; definitions follow. */
const NAME_TERMS = 4

/**
 * What differs between the lines of two fingerprints, for an error's details. Names only: a definition may hold what
 * somebody would not have told.
 */
export function differentFacts(before: string[], after: string[]): string[] {
  const [was, is] = [new Set(before), new Set(after)]
  const details = [
    ...before.filter((line) => !is.has(line)).map((line) => `was: ${nameOf(line)}`),
    ...after.filter((line) => !was.has(line)).map((line) => `would be: ${nameOf(line)}`),
  ]
  return details.slice(0, MAX_DETAILS)
}

function nameOf(line: string): string {
  const terms: unknown = JSON.parse(line)
  return (Array.isArray(terms) ? terms.slice(0, NAME_TERMS) : []).filter((term) => typeof term === 'string').join(' ')
}
