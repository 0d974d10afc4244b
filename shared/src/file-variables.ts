/*
 * A variable X of the environment may also be given as X_FILE: the path of a file that holds its value, as containers and
 * systemd hand out secrets. Pure but for the reader that is handed in. Names are told, never values and never paths.
 */

const SUFFIX = '_FILE'

export interface Variables {
  /** What is set, by itself or by a file; what is empty is not. */
  set: Record<string, string>
  /** One line each, beginning with the variable's name. */
  mistakes: string[]
  /** What is not set because its file is empty. */
  empty: string[]
}

/**
 * Reads the files of the variables that are ours. A name that ends in `_FILE` itself names a file already and is left alone.
 * One trailing line break is not part of a value; an empty file is as good as none, as containers mount one for a secret that
 * nobody needs. `readFile` throws where it cannot read.
 */
export function readFileVariables(
  env: Readonly<Record<string, string | undefined>>,
  isOurs: (name: string) => boolean,
  readFile: (path: string) => string,
): Variables {
  const set = withoutEmpty(env)
  const fromFiles: Record<string, string> = {}
  const mistakes: string[] = []
  const empty: string[] = []
  for (const [fileName, path] of Object.entries(set)) {
    const name = fileName.slice(0, -SUFFIX.length)
    if (!fileName.endsWith(SUFFIX) || name.endsWith(SUFFIX) || !isOurs(name)) continue
    if (set[name] !== undefined) mistakes.push(`${fileName}: ${name} is set as well; only one of them can be meant`)
    else takeFile(fileName, name, path)
  }
  return { set: { ...set, ...fromFiles }, mistakes, empty }

  function takeFile(fileName: string, name: string, path: string): void {
    try {
      const value = readFile(path).replace(/\r?\n$/, '')
      if (value === '') empty.push(name)
      else fromFiles[name] = value
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? ` (${String(thrown.code)})` : ''
      mistakes.push(`${fileName}: the file cannot be read${code}`)
    }
  }
}

/** An empty variable, as compose files make them, is as good as none. */
function withoutEmpty(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== ''),
  )
}

/**
 * What to say of a variable that does not pass its schema: nothing when its file has a mistake of its own, else that its file is
 * empty, else what the schema said.
 */
export function mistakeOf({ mistakes, empty }: Variables, name: string, said: string): string[] {
  if (mistakes.some((mistake) => mistake.startsWith(`${name}${SUFFIX}:`))) return []
  return [empty.includes(name) ? `${name}${SUFFIX}: the file is empty` : said]
}
