import { COMMANDS } from '../../agent/src/cli/parse-command.ts'
import type { Document } from './read-document.ts'

/** The project as the documents speak of it. */
export interface Project {
  /** Every file and folder, relative to the root. */
  paths: Set<string>
  /** Scripts of package.json, and what each runs. */
  scripts: Record<string, string>
  /** The text of a file of the project; undefined when there is none. */
  read: (path: string) => string | undefined
  /** True when this word stands somewhere in what is no documentation. */
  hasWord: (word: string) => boolean
  /** True when this stands in the program's own text. */
  hasText: (text: string) => boolean
  /** `GET /v1/jobs/:id`, as the API's document has them. */
  routes: string[]
}

/** Words in capitals that belong to other programs. */
const FOREIGN = new Set([
  'ON_ERROR_STOP',
  'XDG_CONFIG_HOME',
  'NODE_USE_ENV_PROXY',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
])
/** What pnpm does itself. */
const PNPM = new Set(['install', 'exec', 'add', 'dlx', 'why', 'store', 'fetch', 'deploy', 'prune'])
/** Folders at the root whose paths are meant to be there. */
const ROOTS = /^(agent|control-plane|shared|scripts|docs|infra)\//
/** Made by who follows the documents. */
const MADE = /^infra\/(\.env|agent\.env|secrets|config)(\/|$)/

/** Documents whose code spans that are sentences quote what the program says, word for word. */
const QUOTES = new Set(['docs/TROUBLESHOOTING.md'])

/** One line for each mistake: `docs/X.md:12: there is no …`. */
export function findMistakes(documents: Document[], project: Project): string[] {
  return documents.flatMap((document) => [
    ...linkMistakes(document, documents, project),
    ...document.code.flatMap(({ text, line, isBlock }) => {
      const at = (what: string): string => `${document.path}:${line}: ${what}`
      return [
        ...commandMistakes(text, project).map(at),
        ...pathMistakes(text, project).map(at),
        ...routeMistakes(text, project).map(at),
        ...(isBlock ? [] : wordMistakes(text, project).map(at)),
        ...(isBlock || !QUOTES.has(document.path) ? [] : messageMistakes(text, project).map(at)),
      ]
    }),
    ...variableMistakes(document, project),
  ])
}

function linkMistakes(document: Document, documents: Document[], { paths }: Project): string[] {
  return document.links.flatMap(({ target, line }) => {
    if (/^[a-z]+:/i.test(target)) return []
    const [file = '', anchor] = target.split('#')
    const path = file === '' ? document.path : resolve(document.path, file)
    const at = `${document.path}:${line}: `
    if (!paths.has(path)) return [`${at}the link leads to ${path}, which is not there`]
    const there = documents.find((one) => one.path === path)
    const isThere = anchor === undefined || there === undefined || there.anchors.has(anchor)
    return isThere ? [] : [`${at}${path} has no heading #${anchor}`]
  })
}

function resolve(from: string, relative: string): string {
  const parts = from.split('/').slice(0, -1)
  for (const part of relative.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.' && part !== '') parts.push(part)
  }
  return parts.join('/')
}

/** Everything behind `pnpm`, up to where a shell's command ends. */
function commandMistakes(text: string, project: Project): string[] {
  const found = [...text.matchAll(/\bpnpm(?:@[\d.]+)? ([^\n|;&#`()]+)/g)].flatMap(([, rest = '']) => {
    const words = rest.trim().split(/\s+/)
    const [name = '', ...more] = words
    if (!/^[a-z][a-z-]*$/.test(name) || PNPM.has(name)) return []
    const script = project.scripts[name]
    if (script === undefined) return [`there is no \`pnpm ${name}\``]
    return name === 'agent' ? agentMistakes(more) : optionMistakes(`pnpm ${name}`, more, sourcesOf(script, project))
  })
  const installed = [...text.matchAll(/\bmultiboard-sync ([^\n|;&#`()]+)/g)].flatMap(([, rest = '']) => {
    const words = rest.trim().split(/\s+/)
    return Object.hasOwn(COMMANDS, words[0] ?? '') ? agentMistakes(words) : []
  })
  const shell = [...text.matchAll(/(?:^|\s)(scripts\/[\w/-]+\.(?:sh|ts))((?: [^\n|;&#`()]+)?)/g)].flatMap(
    ([, path = '', rest = '']) => {
      const source = project.read(path)
      return source === undefined ? [] : optionMistakes(path, rest.trim().split(/\s+/), [source])
    },
  )
  return [...found, ...installed, ...shell]
}

const ALWAYS = ['json', 'help']
const HEALTH = ['max-age', 'json']

function agentMistakes([command = '', ...words]: string[]): string[] {
  if (command.startsWith('-') || command === '' || /^[<…]/.test(command)) return []
  const options = command === 'health' ? HEALTH : COMMANDS[command]?.options
  if (options === undefined) return [`the agent has no command "${command}"`]
  return flagsOf(words).flatMap((flag) =>
    options.includes(flag) || ALWAYS.includes(flag) ? [] : [`the agent's command ${command} has no option --${flag}`],
  )
}

function optionMistakes(command: string, words: string[], sources: string[]): string[] {
  return flagsOf(words).flatMap((flag) =>
    ALWAYS.includes(flag) || sources.some((source) => new RegExp(`(^|--|['"\\s{])${flag}\\b`).test(source))
      ? []
      : [`${command} has no option --${flag}`],
  )
}

function flagsOf(words: string[]): string[] {
  return words.flatMap((word) => /^\[?--([a-z][a-z-]*)/.exec(word)?.[1] ?? [])
}

/** What a script of package.json runs: its own file, and what lies in the folder of its name. Vitest's options are vitest's. */
function sourcesOf(script: string, project: Project): string[] {
  const file = /(?:node )(?:\S+ )*?((?:scripts|control-plane|agent)\/\S+\.ts)/.exec(script)?.[1]
  if (file === undefined) return ['--project --config --root --runs']
  const folder = file.replace(/\.ts$/, '/')
  const files = [file, ...[...project.paths].filter((path) => path.startsWith(folder) && path.endsWith('.ts'))]
  return files.map((path) => project.read(path) ?? '')
}

function pathMistakes(text: string, { paths }: Project): string[] {
  return text.split(/[\s'"=,:;()<>]+/).flatMap((word) => {
    const path = word
      .replace(/^\.\//, '')
      .replace(/[/.]+$/, '')
      .replace(/#.*$/, '')
    if (!ROOTS.test(`${path}/`) || !ROOTS.test(path) || /[…$]/.test(path)) return []
    if (paths.has(path) || MADE.test(path)) return []
    const pattern = globPattern(path)
    if (pattern && [...paths].some((one) => pattern.test(one))) return []
    // The beginning of names, as tests are chosen by: `agent/test/archive-`.
    if (path.endsWith('-') && [...paths].some((one) => one.startsWith(path))) return []
    return [`there is no ${path}`]
  })
}

function globPattern(path: string): RegExp | undefined {
  if (!/[*{}]/.test(path)) return undefined
  const escaped = path
    .replaceAll(/[.+^()|[\]\\]/g, '\\$&')
    .replaceAll(/\{([^}]*)\}/g, (_, list: string) => `(${list.replaceAll(',', '|')})`)
    .replaceAll('**', '.+')
    .replaceAll(/(?<!\.)\*/g, '[^/]*')
  return new RegExp(`^${escaped}$`)
}

/** The documents' own words for variables that follow from another: S3_BUCKET_FILE, STAGING_DATABASE_URL. */
function variableMistakes({ path, text }: Document, project: Project): string[] {
  const wrong = new Map<string, number>()
  for (const [index, content] of text.split('\n').entries()) {
    for (const [name] of content.matchAll(/(?<![\w$-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w*])/g)) {
      const base = name.replace(/_FILE$/, '')
      const isKnown = [name, base].some(
        (one) => FOREIGN.has(one) || one.endsWith('_DATABASE_URL') || project.hasWord(one),
      )
      if (!isKnown && !wrong.has(name)) wrong.set(name, index + 1)
    }
  }
  return [...wrong].map(([name, line]) => `${path}:${line}: nothing reads a variable ${name}`)
}

/** Codes, events and options in code spans: what looks like one must stand somewhere in the project. */
function wordMistakes(text: string, { hasWord }: Project): string[] {
  const isWord =
    /^[a-z][a-z0-9]*(-[a-z0-9]+)+$/.test(text) || /^(job|table|search|swap|stage|lock|events)\.[a-z-]+$/.test(text)
  return isWord && !hasWord(text) ? [`nothing is called \`${text}\``] : []
}

/** `<name>` stands for what differs from one to the other, `…` for what was left out. */
function messageMistakes(text: string, { hasText }: Project): string[] {
  if (!/^[A-Z"<][^:]* [^:]*\.$/.test(text)) return []
  const parts = text.split(/<[^>]+>|…/).filter((part) => part.length > 6)
  return parts
    .filter((part) => !hasText(part) && !isOfTwo(part, hasText))
    .map((part) => `the program never says "${part.trim()}"`)
}

/** Put together from two texts: `The archive's manifest ${why}.` */
function isOfTwo(part: string, hasText: Project['hasText']): boolean {
  const words = part.replace(/\.$/, '').split(' ')
  return words.some((_, n) => {
    const [first, second] = [words.slice(0, n).join(' '), words.slice(n).join(' ')]
    return first.length > 6 && second.length > 6 && hasText(`${first} \${`) && hasText(second)
  })
}

function routeMistakes(text: string, { routes }: Project): string[] {
  return [...text.matchAll(/\b(GET|POST|PUT|DELETE|PATCH) (\/[a-z][^\s`"'?{},]*)/g)].flatMap(
    ([, method = '', path = '']) => {
      if (!/^\/(v1|healthz|readyz|metrics)\b/.test(path)) return []
      const asked = path.split('/')
      const isThere = routes.some((route) => {
        const [verb, template = ''] = route.split(' ')
        const parts = template.split('/')
        return (
          verb === method &&
          parts.length === asked.length &&
          parts.every((part, n) => part.startsWith('{') || part === asked[n])
        )
      })
      return isThere ? [] : [`the API has no ${method} ${path}`]
    },
  )
}
