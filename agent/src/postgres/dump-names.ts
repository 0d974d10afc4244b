/** A name in pg_dump's text, for a regular expression: quoted unless it is made of these letters alone (fmtId in its source). */
export const DUMPED_NAME = String.raw`(?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+")`

/** The name itself: `"a ""b"` is a "b. */
export function plainName(dumped: string): string {
  return dumped.startsWith('"') ? dumped.slice(1, -1).replaceAll('""', '"') : dumped
}
