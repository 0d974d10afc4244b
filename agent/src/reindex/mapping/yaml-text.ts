const PLAIN = /^[A-Za-z_][\w./-]*$/
/** What YAML 1.1 or 1.2 reads as something else than text. */
const RESERVED = /^(y|n|yes|no|on|off|true|false|null)$/i

/** A text as a YAML scalar: plain where it can only mean itself, else in double quotes, whose escapes are those of JSON. */
export function yamlText(text: string): string {
  return PLAIN.test(text) && !RESERVED.test(text) ? text : JSON.stringify(text)
}

/** Text for a comment, which ends with its line. */
export function yamlComment(text: string): string {
  return text.replaceAll(/[\p{C}\p{Z}]+/gu, ' ')
}
